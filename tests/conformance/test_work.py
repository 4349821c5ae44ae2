"""What workers do, and that a crash at any point ends in one published output or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from modelpress.domain.calibration import CalibrationWish
from modelpress.domain.method import Method, Strategy
from modelpress.domain.model import SourceType
from modelpress.domain.recipe import recipe_from_json
from modelpress.domain.scheme import DENSE
from modelpress.domain.sparsity import Sparsity
from modelpress.domain.task import Task, TaskStatus
from modelpress.domain.wish import Wish, make_recipe
from modelpress.errors import LeaseLost
from modelpress.service import work
from modelpress.service.work import Assignment
from modelpress.store.task_store import TaskStore
from modelpress.tensors.staging import MANIFEST
from tests.conformance.house import SHARD, House, stage
from tests.conformance.scene import STATISTICS, progress

S = TaskStatus


class _Killed(BaseException):
    """The worker's process ends here."""


def _kill(*_arguments: object, **_named: object) -> None:
    raise _Killed


def _then_kill(step: Callable[..., object]) -> Callable[..., None]:
    def run(*arguments: object, **named: object) -> None:
        step(*arguments, **named)
        raise _Killed

    return run


@dataclass(frozen=True, slots=True, kw_only=True)
class _Crash:
    """Where in ``publish`` the worker dies."""

    target: object
    name: str
    after: bool
    #: Whether the output lies in its place by then.
    published: bool

    def install(self, patch: pytest.MonkeyPatch) -> None:
        step = getattr(self.target, self.name)
        patch.setattr(self.target, self.name, _then_kill(step) if self.after else _kill)


CRASHES = {
    "before anything is written": _Crash(target=TaskStore, name="measured", after=False, published=False),
    "after the statistics are written": _Crash(target=TaskStore, name="measured", after=True, published=False),
    "before the rename": _Crash(target=Path, name="rename", after=False, published=False),
    "after the rename": _Crash(target=Path, name="rename", after=True, published=True),
    "after the rename is on the disk": _Crash(target=work, name="sync_directory", after=True, published=True),
    "before the manifest is taken away": _Crash(target=work, name="seal", after=False, published=True),
    "after the manifest is taken away": _Crash(target=work, name="seal", after=True, published=True),
    "before success is written": _Crash(target=TaskStore, name="succeed", after=False, published=True),
    "after success is written": _Crash(target=TaskStore, name="succeed", after=True, published=True),
}


#: How a worker ends a task without a result.
END: dict[str, Callable[[House, Assignment], None]] = {
    "stopped": lambda house, assignment: house.services.work.stopped(assignment.task),
    "fail": lambda house, assignment: house.services.work.fail(assignment.task, "Internal: no"),
}


def _publish(house: House, assignment: Assignment) -> bool:
    return house.services.work.publish(assignment, STATISTICS)


def _publish_and_be_killed(house: House, assignment: Assignment, patch: pytest.MonkeyPatch, crash: _Crash) -> None:
    with patch.context() as patched:
        crash.install(patched)
        with pytest.raises(_Killed):
            _publish(house, assignment)


def _go_on(house: House) -> None:
    """What the next worker does with what it finds, to the end."""
    house.lose_the_worker()
    assignment = house.services.work.claim("another")
    if assignment is None:
        return
    if assignment.published is None:
        stage(assignment)
    assert house.services.work.publish(assignment, assignment.published or STATISTICS)


def _check_published_once(house: House, task: Task) -> None:
    done = house.services.tasks.get(house.caller, task.id)
    assert (done.status, done.statistics, done.percent) == (S.SUCCEEDED, STATISTICS, 100)
    assert house.versions() == [house.source.id, task.output_model_id]
    assert house.output_folders() == [task.output_model_id]
    output = house.outputs / house.caller.account_id / task.output_model_id
    assert {entry.name: entry.read_bytes() for entry in output.iterdir()} == {"model.safetensors": SHARD}
    house.services.work.sweep()
    assert house.staging_folders() == []
    assert house.output_folders() == [task.output_model_id]
    assert house.services.work.claim("another") is None


def test_a_finished_attempt_becomes_one_version_that_cannot_be_compressed_again(house: House) -> None:
    task = house.task()
    assert _publish(house, house.finished())
    _check_published_once(house, task)
    version = house.services.models.get_version(house.caller, task.output_model_id)
    assert (version.source_type, version.task_id) == (SourceType.ACCELERATION, task.id)
    assert version.size_bytes == STATISTICS.output_bytes
    assert not version.supports_compression
    assert (version.name, version.architecture) == ("models-V2", house.source.architecture)


@pytest.mark.parametrize("crash", sorted(CRASHES))
def test_a_worker_killed_while_publishing_leaves_what_the_next_one_ends(
    house: House, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    task = house.task()
    assignment = house.finished()
    _publish_and_be_killed(house, assignment, monkeypatch, CRASHES[crash])
    _go_on(house)
    _check_published_once(house, task)


@pytest.mark.parametrize("crash", sorted(CRASHES))
def test_a_worker_killed_at_the_same_point_again_and_again_ends_well_too(
    house: House, monkeypatch: pytest.MonkeyPatch, crash: str
) -> None:
    task = house.task()
    for _ in range(3):
        assignment = house.services.work.claim("worker")
        if assignment is None:  # success was written before the kill
            break
        if assignment.published is None:
            stage(assignment)
        with monkeypatch.context() as patch:
            CRASHES[crash].install(patch)
            try:
                _publish(house, assignment)
            except _Killed:
                house.lose_the_worker()
    if CRASHES[crash].published:
        _go_on(house)
        _check_published_once(house, task)
        return
    assert house.services.work.claim("worker") is None, "three attempts in a row bore no fruit"
    assert house.services.tasks.get(house.caller, task.id).reason.startswith("WorkerLost")
    _check_nothing_left(house, task, status=S.FAILED)


@pytest.mark.parametrize(
    "moment", ["before the rename", "before the manifest is taken away", "before success is written"]
)
def test_a_stop_asked_for_while_publishing_ends_stopped_with_nothing_left(
    house: House, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    task = house.task()
    assignment = house.finished()
    crash = CRASHES[moment]
    step = getattr(crash.target, crash.name)

    def ask_first(*arguments: object, **named: object) -> object:
        house.services.tasks.cancel(house.caller, task.id)
        return step(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(crash.target, crash.name, ask_first)
        assert _publish(house, assignment) is False
    house.services.work.stopped(assignment.task)
    _check_nothing_left(house, task, status=S.STOPPED)


def test_a_stop_asked_for_before_publishing_publishes_nothing(house: House) -> None:
    task = house.task()
    assignment = house.finished()
    house.services.tasks.cancel(house.caller, task.id)
    assert _publish(house, assignment) is False
    assert house.output_folders() == []
    house.services.work.stopped(assignment.task)
    _check_nothing_left(house, task, status=S.STOPPED)


def _check_nothing_left(house: House, task: Task, *, status: TaskStatus) -> None:
    """Nothing but shards for a retry, and not even those once the task is deleted."""
    assert house.status(task) is status
    assert house.versions() == [house.source.id]
    assert house.output_folders() == []
    assert house.staging_folders() in ([], [task.id])
    house.services.tasks.delete(house.caller, task.id)
    house.services.work.sweep()
    assert house.staging_folders() == []


def test_a_stopping_task_whose_worker_died_after_the_rename_is_stopped_by_the_next_claim(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = house.task()
    assignment = house.finished()
    _publish_and_be_killed(house, assignment, monkeypatch, CRASHES["after the rename"])
    house.services.tasks.cancel(house.caller, task.id)
    house.lose_the_worker()
    assert house.services.work.claim("another") is None
    _check_nothing_left(house, task, status=S.STOPPED)


@pytest.mark.parametrize("end", ["stopped", "fail"])
def test_what_a_worker_killed_while_ending_a_task_left_is_swept(
    house: House, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    task = house.task()
    assignment = house.finished()
    _publish_and_be_killed(house, assignment, monkeypatch, CRASHES["before success is written"])
    if end == "stopped":
        house.services.tasks.cancel(house.caller, task.id)
    with monkeypatch.context() as patch:
        patch.setattr(TaskStore, end, _then_kill(getattr(TaskStore, end)))
        with pytest.raises(_Killed):
            END[end](house, assignment)
    assert house.output_folders() == [task.output_model_id]
    house.services.work.sweep()
    _check_nothing_left(house, task, status=S.STOPPED if end == "stopped" else S.FAILED)


def test_a_worker_that_lost_its_lease_publishes_no_version(house: House) -> None:
    task = house.task()
    stale = house.finished()
    house.lose_the_worker()
    fresh = house.claim()
    with pytest.raises(LeaseLost):
        _publish(house, stale)
    assert (house.status(task), house.output_folders()) == (S.RUNNING, [])
    assert _publish(house, fresh)
    _check_published_once(house, task)


# --- claims that need no worker ------------------------------------------------------------------------------


def _barren_attempts(house: House, count: int) -> None:
    for _ in range(count):
        house.services.work.release(house.claim().task, why="killed", forgive=False)


def test_three_attempts_in_a_row_without_a_shard_fail_the_task_as_worker_lost(house: House) -> None:
    task = house.task()
    _barren_attempts(house, 3)
    assert house.services.work.claim("worker") is None
    failed = house.services.tasks.get(house.caller, task.id)
    assert failed.status is S.FAILED
    assert failed.reason == "WorkerLost: 3 attempts in a row ended without finishing a shard or a block"


def test_an_attempt_that_finished_a_shard_begins_the_count_anew(house: House) -> None:
    house.task()
    for _ in range(3):
        _barren_attempts(house, 2)
        fruitful = house.claim()
        assert house.services.work.report(fruitful.task, progress(shards_done=1), fruitful=True) is False
        house.services.work.release(fruitful.task, why="killed", forgive=False)
    assert house.claim().task.attempt == 10


def test_forgiven_attempts_never_fail_a_task(house: House) -> None:
    house.task()
    for _ in range(10):
        house.services.work.release(house.claim().task, why="the worker was asked to leave", forgive=True)
    assert house.claim().task.attempt == 11


def test_a_task_whose_source_is_gone_fails_with_that_reason_and_the_next_one_is_claimed(house: House) -> None:
    first, second = house.task(), house.task()
    tiny = house.settings.data / "local" / "tiny"
    tiny.rename(tiny.with_name("elsewhere"))
    assert house.services.work.claim("worker") is None
    for task in (first, second):
        failed = house.services.tasks.get(house.caller, task.id)
        assert (failed.status, failed.reason.split(":")[0]) == (S.FAILED, "BadSource")


def test_the_leases_of_a_dead_worker_can_be_claimed_at_once(house: House) -> None:
    task = house.task()
    house.claim()
    assert house.services.work.claim("another") is None
    assert house.services.work.release_holder("worker") == 1
    assert house.claim().task.id == task.id


def test_a_report_tells_that_a_stop_was_asked_for(house: House) -> None:
    task = house.task()
    held = house.claim().task
    assert house.services.work.report(held, progress(), fruitful=False) is False
    house.services.tasks.cancel(house.caller, task.id)
    assert house.services.work.report(held, progress(), fruitful=False) is True


def test_an_output_stays_in_its_account_and_staging_beside_it(house: House) -> None:
    task = house.task()
    assignment = house.claim()
    assert assignment.output.path == f"{house.caller.account_id}/{task.output_model_id}"
    assert assignment.staging == house.outputs / ".staging" / task.id
    assert assignment.source.path == (house.settings.data / "local" / "tiny").resolve()


# --- the sweep -----------------------------------------------------------------------------------------------


def test_the_sweep_keeps_the_staging_of_tasks_without_result_for_the_retention_time(house: House) -> None:
    failed, deleted, waiting = house.task(), house.task(), house.task()
    for _ in range(2):
        assignment = house.finished()
        house.services.work.fail(assignment.task, "Internal: no")
    stage(house.claim())
    (house.outputs / ".staging" / "amva-unknown").mkdir()
    house.services.tasks.delete(house.caller, deleted.id)
    house.clock.advance(seconds=house.settings.retention_hours * 3600)
    house.services.work.sweep()
    assert house.staging_folders() == sorted([failed.id, waiting.id, "amva-unknown"])
    house.clock.advance(seconds=1)
    house.services.work.sweep()
    assert house.staging_folders() == sorted([waiting.id, "amva-unknown"])


def test_the_sweep_removes_the_staging_of_a_task_that_succeeded_at_once(house: House) -> None:
    house.task()
    assignment = house.finished()
    assert _publish(house, assignment)
    stage(assignment)  # as a worker that lost its lease might do
    house.services.work.sweep()
    assert house.staging_folders() == []


def test_a_removal_of_staging_that_was_cut_short_is_ended_by_the_next_sweep(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = house.task()
    house.services.work.fail(house.finished().task, "Internal: no")
    house.services.tasks.delete(house.caller, task.id)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", _kill)
        with pytest.raises(_Killed):
            house.services.work.sweep()
    assert house.staging_folders() == [f".removed-{task.id}"]
    house.services.work.sweep()
    assert house.staging_folders() == []


def test_nothing_is_kept_of_an_attempt_that_finished_no_shard(house: House) -> None:
    house.task()
    barren = house.claim()
    barren.staging.mkdir(parents=True)
    (barren.staging / MANIFEST).write_text("{}")
    (barren.staging / "model.safetensors.0123abcd.partial").write_bytes(SHARD)
    house.services.work.fail(barren.task, "Internal: no")
    assert house.staging_folders() == []


@pytest.mark.parametrize("reason", ["DiskFull", "BadSource", "QualityGate"])
def test_shards_that_no_retry_can_want_are_removed_at_once(house: House, reason: str) -> None:
    house.task()
    house.services.work.fail(house.finished().task, f"{reason}: no")
    assert house.staging_folders() == []


def test_the_sweep_removes_a_produced_models_files_after_the_retention_time_and_not_before(house: House) -> None:
    task = house.task()
    _publish(house, house.finished())
    house.services.models.delete_version(house.caller, task.output_model_id)
    house.clock.advance(seconds=house.settings.retention_hours * 3600)
    house.services.work.sweep()
    assert house.output_folders() == [task.output_model_id]
    house.clock.advance(seconds=1)
    house.services.work.sweep()
    assert house.output_folders() == []
    house.services.work.sweep()


def test_the_sweep_removes_the_log_of_a_task_that_was_deleted_long_enough_ago(house: House) -> None:
    kept, deleted = house.task(), house.task()
    (house.settings.data / "local" / "tiny").rename(house.settings.data / "local" / "elsewhere")
    assert house.services.work.claim("worker") is None
    logs = house.outputs / ".logs"
    assert {path.name for path in logs.iterdir()} == {f"{kept.id}.log", f"{deleted.id}.log"}
    assert "failed: BadSource: the source is not there" in (logs / f"{kept.id}.log").read_text()
    house.services.tasks.delete(house.caller, deleted.id)
    house.clock.advance(seconds=house.settings.retention_hours * 3600)
    house.services.work.sweep()
    assert (logs / f"{deleted.id}.log").exists()
    house.clock.advance(seconds=1)
    house.services.work.sweep()
    assert [path.name for path in logs.iterdir()] == [f"{kept.id}.log"]


def test_the_sweep_leaves_what_still_has_a_version(house: House) -> None:
    task = house.task()
    _publish(house, house.finished())
    house.clock.advance(seconds=1_000_000_000)
    house.services.work.sweep()
    assert house.output_folders() == [task.output_model_id]
    assert MANIFEST not in {entry.name for entry in house.outputs.rglob("*")}


def test_files_that_could_not_be_removed_are_tried_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    task = house.task()
    _publish(house, house.finished())
    house.services.models.delete_version(house.caller, task.output_model_id)
    house.clock.advance(seconds=1_000_000)
    with monkeypatch.context() as patch:  # a disk that refuses: nothing here may depend on who runs the tests
        patch.setattr("shutil.rmtree", lambda *_, **__: None)
        house.services.work.sweep()
    assert house.output_folders() == [task.output_model_id]
    house.services.work.sweep()
    assert house.output_folders() == []


def test_a_worker_without_tasks_gets_none(house: House) -> None:
    assert house.services.work.claim("worker") is None


# --- calibration ---------------------------------------------------------------------------------------------


def _calibrated(house: House) -> tuple[Task, Path]:
    """A task that is calibrated with a file of the bucket ``local``."""
    path = house.settings.data / "local" / "text.jsonl"
    path.write_text('{"text": "hello"}')
    named = CalibrationWish(bucket="local", object_path="text.jsonl")
    recipe = make_recipe(Wish(strategy="Quantization", weight="W8A16C16", calibration=named))
    return house.task(recipe), path


def test_the_process_of_an_attempt_gets_the_file_that_its_task_is_calibrated_with(house: House) -> None:
    task, path = _calibrated(house)
    assignment = house.claim()
    assert assignment.task.id == task.id
    assert assignment.label == "W8A16C16 (gptq)"
    assert assignment.program.spec["calibration_path"] == str(path.resolve())
    house.services.work.release(assignment.task, why="", forgive=True)
    assert recipe_from_json(assignment.program.spec["recipe"]) == task.recipe


def test_a_task_whose_calibration_text_is_gone_fails_and_says_so(house: House) -> None:
    task, path = _calibrated(house)
    path.unlink()
    assert house.services.work.claim("worker") is None
    ended = house.services.tasks.get(house.caller, task.id)
    assert ended.status is S.FAILED
    assert ended.reason == "BadCalibration: its file is not there any more: bucket 'local' has no file 'text.jsonl'"


def test_what_was_pruned_alone_may_be_compressed_again(house: House) -> None:
    task = house.task()
    assignment = house.finished()
    pruned = replace(
        task.recipe, strategy=Strategy.SPARSITY, scheme=DENSE, method=Method.MAGNITUDE, sparsity=Sparsity()
    )
    held = replace(assignment, task=replace(assignment.task, recipe=pruned))
    assert house.services.work.publish(held, STATISTICS)
    made = house.services.models.get_version(house.caller, task.output_model_id)
    assert made.unsupported_reason is None
    assert "compressed to 50 % sparse (magnitude) by" in made.description
