"""Bringing a database's schema to the newest revision; apart from the rest because Alembic is slow to import."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError

from modelpress.errors import SettingsError
from modelpress.store.database import Database


def upgrade(database: Database) -> None:
    """Apply what is missing, in one transaction.

    Raises: SettingsError if the database was written by a newer version.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    head = ScriptDirectory.from_config(config).get_current_head()
    with database.write() as connection:
        if database.dialect == "postgresql":
            # Two servers that start at once upgrade one after the other; the number is ours, and means nothing.
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7308325)")
        if MigrationContext.configure(connection).get_current_revision() == head:
            return
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as exc:
            raise SettingsError(f"the database cannot be upgraded: {exc}", hint="is it of a newer modelpress?") from exc
