"""Every documented error as a caller of each SDK gets it: Python and Node are run; for Go and Java there is a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelpress.api import status
from modelpress.api.protocol import LARGEST_HEAD_BYTES
from modelpress.api.sdk_error import PYTHON_HINTS, RAISED
from modelpress.api.status import ErrorRow
from modelpress.domain.policy import Policy
from modelpress.settings import Settings
from tests.acceptance.error_bridge import Bridge, Call, node_bridge, python_bridge
from tests.acceptance.other_sdks import go_error, java_error
from tests.acceptance.relay import BREAKING, Relay, running_relay, unchanged
from tests.api.exchange import ROWS
from tests.api.model_directory import write_all
from tests.api.server import Account, RunningServer, import_body, running_server, task_body
from tests.api.test_errors import TRIGGERS, broken_action, broken_database
from tests.conformance.clock import SettableClock

pytestmark = pytest.mark.slow

LIST = "DescribeModelCompTasks"


def call(account: Account, action: str = LIST, body: dict[str, Any] | None = None, **changes: Any) -> Call:
    made = Call(url="", access_key=account.access_key, secret_key=account.secret_key, action=action, body=body or {})
    return replace(made, **changes)


def import_call(account: Account, **meta: str) -> Call:
    body = import_body(account.make_set())
    body["importMeta"] |= meta
    return call(account, "CreateCustomModel", body)


def cancel_again(account: Account) -> Call:
    named = {"modelCompTaskId": account.make_task(*account.make_world())}
    account.done("CancelModelCompTask", named)
    return call(account, "CancelModelCompTask", named)


def delete_source(account: Account) -> Call:
    set_id, model_id = account.make_world()
    account.make_task(set_id, model_id)
    return call(account, "DeleteModel", {"modelId": model_id})


def same_name(account: Account) -> Call:
    account.make_set()
    return call(account, "CreateCustomModelSet", {"modelSetName": "set", "modelType": "Text2Text"})


def token_of_another(account: Account) -> Call:
    body = task_body(*account.make_world()) | {"clientToken": "t"}
    account.call("CreateModelCompTask", body)
    return call(account, "CreateModelCompTask", body | {"name": "other"})


def second_call(account: Account) -> Call:
    account.call(LIST)
    return call(account)


#: The call of an SDK that meets the error of this number; where there is none, a list.
CALLS: dict[int, Callable[[Account], Call]] = {
    400001: lambda account: call(account, "CreateModelCompTask"),
    400002: lambda account: call(account, LIST, {"marker": "\ud800"}),
    400003: lambda account: call(account, "Nonsense"),
    400004: lambda account: call(account, LIST, {"marker": "amva-n50985crhqq3"}),
    400005: lambda account: call(account, access_key="with/slash"),
    400006: lambda account: call(account, secret_key="wrong"),
    400008: lambda account: import_call(account, objectPath="pickle"),
    403001: lambda account: call(account, access_key="unknown"),
    403002: lambda account: call(account.server.account(Policy.READ), "DeleteModel", {"modelId": "amv-x"}),
    403003: token_of_another,
    404001: lambda account: call(account, "DescribeModelCompTask", {"modelCompTaskId": "amva-x"}),
    404002: lambda account: call(account, "DescribeModel", {"modelId": "amv-x"}),
    404003: lambda account: call(account, "DescribeModelSet", {"modelSetName": "none"}),
    404004: lambda account: import_call(account, bucket="none"),
    404005: lambda account: import_call(account, objectPath="none"),
    404006: lambda account: call(account, route="/v2/modle"),
    409001: cancel_again,
    409002: delete_source,
    409003: same_name,
    413001: lambda account: call(account, LIST, {"x": "x" * account.server.settings.body_bytes}),
    429001: second_call,
    431001: lambda account: call(account, access_key="x" * LARGEST_HEAD_BYTES),
    500001: lambda account: call(account, "DescribeModelSet", {"modelSetName": "none"}),
    503001: lambda account: call(account, "DescribeModelSet", {"modelSetName": "none"}),
}


@contextmanager
def late(server: RunningServer) -> Iterator[None]:
    """The server's clock goes far ahead of the SDK's."""
    server.clock.advance(seconds=7200)
    yield
    server.clock.advance(seconds=-7200)


#: What is wrong with the server when the call arrives.
TROUBLE: dict[int, Callable[[RunningServer], AbstractContextManager[None]]] = {
    400007: late,
    500001: broken_action,
    503001: broken_database,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Two servers, one of which takes a request in a thousand seconds; the relay before them; the SDKs."""

    server: RunningServer
    limited: RunningServer
    relay: Relay
    bridges: dict[str, Bridge]


@pytest.fixture(scope="module")
def scene(sdk_python: Path, sdk_node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder, clock = tmp_path_factory.mktemp("scene"), SettableClock()
    clock.advance(seconds=(datetime.now(UTC) - clock()).total_seconds())  # the SDKs' own clock cannot be set
    for sdk in ("python", "node"):
        (folder / sdk).mkdir()
    with (
        running_server(Settings(data=folder / "data"), clock) as server,
        running_server(Settings(data=folder / "limited", requests_per_second=0.001), clock) as limited,
        running_relay() as relay,
        python_bridge(sdk_python, folder / "python") as python,
        node_bridge(sdk_node, folder / "node") as node,
    ):
        write_all(server.settings.data / "local")
        yield Scene(server=server, limited=limited, relay=relay, bridges={"Python": python, "Node": node})


@pytest.mark.parametrize("row", ROWS.values(), ids=lambda row: f"{row.code}-{row.number}")
@pytest.mark.parametrize("sdk", ["Python", "Node"])
def test_an_error_is_raised_as_the_page_says(scene: Scene, sdk: str, row: ErrorRow) -> None:
    server = scene.limited if row.number == 429001 else scene.server
    account, relay = server.account(), scene.relay
    made = CALLS.get(row.number, call)(account)
    relay.upstream, relay.alter = server.address, BREAKING.get(row.number, unchanged)
    known = row.number in CALLS.keys() | BREAKING.keys() | TROUBLE.keys()
    relay.instead = None if known else TRIGGERS[row.number](account)  # the server's real reply to another request
    with TROUBLE.get(row.number, nullcontext)(server):
        raised = scene.bridges[sdk].make(replace(made, url=relay.url))
    reply = relay.last
    assert reply is not None
    message = reply.refusal(row.code)
    assert reply.json["error_code"] == row.number

    assert raised.kind == RAISED[sdk]
    assert f'"error_code":{row.number}' in raised.text
    assert message.split("'")[0] in raised.text
    if sdk == "Python":
        assert raised.status == row.status
        hint = PYTHON_HINTS.get(row)
        assert ("可能的原因" in raised.text) == (hint is not None)
        assert hint is None or f"可能的原因：{hint}(" in raised.text
    else:
        assert f"HTTP error, status = {row.status}" in raised.text
    assert go_error(reply) == RAISED["Go"]
    assert java_error(reply) == RAISED["Java"]


def test_a_success_raises_nothing(scene: Scene) -> None:
    account, relay = scene.server.account(), scene.relay
    relay.upstream, relay.alter, relay.instead = scene.server.address, unchanged, None
    for bridge in scene.bridges.values():
        assert bridge.make(replace(call(account), url=relay.url)).kind == ""
        assert relay.last is not None
        assert (relay.last.status, go_error(relay.last), java_error(relay.last)) == (200, "", "")


def test_every_row_has_a_way_to_meet_it() -> None:
    ways = CALLS.keys() | BREAKING.keys() | TROUBLE.keys() | TRIGGERS.keys()
    assert {row.number for row in (*status.ROWS.values(), *status.OTHERS)} <= ways
