"""Webhooks and what is told to them: an outbox that is written with each change of a task and read by couriers."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row
from sqlalchemy.exc import IntegrityError

from modelpress.domain.identifier import DELIVERY, new_id
from modelpress.domain.task import TaskStatus
from modelpress.domain.webhook import (
    PING,
    STATUS_CHANGED,
    Delivery,
    DeliveryState,
    StatusChange,
    Webhook,
    make_body,
)
from modelpress.errors import NoSuchAccount, NoSuchDelivery
from modelpress.store import webhook_statement as statement
from modelpress.store.database import Database
from modelpress.store.key_statement import ACCOUNT_BY_NAME
from modelpress.store.secret import SecretBox

_SWEPT_AT_ONCE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A delivery in one courier's hands, until its lease ends."""

    token: str
    delivery: Delivery
    #: None where the webhook was removed since.
    url: str | None
    #: The signing secret, encrypted.
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a try ended."""

    state: DeliveryState
    #: When to try again, where it is to be.
    next_at: datetime
    status: int | None
    error: str | None


def announce(connection: Connection, task_id: str, *, status: TaskStatus, now: datetime) -> None:
    """Put a task's change of status into the outbox; nothing if it has this status already, or no webhook.

    To be called in the transaction of the change, before its event is written.
    """
    row = connection.execute(statement.ANNOUNCED, {"task_id": task_id}).first()
    if row is None or row.previous == status.value:
        return
    change = StatusChange(
        task_id=task_id,
        name=row.name,
        status=status,
        previous=TaskStatus(row.previous) if row.previous is not None else None,
        source_model_id=row.source_model_id,
        output_model_id=row.output_model_id,
        reason=row.reason,
    )
    _put(connection, row.account_id, kind=STATUS_CHANGED, data=change.as_data(), task_id=task_id, now=now)


def _put(
    connection: Connection, account_id: str, *, kind: str, data: dict[str, str], task_id: str | None, now: datetime
) -> Delivery:
    delivery_id = new_id(DELIVERY)
    columns = {
        "id": delivery_id,
        "account_id": account_id,
        "task_id": task_id,
        "type": kind,
        "body": make_body(delivery_id, kind=kind, data=data, at=now),
        "next_at": now,
        "created_at": now,
    }
    return _to_delivery(connection.execute(statement.INSERT_DELIVERY, columns).one())


class WebhookStore:
    """Webhooks of all accounts, one each, and their deliveries; signing secrets are encrypted."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    # --- operators -------------------------------------------------------------------------------------------

    def account_id(self, name: str) -> str:
        """The id of the account of this name.

        Raises: NoSuchAccount.
        """
        with self._database.read() as connection:
            found = connection.execute(ACCOUNT_BY_NAME, {"name": name}).scalar_one_or_none()
        if found is None:
            raise NoSuchAccount(name)
        return str(found)

    def put(self, account_id: str, *, url: str, secret: str, now: datetime) -> None:
        """Set the account's webhook, in place of one it may have."""
        sealed = self._box.seal(secret, access_key=_sealed_for(account_id))
        new = {"account_id": account_id, "url": url, "secret": sealed, "created_at": now}
        replacement = {"of_account": account_id, "new_url": url, "sealed": sealed, "now": now}
        try:
            with self._database.write() as connection:
                if not connection.execute(statement.REPLACE_WEBHOOK, replacement).rowcount:
                    connection.execute(statement.INSERT_WEBHOOK, new)
        except IntegrityError:  # another process set it in between
            self.put(account_id, url=url, secret=secret, now=now)

    def get(self, account_id: str) -> Webhook | None:
        """The account's webhook, if it has one."""
        with self._database.read() as connection:
            row = connection.execute(statement.WEBHOOK, {"of_account": account_id}).first()
        return None if row is None else Webhook(account_id=row.account_id, url=row.url, created_at=row.created_at)

    def remove(self, account_id: str) -> bool:
        """Remove the account's webhook and give up what waits for it; False if there was none."""
        given_up = {"of_account": account_id, "why": "the webhook was removed"}
        with self._database.write() as connection:
            connection.execute(statement.GIVE_UP_WAITING, given_up)
            return bool(connection.execute(statement.REMOVE_WEBHOOK, {"of_account": account_id}).rowcount)

    def ping(self, account_id: str, *, now: datetime) -> Delivery:
        """A new delivery that tells of nothing."""
        with self._database.write() as connection:
            return _put(connection, account_id, kind=PING, data={}, task_id=None, now=now)

    def deliveries(self, account_id: str, *, limit: int) -> list[Delivery]:
        """The account's latest deliveries, newest first."""
        with self._database.read() as connection:
            rows = connection.execute(statement.DELIVERIES, {"of_account": account_id, "limit": limit})
            return [_to_delivery(row) for row in rows]

    def redeliver(self, delivery_id: str, *, now: datetime) -> Delivery:
        """Send a delivery again, whatever became of it, with all its tries before it.

        Raises: NoSuchDelivery.
        """
        with self._database.write() as connection:
            row = connection.execute(statement.REDELIVER, {"delivery_id": delivery_id, "now": now}).first()
        if row is None:
            raise NoSuchDelivery(delivery_id)
        return _to_delivery(row)

    # --- couriers --------------------------------------------------------------------------------------------

    def claim(self, *, busy: Collection[str], lease: timedelta, now: datetime) -> Claim | None:
        """The delivery that is due for longest, of an account that is not ``busy``; nobody else gets it before the
        lease ends.
        """
        wanted = {"busy_accounts": list(busy), "now": now}
        with self._database.read() as connection:
            if connection.execute(statement.DUE, wanted).first() is None:
                return None
        token = secrets.token_hex(8)
        with self._database.write() as connection:
            claim = statement.CLAIM[self._database.dialect]
            row = connection.execute(claim, {**wanted, "until": now + lease, "new_claim": token}).first()
            if row is None:  # another courier was quicker
                return None
            told = connection.execute(statement.WEBHOOK, {"of_account": row.account_id}).first()
        url, sealed = (None, b"") if told is None else (str(told.url), bytes(told.secret))
        return Claim(token=token, delivery=_to_delivery(row), url=url, sealed=sealed)

    def secret(self, claim: Claim) -> str:
        """The secret that a claimed delivery is signed with.

        Raises: SettingsError if it cannot be decrypted with this master key.
        """
        return self._box.open(claim.sealed, access_key=_sealed_for(claim.delivery.account_id))

    def note(self, claim: Claim, outcome: Outcome, *, now: datetime) -> bool:
        """Write how a try ended; False, and nothing written, if the delivery is not this claim's any more."""
        parameters = {
            "delivery_id": claim.delivery.id,
            "by_claim": claim.token,
            "new_state": outcome.state.value,
            "due": outcome.next_at,
            "answered": outcome.status,
            "why": outcome.error,
            "arrived_at": now if outcome.state is DeliveryState.DELIVERED else None,
        }
        with self._database.write() as connection:
            return bool(connection.execute(statement.OUTCOME, parameters).rowcount)

    def sweep(self, *, before: datetime) -> int:
        """Delete finished deliveries made before this time; how many there were."""
        swept = 0
        while True:
            with self._database.write() as connection:
                gone = connection.execute(statement.SWEEP, {"before": before, "at_most": _SWEPT_AT_ONCE}).rowcount
            swept += gone
            if gone < _SWEPT_AT_ONCE:
                return swept


def _sealed_for(account_id: str) -> str:
    # No access key can have this name: they hold no colon.
    return f"webhook:{account_id}"


def _to_delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        account_id=row.account_id,
        task_id=row.task_id,
        type=row.type,
        body=row.body,
        state=DeliveryState(row.state),
        tries=row.tries,
        next_at=row.next_at,
        last_status=row.last_status,
        last_error=row.last_error,
        created_at=row.created_at,
        delivered_at=row.delivered_at,
    )
