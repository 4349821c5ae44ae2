"""The official SDKs' own requests, byte for byte, against the real server."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from modelpress.api.actions import ACTIONS
from modelpress.domain.page import PageRequest
from modelpress.service.access import KeyPair
from modelpress.settings import Settings
from tests.api.exchange import Reply, send_request
from tests.api.server import Account, RunningServer, running_server
from tests.conformance.clock import SettableClock

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "sdk-vectors.json").read_text(encoding="utf-8")
)["vectors"]
ACCEPTED = [vector for vector in VECTORS if vector["expect"] == "accept"]
REJECTED = [vector for vector in VECTORS if vector["expect"] == "reject"]
PAIRS = sorted({(vector["accessKey"], vector["secretKey"]) for vector in ACCEPTED})
#: What the old API's routes answer.
OLD = {
    "/wenxinworkshop/modelrepo/modelVersionDetail": "NoSuchModel",
    "/wenxinworkshop/modelrepo/modelDetail": "NoSuchModelSet",
}


@pytest.fixture(scope="module")
def sdk_server(log: io.StringIO, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that knows the keys of the captures."""
    with running_server(Settings(data=tmp_path_factory.mktemp("data")), SettableClock()) as running:
        for access_key, secret_key in PAIRS:
            running.account(pair=KeyPair(access_key=access_key, secret_key=secret_key))
        yield running


def replay(server: RunningServer, vector: dict[str, Any]) -> Reply:
    request, headers = vector["request"], [(name, value) for name, value in vector["request"]["headers"]]
    signed_at = datetime.fromisoformat(vector["auth"]["timestamp"])
    server.clock.advance(seconds=(signed_at - server.clock()).total_seconds())
    content = request["body"].encode()
    announced = next((int(value) for name, value in headers if name.lower() == "content-length"), None)
    if announced is None:  # signed by the SDK, but never sent
        headers.append(("content-length", str(len(content))))
    else:  # one negative vector announces a byte more than it has
        content = content.ljust(announced)
    return send_request(server.address, request["target"], headers=headers, content=content, method=request["method"])


def expected(vector: dict[str, Any]) -> str | None:
    """The code that an SDK's request meets on a server without any models; None for a success."""
    path, _, action = vector["request"]["target"].partition("?Action=")
    body = json.loads(vector["request"]["body"] or "{}")
    if not action:
        return OLD.get(path, "InvalidURI")
    if action not in ACTIONS:
        return "InvalidAction"
    if action == "DescribeModelCompTasks":
        return "InvalidMarker" if body.get("marker") else None
    if action == "CreateModelCompTask":
        return "NoSuchModel"
    return {
        "CreateCustomModelSet": None,
        "DescribeSystemModelSets": None,
        "DescribeModelSystemAdvancedConf": None,
        "DescribeModelCustomAdvancedConf": "NoSuchModel",
        "CreateCustomModel": "InappropriateJSON",  # the capture's importMeta is {"x": 1}
        "DescribeModelSet": "NoSuchModelSet",
        "DeleteModelSet": "NoSuchModelSet",
        "DescribeModel": "NoSuchModel",
        "DeleteModel": "NoSuchModel",
        "CreateModelExportTask": "NoSuchModel",
        "DescribeModelExportTask": "NoSuchModel",
    }.get(action, "NoSuchModelCompTask")


@pytest.mark.parametrize("vector", ACCEPTED, ids=lambda vector: vector["id"])
def test_a_request_of_an_official_sdk_is_answered_in_the_documented_form(
    sdk_server: RunningServer, vector: dict[str, Any]
) -> None:
    reply, code = replay(sdk_server, vector), expected(vector)
    if code is None:
        assert reply.success()["result"]
    else:
        reply.refusal(code)
    _delete_sets(sdk_server, vector["accessKey"])


def _delete_sets(server: RunningServer, access_key: str) -> None:
    caller, _ = server.services.access.caller(access_key)
    for made in server.services.models.page_sets(caller, PageRequest()).items:
        server.services.models.delete_set(caller, made.id)


@pytest.mark.parametrize("sdk", ["python", "go", "java", "node"])
def test_the_documents_example_is_answered_as_each_sdk_sends_it(sdk_server: RunningServer, sdk: str) -> None:
    """Of Go and Node there is only a capture whose Action was changed after signing: it is put right again here."""
    name = f"{sdk}-seed-describe-tasks"
    vector = next(vector for vector in VECTORS if vector["id"] in (name, f"{name}--wrong-action"))
    right = {**vector["request"], "target": "/v2/model?Action=DescribeModelCompTasks"}
    message = replay(sdk_server, {**vector, "request": right}).refusal("InvalidMarker")
    assert "amva-n50985crhqq3" in message


@pytest.mark.parametrize("vector", REJECTED, ids=lambda vector: vector["id"])
def test_an_altered_request_is_refused(own_server: RunningServer, vector: dict[str, Any]) -> None:
    own_server.account(pair=KeyPair(access_key=vector["accessKey"], secret_key=vector["secretKey"]))
    reply = replay(own_server, vector)
    if vector["request"]["method"] != "POST":
        reply.refusal("InvalidHTTPRequest")
    elif vector["id"] == "python-base-url-with-path":
        reply.refusal("InvalidURI")
    else:
        reply.refusal("SignatureDoesNotMatch")


def test_the_same_signed_request_may_be_sent_again_and_with_another_body(account: Account) -> None:
    target = "/v2/model?Action=CreateCustomModelSet"
    headers = account.headers(target)
    made = []
    for name in ("first", "second"):
        content = json.dumps({"modelSetName": name, "modelType": "Text2Text"}).encode()
        length = ("content-length", str(len(content)))
        reply = send_request(account.server.address, target, headers=[*headers, length], content=content)
        made.append(reply.success()["result"])
    assert len(set(made)) == 2
