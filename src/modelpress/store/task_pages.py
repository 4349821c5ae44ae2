"""Pages of tasks: which ranges of which index a filter means, and where the next page begins.

Any request costs a bounded amount of work. What an index answers (a source model, statuses, a tag, times) is read
straight from it; for the rest at most ``LOOKED_AT`` tasks are looked at, and a page that is not full by then says where
to go on, so a rare name among millions of tasks takes several requests and never a long one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from operator import itemgetter
from typing import Any

from modelpress.domain.page import Page, PageRequest
from modelpress.domain.task import TaskSummary
from modelpress.domain.task_filter import TaskFilter
from modelpress.errors import InvalidMarker
from modelpress.store.compiled import CompiledSelect
from modelpress.store.database import Database
from modelpress.store.task_page_statement import (
    FIRST_AFTER,
    LAST_BEFORE,
    MARKED,
    WAITING,
    Arm,
    Shape,
    end_of_look,
    page_of,
)

#: Rows of one range that one request looks at: some 10 ms of work.
LOOKED_AT = 5000
#: Longer queues are not counted to their end.
LONGEST_COUNTED_QUEUE = 1000
#: Tasks are numbered as they are stored and dated by the clock of the server that was asked: two servers' clocks may
#: differ by half of this without a task being missed.
_CLOCKS_APART = timedelta(minutes=10)
_BEFORE_ALL, _AFTER_ALL = 0, 2**62

_seq = itemgetter(0)


@dataclass(slots=True)
class _Bounds:
    """The first and last seq of a page's range, both included, in the order of creation."""

    lowest: int = _BEFORE_ALL
    highest: int = _AFTER_ALL

    def as_range(self, *, reverse: bool) -> dict[str, int]:
        first, last = (self.highest, self.lowest) if reverse else (self.lowest, self.highest)
        return {"start": first, "stop": last}


class TaskPages:
    """Reads pages of tasks from one database; each statement is compiled when it is first asked for."""

    def __init__(self, database: Database) -> None:
        self._marked = database.compiled(MARKED)
        self._last_before = database.compiled(LAST_BEFORE)
        self._first_after = database.compiled(FIRST_AFTER)
        self._waiting = database.compiled(WAITING)

        @cache
        def page(shape: Shape) -> CompiledSelect:
            return database.compiled(page_of(shape, dialect=database.dialect), make=tuple)

        @cache
        def look(arm: Arm, reverse: bool) -> CompiledSelect:
            return database.compiled(end_of_look(arm, reverse=reverse))

        self._page, self._look = page, look

    def read(self, request: PageRequest, wanted: TaskFilter, *, account_id: str) -> Page[TaskSummary]:
        """The page of ``account_id``'s tasks that ``request`` and ``wanted`` mean.

        Raises: InvalidMarker if the account never had a task of the marker's id.
        """
        account = {"account_id": account_id}
        bounds = self._bounds(request, wanted, account)
        shape, arms, values = _plan(wanted, reverse=request.reverse)
        going_on = self._cut(bounds, shape, arms, account) if _looks_row_by_row(shape) else None
        parameters = {**account, **values, **bounds.as_range(reverse=request.reverse), "limit": request.max_keys + 1}
        page = self._page(shape)
        found = [page(**parameters, **arm) for arm in arms]
        rows = found[0] if len(found) == 1 else _merge(found, reverse=request.reverse)
        if len(rows) > request.max_keys:
            going_on = rows[request.max_keys][1]
        items = tuple(TaskSummary._make(row[1:]) for row in rows[: request.max_keys])
        return Page(items=items, next_marker=going_on)

    def waiting(self) -> dict[str, int]:
        """The places of the tasks that wait for a worker, counted from 1, of all accounts; the first thousand."""
        rows = self._waiting(limit=LONGEST_COUNTED_QUEUE)
        return {row.id: number for number, row in enumerate(rows, 1)}

    def _bounds(self, request: PageRequest, wanted: TaskFilter, account: dict[str, str]) -> _Bounds:
        bounds = _Bounds()
        if wanted.created_from is not None:
            before = self._last_before.first(moment=_earlier(wanted.created_from), **account)
            bounds.lowest = before.seq if before else bounds.lowest
        if wanted.created_before is not None:
            after = self._first_after.first(moment=_later(wanted.created_before), **account)
            bounds.highest = after.seq if after else bounds.highest
        if request.marker:
            marked = self._marked.first(marker=request.marker, **account)
            if marked is None:
                raise InvalidMarker(request.marker)
            if request.reverse:
                bounds.highest = min(bounds.highest, marked.seq)
            else:
                bounds.lowest = max(bounds.lowest, marked.seq)
        return bounds

    def _cut(self, bounds: _Bounds, shape: Shape, arms: list[dict[str, Any]], account: dict[str, str]) -> str | None:
        """End ``bounds`` where enough rows were looked at; the id of the row behind, None if there are not so many."""
        look = self._look(shape.arm, shape.reverse)
        parameters = {**account, **bounds.as_range(reverse=shape.reverse), "looked_at": LOOKED_AT}
        ends = [end for arm in arms if (end := look.first(**parameters, **arm)) is not None]
        if not ends:
            return None
        if shape.reverse:
            nearest = max(ends, key=lambda end: end.seq)
            bounds.lowest = nearest.seq + 1
        else:
            nearest = min(ends, key=lambda end: end.seq)
            bounds.highest = nearest.seq - 1
        return str(nearest.id)


def _plan(wanted: TaskFilter, *, reverse: bool) -> tuple[Shape, list[dict[str, Any]], dict[str, Any]]:
    """The statement's shape; for each range its own parameters; and those that all ranges share."""
    asked: dict[str, Any] = {
        "strategy": wanted.strategy and wanted.strategy.value,
        "scheme": wanted.scheme and wanted.scheme.name,
        "model_set_id": wanted.model_set_id or None,
        "name_part": wanted.name_part or None,
        "created_from": wanted.created_from,
        "created_before": wanted.created_before,
    }
    values = {name: value for name, value in asked.items() if value is not None}
    conditions = frozenset(values)
    statuses, tags = wanted.statuses, wanted.tags
    if wanted.source_model_id:
        arm, arms = Arm.SOURCE, [{"source_model_id": wanted.source_model_id}]
    elif tags:
        (key, value), *rest = tags
        arm, arms, tags = Arm.TAG, [{"tag_key": key, "tag_value": value}], tuple(rest)
    elif statuses:
        arm, arms, statuses = Arm.STATUS, [{"status": status.value} for status in statuses], ()
    else:
        arm, arms = Arm.ACCOUNT, [{}]
    values |= {f"status_{number}": status.value for number, status in enumerate(statuses)}
    for number, (key, value) in enumerate(tags):
        values |= {f"tag_key_{number}": key, f"tag_value_{number}": value}
    shape = Shape(arm=arm, reverse=reverse, conditions=conditions, statuses=len(statuses), tags=len(tags))
    return shape, arms, values


def _looks_row_by_row(shape: Shape) -> bool:
    # Of a range that times have narrowed all rows but a few at its ends are wanted.
    return bool(shape.statuses or shape.tags or shape.conditions - {"created_from", "created_before"})


def _merge(found: Iterable[list[Any]], *, reverse: bool) -> list[Any]:
    return list(heapq.merge(*found, key=_seq, reverse=reverse))


def _earlier(moment: datetime) -> datetime:
    try:
        return moment - _CLOCKS_APART
    except OverflowError:
        return moment


def _later(moment: datetime) -> datetime:
    try:
        return moment + _CLOCKS_APART
    except OverflowError:
        return moment
