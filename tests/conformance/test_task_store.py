"""A task's life in the store: who may change it, when, and what is written beside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from modelpress.domain.task import FINAL, NEXT, OPEN, Task, TaskStatus
from modelpress.errors import LeaseLost, NoSuchTask, TaskStatusConflict
from tests.conformance.scene import LEASE, STATISTICS, Scene, new_version, progress
from tests.conformance.together import at_once

S = TaskStatus

#: How a task is brought to a status, by whoever may do that.
MOVES: dict[TaskStatus, Callable[[Scene, Task], object]] = {
    S.RUNNING: lambda scene, task: scene.claim(),
    S.STOPPING: lambda scene, task: scene.ask_stop(task),
    S.SUCCEEDED: lambda scene, task: scene.succeed(task),
    S.FAILED: lambda scene, task: scene.store.tasks.fail(task, reason="BadSource: no", now=scene.clock()),
    S.STOPPED: lambda scene, task: scene.store.tasks.stopped(task, now=scene.clock()),
}
#: All other pairs; but a waiting task that is asked to stop is stopped at once, see below.
IMPOSSIBLE = [
    (leaving, to)
    for leaving in S
    for to in MOVES
    if to not in NEXT[leaving] and (leaving, to) != (S.CREATING, S.STOPPING)
]
#: What a worker may do with a task it holds.
WORKER_WRITES: dict[str, Callable[[Scene, Task], object]] = {
    "report": lambda scene, task: scene.store.tasks.report(
        task, progress(percent=50), fruitful=True, lease=LEASE, now=scene.clock()
    ),
    "measured": lambda scene, task: scene.store.tasks.measured(task, STATISTICS, lease=LEASE, now=scene.clock()),
    "succeed": MOVES[S.SUCCEEDED],
    "fail": MOVES[S.FAILED],
    "stopped": MOVES[S.STOPPED],
    "release": lambda scene, task: scene.store.tasks.release(task, why="leaving", forgive=False, now=scene.clock()),
}


def _history(scene: Scene, task: Task) -> list[tuple[TaskStatus, int, str]]:
    return [(event.status, event.attempt, event.message) for event in scene.store.tasks.events(task.id)]


# --- the table of moves --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("leaving", "to"), [(leaving, to) for leaving in S for to in sorted(NEXT[leaving])])
def test_every_move_of_the_table_is_possible_and_leaves_one_event(
    scene: Scene, leaving: TaskStatus, to: TaskStatus
) -> None:
    task = scene.task_in(leaving)
    before = len(_history(scene, task))
    MOVES[to](scene, task)
    assert scene.status(task) is to
    assert [event[0] for event in _history(scene, task)[before:]] == [to]


@pytest.mark.parametrize(("leaving", "to"), IMPOSSIBLE)
def test_no_other_move_is_possible_and_trying_changes_nothing(
    scene: Scene, leaving: TaskStatus, to: TaskStatus
) -> None:
    task = scene.task_in(leaving)
    before = scene.everything()
    try:
        MOVES[to](scene, task)
    except (LeaseLost, TaskStatusConflict):
        pass
    else:  # nothing to claim, or a stop asked for twice: no error, and no effect
        assert to is S.RUNNING or (leaving, to) == (S.STOPPING, S.STOPPING)
    assert scene.everything() == before


def test_a_waiting_task_that_is_asked_to_stop_is_stopped_at_once_and_never_stopping(scene: Scene) -> None:
    task = scene.task()
    assert scene.ask_stop(task) is S.STOPPED
    assert scene.get(task).finished_at == scene.clock()
    assert [status for status, _, _ in _history(scene, task)] == [S.CREATING, S.STOPPED]


def test_a_running_task_that_is_asked_to_stop_waits_for_its_worker(scene: Scene) -> None:
    task = scene.running()
    assert scene.ask_stop(task) is S.STOPPING
    assert scene.store.tasks.report(task, progress(), fruitful=False, lease=LEASE, now=scene.clock()) is S.STOPPING
    assert scene.get(task).finished_at is None
    scene.store.tasks.stopped(task, now=scene.clock())
    assert scene.status(task) is S.STOPPED


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_final_task_cannot_be_stopped(scene: Scene, status: TaskStatus) -> None:
    task = scene.task_in(status)
    with pytest.raises(TaskStatusConflict, match=f"{task.id}.*{status.value}"):
        scene.ask_stop(task)


def test_success_after_a_stop_was_asked_for_is_refused_and_makes_no_version(scene: Scene) -> None:
    task = scene.running()
    scene.ask_stop(task)
    before = scene.everything()
    with pytest.raises(LeaseLost):
        scene.succeed(task)
    assert scene.everything() == before


@pytest.mark.parametrize(("column", "value"), [("status", "paused"), ("percent", 101)])
def test_the_schema_itself_refuses_values_that_are_none(scene: Scene, column: str, value: object) -> None:
    scene.task()
    with pytest.raises(IntegrityError), scene.database.write() as connection:
        connection.execute(text(f"UPDATE task SET {column} = :value"), {"value": value})


# --- leases --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", sorted(WORKER_WRITES))
def test_a_worker_whose_task_was_claimed_by_another_changes_nothing(scene: Scene, write: str) -> None:
    stale = scene.running()
    scene.clock.advance(seconds=31)
    fresh = scene.claim(holder="another")
    assert fresh is not None
    assert fresh.attempt == stale.attempt + 1
    before = scene.everything()
    with pytest.raises(LeaseLost, match=stale.id):
        WORKER_WRITES[write](scene, stale)
    assert scene.everything() == before


@pytest.mark.parametrize("write", sorted(WORKER_WRITES))
@pytest.mark.parametrize("status", sorted(FINAL))
def test_nothing_is_written_about_a_task_that_is_final(scene: Scene, write: str, status: TaskStatus) -> None:
    task = scene.task_in(status)
    before = scene.everything()
    with pytest.raises(LeaseLost):
        WORKER_WRITES[write](scene, task)
    assert scene.everything() == before


def test_the_oldest_task_is_claimed_first(scene: Scene) -> None:
    made = [scene.task(name=name).id for name in ("b", "a", "c")]
    claimed = [task.id for task in iter(scene.claim, None)]
    assert claimed == made


def test_a_claimed_task_is_running_and_keeps_the_time_of_its_first_start(scene: Scene) -> None:
    first = scene.running()
    assert (first.status, first.attempt, first.started_at) == (S.RUNNING, 1, scene.clock())
    scene.clock.advance(seconds=31)
    second = scene.claim()
    assert second is not None
    assert (second.attempt, second.started_at) == (2, first.started_at)


def test_a_lease_holds_until_its_last_moment_and_not_longer(scene: Scene) -> None:
    task = scene.running()
    scene.clock.advance(seconds=30)
    assert scene.claim(holder="another") is None
    scene.clock.advance(seconds=0.000001)
    taken = scene.claim(holder="another")
    assert taken is not None
    assert (taken.id, taken.attempt) == (task.id, 2)


@pytest.mark.parametrize("write", ["report", "measured"])
def test_a_worker_that_tells_of_itself_renews_its_lease(scene: Scene, write: str) -> None:
    task = scene.running()
    scene.clock.advance(seconds=29)
    WORKER_WRITES[write](scene, task)
    scene.clock.advance(seconds=29)
    assert scene.claim(holder="another") is None


def test_a_stopping_task_whose_worker_died_is_claimed_and_stays_stopping(scene: Scene) -> None:
    task = scene.task_in(S.STOPPING)
    scene.clock.advance(seconds=31)
    taken = scene.claim(holder="another")
    assert taken is not None
    assert (taken.id, taken.status, taken.attempt) == (task.id, S.STOPPING, 2)


def test_each_of_200_tasks_is_claimed_once_by_16_threads(scene: Scene) -> None:
    made = [scene.task().id for _ in range(200)]
    claimed: list[str] = []  # appending to a list needs no lock

    def work(number: int) -> None:
        claimed.extend(task.id for task in iter(lambda: scene.claim(holder=f"worker {number}"), None))

    assert at_once(*(partial(work, number) for number in range(16))) == [None] * 16
    assert Counter(claimed) == Counter(made)


def test_a_released_task_can_be_claimed_at_once(scene: Scene) -> None:
    task = scene.running()
    scene.store.tasks.release(task, why="the machine goes down", forgive=False, now=scene.clock())
    assert _history(scene, task)[-1] == (S.RUNNING, 1, "the machine goes down")
    taken = scene.claim(holder="another")
    assert taken is not None
    assert taken.id == task.id


def test_the_leases_of_a_dead_worker_are_ended_and_no_others(scene: Scene) -> None:
    for name in ("1", "2", "3"):
        scene.task(name=name)
    dead = [scene.claim(holder="dead"), scene.claim(holder="dead")]
    alive = scene.claim(holder="alive")
    assert scene.store.tasks.release_holder("dead", now=scene.clock()) == 2
    assert scene.store.tasks.release_holder("dead", now=scene.clock()) == 0
    again = [task.id for task in iter(scene.claim, None)]
    assert again == [task.id for task in dead if task is not None]
    assert alive is not None
    assert _history(scene, alive)[-1][2] == "attempt 1 begins"


def test_release_holder_leaves_final_tasks_alone(scene: Scene) -> None:
    for status in sorted(FINAL):
        scene.task_in(status)
    before = scene.everything()
    assert scene.store.tasks.release_holder("worker", now=scene.clock()) == 0
    assert scene.everything() == before


# --- attempts without fruit ----------------------------------------------------------------------------------


def test_an_attempt_is_barren_until_it_reports_a_finished_shard(scene: Scene) -> None:
    task = scene.running()
    assert task.barren_attempts == 1
    WORKER_WRITES["report"](scene, task)
    assert scene.get(task).barren_attempts == 0


def test_a_report_without_fruit_leaves_the_count_as_it_is(scene: Scene) -> None:
    task = scene.running()
    scene.store.tasks.report(task, progress(percent=70), fruitful=False, lease=LEASE, now=scene.clock())
    now = scene.get(task)
    told = (now.barren_attempts, now.percent, now.stage, now.bytes_done, now.bytes_total)
    assert told == (1, 70, "compress", 10, 100)


@pytest.mark.parametrize(("forgive", "counted"), [(True, 1), (False, 2)])
def test_a_forgiven_attempt_is_not_counted(scene: Scene, forgive: bool, counted: int) -> None:
    task = scene.running()
    scene.store.tasks.release(task, why="leaving", forgive=forgive, now=scene.clock())
    again = scene.claim()
    assert again is not None
    assert again.barren_attempts == counted


# --- what callers see ----------------------------------------------------------------------------------------


def test_a_task_comes_back_as_it_was_made(scene: Scene) -> None:
    task = scene.task(name="压缩 'quoted' \U0001f5dc")
    assert scene.get(task) == task
    assert (task.status, task.attempt, task.created_at) == (S.CREATING, 0, scene.clock())
    assert (task.reason, task.statistics, task.started_at, task.finished_at) == ("", None, None, None)


def test_a_succeeded_task_has_its_statistics_and_a_version_in_its_set(scene: Scene) -> None:
    task = scene.running()
    scene.store.tasks.measured(task, STATISTICS, lease=LEASE, now=scene.clock())
    ended = scene.clock.advance(seconds=5)
    scene.succeed(task)
    now = scene.get(task)
    assert (now.statistics, now.percent, now.finished_at) == (STATISTICS, 100, ended)
    version = scene.store.models.get_version(task.output_model_id, account_id=scene.account_id)
    assert (version.set_id, version.source_type, version.task_id) == (task.model_set_id, "Acceleration", task.id)


def test_a_failed_task_tells_why(scene: Scene) -> None:
    assert scene.get(scene.task_in(S.FAILED)).reason == "BadSource: no"


def test_the_history_tells_each_change_in_order(scene: Scene) -> None:
    task = scene.task_in(S.STOPPED)
    assert _history(scene, task) == [
        (S.CREATING, 0, "accepted"),
        (S.RUNNING, 1, "attempt 1 begins"),
        (S.STOPPING, 0, "a stop was asked for"),
        (S.STOPPED, 1, "stopped"),
    ]


@pytest.mark.parametrize("status", sorted(FINAL))
def test_a_deleted_task_is_gone_for_callers_but_keeps_its_history(scene: Scene, status: TaskStatus) -> None:
    task = scene.task_in(status)
    history = _history(scene, task)
    scene.delete(task)
    for look in (scene.get, scene.delete, scene.ask_stop):
        with pytest.raises(NoSuchTask):
            look(task)
    assert _history(scene, task) == history


@pytest.mark.parametrize("status", sorted(OPEN))
def test_a_task_that_is_not_final_cannot_be_deleted(scene: Scene, status: TaskStatus) -> None:
    task = scene.task_in(status)
    before = scene.everything()
    with pytest.raises(TaskStatusConflict, match=status.value):
        scene.delete(task)
    assert scene.everything() == before


def test_of_two_that_delete_at_once_one_is_told_that_there_is_no_such_task(scene: Scene) -> None:
    for _ in range(10):
        outcomes = at_once(*[partial(scene.delete, scene.task_in(S.FAILED))] * 2)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoSuchTask", "NoneType"]


def test_whose_staging_is_useless_is_told_for_any_number_of_tasks(scene: Scene) -> None:
    tasks = {status: scene.task_in(status).id for status in (S.FAILED, S.STOPPED, S.SUCCEEDED, S.RUNNING)}
    deleted = scene.task_in(S.STOPPED)
    scene.delete(deleted)
    staged = [f"amva-{number}" for number in range(40_000)] + [*tasks.values(), deleted.id]
    useless = scene.store.tasks.useless_staging
    assert useless(staged, before=scene.clock()) == {tasks[S.SUCCEEDED], deleted.id}
    later = scene.clock.advance(seconds=1)
    assert useless(staged, before=later) == {*tasks.values(), deleted.id} - {tasks[S.RUNNING]}
    assert useless([], before=later) == set()


def test_another_account_sees_and_changes_no_task(scene: Scene, stranger: Scene) -> None:
    tasks = [scene.task_in(status) for status in (S.FAILED, S.SUCCEEDED, S.CREATING)]
    before = scene.everything()
    for task in tasks:
        for look in (stranger.get, stranger.delete, stranger.ask_stop):
            with pytest.raises(NoSuchTask):
                look(task)
    assert scene.everything() == before


def test_an_output_goes_to_its_own_account_whatever_number_others_have(scene: Scene, stranger: Scene) -> None:
    scene.succeed(scene.running())
    stranger.store.models.create_version(new_version(stranger.model_set), now=stranger.clock())
    assert [v.name for v in scene.store.models.get_set(scene.model_set.id, account_id=scene.account_id).versions] == [
        "models-V1",
        "models-V2",
    ]
