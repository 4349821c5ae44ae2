"""The schema: what migrations make is what the tables say, however many start at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from modelpress.errors import SettingsError
from modelpress.store.database import Database
from modelpress.store.table import metadata
from modelpress.store.upgrade import upgrade
from tests.conformance.together import run_together
from tests.conftest import EmptyDatabase

#: What a database says of its own schema, each object as text.
_SCHEMA = {
    "sqlite": "SELECT type || ' ' || name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%' ORDER BY 1",
    "postgresql": """
        SELECT 'index ' || indexname, indexdef FROM pg_indexes
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
        UNION ALL
        SELECT 'constraint ' || conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace AND conrelid IS DISTINCT FROM to_regclass('alembic_version')
        UNION ALL
        SELECT 'column ' || table_name || '.' || column_name, concat_ws(' ', data_type, is_nullable, column_default)
        FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
        ORDER BY 1
    """,
}


def _schema(database: Database) -> dict[str, str]:
    with database.read() as connection:
        rows = connection.execute(text(_SCHEMA[database.dialect])).all()
    return {name: " ".join(definition.split()) for name, definition in rows if definition}


def _revision(database: Database) -> str | None:
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def test_the_tables_and_the_migrated_schema_do_not_differ(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_migrated_schema_is_a_fresh_one_to_the_last_condition(
    database: Database, empty_database: EmptyDatabase
) -> None:
    """Also what the comparison of tables leaves out: checks, and the conditions of partial indexes."""
    fresh = Database(empty_database())
    try:
        with fresh.write() as connection:
            metadata.create_all(connection)
        expected = _schema(fresh)
    finally:
        fresh.close()
    migrated = _schema(database)
    assert len(expected) > 10
    if database.dialect == "sqlite":  # constraints stand in the table's own text, in another order
        expected, migrated = ({k: "".join(sorted(v)) for k, v in schema.items()} for schema in (expected, migrated))
    assert migrated == expected


def test_upgrading_again_changes_nothing(database: Database) -> None:
    before, revision = _schema(database), _revision(database)
    upgrade(database)
    assert (_schema(database), _revision(database)) == (before, revision)


def test_processes_that_upgrade_at_once_leave_one_sound_schema(
    database: Database, empty_database: EmptyDatabase
) -> None:
    url = empty_database()
    code = (
        "from modelpress.store.database import Database; from modelpress.store.upgrade import upgrade\n"
        "database = Database(sys.argv[1])\nupgrade(database)\ndatabase.close()"
    )
    run_together(code, url, processes=3)
    upgraded = Database(url)
    try:
        assert (_schema(upgraded), _revision(upgraded)) == (_schema(database), _revision(database))
    finally:
        upgraded.close()


def test_a_database_of_a_newer_version_is_refused_and_left_as_it_is(empty_database: EmptyDatabase) -> None:
    database = Database(empty_database())
    try:
        upgrade(database)
        with database.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(SettingsError, match="9999") as caught:
            upgrade(database)
        assert caught.value.hint is not None
        assert _revision(database) == "9999"
    finally:
        database.close()


def test_a_revision_that_fails_leaves_nothing_behind(empty_database: EmptyDatabase) -> None:
    database = Database(empty_database())
    try:
        with database.write() as connection:  # in the way of the first revision's last table
            connection.execute(text("CREATE TABLE task_event (seq INTEGER)"))
        before = _schema(database)
        with pytest.raises(Exception, match="database"):
            upgrade(database)
        assert (_schema(database), _revision(database)) == (before, None)
    finally:
        database.close()


def test_each_revision_has_one_file_and_the_chain_has_one_head() -> None:
    import modelpress.store

    versions = Path(modelpress.store.__file__).parent / "migrations" / "versions"
    names = sorted(path.name for path in versions.glob("*.py"))
    assert [name.split("_")[0] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
