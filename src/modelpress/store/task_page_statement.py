"""The statements that pages of tasks are read with: one range of one index each, whatever the filter.

An *arm* is such a range: all tasks of an account, those of one source model, of one status, or with one tag. What else
a filter asks for is looked at row by row within the arm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Label,
    Select,
    Text,
    bindparam,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    type_coerce,
)

from modelpress.domain.task import TaskSummary
from modelpress.store.table import OPEN_TASK, task, task_tag


class Arm(Enum):
    """Which index a range is of."""

    ACCOUNT = "ix_task_page"
    SOURCE = "ix_task_page_source"
    STATUS = "ix_task_page_status"
    TAG = "ix_task_tag_page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What two pages have in common that are read by the same statement."""

    arm: Arm
    reverse: bool
    #: Whether the page begins with the task of the id ``marker``, instead of with ``start``.
    marked: bool = False
    #: Whether it is one of several that are merged by their order.
    merged: bool = False
    #: What is looked at row by row, by the names of CONDITIONS.
    conditions: frozenset[str] = frozenset()
    #: How many statuses and tags are looked at row by row.
    statuses: int = 0
    tags: int = 0


#: The driver's own integers: a datetime would be made of each only to be written out again.
def _microseconds(column: ColumnElement[Any], name: str) -> Label[int]:
    return type_coerce(column, BigInteger).label(name)


#: In the order of the domain's TaskSummary. Recipe and tags as they are stored.
_SHOWN = (
    task.c.id,
    task.c.name,
    task.c.description,
    task.c.status,
    cast(task.c.recipe, Text).label("recipe"),
    task.c.source_model_id,
    task.c.output_model_id,
    task.c.percent,
    task.c.stage,
    task.c.eta_seconds,
    cast(task.c.tags, Text).label("tags"),
    _microseconds(task.c.created_at, "created_us"),
    _microseconds(task.c.finished_at, "finished_us"),
)
assert tuple(column.name for column in _SHOWN) == TaskSummary._fields

#: LIKE knows letters' cases on one database and not on the other; these two look for the very characters on both.
_POSITION: dict[str, Callable[..., ColumnElement[int]]] = {"sqlite": func.instr, "postgresql": func.strpos}


_marked = task.alias("marked")
MARKED = select(_marked.c.seq).where(
    _marked.c.id == bindparam("marker"), _marked.c.account_id == bindparam("account_id")
)


def _conditions(dialect: str) -> dict[str, ColumnElement[bool]]:
    # Nothing is added to a number, so that no index has it: PostgreSQL would rather sort what another index finds than
    # read the arm in its order, and take all of it where it guesses wrong.
    created_at = type_coerce(task.c.created_at, BigInteger) + literal(0, BigInteger)
    return {
        "strategy": task.c.strategy == bindparam("strategy"),
        "scheme": task.c.scheme == bindparam("scheme"),
        "model_set_id": task.c.model_set_id == bindparam("model_set_id"),
        "name_part": _POSITION[dialect](task.c.name, bindparam("name_part")) > 0,
        "created_from": created_at >= bindparam("created_from", type_=task.c.created_at.type),
        "created_before": created_at < bindparam("created_before", type_=task.c.created_at.type),
    }


def _has_tag(number: int) -> ColumnElement[bool]:
    tag = task_tag.alias(f"tag_{number}")  # not the arm's own tag
    return exists().where(
        tag.c.task_seq == task.c.seq,
        tag.c.tag_key == bindparam(f"tag_key_{number}"),
        tag.c.tag_value == bindparam(f"tag_value_{number}"),
    )


def _bounded(rows: Select[Any], seq: Column[int], *, reverse: bool, marked: bool = False) -> Select[Any]:
    """``rows`` from ``start`` (or the task of the id ``marker``) to ``stop``, both included, in that order."""
    # Found where the page is read: a look of its own would be a statement more. No such task means no rows.
    start: Any = MARKED.scalar_subquery() if marked else bindparam("start")
    stop: Any = bindparam("stop")
    rows = rows.where(seq <= start, seq >= stop) if reverse else rows.where(seq >= start, seq <= stop)
    return rows.order_by(seq.desc() if reverse else seq)


def _tasks(arm: Arm, *columns: ColumnElement[Any], reverse: bool, marked: bool = False) -> Select[Any]:
    """The tasks of one arm that are not deleted."""
    rows = select(*columns).where(task.c.deleted_at.is_(None))
    if arm is Arm.TAG:
        rows = rows.select_from(task_tag.join(task, task.c.seq == task_tag.c.task_seq)).where(*_of_tag())
        return _bounded(rows, task_tag.c.task_seq, reverse=reverse, marked=marked)
    rows = rows.where(task.c.account_id == bindparam("account_id"))
    if arm is Arm.SOURCE:
        rows = rows.where(task.c.source_model_id == bindparam("source_model_id"))
    elif arm is Arm.STATUS:
        rows = rows.where(task.c.status == bindparam("status"))
    return _bounded(rows, task.c.seq, reverse=reverse, marked=marked)


def _of_tag() -> tuple[ColumnElement[bool], ...]:
    return (
        task_tag.c.account_id == bindparam("account_id"),
        task_tag.c.tag_key == bindparam("tag_key"),
        task_tag.c.tag_value == bindparam("tag_value"),
    )


def page_of(shape: Shape, *, dialect: str) -> Select[Any]:
    """At most ``limit`` tasks of one arm, as lists show them; ``seq`` behind that, where arms are to be merged."""
    columns = (*_SHOWN, task.c.seq) if shape.merged else _SHOWN
    rows = _tasks(shape.arm, *columns, reverse=shape.reverse, marked=shape.marked)
    conditions = _conditions(dialect)
    rows = rows.where(*(conditions[name] for name in sorted(shape.conditions)))
    if shape.statuses:
        status = task.c.status + literal("")  # as above
        rows = rows.where(or_(*(status == bindparam(f"status_{n}") for n in range(shape.statuses))))
    return rows.where(*map(_has_tag, range(shape.tags))).limit(bindparam("limit"))


def end_of_look(arm: Arm, *, reverse: bool) -> Select[Any]:
    """The row that lies ``looked_at`` rows behind the first one of an arm, if there are so many: its id and seq."""
    if arm is Arm.TAG:
        # Deleted tasks count too: without a join there is one index to read, and no way to read it but in its order.
        seq = task_tag.c.task_seq
        task_id = select(task.c.id).where(task.c.seq == seq).scalar_subquery()
        rows = _bounded(select(task_id.label("id"), seq.label("seq")).where(*_of_tag()), seq, reverse=reverse)
    else:
        rows = _tasks(arm, task.c.id, task.c.seq, reverse=reverse)
    return rows.offset(bindparam("looked_at")).limit(1)


#: The last task before a time, and the first after it, by their creation.
LAST_BEFORE = (
    select(task.c.seq)
    .where(task.c.account_id == bindparam("account_id"), task.c.created_at < bindparam("moment"))
    .order_by(task.c.created_at.desc())
    .limit(1)
)
FIRST_AFTER = (
    select(task.c.seq)
    .where(task.c.account_id == bindparam("account_id"), task.c.created_at > bindparam("moment"))
    .order_by(task.c.created_at)
    .limit(1)
)

#: The tasks that wait for a worker, of all accounts: the first ``limit`` of them.
WAITING = select(task.c.id).where(OPEN_TASK, task.c.status == "creating").order_by(task.c.seq).limit(bindparam("limit"))
