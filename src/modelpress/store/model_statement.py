"""Every statement on model sets and versions, built once at import."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, func, insert, or_, select, update

from modelpress.store.page_statement import page
from modelpress.store.table import OPEN_TASK, model_set, model_version, task

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

MARKED_SET = select(model_set.c.seq).where(
    model_set.c.id == bindparam("marker"), model_set.c.account_id == bindparam("account_id")
)
SET_PAGE = {reverse: page(model_set, reverse=reverse) for reverse in (False, True)}
