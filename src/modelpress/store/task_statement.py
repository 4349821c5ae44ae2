"""Every statement on tasks, built once at import: building one each call costs 2.5 times as much."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Update, and_, bindparam, insert, or_, select, update

from modelpress.domain.task import OPEN, RETRIABLE, TaskStatus, sources
from modelpress.store.lease_statement import (
    claim_statements,
    finish_statement,
    keep_statement,
    release_holder_statement,
    release_statement,
    report_statement,
)
from modelpress.store.table import OPEN_TASK, task, task_event, task_tag

_S = TaskStatus
_OPEN = sorted(status.value for status in OPEN)
_WITHOUT_RESULT = sorted(status.value for status in RETRIABLE)

# --- callers -------------------------------------------------------------------------------------------------

INSERT_TASK = insert(task).returning(task)
INSERT_TAG = insert(task_tag)
INSERT_EVENT = insert(task_event)
EVENTS = select(task_event).where(task_event.c.task_id == bindparam("task_id")).order_by(task_event.c.seq)
TASK = select(task).where(
    task.c.id == bindparam("task_id"), task.c.account_id == bindparam("account_id"), task.c.deleted_at.is_(None)
)
#: Also of a deleted task: its token stays taken.
TASK_OF_TOKEN = select(task).where(
    task.c.account_id == bindparam("account_id"), task.c.client_token == bindparam("token")
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

#: What an earlier attempt measured says nothing of the next one.
CLAIM = claim_statements(task, open_rows=OPEN_TASK, eta_seconds=None)
REPORT = report_statement(
    task,
    stage=bindparam("new_stage"),
    percent=bindparam("new_percent"),
    bytes_done=bindparam("new_bytes_done"),
    bytes_total=bindparam("new_bytes_total"),
    eta_seconds=bindparam("new_eta_seconds"),
)
MEASURED = keep_statement(task, statistics=bindparam("measured"))
FINISH = {
    _S.SUCCEEDED: finish_statement(task, _S.SUCCEEDED, stage="done", percent=100),
    _S.FAILED: finish_statement(task, _S.FAILED, reason=bindparam("why")),
    _S.STOPPED: finish_statement(task, _S.STOPPED),
}
RELEASE = release_statement(task, eta_seconds=None)
RELEASE_HOLDER = release_holder_statement(task, open_rows=OPEN_TASK, eta_seconds=None)
MEASURED_IN_VAIN = select(task).where(task.c.status.in_(_WITHOUT_RESULT), task.c.statistics.is_not(None))
STAGED_IN_VAIN = select(task.c.id).where(
    task.c.id.in_(bindparam("task_ids", expanding=True)),
    or_(
        task.c.status == _S.SUCCEEDED.value,
        and_(
            task.c.status.in_(_WITHOUT_RESULT),
            or_(task.c.finished_at < bindparam("before"), task.c.deleted_at.is_not(None)),
        ),
    ),
)
DELETED_TASKS = select(task.c.id).where(
    task.c.id.in_(bindparam("task_ids", expanding=True)), task.c.deleted_at < bindparam("before")
)
RETRIED = select(task.c.retry_of).where(
    task.c.id.in_(bindparam("task_ids", expanding=True)), task.c.retry_of.is_not(None)
)
OPEN_RETRIES = select(task.c.retry_of).where(OPEN_TASK, task.c.retry_of.is_not(None))
