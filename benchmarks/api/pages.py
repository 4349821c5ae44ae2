"""Which pages are asked for: every variant of a list, and markers in its middle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from benchmarks.api.request import PAGE_ITEMS
from benchmarks.api.seeding import Seeded
from modelpress.store.database import Database
from modelpress.store.table import task

#: Frequent enough that the smallest database has two pages of it in the account that lists are read from.
STATUS = "failed"
VARIANTS = ("first", "deep", "by source", "by status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bodies:
    """Bodies of list requests by (variant, reverse)."""

    of: dict[tuple[str, bool], list[dict[str, Any]]]


def deep_markers(seeded: Seeded, *, count: int) -> list[str]:
    """Ids of tasks of the first account that follow on each other in the middle of the list."""
    with _reading(seeded) as connection:
        found = select(task.c.id).where(*_owned(seeded), task.c.seq >= seeded.size // 2)
        return list(connection.execute(found.order_by(task.c.seq).limit(count)).scalars())


def spread_markers(seeded: Seeded, *, count: int, shift: float = 0.0) -> list[str]:
    """Ids of tasks of the first account, spread over all of its list; another ``shift`` (below 1) gives others.

    Not of its first nor its last tenth: in both directions there is a whole page.
    """
    ids = []
    with _reading(seeded) as connection:
        for number in range(count):
            place = int(seeded.size * (0.1 + 0.8 * (number + shift) / count))
            found = select(task.c.id).where(*_owned(seeded), task.c.seq >= place)
            ids.append(connection.execute(found.order_by(task.c.seq).limit(1)).scalar_one())
    return ids


@contextmanager
def _reading(seeded: Seeded) -> Iterator[Connection]:
    database = Database(seeded.url)
    try:
        with database.read() as connection:
            yield connection
    finally:
        database.close()


def _owned(seeded: Seeded) -> tuple[ColumnElement[bool], ...]:
    return (task.c.account_id == seeded.accounts[0], task.c.deleted_at.is_(None))


def variants(seeded: Seeded, *, count: int) -> Bodies:
    """``count`` bodies of each variant and direction; of the first page there is but one."""
    markers = deep_markers(seeded, count=count)
    sources = _sources(seeded, count=count)
    made: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for reverse in (False, True):
        way = {"pageReverse": reverse}
        made["first", reverse] = [way]
        made["deep", reverse] = [{**way, "marker": marker} for marker in markers]
        made["by source", reverse] = [
            {**way, "marker": marker, "sourceModelId": source} for source, marker in sources.items()
        ]
        # Half as many markers, so that even the smallest list has a whole page after each.
        made["by status", reverse] = [{**way, "marker": marker, "status": STATUS} for marker in markers[: count // 2]]
    return Bodies(of=made)


def _sources(seeded: Seeded, *, count: int) -> dict[str, str]:
    """Source models of the first account and, of each, a task in the middle with a page before and after it."""
    middle = seeded.size // 2
    near = select(task.c.source_model_id).where(*_owned(seeded), task.c.seq >= middle)
    enough = PAGE_ITEMS + 1
    found: dict[str, str] = {}
    with _reading(seeded) as connection:
        for source in dict.fromkeys(connection.execute(near.order_by(task.c.seq).limit(count * 4)).scalars()):
            of = select(task.c.id).where(*_owned(seeded), task.c.source_model_id == source).limit(enough)
            after = connection.execute(of.where(task.c.seq >= middle).order_by(task.c.seq)).scalars().all()
            before = connection.execute(of.where(task.c.seq < middle)).all()
            if len(after) == len(before) == enough and len(found) < count:
                found[source] = after[0]
    return found
