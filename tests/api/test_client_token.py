"""A client token makes creating a task repeatable, from the body or from the query."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.exchange import Reply
from tests.api.server import Account, task_body

Body = dict[str, Any]


@pytest.fixture
def body(account: Account) -> Body:
    """What creating a task says, without a token."""
    return task_body(*account.make_world())


def _create(account: Account, body: Body, *tokens: str) -> Reply:
    query = "".join(f"&clientToken={quote(token, safe='')}" for token in tokens)
    return account.send(f"/v2/model?Action=CreateModelCompTask{query}", json.dumps(body).encode())


def _tasks(account: Account) -> list[str]:
    return [task["id"] for task in account.call("DescribeModelCompTasks")["modelCompTaskList"]]


def test_the_same_token_and_body_give_the_same_task_from_body_and_query(account: Account, body: Body) -> None:
    token = "!order-7/~"
    first = _create(account, body | {"clientToken": token}).success()["result"]
    for again in (
        _create(account, body | {"clientToken": token}),
        _create(account, body, token),
        _create(account, body | {"clientToken": token}, token, token),
    ):
        assert again.success()["result"] == first
    assert _tasks(account) == [first]
    [event] = account.call("DescribeModelCompTask", {"modelCompTaskId": first})["events"]
    assert event["message"] == "accepted"


TAGS = [{"tagKey": "team", "tagValue": "a"}, {"tagKey": "cost", "tagValue": "7"}]
RESPELLINGS: dict[str, Callable[[Body], Body]] = {
    "order": lambda body: dict(reversed(body.items())),
    "alias": lambda body: body | {"config": {"weight": "w8a16", "strategy": "quantization"}},
    "older name": lambda body: body | {"config": {"quantConf": "WINT8", "strategy": "Quantization"}},
    "empty description": lambda body: body | {"description": ""},
    "null description": lambda body: body | {"description": None},
    "order of tags": lambda body: body | {"tags": list(reversed(TAGS))},
    "unknown field": lambda body: body | {"colour": "blue"},
}


@pytest.mark.parametrize("how", RESPELLINGS)
def test_the_spelling_of_the_body_does_not_matter(account: Account, body: Body, how: str) -> None:
    body = body | {"tags": TAGS}
    first = _create(account, body, "t").success()["result"]
    assert _create(account, RESPELLINGS[how](body), "t").success()["result"] == first


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"description": "other"},
        {"config": {"strategy": "Quantization", "weight": "W4A16"}},
        {"tags": [{"tagKey": "team", "tagValue": "a"}]},
    ],
)
def test_the_same_token_for_something_else_is_refused(account: Account, body: Body, change: Body) -> None:
    first = _create(account, body, "t").success()["result"]
    assert "'t'" in _create(account, body | change, "t").refusal("IdempotentParameterMismatch")
    assert _tasks(account) == [first]


def test_tokens_are_told_apart_by_case_and_account(account: Account, body: Body) -> None:
    other = account.server.account()
    ids = [_create(account, body, token).success()["result"] for token in ("a", "A", "b")]
    ids.append(_create(other, task_body(*other.make_world()), "a").success()["result"])
    assert len(set(ids)) == 4


def test_a_token_stays_taken_when_the_task_ended_or_was_deleted_or_its_source_is_gone(
    account: Account, body: Body
) -> None:
    first = _create(account, body, "t").success()["result"]
    account.done("CancelModelCompTask", {"modelCompTaskId": first})
    account.done("DeleteModelCompTask", {"modelCompTaskId": first})
    account.call("DeleteModel", {"modelId": body["sourceModelId"]})
    assert _create(account, body, "t").success()["result"] == first
    assert _tasks(account) == []


def test_a_request_that_was_refused_takes_no_token(account: Account, body: Body) -> None:
    _create(account, body | {"sourceModelId": "amv-x"}, "t").refusal("NoSuchModel")
    _create(account, body, "t").success()


@pytest.mark.parametrize("token", ["", "x" * 65, "a b", "a\n", "é", "a\x7f"])
def test_a_token_that_is_none_is_named_in_body_and_query(account: Account, body: Body, token: str) -> None:
    for reply in (_create(account, body | {"clientToken": token}), _create(account, body, token)):
        assert "param[clientToken] invalid" in reply.refusal("InappropriateJSON")
    assert _tasks(account) == []


def test_body_and_query_must_not_name_different_tokens(account: Account, body: Body) -> None:
    for reply in (_create(account, body | {"clientToken": "a"}, "b"), _create(account, body, "a", "b")):
        assert "param[clientToken] invalid" in reply.refusal("InappropriateJSON")


def test_an_action_that_knows_no_token_ignores_it(account: Account) -> None:
    account.send("/v2/model?Action=DescribeModelCompTasks&clientToken=", b"{}").success()
