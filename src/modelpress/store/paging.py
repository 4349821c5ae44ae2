"""Reading one page: the marker is looked up to its seq, and the page begins with it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row, Select

from modelpress.domain.page import PageRequest
from modelpress.errors import InvalidMarker

_AFTER_ALL = 2**62


def read_page(
    connection: Connection, page: Select[Any], *, marked: Select[Any], request: PageRequest, parameters: dict[str, Any]
) -> tuple[list[Row[Any]], str | None]:
    """The rows of one page and the id of the next page's first row.

    The marked row need not be in the page: a tombstone still marks its place.

    Raises: InvalidMarker if the marker never was in the list.
    """
    start = _AFTER_ALL if request.reverse else 0
    if request.marker:
        found = connection.execute(marked, {**parameters, "marker": request.marker}).scalar_one_or_none()
        if found is None:
            raise InvalidMarker(request.marker)
        start = found
    rows = list(connection.execute(page, {**parameters, "start": start, "limit": request.max_keys + 1}))
    if len(rows) <= request.max_keys:
        return rows, None
    return rows[:-1], rows[-1].id
