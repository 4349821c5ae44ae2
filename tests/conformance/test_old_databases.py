"""A database that an older version filled, upgraded: everything is still there, and old keys still let people in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

import modelpress.store
from modelpress.domain.policy import Policy
from modelpress.domain.task import TaskStatus
from modelpress.store.database import Database
from modelpress.store.secret import SecretBox
from modelpress.store.store import Store
from modelpress.store.upgrade import upgrade
from tests.conftest import EmptyDatabase

_FULL, _READ, _TUNING = Policy.FULL_CONTROL, Policy.READ, Policy.TUNING_FULL_CONTROL
#: Key, account, policies as they were stored, and whether the key was revoked.
_KEYS: list[tuple[str, str, list[Policy], bool]] = [
    ("AK1", "acc-ours", [_FULL], False),
    ("AK2", "acc-ours", [_READ], False),
    ("AK3", "acc-ours", [_FULL], False),
    ("AK4", "acc-ours", [_FULL, _READ], False),
    ("AK5", "acc-ours", [], False),
    ("AK6", "acc-theirs", [_READ], False),
    ("AK7", "acc-theirs", [_TUNING], True),
]
_INSERTS: list[tuple[str, list[dict[str, Any]]]] = [
    (
        "INSERT INTO account (id, name, created_at) VALUES (:id, :name, 1)",
        [{"id": "acc-ours", "name": "ours"}, {"id": "acc-theirs", "name": "theirs"}, {"id": "acc-x", "name": "empty"}],
    ),
    (
        "INSERT INTO access_key (id, account_id, secret, policies, created_at, revoked_at)"
        " VALUES (:id, :account, :secret, :policies, :created, :revoked)",
        [
            {
                "id": access_key,
                "account": account,
                "secret": SecretBox(bytes(32)).seal(f"secret of {access_key}", access_key=access_key),
                "policies": json.dumps(policies),
                "created": 10 + number,
                "revoked": 99 if revoked else None,
            }
            for number, (access_key, account, policies, revoked) in enumerate(_KEYS)
        ],
    ),
    (
        "INSERT INTO model_set (id, account_id, name, model_type, labels, created_at, modified_at)"
        " VALUES ('am-1', 'acc-ours', 'set', 'Text2Text', '[]', 1, 1)",
        [{}],
    ),
    (
        "INSERT INTO model_version (id, account_id, set_id, name, description, source_type, bucket, path, model_format,"
        " application_type, architecture, size_bytes, created_at, modified_at) VALUES ('amv-1', 'acc-ours', 'am-1',"
        " 'set-V1', '', 'Import', 'local', 'tiny', 'HuggingFace.Transformers', 'chat', 'LlamaForCausalLM', 1, 1, 1)",
        [{}],
    ),
    (
        "INSERT INTO task (id, account_id, name, description, status, recipe, source_model_id, model_set_id,"
        " output_model_id, created_at) VALUES ('amva-1', 'acc-ours', 'task', '', 'failed', :recipe, 'amv-1', 'am-1',"
        " 'amv-2', 1)",
        [{"recipe": '{"strategy": "Quantization", "scheme": "W8A16C16", "method": "rtn"}'}],
    ),
    (
        "INSERT INTO task_event (task_id, at, status, attempt, message) VALUES ('amva-1', 1, 'creating', 0, 'made')",
        [{}],
    ),
]
#: The revisions before keys had users; later ones are made of these by the same upgrade.
_OLD = ["0001", "0002"]


def _upgrade_to(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(modelpress.store.__file__).parent / "migrations"))
    assert revision in {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@pytest.fixture(params=_OLD)
def upgraded(request: pytest.FixtureRequest, empty_database: EmptyDatabase) -> Iterator[Database]:
    """A database that was filled at an old revision, and then upgraded."""
    database = Database(empty_database())
    try:
        _upgrade_to(database, request.param)
        with database.write() as connection:
            for statement, rows in _INSERTS:
                connection.execute(text(statement), rows)
        upgrade(database)
        yield database
    finally:
        database.close()


def test_old_keys_stand_for_the_same_accounts_secrets_and_policies(upgraded: Database) -> None:
    store = Store(upgraded, SecretBox(bytes(32)))
    for access_key, account, policies, revoked in _KEYS:
        credential = store.keys.credential(access_key)
        if revoked:
            assert credential is None
            continue
        assert credential is not None
        assert (credential.account_id, credential.policies) == (account, frozenset(policies))
        assert credential.secret_key == f"secret of {access_key}"
    listed = store.keys.keys()
    assert [key.revoked_at is not None for key in listed] == [revoked for *_, revoked in _KEYS]


def test_keys_of_one_account_and_the_same_policies_have_one_user_with_a_telling_name(upgraded: Database) -> None:
    store = Store(upgraded, SecretBox(bytes(32)))
    listed = store.keys.keys()
    owners = {key.id: (key.account_name, key.user_name) for key in listed}
    assert owners == {
        "AK1": ("ours", "admin"),
        "AK2": ("ours", "reader"),
        "AK3": ("ours", "admin"),
        "AK4": ("ours", "user-3"),
        "AK5": ("ours", "user-4"),
        "AK6": ("theirs", "reader"),
        "AK7": ("theirs", "tuning-admin"),
    }
    assert len({user.id for user in store.keys.users()}) == 6
    assert [account.users for account in store.keys.accounts()].count(0) == 1


def test_old_tasks_and_models_are_there(upgraded: Database) -> None:
    store = Store(upgraded, SecretBox(bytes(32)))
    task = store.tasks.get("amva-1", account_id="acc-ours")
    assert (task.status, task.recipe.scheme.name) == (TaskStatus.FAILED, "W8A16C16")
    assert store.models.get_version("amv-1", account_id="acc-ours").set_id == "am-1"
