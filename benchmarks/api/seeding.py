"""Databases full of made-up tasks, seeded in bulk once and kept.

The product makes the schema, the accounts and their keys; only the tasks come from here, past the product: in one
transaction, with every index that can be made afterwards made afterwards.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from benchmarks.api import cache, world
from benchmarks.api.room import make_room
from benchmarks.api.world import Row, World
from modelpress.service.access import KeyPair
from modelpress.service.services import Services, open_services
from modelpress.settings import Settings, load_settings
from tests.conformance.postgres import PostgresServer

ENGINES = ("sqlite", "postgresql")
#: One for each account, in the order of world.SHARES; known to all, so no cached file has to keep them.
PAIRS = tuple(KeyPair(access_key=f"bench{n}", secret_key=f"secret of bench {n}") for n in range(len(world.SHARES)))

_FULL_TABLES = ("task", "task_tag")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """A database with tasks in it, and what seeding it took."""

    engine: str
    name: str
    size: int
    data: str
    url: str
    accounts: tuple[str, ...]
    seconds: float
    size_bytes: int

    @property
    def settings(self) -> Settings:
        """Settings of a server over it."""
        return load_settings(flags={"data": self.data, "database": self.url, "port": 0}, environ={})

    @property
    def file(self) -> Path:
        """SQLite's file."""
        return Path(self.url.removeprefix("sqlite:///"))


def seeded_sqlite(name: str) -> Seeded:
    """The SQLite database of this size; seeded if it is not there."""
    data = cache.directory() / f"sqlite-{name}"
    file = data / "modelpress.db"
    kept = _kept(data)
    if kept:
        return kept
    make_room("sqlite", cache.size_of(name))
    return seed(
        Seeded(
            engine="sqlite",
            name=name,
            size=cache.size_of(name),
            data=str(data),
            url=f"sqlite:///{file}",
            accounts=(),
            seconds=0,
            size_bytes=0,
        )
    )


def seeded_postgresql(name: str, server: PostgresServer) -> Seeded:
    """The PostgreSQL database of this size on this server; seeded if it is not there."""
    data = cache.directory() / f"postgresql-{name}"
    database = f"bench_{name}".lower()
    kept = _kept(data)
    if kept:
        return kept
    make_room("postgresql", cache.size_of(name))
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        identifier = sql.Identifier(database)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(identifier))
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(identifier))
    return seed(
        Seeded(
            engine="postgresql",
            name=name,
            size=cache.size_of(name),
            data=str(data),
            url=server.url(database),
            accounts=(),
            seconds=0,
            size_bytes=0,
        )
    )


def _kept(data: Path) -> Seeded | None:
    try:
        told = json.loads((data / "seeded.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        shutil.rmtree(data, ignore_errors=True)
        return None
    return Seeded(**{**told, "accounts": tuple(told["accounts"])})


def seed(empty: Seeded) -> Seeded:
    """Fill a new database, which has no schema yet."""
    cache.tell(f"seeding {empty.engine} {empty.name}")
    began = time.monotonic()
    with open_services(empty.settings) as services:
        accounts = make_accounts(services)
    load = _load_sqlite if empty.engine == "sqlite" else _load_postgresql
    size_bytes = load(empty, World(size=empty.size, accounts=accounts))
    told = {**asdict(empty), "accounts": accounts, "seconds": time.monotonic() - began, "size_bytes": size_bytes}
    full = Seeded(**told)
    (Path(empty.data) / "seeded.json").write_text(json.dumps(told), encoding="utf-8")
    cache.tell(f"seeded {full.engine} {full.name}: {full.seconds:.0f} s, {full.size_bytes / 2**20:.0f} MiB")
    return full


def make_accounts(services: Services) -> tuple[str, ...]:
    """An account for each of PAIRS; their ids."""
    for number, pair in enumerate(PAIRS):
        services.access.create_key(account=f"bench-{number}", pair=pair)
    return tuple(services.access.caller(pair.access_key)[0].account_id for pair in PAIRS)


def _progress(made: World) -> Iterator[world.Block]:
    """The blocks, told of now and then."""
    done, told = 0, time.monotonic()
    for block in made.blocks():
        yield block
        done += len(block.tasks)
        if time.monotonic() - told > 10:
            told = time.monotonic()
            cache.tell(f"  {done:,} of {made.size:,}")


# SQLite.


def _load_sqlite(empty: Seeded, made: World) -> int:
    with sqlite3.connect(empty.file, isolation_level=None) as connection:
        # Nothing is lost if this is cut short: it is begun anew. The cache bounds this process's memory.
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-262144"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        with _without_indexes_sqlite(connection):
            _insert(connection, "model_set", world.SET_COLUMNS, made.set_rows())
            _insert(connection, "model_version", world.VERSION_COLUMNS, made.version_rows())
            for block in _progress(made):
                _insert(connection, "task", world.TASK_COLUMNS, block.tasks)
                _insert(connection, "task_tag", world.TAG_COLUMNS, block.tags)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
    return empty.file.stat().st_size


@contextmanager
def _without_indexes_sqlite(connection: sqlite3.Connection) -> Iterator[None]:
    """Every index away meanwhile, but those of unique columns, which a SQLite table is not without."""
    marks = ", ".join("?" * len(_FULL_TABLES))
    named = f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ({marks})"
    indexes = connection.execute(named, _FULL_TABLES).fetchall()
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}")
    yield
    for name, statement in indexes:
        cache.tell(f"  index {name}")
        connection.execute(statement)


def _insert(connection: sqlite3.Connection, table: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    marks = ", ".join("?" * len(columns))
    connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)


# PostgreSQL.


def _load_postgresql(empty: Seeded, made: World) -> int:
    with psycopg.connect(empty.url) as connection:
        connection.execute("SET maintenance_work_mem = '512MB'")
        with _without_indexes_postgresql(connection):
            _copy(connection, "model_set", world.SET_COLUMNS, made.set_rows())
            _copy(connection, "model_version", world.VERSION_COLUMNS, made.version_rows())
            for block in _progress(made):
                _copy(connection, "task", world.TASK_COLUMNS, block.tasks)
                _copy(connection, "task_tag", world.TAG_COLUMNS, block.tags)
        for table in ("model_set", "model_version", "task"):
            # Numbers were given, so the sequence knows nothing of them.
            advance = sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'seq'), max(seq)) FROM {}")
            connection.execute(advance.format(sql.Literal(table), sql.Identifier(table)))
    with psycopg.connect(empty.url, autocommit=True) as connection:
        # What autovacuum would have done by now.
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    assert found is not None
    return int(found[0])


@contextmanager
def _without_indexes_postgresql(connection: psycopg.Connection) -> Iterator[None]:
    """Every index and constraint away meanwhile, but the primary keys and checks.

    A foreign key is a trigger for each row there, and costs more than all else together.
    """
    constraints = connection.execute(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE contype IN ('f', 'u')"
        " AND (conrelid::regclass::text = ANY(%(full)s) OR confrelid::regclass::text = ANY(%(full)s))"
        # Foreign keys first: they rest on what is unique.
        " ORDER BY contype",
        {"full": list(_FULL_TABLES)},
    ).fetchall()
    for table, name, _ in constraints:
        statement = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
        connection.execute(statement.format(sql.Identifier(table), sql.Identifier(name)))
    indexes = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s) AND indexname NOT LIKE 'pk\\_%%'",
        [list(_FULL_TABLES)],
    ).fetchall()
    for name, _ in indexes:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    yield
    for name, definition in indexes:
        cache.tell(f"  index {name}")
        connection.execute(definition.encode())
    for table, name, definition in reversed(constraints):
        cache.tell(f"  constraint {name}")
        named = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(sql.Identifier(table), sql.Identifier(name))
        connection.execute(named.as_string().encode() + definition.encode())


def _copy(connection: psycopg.Connection, table: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    into = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        for row in rows:
            copy.write_row(row)
