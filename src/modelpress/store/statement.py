"""Every statement on tasks, models and keys, built once at import: building one each call costs 2.5 times as much."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    Update,
    and_,
    bindparam,
    case,
    func,
    insert,
    or_,
    select,
    update,
)

from modelpress.domain.task import OPEN, TaskStatus, sources
from modelpress.store.table import OPEN_TASK, access_key, account, model_set, model_version, task, task_event

_S = TaskStatus
_OPEN = sorted(status.value for status in OPEN)

# --- accounts and access keys --------------------------------------------------------------------------------

INSERT_ACCOUNT = insert(account)
ACCOUNT_BY_NAME = select(account.c.id).where(account.c.name == bindparam("name"))
INSERT_KEY = insert(access_key)
KEY = select(access_key).where(access_key.c.id == bindparam("access_key"))
KEYS = select(access_key, account.c.name.label("account_name")).join(account).order_by(access_key.c.created_at)
REPLACE_KEY = (
    update(access_key)
    .where(
        access_key.c.id == bindparam("access_key"),
        access_key.c.account_id == bindparam("owner"),
        access_key.c.revoked_at.is_not(None),
    )
    .values(secret=bindparam("sealed"), policies=bindparam("granted"), revoked_at=None)
)
REVOKE_KEY = (
    update(access_key)
    .where(access_key.c.id == bindparam("access_key"), access_key.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("now"))
)

# --- model sets and versions ---------------------------------------------------------------------------------

INSERT_SET = insert(model_set)
_live_set = and_(model_set.c.account_id == bindparam("account_id"), model_set.c.deleted_at.is_(None))
SET = select(model_set).where(model_set.c.id == bindparam("set_id"), _live_set)
SET_BY_NAME = select(model_set).where(model_set.c.name == bindparam("name"), _live_set)
# The row lock makes create and delete of the same thing wait for each other on PostgreSQL; it compiles to nothing on
# SQLite, where BEGIN IMMEDIATE has the same effect.
LOCK_SET = SET.with_for_update()
TOUCH_SET = update(model_set).where(model_set.c.id == bindparam("set_id")).values(modified_at=bindparam("now"))
DELETE_SET = update(model_set).where(model_set.c.id == bindparam("set_id")).values(deleted_at=bindparam("now"))

INSERT_VERSION = insert(model_version)
_live_version = and_(model_version.c.account_id == bindparam("account_id"), model_version.c.deleted_at.is_(None))
VERSION = select(model_version).where(model_version.c.id == bindparam("model_id"), _live_version)
LOCK_VERSION = VERSION.with_for_update()
LOCK_VERSIONS_OF_SET = (
    select(model_version.c.id)
    .where(model_version.c.set_id == bindparam("set_id"), model_version.c.deleted_at.is_(None))
    .order_by(model_version.c.seq)
    .with_for_update()
)
#: Also of versions that were deleted: for the worker, which holds a task that refers to one.
ANY_VERSION = select(model_version).where(model_version.c.id == bindparam("model_id"))
COUNT_VERSIONS = select(func.count()).where(model_version.c.set_id == bindparam("set_id"))
VERSION_NAMES = (
    select(model_version.c.set_id, model_version.c.id, model_version.c.name)
    .where(model_version.c.set_id.in_(bindparam("set_ids", expanding=True)), model_version.c.deleted_at.is_(None))
    .order_by(model_version.c.seq)
)
DELETE_VERSION = (
    update(model_version).where(model_version.c.id == bindparam("model_id")).values(deleted_at=bindparam("now"))
)
DELETE_VERSIONS_OF_SET = (
    update(model_version)
    .where(model_version.c.set_id == bindparam("of_set"), model_version.c.deleted_at.is_(None))
    .values(deleted_at=bindparam("now"))
)
#: Files we made whose version was deleted long enough ago. Imported sources are never in it.
DISCARDED_OUTPUTS = select(model_version).where(
    model_version.c.source_type == "Acceleration",
    model_version.c.deleted_at < bindparam("before"),
    model_version.c.files_removed_at.is_(None),
)
MARK_FILES_REMOVED = (
    update(model_version).where(model_version.c.id == bindparam("model_id")).values(files_removed_at=bindparam("now"))
)

# --- tasks: callers ------------------------------------------------------------------------------------------

INSERT_TASK = insert(task).returning(task)
INSERT_EVENT = insert(task_event)
EVENTS = select(task_event).where(task_event.c.task_id == bindparam("task_id")).order_by(task_event.c.seq)
TASK = select(task).where(
    task.c.id == bindparam("task_id"), task.c.account_id == bindparam("account_id"), task.c.deleted_at.is_(None)
)
TASK_STATUS = select(task.c.status).where(task.c.id == bindparam("task_id"))
#: A task that is not final and reads or fills what is to be deleted.
USER_OF_VERSION = (
    select(task.c.id).where(OPEN_TASK, task.c.source_model_id == bindparam("model_id")).order_by(task.c.seq).limit(1)
)
USER_OF_SET = (
    select(task.c.id)
    .join(model_version, model_version.c.id == task.c.source_model_id)
    .where(
        OPEN_TASK,
        or_(task.c.model_set_id == bindparam("set_id"), model_version.c.set_id == bindparam("set_id")),
    )
    .order_by(task.c.seq)
    .limit(1)
)


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

# --- tasks: workers ------------------------------------------------------------------------------------------

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
MARKED_SET = select(model_set.c.seq).where(
    model_set.c.id == bindparam("marker"), model_set.c.account_id == bindparam("account_id")
)


def _page(table: Any, *where: ColumnElement[bool], reverse: bool) -> Select[Any]:
    """One row more than the page shows, so that its id is the next marker. ``start`` is the first row's seq."""
    seq = table.c.seq
    return (
        select(table)
        .where(
            table.c.account_id == bindparam("account_id"),
            table.c.deleted_at.is_(None),
            seq <= bindparam("start") if reverse else seq >= bindparam("start"),
            *where,
        )
        .order_by(seq.desc() if reverse else seq)
        .limit(bindparam("limit"))
    )


_of_source = task.c.source_model_id == bindparam("source_model_id")
#: By (filtered by source model, reverse).
TASK_PAGE = {
    (filtered, reverse): _page(task, *([_of_source] if filtered else []), reverse=reverse)
    for filtered in (False, True)
    for reverse in (False, True)
}
SET_PAGE = {reverse: _page(model_set, reverse=reverse) for reverse in (False, True)}
