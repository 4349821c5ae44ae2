"""Every statement on model sets and versions, built once at import."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, bindparam, case, exists, func, insert, or_, select, union_all, update

from modelpress.store.page_statement import page
from modelpress.store.table import OPEN_TASK, export_task, model_set, model_version, task

#: The condition of the indexes of shared sets; with other words they are not used.
_shared = and_(model_set.c.shared_at.is_not(None), model_set.c.unshared_at.is_(None), model_set.c.deleted_at.is_(None))

INSERT_SET = insert(model_set)
_live_set = and_(model_set.c.account_id == bindparam("account_id"), model_set.c.deleted_at.is_(None))
SET = select(model_set).where(model_set.c.id == bindparam("set_id"), _live_set)
SET_BY_NAME = select(model_set).where(model_set.c.name == bindparam("name"), _live_set)
#: Also sets that another account shares.
READABLE_SET = select(model_set).where(model_set.c.id == bindparam("set_id"), or_(_live_set, _shared))
SHARED_SET = select(model_set).where(model_set.c.id == bindparam("set_id"), _shared)
SHARED_SET_BY_NAME = select(model_set).where(model_set.c.name == bindparam("name"), _shared)
#: The operator's, whoever owns the set. Sharing again leaves the time, and the description if none is given.
SHARE_SET = (
    update(model_set)
    .where(model_set.c.id == bindparam("set_id"))
    .values(
        shared_at=case((_shared, model_set.c.shared_at), else_=bindparam("now", type_=model_set.c.shared_at.type)),
        unshared_at=None,
        description=func.coalesce(bindparam("said", type_=model_set.c.description.type), model_set.c.description),
    )
    .returning(model_set)
)
UNSHARE_SET = (
    update(model_set).where(model_set.c.id == bindparam("set_id"), _shared).values(unshared_at=bindparam("now"))
)
LIVE_SET = (
    select(model_set.c.name)
    .where(model_set.c.id == bindparam("set_id"), model_set.c.deleted_at.is_(None))
    .with_for_update()
)
# The row lock makes create and delete of the same thing wait for each other on PostgreSQL; it compiles to nothing on
# SQLite, where BEGIN IMMEDIATE has the same effect.
LOCK_SET = SET.with_for_update()
TOUCH_SET = update(model_set).where(model_set.c.id == bindparam("set_id")).values(modified_at=bindparam("now"))
DELETE_SET = update(model_set).where(model_set.c.id == bindparam("set_id")).values(deleted_at=bindparam("now"))

INSERT_VERSION = insert(model_version)
_live_version = and_(model_version.c.account_id == bindparam("account_id"), model_version.c.deleted_at.is_(None))
VERSION = select(model_version).where(model_version.c.id == bindparam("model_id"), _live_version)
LOCK_VERSION = VERSION.with_for_update()
_in_shared_set = exists().where(model_set.c.id == model_version.c.set_id, _shared)
#: Also versions in the sets that another account shares.
READABLE_VERSION = select(model_version).where(
    model_version.c.id == bindparam("model_id"),
    model_version.c.deleted_at.is_(None),
    or_(model_version.c.account_id == bindparam("account_id"), _in_shared_set),
)
LOCK_READABLE_VERSION = READABLE_VERSION.with_for_update(of=model_version)
SHARED_VERSION = select(model_version).where(
    model_version.c.id == bindparam("model_id"), model_version.c.deleted_at.is_(None), _in_shared_set
)
VERSIONS_OF_SET = (
    select(model_version)
    .where(model_version.c.set_id == bindparam("set_id"), model_version.c.deleted_at.is_(None))
    .order_by(model_version.c.seq)
)
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


def _user(tasks: Select[Any], exports: Select[Any]) -> Select[Any]:
    """A task or an export that is not final and uses what is to be deleted; one of ``owner``'s before others."""
    users = union_all(tasks.where(OPEN_TASK), exports.where(OPEN_TASK)).subquery()
    return select(users).order_by(case((users.c.account_id == bindparam("owner"), 0), else_=1)).limit(1)


USER_OF_VERSION = _user(
    select(task.c.id, task.c.account_id).where(task.c.source_model_id == bindparam("model_id")),
    select(export_task.c.id, export_task.c.account_id).where(export_task.c.model_id == bindparam("model_id")),
)
USER_OF_SET = _user(
    select(task.c.id, task.c.account_id)
    .join(model_version, model_version.c.id == task.c.source_model_id)
    .where(or_(task.c.model_set_id == bindparam("set_id"), model_version.c.set_id == bindparam("set_id"))),
    select(export_task.c.id, export_task.c.account_id)
    .join(model_version, model_version.c.id == export_task.c.model_id)
    .where(model_version.c.set_id == bindparam("set_id")),
)

MARKED_SET = select(model_set.c.seq).where(
    model_set.c.id == bindparam("marker"), model_set.c.account_id == bindparam("account_id")
)
SET_PAGE = {reverse: page(model_set, reverse=reverse) for reverse in (False, True)}

#: Also of sets that are not shared any more; never of one that never was.
MARKED_SHARED_SET = select(model_set.c.seq).where(
    model_set.c.id == bindparam("marker"), model_set.c.shared_at.is_not(None)
)


def _shared_page(*, reverse: bool) -> Select[Any]:
    seq = model_set.c.seq
    return (
        select(model_set)
        .where(_shared, seq <= bindparam("start") if reverse else seq >= bindparam("start"))
        .order_by(seq.desc() if reverse else seq)
        .limit(bindparam("limit"))
    )


SHARED_PAGE = {reverse: _shared_page(reverse=reverse) for reverse in (False, True)}
