"""Pages of tasks: markers that hold while others create and delete."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelpress.domain.model import ModelVersion
from modelpress.domain.page import Page, PageRequest
from modelpress.domain.task import Task, TaskStatus, TaskSummary
from modelpress.domain.task_filter import TaskFilter
from modelpress.errors import InvalidMarker
from tests.conformance.scene import Scene


def _page(
    scene: Scene, *, marker: str = "", max_keys: int = 2, reverse: bool = False, source: ModelVersion | None = None
) -> Page[TaskSummary]:
    return scene.store.tasks.page(
        PageRequest(marker=marker, max_keys=max_keys, reverse=reverse),
        account_id=scene.account_id,
        wanted=TaskFilter(source_model_id="" if source is None else source.id),
    )


def _ids(page: Page[TaskSummary]) -> list[str]:
    return [task.id for task in page.items]


def _stopped(scene: Scene, *, source: ModelVersion | None = None) -> Task:
    task = scene.task(source=source)
    assert scene.ask_stop(task) is TaskStatus.STOPPED
    return task


@pytest.mark.parametrize("reverse", [False, True])
def test_the_marker_is_the_first_item_of_its_page(scene: Scene, reverse: bool) -> None:
    ids = [scene.task().id for _ in range(5)]
    if reverse:
        ids.reverse()
    first = _page(scene, reverse=reverse)
    assert (_ids(first), first.next_marker) == (ids[:2], ids[2])
    second = _page(scene, marker=ids[2], reverse=reverse)
    assert (_ids(second), second.next_marker) == (ids[2:4], ids[4])
    last = _page(scene, marker=ids[4], reverse=reverse)
    assert (_ids(last), last.next_marker) == (ids[4:], None)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_page_that_shows_just_all_has_no_next_marker(scene: Scene, reverse: bool) -> None:
    for _ in range(2):
        scene.task()
    assert _page(scene, reverse=reverse).next_marker is None


def test_an_account_without_tasks_has_one_empty_page(scene: Scene) -> None:
    assert _page(scene) == Page(items=(), next_marker=None)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_deleted_task_still_marks_its_place(scene: Scene, reverse: bool) -> None:
    tasks = [_stopped(scene) for _ in range(5)]
    scene.delete(tasks[2])
    expected = [tasks[1].id, tasks[0].id] if reverse else [tasks[3].id, tasks[4].id]
    assert _ids(_page(scene, marker=tasks[2].id, reverse=reverse)) == expected


def test_the_last_task_deleted_marks_an_empty_page(scene: Scene) -> None:
    task = _stopped(scene)
    scene.delete(task)
    assert _page(scene, marker=task.id) == Page(items=(), next_marker=None)


@pytest.mark.parametrize("marker", ["amva-xxxxxxxxxxxx", "amv-xxxxxxxxxxxx", "1", "' OR 1=1 --", "压"])
def test_a_marker_that_never_was_a_task_is_refused(scene: Scene, marker: str) -> None:
    scene.task()
    with pytest.raises(InvalidMarker):
        _page(scene, marker=marker)


def test_another_accounts_task_is_no_marker_and_its_tasks_are_not_shown(scene: Scene, stranger: Scene) -> None:
    ours, theirs = scene.task(), stranger.task()
    with pytest.raises(InvalidMarker):
        _page(scene, marker=theirs.id)
    assert _ids(_page(scene)) == [ours.id]
    assert _page(scene, source=stranger.source).items == ()


def test_the_filter_shows_the_tasks_of_one_source_and_takes_any_task_as_marker(scene: Scene) -> None:
    other = scene.version_in(scene.model_set)
    tasks = [scene.task(source=source) for source in (scene.source, other, scene.source, other, scene.source)]
    of_first = [tasks[0].id, tasks[2].id, tasks[4].id]
    page = _page(scene, source=scene.source)
    assert (_ids(page), page.next_marker) == (of_first[:2], of_first[2])
    assert _ids(_page(scene, source=scene.source, reverse=True, max_keys=3)) == of_first[::-1]
    assert _ids(_page(scene, source=scene.source, marker=tasks[1].id)) == of_first[1:]


# --- while others create and delete --------------------------------------------------------------------------


@dataclass
class _Reader:
    """One that pages through a list, and what must come of it."""

    reverse: bool
    filtered: bool
    max_keys: int
    #: What was there when the reading began and was not deleted since, in order of creation.
    steady: list[str]
    seen: list[str] = field(default_factory=list)
    marker: str | None = ""

    def read(self, scene: Scene) -> None:
        assert self.marker is not None
        source = scene.source if self.filtered else None
        page = _page(scene, marker=self.marker, max_keys=self.max_keys, reverse=self.reverse, source=source)
        assert len(page.items) <= self.max_keys
        self.seen += _ids(page)
        self.marker = page.next_marker

    def check(self) -> None:
        assert len(self.seen) == len(set(self.seen)), "something was shown twice"
        steady = set(self.steady)
        assert [task_id for task_id in self.seen if task_id in steady] == self.steady[:: -1 if self.reverse else 1]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_creating_and_deleting_while_someone_pages_neither_skips_nor_repeats_another_task(
    scene: Scene, data: st.DataObject
) -> None:
    other = scene.version_in(scene.model_set)
    for task in _everything(scene):  # of the example before
        scene.delete(task)
    alive = [
        _stopped(scene, source=source)
        for source in data.draw(st.lists(st.sampled_from([scene.source, other]), min_size=1, max_size=8))
    ]
    filtered = data.draw(st.booleans())
    reader = _Reader(
        reverse=data.draw(st.booleans()),
        filtered=filtered,
        max_keys=data.draw(st.integers(1, 3)),
        steady=[task.id for task in alive if not filtered or task.source_model_id == scene.source.id],
    )
    while reader.marker is not None:
        for action in data.draw(st.lists(st.sampled_from(["create", "delete", "delete marked"]), max_size=3)):
            if action == "create":
                alive.append(_stopped(scene))
                continue
            marked = [task for task in alive if task.id == reader.marker]
            candidates = marked if action == "delete marked" else alive
            if candidates:
                victim = data.draw(st.sampled_from(candidates))
                scene.delete(victim)
                alive.remove(victim)
                reader.steady = [task_id for task_id in reader.steady if task_id != victim.id]
        reader.read(scene)
        if len(reader.seen) > 40:  # an end that runs away from the reader would be a fault of this test
            break
    else:
        reader.check()


def _everything(scene: Scene) -> tuple[TaskSummary, ...]:
    return _page(scene, max_keys=1000).items
