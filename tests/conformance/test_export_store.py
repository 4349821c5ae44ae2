"""Exports in the store: who holds one, who may write of one, and that there is one of a kind at a time."""

from __future__ import annotations

from collections import Counter
from functools import partial

import pytest

from modelpress.domain.task import TaskStatus
from modelpress.errors import ExportTargetExists, LeaseLost, ModelInUse, NoSuchModel
from tests.conformance.export_scene import (
    EXPORTED,
    WRITES,
    claim_export,
    make_export,
    newest,
    running_export,
)
from tests.conformance.scene import LEASE, Scene, progress
from tests.conformance.together import at_once

S = TaskStatus
END = {S.SUCCEEDED: WRITES["succeed"], S.FAILED: WRITES["fail"]}


def test_an_export_waits_then_runs_then_ends_and_its_history_tells(scene: Scene) -> None:
    made = make_export(scene)
    assert (made.status, made.attempt, made.percent, made.exported) == (S.CREATING, 0, 0, None)
    scene.clock.advance(seconds=1)
    held = claim_export(scene)
    assert held is not None
    assert (held.status, held.attempt, held.started_at) == (S.RUNNING, 1, scene.clock())
    WRITES["report"](scene, held)
    assert (newest(scene, made).bytes_done, newest(scene, made).bytes_total) == (10, 100)
    WRITES["exported"](scene, held)
    WRITES["succeed"](scene, held)
    done = newest(scene, made)
    assert (done.status, done.percent, done.exported) == (S.SUCCEEDED, 100, EXPORTED)
    assert done.finished_at == scene.clock()
    told = [(event.status, event.attempt, event.message) for event in scene.store.exports.events(made.id)]
    assert told == [
        (S.CREATING, 0, "accepted"),
        (S.RUNNING, 1, "attempt 1 begins"),
        (S.SUCCEEDED, 1, f"exports:{made.location.path} is there"),
    ]


def test_a_failed_export_tells_why(scene: Scene) -> None:
    held = running_export(scene)
    WRITES["fail"](scene, held)
    failed = newest(scene, held)
    assert (failed.status, failed.reason, failed.finished_at) == (S.FAILED, "DiskFull: no", scene.clock())


@pytest.mark.parametrize("write", sorted(WRITES))
def test_a_worker_whose_export_was_claimed_by_another_changes_nothing(scene: Scene, write: str) -> None:
    stale = running_export(scene)
    scene.clock.advance(seconds=31)
    fresh = claim_export(scene, holder="another")
    assert fresh is not None
    assert fresh.attempt == stale.attempt + 1
    before = scene.everything()
    with pytest.raises(LeaseLost, match=f"export {stale.id}"):
        WRITES[write](scene, stale)
    assert scene.everything() == before


@pytest.mark.parametrize("write", sorted(WRITES))
@pytest.mark.parametrize("status", sorted(END))
def test_nothing_is_written_about_an_export_that_is_final(scene: Scene, write: str, status: TaskStatus) -> None:
    held = running_export(scene)
    END[status](scene, held)
    before = scene.everything()
    with pytest.raises(LeaseLost):
        WRITES[write](scene, held)
    assert scene.everything() == before
    scene.clock.advance(seconds=1_000)
    assert claim_export(scene) is None


@pytest.mark.parametrize("write", ["report", "exported"])
def test_a_worker_that_tells_of_itself_renews_its_lease(scene: Scene, write: str) -> None:
    held = running_export(scene)
    scene.clock.advance(seconds=29)
    WRITES[write](scene, held)
    scene.clock.advance(seconds=30)
    assert claim_export(scene, holder="another") is None
    scene.clock.advance(seconds=0.000001)
    assert claim_export(scene, holder="another") is not None


def test_each_of_60_exports_is_claimed_once_by_8_threads(scene: Scene) -> None:
    made = [make_export(scene).id for _ in range(60)]
    claimed: list[str] = []

    def work(number: int) -> None:
        claimed.extend(export.id for export in iter(partial(claim_export, scene, holder=f"worker-{number}"), None))

    assert at_once(*(partial(work, number) for number in range(8))) == [None] * 8
    assert Counter(claimed) == Counter(made)


def test_the_leases_of_a_dead_worker_are_ended_and_no_others(scene: Scene) -> None:
    dead = running_export(scene)
    make_export(scene)
    assert claim_export(scene, holder="alive") is not None
    assert scene.store.exports.release_holder("worker", now=scene.clock()) == 1
    taken = claim_export(scene, holder="another")
    assert taken is not None
    assert (taken.id, taken.attempt) == (dead.id, 2)
    assert claim_export(scene, holder="another") is None


def test_an_attempt_is_barren_until_it_reports_fruit_and_a_forgiven_one_is_not_counted(scene: Scene) -> None:
    held = running_export(scene)
    assert newest(scene, held).barren_attempts == 1
    scene.store.exports.release(held, why="leaving", forgive=True, now=scene.clock())
    assert newest(scene, held).barren_attempts == 0
    again = claim_export(scene)
    assert again is not None
    scene.store.exports.report(again, progress(), fruitful=False, lease=LEASE, now=scene.clock())
    assert newest(scene, held).barren_attempts == 1
    WRITES["report"](scene, again)
    assert newest(scene, held).barren_attempts == 0


# --- one at a time -------------------------------------------------------------------------------------------


def test_asking_again_gives_the_export_that_is_not_final(scene: Scene) -> None:
    first = make_export(scene, source=scene.source)
    assert make_export(scene, source=scene.source) == first
    held = claim_export(scene)
    assert held is not None
    assert make_export(scene, source=scene.source).id == first.id
    WRITES["fail"](scene, held)
    second = make_export(scene, source=scene.source)
    assert second.id != first.id
    assert newest(scene, first).id == second.id


def test_of_several_that_ask_at_once_all_get_the_same_export(scene: Scene) -> None:
    given: list[str] = []

    def ask() -> None:
        given.append(make_export(scene, source=scene.source).id)

    assert at_once(*[ask] * 8) == [None] * 8
    assert len(set(given)) == 1


def test_two_exports_never_go_to_one_place_at_the_same_time(scene: Scene) -> None:
    make_export(scene, path="here")
    with pytest.raises(ExportTargetExists):
        make_export(scene, path="here")
    held = claim_export(scene)
    assert held is not None
    WRITES["fail"](scene, held)
    make_export(scene, path="here")


# --- versions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["version", "set"])
def test_a_version_that_is_being_exported_cannot_be_deleted_and_afterwards_it_can(scene: Scene, which: str) -> None:
    export = make_export(scene, source=scene.source)

    def delete() -> None:
        models, now = scene.store.models, scene.clock()
        if which == "set":
            models.delete_set(scene.model_set.id, account_id=scene.account_id, now=now)
        else:
            models.delete_version(scene.source.id, account_id=scene.account_id, now=now)

    with pytest.raises(ModelInUse, match=export.id):
        delete()
    held = claim_export(scene)
    assert held is not None
    WRITES["succeed"](scene, held)
    delete()
    with pytest.raises(NoSuchModel):
        make_export(scene, source=scene.source)


def test_another_account_sees_and_makes_no_export_of_what_is_not_its_own(scene: Scene, stranger: Scene) -> None:
    make_export(scene, source=scene.source)
    assert stranger.store.exports.newest(scene.source.id, account_id=stranger.account_id) is None
    with pytest.raises(NoSuchModel):
        make_export(stranger, source=scene.source)


def test_which_of_some_exports_are_final_is_told(scene: Scene) -> None:
    held = running_export(scene)
    WRITES["fail"](scene, held)
    waiting = make_export(scene)
    assert scene.store.exports.final_among([held.id, waiting.id, "amx-unknown"]) == {held.id}
