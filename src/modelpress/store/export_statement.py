"""Every statement on exports, built once at import."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select

from modelpress.domain.task import OPEN, TaskStatus
from modelpress.store.lease_statement import (
    claim_statements,
    finish_statement,
    keep_statement,
    release_holder_statement,
    release_statement,
    report_statement,
)
from modelpress.store.table import OPEN_TASK, export_event, export_task

_S = TaskStatus
_OPEN = sorted(status.value for status in OPEN)
_of_model = (export_task.c.account_id == bindparam("account_id"), export_task.c.model_id == bindparam("model_id"))

INSERT_EXPORT = insert(export_task).returning(export_task)
INSERT_EVENT = insert(export_event)
EVENTS = select(export_event).where(export_event.c.task_id == bindparam("task_id")).order_by(export_event.c.seq)
NEWEST_EXPORT = select(export_task).where(*_of_model).order_by(export_task.c.seq.desc()).limit(1)
OPEN_EXPORT = select(export_task).where(OPEN_TASK, *_of_model)

CLAIM = claim_statements(export_task, open_rows=OPEN_TASK)
REPORT = report_statement(export_task, bytes_done=bindparam("new_bytes_done"), bytes_total=bindparam("new_bytes_total"))
EXPORTED = keep_statement(
    export_task,
    bytes_done=bindparam("size_bytes"),
    bytes_total=bindparam("size_bytes"),
    manifest_sha256=bindparam("sha256"),
    manifest_md5=bindparam("md5"),
)
FINISH = {
    _S.SUCCEEDED: finish_statement(export_task, _S.SUCCEEDED),
    _S.FAILED: finish_statement(export_task, _S.FAILED, reason=bindparam("why")),
}
RELEASE = release_statement(export_task)
RELEASE_HOLDER = release_holder_statement(export_task, open_rows=OPEN_TASK)
FINAL_EXPORTS = select(export_task.c.id).where(
    export_task.c.id.in_(bindparam("export_ids", expanding=True)), export_task.c.status.not_in(_OPEN)
)
