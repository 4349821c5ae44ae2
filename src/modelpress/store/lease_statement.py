"""The statements by which workers hold rows by a lease, for every table of work: built once at import by its module.

Such a table has ``id``, ``seq``, ``status``, ``reason``, ``attempt``, ``barren_attempts``, ``holder``, ``lease_until``,
``started_at`` and ``finished_at``. Parameters are named alike in all: ``task_id`` is the row's id.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    Table,
    TextClause,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    update,
)

from modelpress.domain.task import TaskStatus, sources

_S = TaskStatus
_HELD = [_S.RUNNING.value, _S.STOPPING.value]


def claim_statements(table: Table, *, open_rows: TextClause, **values: Any) -> dict[str, Any]:
    """By dialect: the oldest row that waits or whose lease has ended, taken by ``holding``.

    ``open_rows`` is the condition of the table's partial index, to the letter: without it every look for work reads
    all rows there ever were.
    """
    claimable = or_(
        table.c.status == _S.CREATING.value,
        and_(table.c.status.in_(_HELD), table.c.lease_until < bindparam("now")),
    )
    chosen = select(table.c.seq).where(open_rows, claimable).order_by(table.c.seq).limit(1)
    return {
        "postgresql": _claim(table, chosen.with_for_update(skip_locked=True), values),
        "sqlite": _claim(table, chosen, values),  # one writer at a time; SKIP LOCKED would be dropped silently
    }


def _claim(table: Table, chosen: Select[Any], values: dict[str, Any]) -> Any:
    return (
        update(table)
        .where(table.c.seq == chosen.scalar_subquery())
        .values(
            status=case((table.c.status == _S.CREATING.value, _S.RUNNING.value), else_=table.c.status),
            attempt=table.c.attempt + 1,
            barren_attempts=table.c.barren_attempts + 1,
            holder=bindparam("holding"),
            lease_until=bindparam("until"),
            started_at=func.coalesce(table.c.started_at, bindparam("now", type_=table.c.started_at.type)),
            **values,
        )
        .returning(table)
    )


def _held(table: Table) -> ColumnElement[bool]:
    return and_(
        table.c.id == bindparam("task_id"), table.c.attempt == bindparam("by_attempt"), table.c.status.in_(_HELD)
    )


def report_statement(table: Table, **values: Any) -> Any:
    """Progress, the lease and the look at the stop flag in one statement; no row means the lease is lost."""
    return (
        update(table)
        .where(_held(table))
        .values(
            lease_until=bindparam("until"),
            barren_attempts=case((bindparam("fruitful", type_=Boolean), 0), else_=table.c.barren_attempts),
            **values,
        )
        .returning(table.c.status)
    )


def keep_statement(table: Table, **values: Any) -> Any:
    """``values`` written and the lease renewed; no row means the lease is lost."""
    return update(table).where(_held(table)).values(lease_until=bindparam("until"), **values).returning(table.c.status)


def finish_statement(table: Table, to: TaskStatus, **values: Any) -> Any:
    """The row's end, by the attempt that holds it; no row means the lease is lost, or ``to`` cannot be reached."""
    return (
        update(table)
        .where(
            table.c.id == bindparam("task_id"),
            table.c.attempt == bindparam("by_attempt"),
            table.c.status.in_([status.value for status in sources(to)]),
        )
        .values(status=to.value, finished_at=bindparam("now"), holder=None, lease_until=None, **values)
        .returning(table)
    )


def release_statement(table: Table, **values: Any) -> Any:
    """A lease given back by its attempt, when its process died or the worker is going away."""
    return (
        update(table)
        .where(_held(table))
        .values(
            holder=None,
            lease_until=bindparam("ended"),
            barren_attempts=table.c.barren_attempts - bindparam("forgiven"),
            **values,
        )
        .returning(table)
    )


def release_holder_statement(table: Table, *, open_rows: TextClause, **values: Any) -> Any:
    """All leases of one holder that is known to be dead."""
    return (
        update(table)
        .where(open_rows, table.c.holder == bindparam("dead_holder"), table.c.status.in_(_HELD))
        .values(lease_until=bindparam("ended"), holder=None, **values)
        .returning(table)
    )
