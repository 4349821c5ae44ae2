"""A retry asks for the same once more, and takes over the shards that were finished."""

from __future__ import annotations

import shutil

import pytest

from modelpress.domain.task import RETRIABLE, Task, TaskStatus
from modelpress.errors import ModelNotSupported, NoSuchModel, NoSuchTask, TaskStatusConflict
from modelpress.tensors.staging import CALIBRATED, MANIFEST, MEASURED
from tests.conformance.house import House, make_house, stage
from tests.conformance.scene import STATISTICS

S = TaskStatus


def _stopped(house: House) -> Task:
    """A stopped task that finished a shard."""
    task = house.task()
    assignment = house.finished()
    assert assignment.task.id == task.id
    house.services.tasks.cancel(house.caller, task.id)
    house.services.work.stopped(assignment.task)
    return house.services.tasks.get(house.caller, task.id)


def _retry(house: House, task: Task) -> Task:
    return house.services.tasks.retry(house.caller, task.id)


def _messages(house: House, task: Task) -> list[str]:
    return [event.message for event in house.services.tasks.history(house.caller, task.id)]


def test_a_retry_is_a_new_task_that_asks_for_the_same_and_both_tell_of_each_other(house: House) -> None:
    old = _stopped(house)
    new = _retry(house, old)
    assert (new.status, new.retry_of, new.attempt) == (S.CREATING, old.id, 0)
    assert new.output_model_id != old.output_model_id
    for same in ("name", "description", "recipe", "source_model_id", "model_set_id", "account_id"):
        assert getattr(new, same) == getattr(old, same)
    assert _messages(house, new) == [f"accepted as a retry of {old.id}"]
    assert _messages(house, old)[-1] == f"retried as {new.id}"
    assert house.services.tasks.get(house.caller, old.id) == old


def test_the_first_retry_that_is_claimed_takes_the_staging_over(house: House) -> None:
    old = _stopped(house)
    first, second = _retry(house, old), _retry(house, old)
    adopting = house.claim()
    assert (adopting.task.id, house.staging_folders()) == (first.id, [first.id])
    empty = house.claim()
    assert (empty.task.id, house.staging_folders()) == (second.id, [first.id])
    assert house.services.work.publish(adopting, STATISTICS)
    assert house.status(first) is S.SUCCEEDED


def test_a_later_attempt_of_a_retry_keeps_its_own_staging(house: House) -> None:
    old = _stopped(house)
    new = _retry(house, old)
    house.services.work.release(house.claim().task, why="killed", forgive=True)
    other = house.outputs / ".staging" / old.id
    shutil.copytree(house.outputs / ".staging" / new.id, other)
    (other / "foreign").touch()
    assert "foreign" not in {entry.name for entry in house.claim().staging.iterdir()}


def test_a_retry_without_staging_to_take_over_begins_anew(house: House) -> None:
    old = _stopped(house)
    shutil.rmtree(house.outputs / ".staging" / old.id)
    new = _retry(house, old)
    assignment = house.claim()
    assert (assignment.task.id, assignment.staging.exists()) == (new.id, False)
    stage(assignment)
    assert house.services.work.publish(assignment, STATISTICS)


def _end_between_blocks(house: House, folder: str, *names: str) -> Task:
    """A task that is stopped while its second block is calibrated, or measured; ``names`` are there by then."""
    task = house.task()
    assignment = house.claim()
    blocks = assignment.staging / folder
    blocks.mkdir(parents=True)
    (assignment.staging / MANIFEST).write_text("{}")
    for name in names:
        (blocks / name).write_bytes(b"something")
    house.services.tasks.cancel(house.caller, task.id)
    house.services.work.stopped(assignment.task)
    return task


#: Where calibrated blocks lie in a staging folder, and measured ones.
BLOCKS = [CALIBRATED, f"{MEASURED}/{CALIBRATED}"]


@pytest.mark.parametrize("folder", BLOCKS)
def test_whole_blocks_are_taken_over_with_what_goes_into_the_next_one(folder: str, house: House) -> None:
    whole = ["block-00000.json", "block-00000.safetensors", "hidden-00001.bin"]
    old = _end_between_blocks(house, folder, *whole, "block-00001.safetensors.1.partial")
    _retry(house, old)
    taken = house.claim().staging / folder
    assert sorted(entry.name for entry in taken.iterdir()) == whole


@pytest.mark.parametrize("folder", BLOCKS)
def test_where_no_block_was_finished_nothing_is_kept(folder: str, house: House) -> None:
    _end_between_blocks(house, folder, "hidden-00000.bin")
    assert house.staging_folders() == []


def test_staging_that_an_open_retry_waits_for_is_not_swept(house: House) -> None:
    old = _stopped(house)
    new = _retry(house, old)
    house.services.tasks.delete(house.caller, old.id)
    house.clock.advance(seconds=house.settings.retention_hours * 3600 + 1)
    house.services.work.sweep()
    assert house.staging_folders() == [old.id]
    house.services.tasks.cancel(house.caller, new.id)
    house.services.work.sweep()
    assert house.staging_folders() == []


def test_a_failed_task_can_be_retried_when_what_failed_is_mended(house: House) -> None:
    task = house.task()
    tiny = house.settings.data / "local" / "tiny"
    away = tiny.rename(tiny.with_name("away"))
    assert house.services.work.claim("worker") is None
    assert house.status(task) is S.FAILED
    with pytest.raises(ModelNotSupported, match="tiny"):
        _retry(house, task)
    away.rename(tiny)
    new = _retry(house, task)
    assert house.claim().task.id == new.id


@pytest.mark.parametrize("status", sorted(set(S) - RETRIABLE))
def test_other_tasks_cannot_be_retried(house: House, status: TaskStatus) -> None:
    task = house.task()
    if status is not S.CREATING:
        assignment = house.finished()
        if status is S.SUCCEEDED:
            house.services.work.publish(assignment, STATISTICS)
        elif status is S.STOPPING:
            house.services.tasks.cancel(house.caller, task.id)
    assert house.status(task) is status
    before = _messages(house, task)
    with pytest.raises(TaskStatusConflict, match=status.value):
        _retry(house, task)
    assert _messages(house, task) == before


def test_nothing_is_retried_that_is_deleted_or_anothers_or_whose_source_is(house: House) -> None:
    task, deleted = _stopped(house), _stopped(house)
    stranger = make_house(house.services, house.settings, house.clock, account="theirs")
    house.services.tasks.delete(house.caller, deleted.id)
    for who, which in ((stranger, task), (house, deleted)):
        with pytest.raises(NoSuchTask):
            _retry(who, which)
    house.services.models.delete_version(house.caller, house.source.id)
    with pytest.raises(NoSuchModel):
        _retry(house, task)


def test_a_retry_of_a_retry_takes_over_what_that_one_had(house: House) -> None:
    first = _retry(house, _stopped(house))
    assignment = house.claim()
    house.services.work.fail(assignment.task, "Internal: no")
    second = _retry(house, first)
    assert (house.claim().task.id, house.staging_folders()) == (second.id, [second.id])


def test_a_retry_of_retries_that_were_never_begun_takes_over_what_they_were_to_have(house: House) -> None:
    old = _stopped(house)
    retries = [old]
    for _ in range(3):
        retries.append(_retry(house, retries[-1]))
        house.services.tasks.cancel(house.caller, retries[-1].id)
    last = _retry(house, retries[-1])
    house.services.tasks.delete(house.caller, old.id)
    house.services.work.sweep()
    assert house.staging_folders() == [old.id]
    assert (house.claim().task.id, house.staging_folders()) == (last.id, [last.id])
