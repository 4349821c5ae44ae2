"""Rows held by leases: what every table of work has in common. A worker's every write names the attempt it is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Connection, Row

from modelpress.domain.task import Held, TaskStatus
from modelpress.errors import LeaseLost

_S = TaskStatus
_LONG_AGO = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class Announce(Protocol):
    """What ``webhook_store.announce`` is for tasks."""

    def __call__(self, connection: Connection, row_id: str, /, *, status: TaskStatus, now: datetime) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Leases:
    """The leases on the rows of one table, and the events of their histories; see ``lease_statement.py``.

    Every method is part of the caller's transaction.
    """

    #: What a row is called in messages.
    noun: str
    claim_by_dialect: Mapping[str, Any]
    finish_by_status: Mapping[TaskStatus, Any]
    release_one: Any
    release_all: Any
    insert_event: Any
    #: Tells the outside of a change of status, in its transaction and before its event; None where nobody listens.
    announce: Announce | None = None

    def claim(
        self, connection: Connection, *, dialect: str, holder: str, lease: timedelta, now: datetime
    ) -> Row[Any] | None:
        """The oldest row that waits or whose lease ended, now held by ``holder``.

        The attempt is counted as barren until a report says otherwise.
        """
        parameters = {"holding": holder, "now": now, "until": now + lease}
        row = connection.execute(self.claim_by_dialect[dialect], parameters).first()
        if row is not None:
            message = f"attempt {row.attempt} begins"
            self.note(connection, row.id, status=_S(row.status), attempt=row.attempt, message=message, now=now)
        return row

    def keep(self, connection: Connection, statement: Any, held: Held, values: Mapping[str, Any]) -> TaskStatus:
        """Write ``values`` by ``statement``, which renews the lease; the status that comes back may be ``stopping``.

        Raises: LeaseLost.
        """
        parameters = {"task_id": held.id, "by_attempt": held.attempt, **values}
        status = connection.execute(statement, parameters).scalar_one_or_none()
        if status is None:
            raise self._lost(held)
        return _S(status)

    def finish(self, connection: Connection, held: Held, *, to: TaskStatus, message: str, now: datetime) -> None:
        """End the row; ``message`` is also its reason where it failed.

        Raises: LeaseLost.
        """
        parameters = {"task_id": held.id, "by_attempt": held.attempt, "now": now}
        if to is _S.FAILED:
            parameters["why"] = message
        if connection.execute(self.finish_by_status[to], parameters).first() is None:
            raise self._lost(held)
        self.note(connection, held.id, status=to, attempt=held.attempt, message=message, now=now)

    def release(self, connection: Connection, held: Held, *, why: str, forgive: bool, now: datetime) -> None:
        """Give the row back to be claimed again; ``forgive`` where the attempt is not to blame for having no result.

        Raises: LeaseLost.
        """
        parameters = {"task_id": held.id, "by_attempt": held.attempt, "ended": _LONG_AGO, "forgiven": int(forgive)}
        row = connection.execute(self.release_one, parameters).first()
        if row is None:
            raise self._lost(held)
        self.note(connection, held.id, status=_S(row.status), attempt=held.attempt, message=why, now=now)

    def release_holder(self, connection: Connection, holder: str, *, now: datetime) -> int:
        """End all leases of a holder that is known to be dead; how many there were."""
        rows = connection.execute(self.release_all, {"dead_holder": holder, "ended": _LONG_AGO}).all()
        for row in rows:
            message = "its worker died"
            self.note(connection, row.id, status=_S(row.status), attempt=row.attempt, message=message, now=now)
        return len(rows)

    def note(
        self, connection: Connection, row_id: str, *, status: TaskStatus, attempt: int, message: str, now: datetime
    ) -> None:
        """One line of the row's history; a change of status is announced too."""
        if self.announce is not None:
            self.announce(connection, row_id, status=status, now=now)
        event = {"task_id": row_id, "at": now, "status": status.value, "attempt": attempt, "message": message}
        connection.execute(self.insert_event, event)

    def _lost(self, held: Held) -> LeaseLost:
        return LeaseLost(f"attempt {held.attempt} of {self.noun} {held.id} does not hold it any more")
