"""Pages of tasks: which ranges of which index a filter means, and where the next page begins.

Any request costs a bounded amount of work. What an index answers (a source model, statuses, a tag, times) is read
straight from it; for the rest at most ``LOOKED_AT`` tasks are looked at, and a page that is not full by then says where
to go on, so a rare name among millions of tasks takes several requests and never a long one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache, partial
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

#: Rows of one range that one request looks at: measured a millisecond on SQLite with its pages in memory.
LOOKED_AT = 5000
#: Longer queues are not counted to their end.
LONGEST_COUNTED_QUEUE = 1000
#: Tasks are numbered as they are stored and dated by the clock of the server that was asked: two servers' clocks may
#: differ by half of this without a task being missed.
_CLOCKS_APART = timedelta(minutes=10)
#: Filters whose plans are kept.
_REMEMBERED = 256
_BEFORE_ALL, _AFTER_ALL = 0, 2**62

_seq = itemgetter(-1)


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
            return database.compiled(page_of(shape, dialect=database.dialect), as_is=True)

        @cache
        def look(arm: Arm, reverse: bool) -> CompiledSelect:
            return database.compiled(end_of_look(arm, reverse=reverse))

        self._page, self._look = page, look

    def read(self, request: PageRequest, wanted: TaskFilter, *, account_id: str) -> Page[TaskSummary]:
        """The page of ``account_id``'s tasks that ``request`` and ``wanted`` mean.

        Raises: InvalidMarker if the account never had a task of the marker's id.
        """
        account, marker, going_on = {"account_id": account_id}, request.marker, None
        plan = _plan(wanted, reverse=request.reverse, marked=bool(marker))
        shape = plan.shape
        if shape.marked:
            rows = self._rows(plan, request, account | {"marker": marker, "stop": _last(shape)})
            if not rows:
                self._place_of(marker, account)
        else:
            bounds = self._bounds(request, wanted, account)
            if plan.looks_row_by_row:
                going_on = self._cut(bounds, plan, account)
            rows = self._rows(plan, request, account | bounds.as_range(reverse=request.reverse))
        if len(rows) > request.max_keys:
            going_on = rows.pop(request.max_keys)[0]
            del rows[request.max_keys :]
        return Page(items=tuple(map(_summary, rows)), next_marker=going_on)

    def _rows(self, plan: _Plan, request: PageRequest, parameters: dict[str, Any]) -> list[Any]:
        page = self._page(plan.shape)
        parameters |= plan.values
        parameters["limit"] = request.max_keys + 1
        found = [page.rows(parameters | arm) for arm in plan.arms]
        if not plan.shape.merged:
            return found[0]
        return [row[:-1] for row in heapq.merge(*found, key=_seq, reverse=request.reverse)]

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
            seq = self._place_of(request.marker, account)
            if request.reverse:
                bounds.highest = min(bounds.highest, seq)
            else:
                bounds.lowest = max(bounds.lowest, seq)
        return bounds

    def _place_of(self, marker: str, account: dict[str, str]) -> int:
        marked = self._marked.first(marker=marker, **account)
        if marked is None:
            raise InvalidMarker(marker)
        return int(marked.seq)

    def _cut(self, bounds: _Bounds, plan: _Plan, account: dict[str, str]) -> str | None:
        """End ``bounds`` where enough rows were looked at; the id of the row behind, None if there are not so many."""
        shape = plan.shape
        look = self._look(shape.arm, shape.reverse)
        parameters = {**account, **bounds.as_range(reverse=shape.reverse), "looked_at": LOOKED_AT}
        ends = [end for arm in plan.arms if (end := look.first(**parameters, **arm)) is not None]
        if not ends:
            return None
        if shape.reverse:
            nearest = max(ends, key=lambda end: end.seq)
            bounds.lowest = nearest.seq + 1
        else:
            nearest = min(ends, key=lambda end: end.seq)
            bounds.highest = nearest.seq - 1
        return str(nearest.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """How a filter's pages are read: the statement's shape, each range's own parameters, and those that all share."""

    shape: Shape
    arms: tuple[dict[str, Any], ...]
    values: dict[str, Any]
    looks_row_by_row: bool


@lru_cache(_REMEMBERED)
def _plan(wanted: TaskFilter, *, reverse: bool, marked: bool) -> _Plan:
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
    arms: tuple[dict[str, Any], ...] = ({},)
    if wanted.source_model_id:
        arm, arms = Arm.SOURCE, ({"source_model_id": wanted.source_model_id},)
    elif tags:
        (key, value), *rest = tags
        arm, arms, tags = Arm.TAG, ({"tag_key": key, "tag_value": value},), tuple(rest)
    elif statuses:
        arm, arms, statuses = Arm.STATUS, tuple({"status": status.value} for status in statuses), ()
    else:
        arm = Arm.ACCOUNT
    values |= {f"status_{number}": status.value for number, status in enumerate(statuses)}
    for number, (key, value) in enumerate(tags):
        values |= {f"tag_key_{number}": key, f"tag_value_{number}": value}
    # Of a range that times have narrowed all rows but a few at its ends are wanted.
    looks_row_by_row = bool(statuses or tags or conditions - {"created_from", "created_before"})
    shape = Shape(
        arm=arm,
        reverse=reverse,
        merged=len(arms) > 1,
        marked=marked and not conditions and not looks_row_by_row,
        conditions=conditions,
        statuses=len(statuses),
        tags=len(tags),
    )
    return _Plan(shape=shape, arms=arms, values=values, looks_row_by_row=looks_row_by_row)


def _last(shape: Shape) -> int:
    return _BEFORE_ALL if shape.reverse else _AFTER_ALL


#: A row of the page's statement as a TaskSummary: its columns are the fields, and ``_make`` would count them each time.
_summary: Callable[[tuple[Any, ...]], TaskSummary] = partial(tuple.__new__, TaskSummary)


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
