"""Accounts, access keys and their secrets in the store."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import text

from modelpress.domain.policy import Policy
from modelpress.errors import NameConflict, NoSuchAccessKey, NoSuchUser, SettingsError, UserInUse
from modelpress.store.database import Database
from modelpress.store.key_store import KeyStore, User
from modelpress.store.secret import SecretBox, load_master_key
from modelpress.store.store import Store
from tests.conformance.clock import SettableClock
from tests.conformance.together import at_once, run_together

SECRET = "3f6e-a secret nobody may read"
FULL = (Policy.FULL_CONTROL,)


@pytest.fixture
def put(store: Store, clock: SettableClock) -> Callable[..., str]:
    """Puts a key of an account; the account's id."""

    def put_key(access_key: str, *, secret: str = SECRET, account: str = "ours", user: str = "admin") -> str:
        owner = a_user(store, clock, user, account=account)
        store.keys.put_key(access_key, secret_key=secret, user=owner, now=clock())
        return owner.account_id

    return put_key


def a_user(
    store: Store, clock: SettableClock, name: str = "admin", *, account: str = "ours", policies: Iterable[Policy] = FULL
) -> User:
    """The user of this name; made if there is none."""
    account_id = store.keys.account_named(account, now=clock())
    with suppress(NameConflict):
        store.keys.create_user(name, account_id=account_id, policies=policies, now=clock())
    found = store.keys.find_user(name, account=account)
    assert found is not None
    return found


def test_a_key_gives_its_secret_and_its_users_account_and_policies(
    store: Store, put: Callable[..., str], clock: SettableClock
) -> None:
    granted = frozenset({Policy.READ, Policy.TUNING_READ})
    user = a_user(store, clock, "reader", policies=granted)
    put("AK", user="reader")
    for _ in range(2):  # the second time from memory
        credential = store.keys.credential("AK")
        assert credential is not None
        assert (credential.account_id, credential.user_id) == (user.account_id, user.id)
        assert (credential.secret_key, credential.policies) == (SECRET, granted)
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
    assert {(key.account_name, key.user_name) for key in listed} == {("ours", "admin")}
    assert clock() - listed[0].created_at == timedelta(seconds=3)


def test_a_key_taken_over_is_the_new_users(store: Store, put: Callable[..., str], clock: SettableClock) -> None:
    put("AK")
    store.keys.revoke("AK", now=clock())
    reader = a_user(store, clock, "reader", policies={Policy.READ})
    put("AK", user="reader")
    credential = store.keys.credential("AK")
    assert credential is not None
    assert (credential.user_id, credential.policies) == (reader.id, reader.policies)


# --- accounts and users --------------------------------------------------------------------------------------


def test_an_accounts_name_is_its_own(store: Store, clock: SettableClock) -> None:
    account_id = store.keys.create_account("ours", now=clock())
    with pytest.raises(NameConflict, match="ours"):
        store.keys.create_account("ours", now=clock())
    assert store.keys.account_named("ours", now=clock()) == account_id


def test_accounts_are_listed_oldest_first_with_how_many_users_they_have(store: Store, clock: SettableClock) -> None:
    for name in ("b", "A", "a"):
        store.keys.create_account(name, now=clock())
        clock.advance(seconds=1)
    for user in ("one", "two"):
        a_user(store, clock, user, account="A")
    assert [(account.name, account.users) for account in store.keys.accounts()] == [("b", 0), ("A", 2), ("a", 0)]


def test_a_users_name_is_its_own_within_its_account(store: Store, clock: SettableClock) -> None:
    ours, theirs = a_user(store, clock, "same"), a_user(store, clock, "same", account="theirs")
    assert ours.id != theirs.id
    assert ours.id.startswith("usr-")
    with pytest.raises(NameConflict, match="same"):
        store.keys.create_user("same", account_id=ours.account_id, policies=FULL, now=clock())
    assert store.keys.find_user("same", account="nobody's") is None
    assert store.keys.find_user("other", account="ours") is None


def test_users_are_listed_oldest_first_with_how_many_keys_are_in_force(
    store: Store, put: Callable[..., str], clock: SettableClock
) -> None:
    for name, keys in (("b", 0), ("A", 3), ("a", 1)):
        user = a_user(store, clock, name, policies={Policy.TUNING_READ})
        for number in range(keys):
            put(f"{name}{number}", user=name)
        assert user.policies == {Policy.TUNING_READ}
        clock.advance(seconds=1)
    store.keys.revoke("A1", now=clock())
    listed = [(user.name, user.account_name, user.keys_in_force) for user in store.keys.users()]
    assert listed == [("b", "ours", 0), ("A", "ours", 2), ("a", "ours", 1)]


def test_other_policies_hold_at_once_for_every_key_of_the_user_and_for_another_server_too(
    store: Store, database_url: str, put: Callable[..., str], clock: SettableClock
) -> None:
    user = a_user(store, clock, "reader")
    for access_key in ("AK1", "AK2"):
        put(access_key, user="reader")
    put("AK3")
    database = Database(database_url)
    try:
        other = KeyStore(database, SecretBox(bytes(32)))
        assert other.credential("AK1") == store.keys.credential("AK1")
        store.keys.set_policies(user, [Policy.READ])
        for keys in (store.keys, other):
            found = [keys.credential(access_key) for access_key in ("AK1", "AK2", "AK3")]
            expected = [{Policy.READ}, {Policy.READ}, {Policy.FULL_CONTROL}]
            assert [credential.policies for credential in found if credential] == expected
    finally:
        database.close()


def test_another_secret_holds_at_once_for_another_server_too(
    store: Store, database_url: str, put: Callable[..., str], clock: SettableClock
) -> None:
    put("AK")
    database = Database(database_url)
    try:
        other = KeyStore(database, SecretBox(bytes(32)))
        assert other.credential("AK") is not None
        store.keys.revoke("AK", now=clock())
        put("AK", secret="the new secret")
        credential = other.credential("AK")
        assert credential is not None
        assert credential.secret_key == "the new secret"
    finally:
        database.close()


def test_a_user_goes_with_its_revoked_keys_but_not_while_one_is_in_force(
    store: Store, put: Callable[..., str], clock: SettableClock
) -> None:
    user = a_user(store, clock, "leaver")
    for access_key in ("AK1", "AK2"):
        put(access_key, user="leaver")
    put("AK3")
    store.keys.revoke("AK1", now=clock())
    with pytest.raises(UserInUse, match="leaver") as caught:
        store.keys.delete_user(user)
    assert caught.value.hint is not None
    listed = store.keys.keys()
    assert {key.id for key in listed} == {"AK1", "AK2", "AK3"}  # nothing was half done
    store.keys.revoke("AK2", now=clock())
    store.keys.delete_user(user)
    (left,) = store.keys.keys()
    assert left.id == "AK3"
    assert [other.name for other in store.keys.users()] == ["admin"]


def test_a_user_that_is_gone_can_not_be_changed_nor_get_keys(store: Store, clock: SettableClock) -> None:
    user = a_user(store, clock, "leaver")
    store.keys.delete_user(user)
    with pytest.raises(NoSuchUser, match="leaver"):
        store.keys.put_key("AK", secret_key=SECRET, user=user, now=clock())
    with pytest.raises(NoSuchUser, match="leaver"):
        store.keys.set_policies(user, FULL)
    with pytest.raises(NoSuchUser, match="leaver"):
        store.keys.delete_user(user)


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
