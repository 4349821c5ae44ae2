"""``modelpress account``, ``user`` and ``key``, which open the database directly, beside a running server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelpress.domain.policy import SHORT_NAMES, Policy
from tests.unit.cli.conftest import Cli, RunningServer

FULL, READ, TUNING_READ = Policy.FULL_CONTROL.value, Policy.READ.value, Policy.TUNING_READ.value


def _json(cli: Cli, *arguments: object) -> Any:
    outcome = cli(*arguments, "--json")
    assert (outcome.code, outcome.err) == (0, "")
    return json.loads(outcome.out)


def test_a_key_without_a_word_is_the_administrators(cli: Cli) -> None:
    made = cli("key", "create")
    assert (made.code, made.err) == (0, "")
    names = [line.split("=")[0] for line in made.out.splitlines()]
    assert names == ["QIANFAN_ACCESS_KEY", "QIANFAN_SECRET_KEY"]
    (key,) = _json(cli, "key", "list")
    assert (key["account"], key["user"], key["policies"], key["state"]) == ("default", "admin", [FULL], "in force")
    assert made.out.startswith(f"QIANFAN_ACCESS_KEY={key['accessKey']}\n")


def test_what_was_made_is_listed_in_tables_for_people(cli: Cli) -> None:
    cli("account", "create", "empty")
    cli("user", "create", "bob", "--account", "team", "--policy", "read", "--policy", "tuning-read")
    for access_key in ("AK1", "AK2"):
        cli("key", "create", "--account", "team", "--user", "bob", "--access-key", access_key, "--secret-key", "s")
    cli("key", "revoke", "AK1")
    assert cli("account", "list").plain == (
        "ACCOUNT  ID                USERS  CREATED\n"
        "empty    acc-xxxxxxxxxxxx  0      YYYY-MM-DD hh:mm\n"
        "team     acc-xxxxxxxxxxxx  1      YYYY-MM-DD hh:mm\n"
    )
    assert cli("user", "list").plain == (
        "USER  ACCOUNT  POLICIES                                                     KEYS  CREATED\n"
        "bob   team     QianfanModelTuningReadAccessPolicy, QianfanReadAccessPolicy  1     YYYY-MM-DD hh:mm\n"
    )
    both = f"{TUNING_READ}, {READ}"
    assert cli("key", "list").plain == (
        f"ACCESS KEY  ACCOUNT  USER  {'POLICIES':{len(both)}}  CREATED           STATE\n"
        f"AK1         team     bob   {both}  YYYY-MM-DD hh:mm  revoked\n"
        f"AK2         team     bob   {both}  YYYY-MM-DD hh:mm  in force\n"
    )


def test_what_was_made_is_json_for_programs(cli: Cli) -> None:
    account = _json(cli, "account", "create", "team")
    assert account["accountId"].startswith("acc-")
    user = _json(cli, "user", "create", "bob", "--account", "team", "--policy", "full")
    assert (user["user"], user["account"], user["policies"], user["keysInForce"]) == ("bob", "team", [FULL], 0)
    key = _json(cli, "key", "create", "--account", "team", "--user", "bob")
    assert (key["account"], key["user"]) == ("team", "bob")
    cli("key", "create")
    for filtered in (("--account", "team"), ("--user", "bob"), ("--account", "team", "--user", "bob")):
        assert [one["accessKey"] for one in _json(cli, "key", "list", *filtered)] == [key["accessKey"]]
    assert _json(cli, "key", "list", "--account", "team", "--user", "admin") == []
    listed, _ = _json(cli, "account", "list")
    assert (listed["account"], listed["accountId"], listed["users"]) == ("team", account["accountId"], 1)
    assert _json(cli, "user", "list", "--account", "another") == []
    assert _json(cli, "user", "policy", "bob", "--account", "team", "--policy", "read")["policies"] == [READ]
    (bob,) = _json(cli, "user", "list", "--account", "team")
    assert (bob["userId"], bob["policies"], bob["keysInForce"]) == (user["userId"], [READ], 1)
    assert _json(cli, "key", "revoke", key["accessKey"]) == {"accessKey": key["accessKey"], "state": "revoked"}
    deleted = {"user": "bob", "account": "team", "state": "deleted"}
    assert _json(cli, "user", "delete", "bob", "--account", "team") == deleted
    assert [one["user"] for one in _json(cli, "user", "list") + _json(cli, "key", "list")] == ["admin", "admin"]


@pytest.mark.parametrize("short", SHORT_NAMES)
def test_a_policy_is_written_in_full_or_short_in_any_letter_case(cli: Cli, short: str) -> None:
    full = SHORT_NAMES[short].value
    for number, written in enumerate((short, short.upper(), full, full.lower())):
        assert _json(cli, "user", "create", f"user-{number}", "--policy", written)["policies"] == [full]


def test_a_policy_that_is_none_is_wrong_usage_and_so_is_a_user_without_any(cli: Cli) -> None:
    for command in (("user", "create", "bob"), ("user", "policy", "bob"), ("key", "create")):
        outcome = cli(*command, "--policy", "write")
        assert outcome.code == 2
        assert "'write' is none of full, read, tuning-full, tuning-read, nor one's documented name" in outcome.err
    assert cli("user", "create", "bob").code == 2
    assert _json(cli, "user", "list") == []


def test_a_new_user_of_a_key_needs_policies_and_an_old_one_keeps_its_own(cli: Cli) -> None:
    refused = cli("key", "create", "--user", "bob")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "error: account 'default' has no user 'bob'\nhint: give --policy to make it\n"
    cli("key", "create", "--user", "bob", "--policy", "read")
    cli("key", "create", "--user", "bob", "--policy", READ)
    cli("key", "create", "--user", "bob")
    refused = cli("key", "create", "--user", "bob", "--policy", "full")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == (
        "error: user 'bob' of account 'default' exists with other policies: QianfanReadAccessPolicy\n"
        "hint: name another user with --user, or change this one's with modelpress user policy\n"
    )
    assert [user["keysInForce"] for user in _json(cli, "user", "list")] == [3]


def test_mistakes_are_told_in_a_line_and_a_hint(cli: Cli) -> None:
    cli("user", "create", "bob", "--policy", "read")
    cli("key", "create", "--user", "bob")
    for command, error, hint in (
        (("account", "create", "default"), "account 'default' already exists", ""),
        (("account", "create", " x"), "account: a name has 1 to 64 printable characters, no space at its ends", ""),
        (("user", "create", "bob", "--policy", "read"), "user 'bob' already exists", ""),
        (("user", "delete", "eve"), "account 'default' has no user 'eve'", "modelpress user list shows all"),
        (("user", "policy", "eve", "--policy", "read"), "account 'default' has no user 'eve'", "modelpress user list"),
        (("user", "delete", "bob"), "user 'bob' of account 'default' has access keys in force", "modelpress key list"),
        (("key", "revoke", "AK"), "no access key 'AK'", ""),
    ):
        outcome = cli(*command)
        assert (outcome.code, outcome.out) == (1, "")
        assert outcome.err.startswith(f"error: {error}\n" + (f"hint: {hint}" if hint else ""))
    assert cli("key", "create", "--access-key", "AK").code == 2


def test_a_running_server_holds_a_users_new_policies_at_once(cli: Cli, server: RunningServer) -> None:
    assert cli("model", "create", "first").code == 0
    assert cli("user", "policy", "admin", "--policy", "read").err == "admin has QianfanReadAccessPolicy\n"
    assert cli("model", "list").code == 0
    refused = cli("model", "create", "second")
    assert refused.code == 1
    assert "AccessDenied" in refused.err
    cli("user", "policy", "admin", "--policy", "tuning-full")
    assert cli("model", "create", "second").code == 0
    cli("key", "revoke", server.access_key)
    assert "InvalidAccessKeyId" in cli("model", "list").err
