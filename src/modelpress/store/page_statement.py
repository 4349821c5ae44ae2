"""The form of every page: one range of one index, in either direction."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, select


def page(table: Any, *where: ColumnElement[bool], reverse: bool) -> Select[Any]:
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
