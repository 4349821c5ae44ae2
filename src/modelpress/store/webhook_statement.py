"""Every statement on webhooks and deliveries, built once at import."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, bindparam, delete, insert, select, update

from modelpress.store.table import WAITING_DELIVERY, task, task_event, webhook, webhook_delivery

_delivery = webhook_delivery
_of_account = webhook.c.account_id == bindparam("of_account")

# --- webhooks ------------------------------------------------------------------------------------------------

INSERT_WEBHOOK = insert(webhook)
REPLACE_WEBHOOK = (
    update(webhook)
    .where(_of_account)
    .values(url=bindparam("new_url"), secret=bindparam("sealed"), created_at=bindparam("now"))
)
WEBHOOK = select(webhook).where(_of_account)
REMOVE_WEBHOOK = delete(webhook).where(_of_account)
#: What waits when a webhook goes.
GIVE_UP_WAITING = (
    update(_delivery)
    .where(WAITING_DELIVERY, _delivery.c.account_id == bindparam("of_account"))
    .values(state="dead", last_error=bindparam("why"), claim=None)
)

# --- the outbox ----------------------------------------------------------------------------------------------

# Every change of status writes an event after this statement, so the last event has the status before.
_previous = (
    select(task_event.c.status)
    .where(task_event.c.task_id == task.c.id)
    .order_by(task_event.c.seq.desc())
    .limit(1)
    .scalar_subquery()
)
#: The task as a webhook of its account is told of it; no row, and nothing more to do, where there is no webhook.
ANNOUNCED = (
    select(
        task.c.account_id,
        task.c.name,
        task.c.source_model_id,
        task.c.output_model_id,
        task.c.reason,
        _previous.label("previous"),
    )
    .join(webhook, webhook.c.account_id == task.c.account_id)
    .where(task.c.id == bindparam("task_id"))
)
INSERT_DELIVERY = insert(_delivery).returning(_delivery)

# --- operators -----------------------------------------------------------------------------------------------

DELIVERIES = (
    select(_delivery)
    .where(_delivery.c.account_id == bindparam("of_account"))
    .order_by(_delivery.c.seq.desc())
    .limit(bindparam("limit"))
)
#: Once more, from the first try on. One that is just being sent is taken from its claim, whose outcome counts no more.
REDELIVER = (
    update(_delivery)
    .where(_delivery.c.id == bindparam("delivery_id"))
    .values(state="waiting", tries=0, next_at=bindparam("now"), claim=None, delivered_at=None)
    .returning(_delivery)
)

# --- couriers ------------------------------------------------------------------------------------------------

_next = (
    select(_delivery.c.seq)
    .where(
        WAITING_DELIVERY,
        _delivery.c.next_at <= bindparam("now"),
        _delivery.c.account_id.not_in(bindparam("busy_accounts", expanding=True)),
    )
    .order_by(_delivery.c.next_at, _delivery.c.seq)
    .limit(1)
)
#: Whether a claim would find anything: a look that takes no lock, since most find nothing.
DUE = _next


def _claim(chosen: Select[Any]) -> Any:
    return (
        update(_delivery)
        .where(_delivery.c.seq == chosen.scalar_subquery())
        .values(tries=_delivery.c.tries + 1, next_at=bindparam("until"), claim=bindparam("new_claim"))
        .returning(_delivery)
    )


CLAIM = {
    "postgresql": _claim(_next.with_for_update(skip_locked=True)),
    "sqlite": _claim(_next),  # one writer at a time; SKIP LOCKED would be dropped silently
}
#: How a try ended. No row: the claim's lease ended and another courier has it, or it was taken out of its hands.
OUTCOME = (
    update(_delivery)
    .where(_delivery.c.id == bindparam("delivery_id"), _delivery.c.claim == bindparam("by_claim"))
    .values(
        state=bindparam("new_state"),
        next_at=bindparam("due"),
        claim=None,
        last_status=bindparam("answered"),
        last_error=bindparam("why"),
        delivered_at=bindparam("arrived_at"),
    )
)
#: A bounded number of finished deliveries that are old enough to go: one long transaction would hold up the workers.
SWEEP = delete(_delivery).where(
    _delivery.c.seq.in_(
        select(_delivery.c.seq)
        .where(_delivery.c.created_at < bindparam("before"), _delivery.c.state != "waiting")
        .limit(bindparam("at_most"))
    )
)
