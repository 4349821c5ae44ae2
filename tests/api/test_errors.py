"""Every documented error, met over the wire."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modelpress.api import status
from modelpress.api.actions import ACTIONS
from modelpress.api.protocol import LARGEST_HEAD_BYTES
from modelpress.api.status import ErrorRow
from modelpress.domain.policy import Policy
from modelpress.errors import RequestLimitExceeded
from modelpress.settings import Settings
from tests.api.exchange import ROWS, Reply, send_bytes, send_request
from tests.api.server import Account, RunningServer, import_body, running_server, task_body
from tests.conformance.clock import SettableClock

TARGET = "/v2/model?Action=DescribeModelCompTasks"


def _import(account: Account, **meta: str) -> Reply:
    body = import_body(account.make_set())
    body["importMeta"] |= meta
    return account.post("CreateCustomModel", body)


def _unsigned(account: Account, method: str = "POST", target: str = TARGET) -> Reply:
    headers = [("host", "h"), ("content-length", "0")]
    return send_request(account.server.address, target, headers=headers, content=b"", method=method)


def _cancel_twice(account: Account) -> Reply:
    named = {"modelCompTaskId": account.make_task(*account.make_world())}
    account.done("CancelModelCompTask", named)
    return account.post("CancelModelCompTask", named)


def _delete_source_of_waiting_task(account: Account) -> Reply:
    set_id, model_id = account.make_world()
    account.make_task(set_id, model_id)
    return account.post("DeleteModel", {"modelId": model_id})


def _same_name_twice(account: Account) -> Reply:
    account.make_set()
    return account.post("CreateCustomModelSet", {"modelSetName": "set", "modelType": "Text2Text"})


def _one_token_for_two_wishes(account: Account) -> Reply:
    body = task_body(*account.make_world()) | {"clientToken": "t"}
    account.call("CreateModelCompTask", body)
    return account.post("CreateModelCompTask", body | {"name": "other"})


def _export_to_a_place_that_is_taken(account: Account) -> Reply:
    _, model_id = account.make_world()
    account.call("CreateModelExportTask", {"modelId": model_id})
    place = account.call("DescribeModelExportTask", {"modelId": model_id})["objectPath"]
    (account.server.settings.data / "exports" / place).mkdir(parents=True)
    another = account.import_model(account.make_set("another"))
    return account.post("CreateModelExportTask", {"modelId": another, "exportMeta": {"objectPath": place}})


def _export_to_two_places_at_once(account: Account) -> Reply:
    _, model_id = account.make_world()
    account.call("CreateModelExportTask", {"modelId": model_id})
    account_id = account.call("DescribeModelExportTask", {"modelId": model_id})["objectPath"].partition("/")[0]
    body = {"modelId": model_id, "exportMeta": {"objectPath": f"{account_id}/another"}}
    return account.post("CreateModelExportTask", body)


#: What to do to meet the error of this number.
TRIGGERS: dict[int, Callable[[Account], Reply]] = {
    400001: lambda account: account.post("CreateModelCompTask", {}),
    400002: lambda account: account.send(TARGET, b"["),
    400003: lambda account: account.post("Nonsense"),
    400004: lambda account: account.post("DescribeModelCompTasks", {"marker": "amva-n50985crhqq3"}),
    400005: _unsigned,
    400006: lambda account: account.but(secret_key="wrong").post("DescribeModelCompTasks"),
    400007: lambda account: account.but(ahead=-timedelta(hours=2)).post("DescribeModelCompTasks"),
    400008: lambda account: _import(account, objectPath="pickle"),
    400009: lambda account: account.send(TARGET, b"{}", more_headers=[("host", "another")]),
    403001: lambda account: account.but(access_key="unknown").post("DescribeModelCompTasks"),
    403002: lambda account: account.server.account(Policy.READ).post("DeleteModel", {"modelId": "amv-x"}),
    403003: _one_token_for_two_wishes,
    404001: lambda account: account.post("DescribeModelCompTask", {"modelCompTaskId": "amva-x"}),
    404002: lambda account: account.post("DescribeModel", {"modelId": "amv-x"}),
    404003: lambda account: account.post("DescribeModelSet", {"modelSetName": "none"}),
    404004: lambda account: _import(account, bucket="none"),
    404005: lambda account: _import(account, objectPath="none"),
    404006: lambda account: _unsigned(account, target="/v2/modle"),
    405001: lambda account: _unsigned(account, method="PUT"),
    409001: _cancel_twice,
    409002: _delete_source_of_waiting_task,
    409003: _same_name_twice,
    409004: _export_to_a_place_that_is_taken,
    409005: _export_to_two_places_at_once,
    400010: lambda account: send_bytes(account.server.address, b"BREW / HTTP/1.1\r\n\r\n"),
    413001: lambda account: account.send(TARGET, b" " * (account.server.settings.body_bytes + 1)),
    431001: lambda account: account.send(TARGET, b"{}", more_headers=[("x-filler", "x" * LARGEST_HEAD_BYTES)]),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: f"{row.code}-{row.number}")
def test_every_documented_error_can_be_met(row: ErrorRow, request: pytest.FixtureRequest) -> None:
    if row in (status.INTERNAL, status.UNAVAILABLE):
        own: RunningServer = request.getfixturevalue("own_server")
        breaks = broken_action if row is status.INTERNAL else broken_database
        with breaks(own):
            reply = own.account().post("DescribeModelSet", {"modelSetName": "none"})
    elif row is status.ROWS[RequestLimitExceeded]:
        limited: RunningServer = request.getfixturevalue("limited_server")
        account = limited.account()
        account.call("DescribeModelCompTasks")
        reply = account.post("DescribeModelCompTasks")
    else:
        reply = TRIGGERS[row.number](request.getfixturevalue("account"))
    reply.refusal(row.code)
    assert reply.json["error_code"] == row.number


@pytest.fixture
def limited_server(log: Any, tmp_path: Path, clock: SettableClock) -> Iterator[RunningServer]:
    """A server where a key may send one request in a thousand seconds."""
    with running_server(Settings(data=tmp_path / "data", requests_per_second=0.001), clock) as running:
        yield running


def test_a_request_over_the_rate_changes_nothing_and_says_when_to_come_back(limited_server: RunningServer) -> None:
    account, other = limited_server.account(name="ours"), limited_server.account(name="ours")
    account.make_set("first")
    reply = account.post("CreateCustomModelSet", {"modelSetName": "second", "modelType": "Text2Text"})
    assert "0.001 requests a second" in reply.refusal("RequestLimitExceeded")
    assert int(reply.headers["retry-after"]) in (999, 1000)
    assert "x-ratelimit-limit-requests" not in reply.headers
    assert [s["modelSetName"] for s in other.call("DescribeCustomModelSets")["customModelSetList"]] == ["first"]


def test_a_signature_that_is_wrong_uses_up_nobodys_rate(limited_server: RunningServer) -> None:
    account = limited_server.account()
    for _ in range(3):
        account.but(secret_key="wrong").refused("DescribeModelCompTasks", code="SignatureDoesNotMatch")
    account.call("DescribeModelCompTasks")


@contextmanager
def broken_action(server: RunningServer, name: str = "DescribeModelSet") -> Iterator[None]:
    """An action that does what none should."""

    def fall(*_: object) -> Any:
        raise ZeroDivisionError("this must not be on the wire")

    whole = ACTIONS[name]
    ACTIONS[name] = replace(whole, run=fall)
    try:
        yield
    finally:
        ACTIONS[name] = whole


@contextmanager
def broken_database(server: RunningServer, table: str = "model_set") -> Iterator[None]:
    """A database that lacks a table."""
    path = server.settings.data / "modelpress.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"ALTER TABLE {table} RENAME TO hidden")
        yield  # the database is the test's own: nothing to put right if it fails
        connection.execute(f"ALTER TABLE hidden RENAME TO {table}")


def test_an_unexpected_failure_is_told_without_a_trace_and_logged_with_it(own_server: RunningServer, log: Any) -> None:
    account, secret = own_server.account(), "secret-that-the-SDK-copied-into-the-body"
    begins = len(log.getvalue())
    with broken_action(own_server), broken_action(own_server, "CreateCustomModelSet"):
        for action in ("DescribeModelSet", "CreateCustomModelSet"):  # one answered on the loop, one in a thread
            body = {"modelSetName": "x", "modelType": "Text2Text", "sk": secret}
            reply = account.post(action, body)
            assert reply.refusal("InternalError") == "We encountered an internal error."
            assert b"ZeroDivisionError" not in reply.content
            assert b"must not be" not in reply.content
            logged = log.getvalue()[begins:]
            assert reply.json["requestId"] in logged
    assert logged.count("ZeroDivisionError: this must not be on the wire") == 2
    assert logged.count("Traceback") == 2
    assert secret not in logged
    assert account.secret_key not in logged
    account.make_set()  # and it goes on


def test_a_database_that_fails_changes_nothing_and_is_logged_without_what_was_sent(
    own_server: RunningServer, log: Any
) -> None:
    account = own_server.account()
    set_id, model_id = account.make_world()
    begins = len(log.getvalue())
    with broken_database(own_server, "task_event"):
        body = task_body(set_id, model_id) | {"description": "secret-description", "sk": "secret-key"}
        reply = account.post("CreateModelCompTask", body)
    assert "nothing was changed" in reply.refusal("ServiceUnavailable")
    assert "hidden" not in reply.refusal()
    logged = log.getvalue()[begins:]
    assert reply.json["requestId"] in logged
    assert "secret" not in logged
    assert account.call("DescribeModelCompTasks")["modelCompTaskList"] == []
    account.make_task(set_id, model_id)


def test_nothing_of_a_refused_request_is_logged(account: Account, log: Any) -> None:
    begins = len(log.getvalue())
    account.refused("DescribeModel", {"modelId": "amv-x", "sk": "secret-1"}, code="NoSuchModel")
    account.send(TARGET, b'{"sk": "secret-2"').refusal("MalformedJSON")
    account.call("DescribeModelCompTasks", {"ak": account.access_key, "sk": "secret-3"})
    assert "secret" not in log.getvalue()[begins:]


def test_numbers_tell_the_status_and_are_no_ones_twice() -> None:
    rows = [*status.ROWS.values(), *status.OTHERS]
    assert len({row.number for row in rows}) == len(rows)
    assert all(row.number // 1000 == row.status for row in rows)
    # On these the official SDKs send a request again, or fetch a token.
    assert not {row.number for row in rows} & {18, 110, 111, 336100, 336502, 500000}
