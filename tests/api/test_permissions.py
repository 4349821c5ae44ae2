"""Which policies allow which action: the documents' own table, action by action, against every set of policies."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from modelpress.domain.policy import Policy
from tests.api.server import Account, RunningServer, import_body, task_body
from tests.api.test_fields import BODIES, FORMS

_WRITERS = frozenset({Policy.FULL_CONTROL, Policy.TUNING_FULL_CONTROL})
_ANY = frozenset(Policy)

#: The policies of which one is needed. Written down from Baidu's documents (the section on permissions of each action's
#: page), never derived from the code: a new action needs a row here, and a reason for it. None: whoever signs.
DOCUMENTED: dict[str, frozenset[Policy] | None] = {
    "CreateModelCompTask": _WRITERS,
    "DescribeModelCompTask": _ANY,
    "DescribeModelCompTasks": _ANY,
    "CancelModelCompTask": _WRITERS,
    "DeleteModelCompTask": _WRITERS,
    "CreateCustomModelSet": _WRITERS,
    "DescribeCustomModelSets": _ANY,
    "DescribeModelSet": _ANY,
    "DeleteModelSet": _WRITERS,
    "CreateCustomModel": _WRITERS,
    "DescribeModel": _ANY,
    "DeleteModel": _WRITERS,
    "CreateModelExportTask": _WRITERS,
    # These two only read, yet their pages ask for one of the full-control policies.
    "DescribeModelExportTask": _WRITERS,
    "DescribeModelSystemAdvancedConf": _WRITERS,
    "DescribeModelCustomAdvancedConf": _ANY,
    "CreateModelCustomConf": _WRITERS,
    # The pages of these have no section on permissions. What all accounts share, every key reads; of the old API, what
    # reads, reads, and what writes, writes.
    "DescribeSystemModelSets": None,
    "DescribeSystemModelSet": None,
    "DescribeSystemModel": None,
    "modelVersionDetail": _ANY,
    "modelDetail": _ANY,
    "publishTrainModel": _WRITERS,
    # Our own: what makes or changes something is held as the documented actions that do, what reads as those that read.
    "RetryModelCompTask": _WRITERS,
    "DescribeModelCompTaskLogs": _ANY,
    "DescribeModelCompTaskReport": _ANY,
    "DescribeModelCompSchemes": _ANY,
    "EstimateModelCompTask": _ANY,
}

SUBSETS = [frozenset[Policy](), *(frozenset({policy}) for policy in Policy), _ANY]


def _named(policies: frozenset[Policy]) -> str:
    return " ".join(sorted(policy.name for policy in policies)) or "none"


def _user(server: RunningServer, policies: frozenset[Policy], *, of: Account | None = None) -> Account:
    """A caller with just these policies, in a new account or that of another."""
    name = of.name if of is not None else server.account().name
    pair = server.services.access.create_key(account=name, user=_named(policies), policies=policies)
    return Account(server=server, name=name, access_key=pair.access_key, secret_key=pair.secret_key)


@pytest.mark.parametrize("target", FORMS, ids=lambda target: FORMS[target].name)
def test_every_action_has_a_row_in_the_documented_table(target: str) -> None:
    assert FORMS[target].name in DOCUMENTED, "write down here what its documents say"


@pytest.mark.parametrize("target", FORMS, ids=lambda target: FORMS[target].name)
@pytest.mark.parametrize("policies", SUBSETS, ids=_named)
def test_policies_allow_what_the_documents_say(server: RunningServer, target: str, policies: frozenset[Policy]) -> None:
    action = FORMS[target].name
    reply = _user(server, policies).send(target, json.dumps(BODIES[action]).encode()).checked()
    needed = DOCUMENTED[action]
    assert (reply.json.get("code") != "AccessDenied") == (needed is None or bool(policies & needed))
    if reply.json.get("code") == "AccessDenied":
        assert reply.status == 403
        assert action in reply.refusal("AccessDenied")


@pytest.mark.parametrize("target", FORMS, ids=lambda target: FORMS[target].name)
def test_who_may_not_learns_nothing_of_what_was_sent(server: RunningServer, target: str) -> None:
    reply = _user(server, frozenset()).send(target, b"{")
    reply.refusal("MalformedJSON" if DOCUMENTED[FORMS[target].name] is None else "AccessDenied")


def _cancelled_task(account: Account) -> str:
    task_id = account.make_task(*account.make_world())
    account.done("CancelModelCompTask", {"modelCompTaskId": task_id})
    return task_id


#: A body that changes something if it is allowed to.
EFFECTIVE: dict[str, Callable[[Account], dict[str, Any]]] = {
    "CreateModelCompTask": lambda account: task_body(*account.make_world()),
    "CancelModelCompTask": lambda account: {"modelCompTaskId": account.make_task(*account.make_world())},
    "DeleteModelCompTask": lambda account: {"modelCompTaskId": _cancelled_task(account)},
    "CreateCustomModelSet": lambda account: {"modelSetName": "new", "modelType": "Text2Text"},
    "DeleteModelSet": lambda account: {"modelSetId": account.make_world()[0]},
    "CreateCustomModel": lambda account: import_body(account.make_set()),
    "DeleteModel": lambda account: {"modelId": account.make_world()[1]},
    "RetryModelCompTask": lambda account: {"modelCompTaskId": _cancelled_task(account)},
}
#: Of every other action that writes, at least a full body.
_WRITING = [target for target, action in FORMS.items() if DOCUMENTED.get(action.name) == _WRITERS]


def _everything(server: RunningServer) -> list[str]:
    """The database as text."""
    with closing(sqlite3.connect(server.settings.data / "modelpress.db")) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("target", _WRITING, ids=lambda target: FORMS[target].name)
def test_a_denied_write_changes_nothing_and_the_same_one_allowed_does(server: RunningServer, target: str) -> None:
    action = FORMS[target].name
    owner = server.account()
    make = EFFECTIVE.get(action)
    content = json.dumps(BODIES[action] if make is None else make(owner)).encode()
    denied = [_user(server, policies, of=owner) for policies in SUBSETS if not policies & _WRITERS]
    before = _everything(server)
    for user in denied:
        user.send(target, content).refusal("AccessDenied")
        assert _everything(server) == before
    if make is not None:
        owner.send(target, content).success()
        assert _everything(server) != before


def test_a_users_new_policies_hold_for_the_next_request(account: Account) -> None:
    (user,) = (user for user in account.server.services.access.users() if user.account_name == account.name)
    account.make_set("first")
    access = account.server.services.access
    access.set_policies(user.name, account=account.name, policies=[Policy.TUNING_READ])
    account.refused("CreateCustomModelSet", {"modelSetName": "second", "modelType": "Text2Text"}, code="AccessDenied")
    account.call("DescribeCustomModelSets")
    access.set_policies(user.name, account=account.name, policies=[])
    account.refused("DescribeCustomModelSets", code="AccessDenied")
    access.set_policies(user.name, account=account.name, policies=[Policy.FULL_CONTROL])
    account.make_set("second")
