"""Every statement on tasks, built once at import: building one each call costs 2.5 times as much."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, Select, Update, and_, bindparam, case, func, insert, or_, select, update

from modelpress.domain.task import OPEN, TaskStatus, sources
from modelpress.store.page_statement import page
from modelpress.store.table import OPEN_TASK, task, task_event

_S = TaskStatus
_OPEN = sorted(status.value for status in OPEN)

# --- callers -------------------------------------------------------------------------------------------------

INSERT_TASK = insert(task).returning(task)
INSERT_EVENT = insert(task_event)
EVENTS = select(task_event).where(task_event.c.task_id == bindparam("task_id")).order_by(task_event.c.seq)
TASK = select(task).where(
    task.c.id == bindparam("task_id"), task.c.account_id == bindparam("account_id"), task.c.deleted_at.is_(None)
)
TASK_STATUS = select(task.c.status).where(task.c.id == bindparam("task_id"))


def _asked(to: TaskStatus, leaving: TaskStatus, **values: Any) -> Update:
    """A caller's change of state: guarded by id and status, since no attempt is the caller's."""
    assert leaving in sources(to)
    return (
        update(task)
        .where(task.c.id == bindparam("task_id"), task.c.status == leaving.value)
        .values(status=to.value, **values)
    )


STOP_WAITING = _asked(_S.STOPPED, _S.CREATING, finished_at=bindparam("now"))
STOP_RUNNING = _asked(_S.STOPPING, _S.RUNNING)
DELETE_TASK = (
    update(task)
    .where(task.c.id == bindparam("task_id"), task.c.status.not_in(_OPEN), task.c.deleted_at.is_(None))
    .values(deleted_at=bindparam("now"))
)

# --- workers -------------------------------------------------------------------------------------------------

_claimable = or_(
    task.c.status == _S.CREATING.value,
    and_(
        task.c.status.in_([_S.RUNNING.value, _S.STOPPING.value]),
        task.c.lease_until < bindparam("now"),
    ),
)
_next = select(task.c.seq).where(OPEN_TASK, _claimable).order_by(task.c.seq).limit(1)


def _claim(chosen: Select[Any]) -> Any:
    return (
        update(task)
        .where(task.c.seq == chosen.scalar_subquery())
        .values(
            status=case((task.c.status == _S.CREATING.value, _S.RUNNING.value), else_=task.c.status),
            attempt=task.c.attempt + 1,
            barren_attempts=task.c.barren_attempts + 1,
            holder=bindparam("holding"),
            lease_until=bindparam("until"),
            started_at=func.coalesce(task.c.started_at, bindparam("now", type_=task.c.started_at.type)),
        )
        .returning(task)
    )


CLAIM = {
    "postgresql": _claim(_next.with_for_update(skip_locked=True)),
    "sqlite": _claim(_next),  # one writer at a time; SKIP LOCKED would be dropped silently
}

_held = and_(
    task.c.id == bindparam("task_id"),
    task.c.attempt == bindparam("by_attempt"),
    task.c.status.in_([_S.RUNNING.value, _S.STOPPING.value]),
)
#: Progress, the lease and the look at the stop flag in one statement; no row means the lease is lost.
REPORT = (
    update(task)
    .where(_held)
    .values(
        stage=bindparam("new_stage"),
        percent=bindparam("new_percent"),
        bytes_done=bindparam("new_bytes_done"),
        bytes_total=bindparam("new_bytes_total"),
        lease_until=bindparam("until"),
        barren_attempts=case((bindparam("fruitful", type_=Boolean), 0), else_=task.c.barren_attempts),
    )
    .returning(task.c.status)
)
MEASURED = (
    update(task)
    .where(_held)
    .values(statistics=bindparam("measured"), lease_until=bindparam("until"))
    .returning(task.c.status)
)


def _finish(to: TaskStatus, **values: Any) -> Any:
    return (
        update(task)
        .where(
            task.c.id == bindparam("task_id"),
            task.c.attempt == bindparam("by_attempt"),
            task.c.status.in_([status.value for status in sources(to)]),
        )
        .values(status=to.value, finished_at=bindparam("now"), holder=None, lease_until=None, **values)
        .returning(task)
    )


FINISH = {
    _S.SUCCEEDED: _finish(_S.SUCCEEDED, stage="done", percent=100),
    _S.FAILED: _finish(_S.FAILED, reason=bindparam("why")),
    _S.STOPPED: _finish(_S.STOPPED),
}

#: A lease given back: by its attempt, when its process died or the worker is going away.
RELEASE = (
    update(task)
    .where(_held)
    .values(
        holder=None,
        lease_until=bindparam("ended"),
        barren_attempts=task.c.barren_attempts - bindparam("forgiven"),
    )
    .returning(task)
)
#: All leases of one holder that is known to be dead.
RELEASE_HOLDER = (
    update(task)
    .where(
        OPEN_TASK,
        task.c.holder == bindparam("dead_holder"),
        task.c.status.in_([_S.RUNNING.value, _S.STOPPING.value]),
    )
    .values(lease_until=bindparam("ended"), holder=None)
    .returning(task)
)
MEASURED_IN_VAIN = select(task).where(
    task.c.status.in_([_S.FAILED.value, _S.STOPPED.value]), task.c.statistics.is_not(None)
)
FINAL_TASKS = select(task.c.id).where(task.c.id.in_(bindparam("task_ids", expanding=True)), task.c.status.not_in(_OPEN))

# --- pages ---------------------------------------------------------------------------------------------------

MARKED_TASK = select(task.c.seq).where(task.c.id == bindparam("marker"), task.c.account_id == bindparam("account_id"))
_of_source = task.c.source_model_id == bindparam("source_model_id")
#: By (filtered by source model, reverse).
TASK_PAGE = {
    (filtered, reverse): page(task, *([_of_source] if filtered else []), reverse=reverse)
    for filtered in (False, True)
    for reverse in (False, True)
}
