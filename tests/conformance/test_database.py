"""Opening a database, reading one state of it, and what happens when it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from modelpress.domain.page import PageRequest
from modelpress.errors import ModelpressError, SettingsError, StoreUnavailable
from modelpress.settings import Settings
from modelpress.store.database import Database
from modelpress.store.secret import SecretBox
from modelpress.store.store import Store, open_store
from modelpress.store.upgrade import upgrade
from tests.conformance.clock import SettableClock
from tests.conformance.postgres import PostgresServer, running_server
from tests.conformance.scene import Scene, make_scene

_COUNT = text("SELECT count(*) FROM task")


def test_a_reader_sees_one_state_whatever_is_written_meanwhile(scene: Scene) -> None:
    with scene.database.read() as connection:
        before = connection.execute(_COUNT).scalar_one()
        scene.task()
        assert connection.execute(_COUNT).scalar_one() == before
    with scene.database.read() as connection:
        assert connection.execute(_COUNT).scalar_one() == before + 1


def test_what_fails_in_the_middle_is_not_written(scene: Scene) -> None:
    before = scene.everything()

    def change_and_fail() -> None:
        with scene.database.write() as connection:
            connection.execute(text("UPDATE model_set SET name = 'changed'"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    assert scene.everything() == before


def test_a_statement_the_database_refuses_is_told_without_the_drivers_text(database: Database) -> None:
    with pytest.raises(StoreUnavailable) as caught, database.read() as connection:
        connection.execute(text("SELECT 'a secret' FROM nowhere"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["modelpress.db", "mysql://host/name", ""])
def test_a_url_that_is_no_database_of_ours_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="database") as caught:
        Database(url)
    assert caught.value.hint is not None
    assert "sqlite:///" in caught.value.hint


def test_a_password_in_a_url_that_is_refused_is_not_told() -> None:
    with pytest.raises(SettingsError) as caught:
        Database("oracle://user:hunter2@host/name")
    assert "hunter2" not in str(caught.value)


# --- SQLite --------------------------------------------------------------------------------------------------


def test_a_store_is_made_where_there_is_none_and_opened_where_there_is(tmp_path: Path, clock: SettableClock) -> None:
    settings = Settings(data=tmp_path / "new" / "data")
    first = open_store(settings)
    account_id = first.keys.account_named("ours", now=clock())
    first.close()
    second = open_store(settings)
    assert second.keys.account_named("ours", now=clock()) == account_id
    second.close()


def test_a_commit_survives_power_loss_and_readers_do_not_wait(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'modelpress.db'}")
    with database.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    database.close()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_file_that_is_no_database_is_unavailable_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "modelpress.db").write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(StoreUnavailable):
        open_store(Settings(data=tmp_path))
    assert (tmp_path / "modelpress.db").read_bytes().startswith(b"not a database")


def test_a_database_whose_pages_were_overwritten_is_unavailable(tmp_path: Path, clock: SettableClock) -> None:
    settings = Settings(data=tmp_path)
    store = open_store(settings)
    store.keys.account_named("ours", now=clock())
    store.close()
    path = tmp_path / "modelpress.db"
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (path.stat().st_size - 4096))
    database = Database(settings.database_url)
    try:
        with pytest.raises(StoreUnavailable):
            Store(database, SecretBox(bytes(32))).keys.account_named("ours", now=clock())
    finally:
        database.close()


def test_a_place_where_no_database_can_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="file"):
        Database(f"sqlite:///{tmp_path / 'file' / 'modelpress.db'}")


# --- PostgreSQL ----------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_a_server_that_goes_away_is_told_and_one_that_comes_back_is_used(clock: SettableClock) -> None:
    with running_server() as server:
        database = Database(server.url(server.create_database()))
        try:
            upgrade(database)
            scene = make_scene(Store(database, SecretBox(bytes(32))), database, clock)
            task = scene.task()
            server.stop()
            _every_use_is_refused(scene)
            server.start()
            assert scene.get(task) == task
        finally:
            database.close()


def _every_use_is_refused(scene: Scene) -> None:
    for use in (
        scene.task,
        scene.claim,
        lambda: scene.set_named("new"),
        lambda: scene.store.keys.credential("AK"),
        lambda: scene.store.tasks.page(PageRequest(), account_id=scene.account_id),
    ):
        with pytest.raises(StoreUnavailable):
            use()


@pytest.mark.postgres
def test_a_store_on_a_server_that_is_not_there_cannot_be_opened(postgres: PostgresServer, tmp_path: Path) -> None:
    absent = f"postgresql://postgres@/postgres?host={tmp_path}"
    for url in (absent, postgres.url("no_such_database")):
        with pytest.raises(StoreUnavailable) as caught:
            open_store(Settings(data=tmp_path, database=url))
        assert isinstance(caught.value, ModelpressError)


def test_what_need_not_be_durable_waits_for_no_disk_and_the_next_write_does_again(database: Database) -> None:
    asked = {"sqlite": "PRAGMA synchronous", "postgresql": "SHOW synchronous_commit"}[database.dialect]
    waits = {"sqlite": 2, "postgresql": "on"}[database.dialect]
    seen = []
    for durable in (True, False, False, True):
        with database.write(durable=durable) as connection:
            seen.append(connection.exec_driver_sql(asked).scalar_one() == waits)
    assert seen == [True, False, False, True]
