"""What a server's database holds, to see that a refused request changed nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from tests.api.server import RunningServer


class Contents:
    """All rows, read anew only when somebody has committed since."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._version = -1
        self._rows: dict[str, list[Any]] = {}

    def read(self) -> dict[str, list[Any]]:
        """Every table's rows."""
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            tables = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            self._rows = {name: self._connection.execute(f"SELECT * FROM {name}").fetchall() for (name,) in tables}
            self._version = version
        return self._rows


@contextmanager
def contents_of(server: RunningServer) -> Iterator[Contents]:
    """The contents of a server on SQLite."""
    with closing(sqlite3.connect(server.settings.data / "modelpress.db")) as connection:
        yield Contents(connection)
