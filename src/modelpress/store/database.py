"""The connection to SQLite or PostgreSQL: opening, transactions, and what a driver's errors mean here."""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Select, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from modelpress.errors import SettingsError, StoreUnavailable
from modelpress.store.compiled import CompiledSelect

_SQLITE_PRAGMAS = (
    "journal_mode=WAL",
    # FULL: a commit survives power loss; measured affordable at over 2,000 commits a second.
    "synchronous=FULL",
    "busy_timeout=5000",
    "foreign_keys=ON",
    "cache_size=-65536",
    "mmap_size=1073741824",
)
#: How long a pragma that another connection is in the way of is tried again, and how often.
_BUSY_SECONDS, _BUSY_WAIT_SECONDS = 5.0, 0.01

#: Both give a transaction that sees one state: SQLite's always do, PostgreSQL's only when told so.
_READING: dict[str, dict[str, Any]] = {
    "sqlite": {"read_only": True},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}


class Database:
    """One database. ``read`` and ``write`` give a connection in a transaction; ``compiled`` runs one SELECT fast."""

    def __init__(self, url: str) -> None:
        parsed = _parse(url)
        self.dialect = parsed.get_backend_name()
        self._engine = _open_sqlite(parsed) if self.dialect == "sqlite" else _open_postgresql(parsed)
        self._reading = self._engine.execution_options(**_READING[self.dialect])
        self._relaxed = self._engine.execution_options(relaxed=True)
        # The driver's connections for compiled SELECTs that no thread uses now; one a thread at most, so unlimited.
        self._idle: deque[Any] = deque()

    @property
    def answers_fast(self) -> bool:
        """Whether an indexed read costs so little (no network) that it may run on an event loop."""
        return self.dialect == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one consistent state."""
        with _driver_errors(), self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction, committed at the end and rolled back by an exception; on SQLite it holds the write lock.

        One that is not durable waits for no disk (measured 0.1 ms against 3 on SQLite). It may be lost, whole, if the
        machine loses power before the next durable one; never when a process dies.
        """
        engine = self._engine if durable else self._relaxed
        with _driver_errors(), engine.begin() as connection:
            if not durable and self.dialect == "postgresql":
                connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
            yield connection

    def compiled(self, statement: Select[Any], *, as_is: bool = False) -> CompiledSelect:
        """``statement``, compiled once for this database, to be called with its parameters (see CompiledSelect).

        For what every request reads: measured on SQLite, a key's row in 8 µs against 90 of ``read`` and ``execute``.
        Made where the store is made, and kept: compiling takes a millisecond.

            page = database.compiled(TASK_PAGE)
            rows = page(account_id=account_id, start=0, limit=11)
        """
        return CompiledSelect(statement, dialect=self._engine.dialect, fetch=self._fetch, as_is=as_is)

    def _fetch(self, text: str, parameters: Any) -> list[Any]:
        """All rows of one SELECT. It sees one state without a transaction; the pool alone costs more than the query."""
        try:
            connection, is_new = self._idle.pop(), False
        except IndexError:
            connection, is_new = self._unpooled(), True
        try:
            rows: list[Any] = connection.execute(text, parameters).fetchall()
        except BaseException as exc:
            connection.close()  # nobody else may get it in a state that is unknown
            driver = self._engine.dialect.loaded_dbapi
            if isinstance(exc, driver.OperationalError) and self.dialect == "postgresql" and not is_new:
                return self._fetch(text, parameters)  # the server was started anew while it was idle
            if isinstance(exc, driver.Error):
                raise _unavailable(exc) from exc
            raise
        self._idle.append(connection)
        return rows

    def _unpooled(self) -> Any:
        with _driver_errors():
            try:
                pooled = self._engine.raw_connection()
            except self._engine.dialect.loaded_dbapi.Error as exc:  # not wrapped: a server that went away
                raise _unavailable(exc) from exc
            pooled.detach()
        connection: Any = pooled.dbapi_connection
        if self.dialect == "postgresql":
            connection.autocommit = True  # or each SELECT would have two round trips more, to begin and to end
        return connection

    def close(self) -> None:
        """Give the connections back."""
        while self._idle:
            self._idle.pop().close()
        self._engine.dispose()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as exc:
        raise SettingsError("setting database is not a database URL", hint="sqlite:///PATH or postgresql://…") from exc
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise SettingsError(
            f"setting database names {parsed.get_backend_name()!r}; supported are sqlite and postgresql",
            hint="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME",
        )
    return parsed


def _open_postgresql(url: URL) -> Engine:
    try:
        return create_engine(url.set(drivername="postgresql+psycopg"), hide_parameters=True, pool_pre_ping=True)
    except ModuleNotFoundError as exc:
        raise SettingsError("PostgreSQL's driver is not installed", hint="pip install 'modelpress[postgres]'") from exc


def _set(connection: Any, pragma: str) -> None:
    """Set a pragma, waiting for others: SQLite refuses a change of the journal at once while another makes the same."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}")
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(_BUSY_WAIT_SECONDS)


def _open_sqlite(url: URL) -> Engine:
    if url.database:
        directory = Path(url.database).parent
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise SettingsError(f"the database's directory {directory} cannot be made: {exc.strerror}") from exc
    engine = create_engine(url, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: Any) -> None:
        # The driver opens no transaction by itself; ``_begin`` below does, so that DDL is inside one too.
        connection.isolation_level = None
        for pragma in _SQLITE_PRAGMAS:
            _set(connection, pragma)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        synchronous = "NORMAL" if options.get("relaxed") else "FULL"
        if connection.info.setdefault("synchronous", "FULL") != synchronous:
            connection.exec_driver_sql(f"PRAGMA synchronous={synchronous}")
            connection.info["synchronous"] = synchronous
        # IMMEDIATE: a transaction that reads and then writes can not be refused in the middle.
        read_only = options.get("read_only")
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


@contextmanager
def _driver_errors() -> Iterator[None]:
    """A driver's exceptions stop here; broken constraints pass, since the statement's caller knows what they mean."""
    try:
        yield
    except IntegrityError:
        raise
    except DBAPIError as exc:
        raise _unavailable(exc.orig) from exc
    except PoolTimeout as exc:
        raise StoreUnavailable("the database is too slow: no connection became free") from exc


def _unavailable(cause: BaseException | None) -> StoreUnavailable:
    return StoreUnavailable(
        f"the database failed: {type(cause).__name__}",
        hint="does the server of setting database answer, or is the file a database?",
    )
