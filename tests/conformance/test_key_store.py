"""Accounts, access keys and their secrets in the store."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from modelpress.domain.policy import Policy
from modelpress.errors import NameConflict, NoSuchAccessKey, SettingsError
from modelpress.store.database import Database
from modelpress.store.key_store import KeyStore
from modelpress.store.secret import SecretBox, load_master_key
from modelpress.store.store import Store
from tests.conformance.clock import SettableClock
from tests.conformance.together import at_once, run_together

SECRET = "3f6e-a secret nobody may read"
FULL = (Policy.FULL_CONTROL,)


@pytest.fixture
def put(store: Store, clock: SettableClock) -> Callable[..., str]:
    """Puts a key of an account; the account's id."""

    def put_key(access_key: str, *, secret: str = SECRET, account: str = "ours") -> str:
        account_id = store.keys.account_named(account, now=clock())
        store.keys.put_key(access_key, secret_key=secret, account_id=account_id, policies=FULL, now=clock())
        return account_id

    return put_key


def test_a_key_gives_its_account_its_secret_and_its_policies(store: Store, clock: SettableClock) -> None:
    account_id = store.keys.account_named("ours", now=clock())
    granted = frozenset({Policy.READ, Policy.TUNING_READ})
    store.keys.put_key("AK", secret_key=SECRET, account_id=account_id, policies=granted, now=clock())
    credential = store.keys.credential("AK")
    assert credential is not None
    assert (credential.account_id, credential.secret_key, credential.policies) == (account_id, SECRET, granted)
    assert SECRET not in repr(credential)


def test_an_unknown_key_gives_no_credential(store: Store) -> None:
    assert store.keys.credential("nobody") is None


def test_an_account_has_one_id_however_often_and_by_how_many_it_is_named(store: Store, clock: SettableClock) -> None:
    ids: set[str] = set()
    assert at_once(*[lambda: ids.add(store.keys.account_named("new", now=clock()))] * 8) == [None] * 8
    assert ids == {store.keys.account_named("new", now=clock())}


def test_a_key_in_force_cannot_be_put_again_by_anybody(store: Store, put: Callable[..., str]) -> None:
    put("AK")
    for account in ("ours", "theirs"):
        with pytest.raises(NameConflict, match="AK"):
            put("AK", secret="other", account=account)
    credential = store.keys.credential("AK")
    assert credential is not None
    assert credential.secret_key == SECRET


def test_of_several_that_put_the_same_key_at_once_one_succeeds(store: Store, put: Callable[..., str]) -> None:
    secrets = [f"secret {number}" for number in range(8)]
    outcomes = at_once(*(partial(put, "AK", secret=secret) for secret in secrets))
    credential = store.keys.credential("AK")
    assert credential is not None
    assert [secret for secret, outcome in zip(secrets, outcomes, strict=True) if outcome is None] == [
        credential.secret_key
    ]
    assert {type(outcome) for outcome in outcomes} == {type(None), NameConflict}


def test_a_revoked_key_gives_no_credential_at_once_for_another_server_too(
    store: Store, database_url: str, put: Callable[..., str], clock: SettableClock
) -> None:
    put("AK")
    database = Database(database_url)
    try:
        other = KeyStore(database, SecretBox(bytes(32)))
        assert other.credential("AK") is not None
        store.keys.revoke("AK", now=clock())
        assert other.credential("AK") is None
    finally:
        database.close()


@pytest.mark.parametrize("access_key", ["AK", "nobody"])
def test_a_key_that_is_not_in_force_cannot_be_revoked(
    store: Store, put: Callable[..., str], clock: SettableClock, access_key: str
) -> None:
    put("AK")
    store.keys.revoke("AK", now=clock())
    with pytest.raises(NoSuchAccessKey, match=access_key):
        store.keys.revoke(access_key, now=clock())


def test_a_revoked_key_can_be_taken_over_by_its_own_account_only(
    store: Store, put: Callable[..., str], clock: SettableClock
) -> None:
    account_id = put("AK")
    store.keys.revoke("AK", now=clock())
    with pytest.raises(NameConflict):
        put("AK", account="theirs")
    assert store.keys.credential("AK") is None
    put("AK", secret="the new secret")
    credential = store.keys.credential("AK")
    assert credential is not None
    assert (credential.account_id, credential.secret_key) == (account_id, "the new secret")


def test_keys_are_listed_oldest_first_revoked_ones_too(
    store: Store, put: Callable[..., str], clock: SettableClock
) -> None:
    for access_key in ("b", "A", "a"):
        put(access_key)
        clock.advance(seconds=1)
    store.keys.revoke("A", now=clock())
    listed = store.keys.keys()
    assert [key.id for key in listed] == ["b", "A", "a"]
    assert [key.revoked_at for key in listed] == [None, clock(), None]
    assert {key.account_name for key in listed} == {"ours"}
    assert clock() - listed[0].created_at == timedelta(seconds=3)


# --- secrets at rest -----------------------------------------------------------------------------------------


def test_the_database_does_not_hold_the_secret(store: Store, database: Database, put: Callable[..., str]) -> None:
    put("AK")
    with database.read() as connection:
        sealed = bytes(connection.execute(text("SELECT secret FROM access_key")).scalar_one())
    for form in (SECRET.encode(), base64.b64encode(SECRET.encode()), SECRET.encode().hex().encode()):
        assert form not in sealed


def test_the_same_secret_is_written_differently_each_time(
    store: Store, database: Database, put: Callable[..., str]
) -> None:
    put("AK1")
    put("AK2")
    with database.read() as connection:
        sealed = connection.execute(text("SELECT secret FROM access_key")).scalars().all()
    assert len({bytes(row) for row in sealed}) == 2


def test_a_secret_moved_to_another_key_does_not_decrypt(
    store: Store, database: Database, put: Callable[..., str]
) -> None:
    put("AK1")
    put("AK2")
    with database.write() as connection:
        connection.execute(
            text("UPDATE access_key SET secret = (SELECT secret FROM access_key WHERE id = 'AK1') WHERE id = 'AK2'")
        )
    assert store.keys.credential("AK1") is not None
    with pytest.raises(SettingsError, match="AK2"):
        store.keys.credential("AK2")


def test_another_master_key_is_told_from_the_right_one(database: Database, put: Callable[..., str]) -> None:
    put("AK")
    with pytest.raises(SettingsError, match="AK") as caught:
        KeyStore(database, SecretBox(b"\1" * 32)).credential("AK")
    assert caught.value.hint is not None
    assert "key_file" in caught.value.hint


def test_the_master_key_is_made_once_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "master.key"
    made = load_master_key(path)
    assert len(made) == 32
    assert load_master_key(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["master.key"]


def test_two_processes_that_start_at_once_agree_on_the_master_key(tmp_path: Path) -> None:
    code = "from modelpress.store.secret import load_master_key\nprint(load_master_key(Path(sys.argv[1])).hex())"
    answers = run_together(code, str(tmp_path / "master.key"), processes=3)
    assert answers == [load_master_key(tmp_path / "master.key").hex()] * 3


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"", "0 bytes"), (b"AAAA", "3 bytes"), (b"not base64!", "not base64"), (b"\xff\xfe", "not base64")],
)
def test_a_file_that_is_no_master_key_is_refused_by_name(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=complaint) as caught:
        load_master_key(path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_a_master_key_that_cannot_be_made_is_an_error_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match="master key"):
        load_master_key(tmp_path / "file" / "master.key")
