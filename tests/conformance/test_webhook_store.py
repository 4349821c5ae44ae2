"""The outbox: what a webhook is told is written with the change itself, and handed out to one courier at a time."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from modelpress.domain.task import Task, TaskStatus
from modelpress.domain.webhook import TRIES, Delivery, DeliveryState, new_secret
from modelpress.errors import LeaseLost, NoSuchAccount, NoSuchDelivery, NoSuchWebhook
from modelpress.service.webhooks import KEPT, LEASE, Parcel, WebhookService
from modelpress.store import task_store
from modelpress.store.database import Database
from modelpress.store.secret import SecretBox
from modelpress.store.store import Store
from modelpress.store.table import webhook, webhook_delivery
from modelpress.store.webhook_store import WebhookStore
from tests.conformance.clock import SettableClock
from tests.conformance.scene import Scene, progress
from tests.conformance.together import at_once

S = TaskStatus
URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def webhooks(store: Store, clock: SettableClock) -> WebhookService:
    """The service over the store under test, with no chance in its pauses."""
    return WebhookService(store.webhooks, clock=clock, jitter=lambda: 0.0)


@pytest.fixture
def told(scene: Scene, webhooks: WebhookService) -> Scene:
    """An account that has a webhook."""
    webhooks.set(account="ours", url=URL)
    return scene


def _all(scene: Scene) -> list[Delivery]:
    """The account's deliveries, oldest first."""
    return scene.store.webhooks.deliveries(scene.account_id, limit=1000)[::-1]


def _changes(scene: Scene) -> list[tuple[str | None, str]]:
    """The statuses that were left and reached, in order."""
    bodies = [json.loads(delivery.body)["data"] for delivery in _all(scene)]
    return [(body.get("previousStatus"), body["status"]) for body in bodies]


def _claim(webhooks: WebhookService) -> Parcel:
    parcel = webhooks.claim()
    assert parcel is not None
    return parcel


def _only(scene: Scene) -> Delivery:
    (delivery,) = _all(scene)
    return delivery


# --- what gets into the outbox -------------------------------------------------------------------------------

LIVES: dict[TaskStatus, list[tuple[str | None, str]]] = {
    S.CREATING: [(None, "creating")],
    S.RUNNING: [(None, "creating"), ("creating", "running")],
    S.STOPPING: [(None, "creating"), ("creating", "running"), ("running", "stopping")],
    S.STOPPED: [(None, "creating"), ("creating", "running"), ("running", "stopping"), ("stopping", "stopped")],
    S.SUCCEEDED: [(None, "creating"), ("creating", "running"), ("running", "succeeded")],
    S.FAILED: [(None, "creating"), ("creating", "running"), ("running", "failed")],
}


@pytest.mark.parametrize("status", list(S))
def test_each_change_of_status_is_told_once_with_the_status_before(told: Scene, status: TaskStatus) -> None:
    task = told.task_in(status)
    assert _changes(told) == LIVES[status]
    for delivery in _all(told):
        body = json.loads(delivery.body)
        assert (
            (body["id"], body["type"]) == (delivery.id, delivery.type) == (delivery.id, "modelCompTask.statusChanged")
        )
        assert (body["data"]["id"], body["data"]["sourceModelId"]) == (task.id, task.source_model_id)
        assert (delivery.task_id, delivery.state, delivery.tries) == (task.id, DeliveryState.WAITING, 0)
        assert delivery.next_at == told.clock()
    last = json.loads(_all(told)[-1].body)["data"]
    assert last.get("modelId") == (task.output_model_id if status is S.SUCCEEDED else None)
    assert last.get("failedReason") == ("BadSource: no" if status is S.FAILED else None)


def test_a_waiting_task_that_is_stopped_is_told_so(told: Scene) -> None:
    told.ask_stop(told.task())
    assert _changes(told) == [(None, "creating"), ("creating", "stopped")]


def _lose(scene: Scene, task: Task) -> None:
    scene.clock.advance(seconds=31)


def _release(scene: Scene, task: Task) -> None:
    scene.store.tasks.release(task, why="killed", forgive=False, now=scene.clock())


def _release_holder(scene: Scene, task: Task) -> None:
    assert scene.store.tasks.release_holder("worker", now=scene.clock()) == 1


@pytest.mark.parametrize("end", [_lose, _release, _release_holder])
def test_another_attempt_is_no_change_of_status(told: Scene, end: Any) -> None:
    task = told.running()
    end(told, task)
    again = told.claim()
    assert again is not None
    assert again.attempt == 2
    assert _changes(told) == LIVES[S.RUNNING]


def test_a_stop_asked_for_twice_and_progress_are_told_of_no_more(told: Scene) -> None:
    task = told.running()
    told.store.tasks.report(task, progress(), fruitful=True, lease=timedelta(seconds=30), now=told.clock())
    told.ask_stop(task)
    told.ask_stop(task)
    assert _changes(told) == LIVES[S.STOPPING]


class _Broken(Exception):
    pass


def test_a_change_that_is_rolled_back_leaves_no_delivery(told: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise _Broken

    task = told.running()
    before = told.everything()
    with monkeypatch.context() as patch:
        patch.setattr(task_store, "add_version", fail)
        with pytest.raises(_Broken):
            told.succeed(task)
    assert told.everything() == before
    told.succeed(task)
    assert _changes(told) == LIVES[S.SUCCEEDED]


def test_a_worker_that_lost_its_lease_tells_nothing(told: Scene) -> None:
    stale = told.running()
    told.clock.advance(seconds=31)
    told.claim()
    with pytest.raises(LeaseLost):
        told.store.tasks.fail(stale, reason="Internal: no", now=told.clock())
    assert _changes(told) == LIVES[S.RUNNING]


def test_an_account_without_a_webhook_has_no_deliveries_whoever_has_one(told: Scene, stranger: Scene) -> None:
    stranger.task_in(S.SUCCEEDED)
    assert (_all(stranger), _all(told)) == ([], [])


# --- claims --------------------------------------------------------------------------------------------------


def test_deliveries_are_handed_out_oldest_first_signed_with_the_webhooks_secret(
    told: Scene, webhooks: WebhookService
) -> None:
    secret = webhooks.set(account="ours", url=URL, secret=new_secret())
    made = []
    for _ in range(3):
        made.append(told.task().id)
        told.clock.advance(seconds=1)
    parcels = [_claim(webhooks) for _ in made]
    assert [parcel.delivery.task_id for parcel in parcels] == made
    assert webhooks.claim() is None
    for parcel in parcels:
        assert (parcel.url, parcel.body) == (URL, parcel.delivery.body.encode())
        assert parcel.headers["webhook-id"] == parcel.delivery.id
        assert parcel.headers["webhook-timestamp"] == str(int(told.clock().timestamp()))
    assert secret not in repr(parcels)


def test_couriers_that_claim_at_once_never_get_the_same_delivery(told: Scene, webhooks: WebhookService) -> None:
    expected = {told.task().id for _ in range(40)}
    got: list[str | None] = []

    def work() -> None:
        while parcel := webhooks.claim():
            got.append(parcel.delivery.task_id)

    # One that found nothing may have looked while the last were being claimed: nobody waits for another's lock.
    assert at_once(*[work] * 6) == [None] * 6
    assert sorted(filter(None, got)) == sorted(expected)


def test_deliveries_of_a_busy_account_wait_and_others_go_ahead(
    told: Scene, stranger: Scene, webhooks: WebhookService
) -> None:
    webhooks.set(account="theirs", url=URL)
    told.task()
    told.clock.advance(seconds=1)
    stranger.task()
    parcel = webhooks.claim(busy=[told.account_id])
    assert parcel is not None
    assert parcel.delivery.account_id == stranger.account_id
    assert webhooks.claim(busy=[told.account_id, stranger.account_id]) is None
    assert _claim(webhooks).delivery.account_id == told.account_id


def test_a_courier_that_died_leaves_a_delivery_that_is_due_when_its_lease_ends(
    told: Scene, webhooks: WebhookService
) -> None:
    told.task()
    lost = _claim(webhooks)
    told.clock.advance(seconds=LEASE.total_seconds() - 1)
    assert webhooks.claim() is None
    told.clock.advance(seconds=1)
    again = _claim(webhooks)
    assert (again.delivery.id, again.delivery.tries, again.body) == (lost.delivery.id, 2, lost.body)
    assert again.headers["webhook-timestamp"] > lost.headers["webhook-timestamp"]


def test_the_late_outcome_of_a_lost_claim_changes_nothing(told: Scene, webhooks: WebhookService) -> None:
    told.task()
    lost = _claim(webhooks)
    told.clock.advance(seconds=LEASE.total_seconds())
    again = _claim(webhooks)
    before = told.everything()
    webhooks.answered(lost, 200)
    webhooks.failed(lost, "no answer")
    assert told.everything() == before
    assert webhooks.answered(again, 204)
    assert _only(told).state is DeliveryState.DELIVERED


# --- outcomes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 299])
def test_any_2xx_delivers_and_it_is_not_sent_again(told: Scene, webhooks: WebhookService, status: int) -> None:
    told.task()
    assert webhooks.answered(_claim(webhooks), status)
    delivery = _only(told)
    assert (delivery.state, delivery.tries, delivery.last_status) == (DeliveryState.DELIVERED, 1, status)
    assert delivery.delivered_at == told.clock()
    told.clock.advance(seconds=1_000_000)
    assert webhooks.claim() is None


@pytest.mark.parametrize("status", [199, 301, 400, 410, 429, 500])
def test_any_other_answer_is_tried_again_after_a_pause(told: Scene, webhooks: WebhookService, status: int) -> None:
    told.task()
    assert not webhooks.answered(_claim(webhooks), status)
    delivery = _only(told)
    assert (delivery.state, delivery.last_status, delivery.delivered_at) == (DeliveryState.WAITING, status, None)
    assert delivery.next_at - told.clock() == timedelta(seconds=10)


def test_pauses_grow_until_the_delivery_is_given_up(told: Scene, webhooks: WebhookService) -> None:
    told.task()
    began = told.clock()
    for tries in range(1, TRIES + 1):
        parcel = _claim(webhooks)
        assert parcel.delivery.tries == tries
        webhooks.failed(parcel, f"no answer to try {tries}")
        delivery = _only(told)
        if tries < TRIES:
            pause = delivery.next_at - told.clock()
            assert pause == timedelta(seconds=min(10 * 2 ** (tries - 1), 3600))
            told.clock.advance(seconds=pause.total_seconds() - 0.001)
            assert webhooks.claim() is None
            told.clock.advance(seconds=0.001)
    assert (delivery.state, delivery.tries, delivery.last_error) == (DeliveryState.DEAD, TRIES, "no answer to try 32")
    assert timedelta(hours=23) < told.clock() - began < timedelta(hours=24)
    told.clock.advance(seconds=1_000_000)
    assert webhooks.claim() is None


def test_an_answer_takes_the_place_of_the_error_before_it(told: Scene, webhooks: WebhookService) -> None:
    told.task()
    webhooks.failed(_claim(webhooks), "no answer")
    told.clock.advance(seconds=10)
    webhooks.answered(_claim(webhooks), 200)
    delivery = _only(told)
    assert (delivery.tries, delivery.last_status, delivery.last_error) == (2, 200, None)


# --- operators -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [200, 500, None])
def test_a_delivery_is_sent_again_from_its_first_try_whatever_became_of_it(
    told: Scene, webhooks: WebhookService, outcome: int | None
) -> None:
    told.task()
    parcel = _claim(webhooks)
    if outcome is not None:
        webhooks.answered(parcel, outcome)
    assert webhooks.redeliver(parcel.delivery.id).tries == 0
    again = _claim(webhooks)
    assert (again.delivery.id, again.delivery.tries, again.body) == (parcel.delivery.id, 1, parcel.body)
    if outcome is None:  # it was being sent: what comes of that does not count any more
        before = told.everything()
        webhooks.answered(parcel, 200)
        assert told.everything() == before


def test_an_unknown_delivery_cannot_be_sent_again(webhooks: WebhookService) -> None:
    with pytest.raises(NoSuchDelivery, match="whd-x"):
        webhooks.redeliver("whd-x")


def test_a_webhook_set_again_gets_what_waits_at_its_new_address_with_its_new_secret(
    told: Scene, webhooks: WebhookService
) -> None:
    told.task()
    first = _claim(webhooks)
    told.clock.advance(seconds=LEASE.total_seconds())
    webhooks.set(account="ours", url="http://127.0.0.1:9/other")
    second = _claim(webhooks)
    assert webhooks.get("ours").url == second.url == "http://127.0.0.1:9/other"
    assert second.headers["webhook-signature"] != first.headers["webhook-signature"]


def test_of_several_that_set_a_webhook_at_once_one_stays(scene: Scene, webhooks: WebhookService) -> None:
    urls = [f"http://127.0.0.1:9/{number}" for number in range(6)]
    assert at_once(*[lambda url=url: webhooks.set(account="ours", url=url) for url in urls]) == [None] * 6
    assert webhooks.get("ours").url in urls


def test_a_removed_webhook_is_told_nothing_more_and_what_waited_is_given_up(
    told: Scene, webhooks: WebhookService
) -> None:
    task = told.running()
    parcel = _claim(webhooks)
    webhooks.remove("ours")
    told.succeed(task)
    webhooks.failed(parcel, "no answer")
    assert [(delivery.state, delivery.last_error) for delivery in _all(told)] == [
        (DeliveryState.DEAD, "the webhook was removed")
    ] * 2
    assert webhooks.claim() is None


def test_what_was_delivered_stays_so_when_the_webhook_is_removed(told: Scene, webhooks: WebhookService) -> None:
    told.task()
    webhooks.answered(_claim(webhooks), 200)
    webhooks.remove("ours")
    assert _only(told).state is DeliveryState.DELIVERED


def test_a_delivery_that_was_written_while_the_webhook_went_is_given_up(
    told: Scene, webhooks: WebhookService, database: Database
) -> None:
    told.task()
    with database.write() as connection:
        connection.execute(webhook.delete())
    assert webhooks.claim() is None
    assert _only(told).state is DeliveryState.DEAD


def test_a_ping_tells_of_nothing_and_needs_a_webhook(scene: Scene, webhooks: WebhookService) -> None:
    with pytest.raises(NoSuchWebhook, match="ours"):
        webhooks.ping("ours")
    webhooks.set(account="ours", url=URL)
    queued = webhooks.ping("ours")
    body = json.loads(_claim(webhooks).body)
    assert (body["id"], body["type"], body["data"]) == (queued.id, "ping", {})
    assert (queued.task_id, queued.task_status) == (None, "")


@pytest.mark.parametrize("command", ["set", "get", "remove", "ping", "deliveries"])
def test_an_account_that_does_not_exist_is_an_error_and_not_made(
    store: Store, webhooks: WebhookService, command: str
) -> None:
    needs: dict[str, dict[str, Any]] = {"set": {"url": URL}, "deliveries": {"limit": 1}}
    call = getattr(webhooks, command)
    with pytest.raises(NoSuchAccount, match="nobody"):
        call(account="nobody", **needs.get(command, {}))
    with pytest.raises(NoSuchAccount):
        webhooks.get("nobody")


def test_deliveries_are_listed_newest_first_as_many_as_asked_for(
    told: Scene, stranger: Scene, webhooks: WebhookService
) -> None:
    webhooks.set(account="theirs", url=URL)
    stranger.task()
    made = [told.task().id for _ in range(5)]
    assert [delivery.task_id for delivery in webhooks.deliveries("ours", limit=3)] == made[:1:-1]
    assert len(webhooks.deliveries("ours", limit=100)) == 5


# --- secrets and the sweep -----------------------------------------------------------------------------------


def test_the_database_does_not_hold_the_signing_secret(told: Scene, webhooks: WebhookService) -> None:
    secret = webhooks.set(account="ours", url=URL)
    raw = base64.b64decode(secret.removeprefix("whsec_"))
    with told.database.read() as connection:
        sealed = bytes(connection.execute(select(webhook.c.secret)).scalar_one())
    assert secret.encode() not in sealed
    assert raw not in sealed


def test_a_courier_with_another_master_key_sends_nothing_and_says_why(
    told: Scene, database: Database, clock: SettableClock
) -> None:
    told.task()
    other = WebhookService(WebhookStore(database, SecretBox(b"\1" * 32)), clock=clock)
    assert other.claim() is None
    delivery = _only(told)
    assert (delivery.state, delivery.tries) == (DeliveryState.WAITING, 1)
    assert "cannot be decrypted" in (delivery.last_error or "")


def test_the_sweep_takes_finished_deliveries_after_a_week_and_none_that_waits(
    told: Scene, webhooks: WebhookService
) -> None:
    told.task()
    told.task()
    webhooks.answered(_claim(webhooks), 200)
    told.clock.advance(seconds=KEPT.total_seconds())
    assert webhooks.sweep() == 0
    told.clock.advance(seconds=1)
    assert webhooks.sweep() == 1
    assert _only(told).state is DeliveryState.WAITING


def test_the_sweep_takes_however_many_there_are(told: Scene, webhooks: WebhookService) -> None:
    rows = [
        {
            "id": f"whd-{number}",
            "account_id": told.account_id,
            "type": "ping",
            "body": "{}",
            "state": "dead",
            "next_at": told.clock(),
            "created_at": told.clock(),
        }
        for number in range(2500)
    ]
    with told.database.write() as connection:
        connection.execute(insert(webhook_delivery), rows)
    told.clock.advance(seconds=KEPT.total_seconds() + 1)
    assert webhooks.sweep() == 2500
    assert _all(told) == []
