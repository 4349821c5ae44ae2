"""Fixtures for every test: a clock, and a database of each kind."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
from psycopg import sql

from modelpress.settings import Settings
from modelpress.store.database import Database
from modelpress.store.secret import SecretBox
from modelpress.store.store import Store
from modelpress.store.table import metadata
from modelpress.store.upgrade import upgrade
from tests.conformance.clock import SettableClock
from tests.conformance.postgres import PostgresServer, running_server

# No deadline: how long an example takes says nothing on a shared machine. The same examples at every run, so that a
# failure can be repeated; HYPOTHESIS_PROFILE=explore looks for new ones, and fuzz for many (`make fuzz`).
for _name, _repeat, _examples in (("repeat", True, 100), ("explore", False, 100), ("fuzz", False, 1000)):
    hypothesis.settings.register_profile(
        _name,
        deadline=None,
        derandomize=_repeat,
        max_examples=_examples,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))

#: Run where torch is, by tests/torch/test_calibrate.py.
collect_ignore = ["calibrate"]

#: Makes the URL of a new database of the kind under test, without a schema.
EmptyDatabase = Callable[[], str]

BOTH = ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)]


def _migrate(url: str) -> None:
    database = Database(url)
    try:
        upgrade(database)
    finally:
        database.close()


@pytest.fixture
def clock() -> SettableClock:
    """The time, which stands until the test moves it."""
    return SettableClock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The PostgreSQL of this run."""
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: PostgresServer) -> str:
    """The URL of a database with the schema."""
    url = postgres.url(postgres.create_database())
    _migrate(url)
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema and no rows."""
    path = tmp_path_factory.mktemp("template") / "modelpress.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(params=BOTH)
def backend(request: pytest.FixtureRequest) -> str:
    """The kind of database under test."""
    return str(request.param)


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of the kind under test with the schema and no rows."""
    if backend == "sqlite":
        path = tmp_path / "modelpress.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("postgres_url")
    # Emptied, not made anew: measured 20 ms against over 100 ms.
    with psycopg.connect(url) as connection:
        names = sql.SQL(", ").join(sql.Identifier(table.name) for table in metadata.sorted_tables)
        connection.execute(sql.SQL("TRUNCATE {} RESTART IDENTITY").format(names))
    return url


@pytest.fixture
def empty_database(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmptyDatabase]:
    """Makes new databases of the kind under test, without a schema."""
    made: list[str] = []

    def make() -> str:
        if backend == "sqlite":
            made.append("")
            return f"sqlite:///{tmp_path / f'empty-{len(made)}.db'}"
        server: PostgresServer = request.getfixturevalue("postgres")
        made.append(server.create_database())
        return server.url(made[-1])

    yield make
    for name in filter(None, made):
        request.getfixturevalue("postgres").drop_database(name)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Settings with the database under test and a data directory of their own."""
    return Settings(data=tmp_path / "data", database=database_url)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The database under test, for a look past the store."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def store(database: Database) -> Store:
    """The store under test."""
    return Store(database, SecretBox(bytes(32)))
