"""Opening a database that others open at the same time."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from modelpress.store import database


class _Connection:
    """Refuses with these codes of SQLite, one after another, then obeys."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.obeyed: list[str] = []

    def execute(self, statement: str) -> None:
        if self.codes:
            error: Any = sqlite3.OperationalError("refused")
            error.sqlite_errorcode = self.codes.pop(0)
            raise error
        self.obeyed.append(statement)


def test_a_pragma_that_another_is_in_the_way_of_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr("modelpress.store.database.time.sleep", waited.append)
    connection = _Connection(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_BUSY_RECOVERY)
    database._set(connection, "journal_mode=WAL")
    assert connection.obeyed == ["PRAGMA journal_mode=WAL"]
    assert len(waited) == 2


def test_any_other_refusal_comes_through_and_so_does_one_that_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(sqlite3.OperationalError):
        database._set(_Connection(sqlite3.SQLITE_CANTOPEN), "journal_mode=WAL")
    monkeypatch.setattr(database, "_BUSY_SECONDS", -1)
    with pytest.raises(sqlite3.OperationalError):
        database._set(_Connection(sqlite3.SQLITE_BUSY), "journal_mode=WAL")
