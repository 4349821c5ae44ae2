"""Filters of the list: what they show is what a plain look at every task would show, page by page."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelpress.domain.method import Strategy
from modelpress.domain.model import ModelSet, ModelVersion
from modelpress.domain.page import PageRequest
from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import INT8_PTQ, W4A16C16, W8A16C16
from modelpress.domain.task import Task, TaskStatus
from modelpress.domain.task_filter import TaskFilter
from modelpress.store import task_pages
from tests.conformance.scene import Scene

NAMES = ("SmolLM2 → W4", "压缩 模型", "a%b_c", "nightly", "Nightly")
PARTS = ("W4", "模", "%", "_", "night", "Night", "zzz", "")
TAGS = (("team", "search"), ("team", "ads"), ("env", ""), ("env", "test"))


class _Shelf:
    """Some tasks in the order of their creation, among another account's.

    No dataclass: every example's report would write out all of them.
    """

    def __init__(self, scene: Scene, *, tasks: list[Task], sets: list[ModelSet], sources: list[ModelVersion]) -> None:
        self.scene = scene
        #: As they are now; without those that were deleted.
        self.tasks = tasks
        self.sets = sets
        self.sources = sources


def _matches(task: Task, wanted: TaskFilter) -> bool:
    return all(
        (
            not wanted.source_model_id or task.source_model_id == wanted.source_model_id,
            not wanted.model_set_id or task.model_set_id == wanted.model_set_id,
            not wanted.statuses or task.status in wanted.statuses,
            wanted.strategy is None or task.recipe.strategy is wanted.strategy,
            wanted.scheme is None or task.recipe.scheme is wanted.scheme,
            wanted.name_part in task.name,
            wanted.created_from is None or task.created_at >= wanted.created_from,
            wanted.created_before is None or task.created_at < wanted.created_before,
            set(wanted.tags) <= set(task.tags),
        )
    )


@pytest.fixture
def shelf(scene: Scene, stranger: Scene) -> _Shelf:
    sets = [scene.model_set, scene.set_named("another")]
    sources = [scene.source, scene.version_in(sets[1])]
    tasks = []
    for number in range(36):
        stranger.task(tags=TAGS[:1], name="nightly")
        # Clocks of several servers: not every task is dated later than the one before it.
        scene.clock.advance(seconds=60 if number % 3 else -90)
        scene.clock.advance(seconds=0.3)
        tasks.append(
            scene.task(
                name=NAMES[number % 5],
                source=sources[number % 2],
                fill=sets[number // 3 % 2],
                recipe=Recipe(scheme=(W8A16C16, W4A16C16, INT8_PTQ)[number % 3]),
                tags=tuple(tag for bit, tag in enumerate(TAGS[::2]) if number >> bit & 1),
            )
        )
    for task in tasks[4::5]:
        scene.ask_stop(task)
    deleted = [task for task in tasks[4::5] if task is not tasks[4]][::2]
    for task in deleted:
        scene.delete(task)
    alive = [scene.get(task) for task in tasks if task not in deleted]
    return _Shelf(scene, tasks=alive, sets=sets, sources=sources)


#: Filters by the numbers of a shelf's sources, sets and tasks, not by ids that differ every time.
_WISHES = st.fixed_dictionaries(
    {
        "source": st.sampled_from([None, None, None, 0, 1]),
        "fill": st.sampled_from([None, None, 0, 1]),
        "statuses": st.sampled_from(
            [(), (), (TaskStatus.STOPPED,), (TaskStatus.CREATING, TaskStatus.STOPPED), tuple(TaskStatus)]
        ),
        "strategy": st.sampled_from([None, None, Strategy.QUANTIZATION, Strategy.SPARSITY]),
        "scheme": st.sampled_from([None, None, W8A16C16, W4A16C16]),
        "name_part": st.sampled_from(PARTS),
        "created_from": st.none() | st.tuples(st.integers(0, 30), st.sampled_from([-0.2, 0, 0.2])),
        "created_before": st.none() | st.tuples(st.integers(0, 30), st.sampled_from([-0.2, 0, 0.2])),
        "tags": st.sampled_from([(), (), TAGS[:1], TAGS[1:2], (TAGS[2], TAGS[0])]),
    }
)


def _filter(shelf: _Shelf, wish: dict[str, Any]) -> TaskFilter:
    def moment(at: tuple[int, float] | None) -> datetime | None:
        return None if at is None else shelf.tasks[at[0]].created_at + timedelta(seconds=at[1])

    return TaskFilter(
        source_model_id="" if wish["source"] is None else shelf.sources[wish["source"]].id,
        model_set_id="" if wish["fill"] is None else shelf.sets[wish["fill"]].id,
        statuses=wish["statuses"],
        strategy=wish["strategy"],
        scheme=wish["scheme"],
        name_part=wish["name_part"],
        created_from=moment(wish["created_from"]),
        created_before=moment(wish["created_before"]),
        tags=wish["tags"],
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wish=_WISHES, reverse=st.booleans(), max_keys=st.integers(1, 7), looked_at=st.sampled_from([1, 3, 10, 5000]))
def test_a_walk_shows_what_a_look_at_every_task_would_show(
    shelf: _Shelf, wish: dict[str, Any], reverse: bool, max_keys: int, looked_at: int
) -> None:
    wanted = _filter(shelf, wish)
    expected = [task.id for task in shelf.tasks if _matches(task, wanted)]
    seen: list[str] = []
    marker: str | None = ""
    pages = 0
    while marker is not None:
        request = PageRequest(marker=marker, max_keys=max_keys, reverse=reverse)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(task_pages, "LOOKED_AT", looked_at)
            page = shelf.scene.store.tasks.page(request, account_id=shelf.scene.account_id, wanted=wanted)
        assert len(page.items) <= max_keys
        seen += [task.id for task in page.items]
        marker, pages = page.next_marker, pages + 1
        assert pages <= len(shelf.tasks) + 1, "a page must begin behind the one before"
    assert seen == (expected[::-1] if reverse else expected)


def test_a_list_shows_of_a_task_what_the_task_itself_says(shelf: _Shelf) -> None:
    scene = shelf.scene
    page = scene.store.tasks.page(PageRequest(max_keys=100), account_id=scene.account_id)
    for item in page.items:
        task = scene.store.tasks.get(item.id, account_id=scene.account_id)
        assert item == task.summary


def test_a_request_looks_at_a_bounded_number_of_tasks_and_says_where_to_go_on(
    shelf: _Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_pages, "LOOKED_AT", 10)
    scene = shelf.scene
    page = scene.store.tasks.page(PageRequest(), account_id=scene.account_id, wanted=TaskFilter(name_part="zzz"))
    assert page.items == ()
    assert page.next_marker == shelf.tasks[10].id


def test_the_queue_counts_those_that_wait_in_all_accounts(scene: Scene, stranger: Scene) -> None:
    first, second, third = scene.task(), stranger.task(), scene.task()
    assert scene.store.tasks.waiting() == {first.id: 1, second.id: 2, third.id: 3}
    scene.claim()
    assert scene.store.tasks.waiting() == {second.id: 1, third.id: 2}
    scene.ask_stop(third)
    assert scene.store.tasks.waiting() == {second.id: 1}
