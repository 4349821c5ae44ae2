"""Model sets and versions in the store: names, numbers, and what may be deleted when."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import select

from modelpress.domain.model import ModelSet, SourceType
from modelpress.domain.page import PageRequest
from modelpress.domain.task import FINAL, OPEN, TaskStatus
from modelpress.errors import InvalidMarker, ModelInUse, NameConflict, NoSuchModel, NoSuchModelSet
from modelpress.store.table import model_set, model_version, task
from tests.conformance.scene import Scene, new_version
from tests.conformance.together import at_once


def _get(scene: Scene, which: ModelSet) -> ModelSet:
    return scene.store.models.get_set(which.id, account_id=scene.account_id)


def _delete_set(scene: Scene, which: ModelSet) -> None:
    scene.store.models.delete_set(which.id, account_id=scene.account_id, now=scene.clock())


def _delete_version(scene: Scene, model_id: str) -> None:
    scene.store.models.delete_version(model_id, account_id=scene.account_id, now=scene.clock())


def test_a_set_comes_back_as_it_was_made_by_id_and_by_name(scene: Scene) -> None:
    made = scene.store.models.create_set(
        account_id=scene.account_id, name="压缩", model_type="Text2Text", labels=("b", "a", "b"), now=scene.clock()
    )
    assert _get(scene, made) == made
    assert scene.store.models.get_set_named("压缩", account_id=scene.account_id) == made
    assert made.labels == ("b", "a", "b")


def test_a_version_comes_back_as_it_was_made(scene: Scene) -> None:
    found = scene.store.models.get_version(scene.source.id, account_id=scene.account_id)
    assert found == scene.source
    assert (found.source_type, found.task_id) == (SourceType.IMPORT, None)


def test_versions_are_numbered_in_their_set_and_a_number_is_never_used_again(scene: Scene) -> None:
    fresh = scene.set_named("fresh")
    first, second = scene.version_in(fresh), scene.version_in(fresh)
    _delete_version(scene, second.id)
    third = scene.version_in(fresh)
    assert [version.name for version in (first, second, third)] == ["fresh-V1", "fresh-V2", "fresh-V3"]
    assert [version.id for version in _get(scene, fresh).versions] == [first.id, third.id]


def test_versions_registered_at_once_have_different_numbers(scene: Scene) -> None:
    fresh = scene.set_named("fresh")
    assert at_once(*[partial(scene.version_in, fresh)] * 8) == [None] * 8
    names = [version.name for version in _get(scene, fresh).versions]
    assert sorted(names) == [f"fresh-V{number}" for number in range(1, 9)]


def test_a_new_version_changes_the_time_of_its_set(scene: Scene) -> None:
    later = scene.clock.advance(seconds=60)
    scene.version_in(scene.model_set)
    changed = _get(scene, scene.model_set)
    assert (changed.modified_at, changed.created_at) == (later, scene.model_set.created_at)


# --- names ---------------------------------------------------------------------------------------------------


def test_a_name_is_taken_until_its_set_is_deleted(scene: Scene) -> None:
    first = scene.set_named("mine")
    with pytest.raises(NameConflict, match="mine"):
        scene.set_named("mine")
    _delete_set(scene, first)
    second = scene.set_named("mine")
    assert scene.store.models.get_set_named("mine", account_id=scene.account_id).id == second.id


def test_names_that_differ_in_letter_case_are_different(scene: Scene) -> None:
    assert scene.set_named("Mine").id != scene.set_named("mine").id


def test_two_accounts_may_use_the_same_name(scene: Scene, stranger: Scene) -> None:
    ours, theirs = scene.set_named("same"), stranger.set_named("same")
    assert scene.store.models.get_set_named("same", account_id=scene.account_id).id == ours.id
    assert stranger.store.models.get_set_named("same", account_id=stranger.account_id).id == theirs.id


def test_of_several_that_create_the_same_name_at_once_one_gets_it(scene: Scene) -> None:
    outcomes = at_once(*[partial(scene.set_named, "wanted")] * 8)
    assert outcomes.count(None) == 1
    assert {type(outcome) for outcome in outcomes} == {type(None), NameConflict}


# --- deleting ------------------------------------------------------------------------------------------------


def test_a_deleted_set_takes_its_versions_with_it(scene: Scene) -> None:
    version = scene.version_in(scene.model_set)
    _delete_set(scene, scene.model_set)
    for model_id in (version.id, scene.source.id):
        with pytest.raises(NoSuchModel):
            scene.store.models.get_version(model_id, account_id=scene.account_id)
    with pytest.raises(NoSuchModelSet):
        _get(scene, scene.model_set)
    with pytest.raises(NoSuchModelSet):
        _delete_set(scene, scene.model_set)
    with pytest.raises(NoSuchModelSet):
        scene.version_in(scene.model_set)


def test_a_deleted_version_is_gone_and_cannot_be_compressed(scene: Scene) -> None:
    _delete_version(scene, scene.source.id)
    with pytest.raises(NoSuchModel):
        _delete_version(scene, scene.source.id)
    with pytest.raises(NoSuchModel):
        scene.task()


@pytest.mark.parametrize("status", sorted(OPEN))
def test_what_a_task_that_is_not_final_reads_or_fills_cannot_be_deleted(scene: Scene, status: TaskStatus) -> None:
    filled = scene.set_named("filled")
    made = scene.task(fill=filled)
    if status is not TaskStatus.CREATING:
        assert scene.claim() is not None
    if status is TaskStatus.STOPPING:
        scene.ask_stop(made)
    assert scene.status(made) is status
    before = scene.everything()
    for attempt in (
        partial(_delete_set, scene, filled),
        partial(_delete_set, scene, scene.model_set),
        partial(_delete_version, scene, scene.source.id),
    ):
        with pytest.raises(ModelInUse, match=made.id):
            attempt()
    assert scene.everything() == before


@pytest.mark.parametrize("status", sorted(FINAL))
def test_what_only_final_tasks_read_or_filled_can_be_deleted(scene: Scene, status: TaskStatus) -> None:
    scene.task_in(status)
    _delete_version(scene, scene.source.id)
    _delete_set(scene, scene.model_set)


def test_another_version_of_a_set_in_use_can_be_deleted(scene: Scene) -> None:
    other = scene.version_in(scene.model_set)
    scene.task()
    _delete_version(scene, other.id)


@pytest.mark.parametrize("victim", ["version", "set of the source", "set to fill"])
def test_a_task_created_while_its_models_are_deleted_never_stands_without_them(scene: Scene, victim: str) -> None:
    for number in range(15):
        sources, filled = scene.set_named(f"sources {number}"), scene.set_named(f"filled {number}")
        source = scene.version_in(sources)
        create = partial(scene.task, source=source, fill=filled)
        delete = {
            "version": partial(_delete_version, scene, source.id),
            "set of the source": partial(_delete_set, scene, sources),
            "set to fill": partial(_delete_set, scene, filled),
        }[victim]
        outcomes = at_once(create, delete)
        assert sum(outcome is None for outcome in outcomes) == 1, outcomes
        assert isinstance(next(filter(None, outcomes)), (ModelInUse, NoSuchModel, NoSuchModelSet))
    assert _bereft(scene) == []


def _bereft(scene: Scene) -> list[str]:
    """Tasks that wait and whose source, its set or the set to fill is deleted."""
    filled, holding = model_set.alias(), model_set.alias()
    query = (
        select(task.c.id)
        .join(model_version, model_version.c.id == task.c.source_model_id)
        .join(holding, holding.c.id == model_version.c.set_id)
        .join(filled, filled.c.id == task.c.model_set_id)
        .where(
            task.c.status == "creating",
            model_version.c.deleted_at.is_not(None)
            | holding.c.deleted_at.is_not(None)
            | filled.c.deleted_at.is_not(None),
        )
    )
    with scene.database.read() as connection:
        return list(connection.execute(query).scalars())


# --- files that are left -------------------------------------------------------------------------------------


def test_files_of_a_deleted_version_are_listed_once_if_we_made_them_and_their_time_is_over(scene: Scene) -> None:
    produced = scene.running()
    scene.succeed(produced)
    deleted_at = scene.clock()
    _delete_set(scene, scene.model_set)
    later = scene.clock.advance(seconds=1)
    assert scene.store.models.discarded_outputs(before=deleted_at) == []
    assert [version.id for version in scene.store.models.discarded_outputs(before=later)] == [produced.output_model_id]
    scene.store.models.mark_files_removed(produced.output_model_id, now=later)
    assert scene.store.models.discarded_outputs(before=later) == []


# --- pages and accounts --------------------------------------------------------------------------------------


def test_sets_are_paged_with_their_versions_in_both_directions(scene: Scene) -> None:
    sets = [scene.model_set, *(scene.set_named(name) for name in ("b", "a", "C", "ä"))]
    extra = scene.version_in(sets[3])
    for reverse in (False, True):
        expected = [made.id for made in sets][:: -1 if reverse else 1]
        found: list[ModelSet] = []
        marker: str | None = ""
        while marker is not None:
            page = scene.store.models.page_sets(
                PageRequest(marker=marker, max_keys=2, reverse=reverse), account_id=scene.account_id
            )
            found += page.items
            marker = page.next_marker
        assert [item.id for item in found] == expected
        assert [version.id for item in found for version in item.versions if item.id == sets[3].id] == [extra.id]


def test_a_deleted_set_still_marks_its_place(scene: Scene) -> None:
    sets = [scene.set_named(name) for name in "abc"]
    _delete_set(scene, sets[1])
    request = PageRequest(marker=sets[1].id, max_keys=1)
    assert scene.store.models.page_sets(request, account_id=scene.account_id).items[0].id == sets[2].id


def test_another_account_sees_and_changes_no_model(scene: Scene, stranger: Scene) -> None:
    before = scene.everything()
    models, theirs = stranger.store.models, stranger.account_id
    for attempt, error in (
        (lambda: models.get_set(scene.model_set.id, account_id=theirs), NoSuchModelSet),
        (lambda: models.delete_set(scene.model_set.id, account_id=theirs, now=scene.clock()), NoSuchModelSet),
        (lambda: models.get_version(scene.source.id, account_id=theirs), NoSuchModel),
        (lambda: models.delete_version(scene.source.id, account_id=theirs, now=scene.clock()), NoSuchModel),
        (lambda: stranger.task(source=scene.source), NoSuchModel),
        (lambda: stranger.task(fill=scene.model_set), NoSuchModelSet),
        (lambda: models.page_sets(PageRequest(marker=scene.model_set.id), account_id=theirs), InvalidMarker),
    ):
        with pytest.raises(error):
            attempt()
    page = models.page_sets(PageRequest(), account_id=theirs)
    assert [item.id for item in page.items] == [stranger.model_set.id]
    assert scene.everything() == before


def test_a_version_cannot_be_registered_into_another_accounts_set(scene: Scene, stranger: Scene) -> None:
    foreign = replace(new_version(scene.model_set), account_id=stranger.account_id)
    with pytest.raises(NoSuchModelSet):
        stranger.store.models.create_version(foreign, now=stranger.clock())
