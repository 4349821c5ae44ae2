"""Whatever is sent, the answer is in a documented form and never the server's failure."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.api.exchange import Reply, send_request
from tests.api.server import Account, RunningServer
from tests.api.test_fields import BODIES, FORMS

_SOME = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TARGETS = st.sampled_from(sorted(FORMS))
TEXT = st.text(max_size=300) | st.text(max_size=1100)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=8,
)
#: What a header's value may be made of on the wire.
VISIBLE = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=200)


@pytest.fixture(scope="module")
def anyone(server: RunningServer) -> Account:
    """An account that has something to find."""
    account = server.account()
    account.make_task(*account.make_world())
    return account


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


@_SOME
@given(target=TARGETS, content=st.binary(max_size=200))
def test_any_bytes_for_a_body(anyone: Account, target: str, content: bytes) -> None:
    anyone.send(target, content).checked()


@_SOME
@given(target=TARGETS, value=JSON)
def test_any_json_for_a_body(anyone: Account, target: str, value: Any) -> None:
    anyone.send(target, dumped(value)).checked()


@settings(_SOME, max_examples=600)
@given(data=st.data(), target=TARGETS.filter(lambda target: BODIES[FORMS[target].name]), value=JSON | TEXT)
def test_any_json_for_a_field(anyone: Account, data: st.DataObject, target: str, value: Any) -> None:
    body = copy.deepcopy(BODIES[FORMS[target].name])
    place = body
    name = data.draw(st.sampled_from(sorted(place)))
    if isinstance(place[name], dict) and data.draw(st.booleans()):
        place = place[name]
        name = data.draw(st.sampled_from(sorted(place)))
    place[name] = value
    anyone.send(target, dumped(body)).checked()


@_SOME
@given(path=TEXT)
@example(path="x" * 256)
@example(path="tiny/" * 60)
@example(path="outputs")
def test_any_path_for_an_import(anyone: Account, path: str) -> None:
    body = copy.deepcopy(BODIES["CreateCustomModel"])
    body["modelSetId"] = anyone.call("DescribeModelSet", {"modelSetName": "set"})["modelSetId"]
    body["importMeta"] = {"bucket": "local", "objectPath": path}
    anyone.post("CreateCustomModel", body).checked()


@_SOME
@given(text=st.text(max_size=60), name=st.text(max_size=70), labels=st.lists(TEXT, max_size=3))
def test_any_text_for_a_set_comes_back_as_it_was_sent(
    server: RunningServer, text: str, name: str, labels: list[str]
) -> None:
    body = {"modelSetName": name, "modelType": "Text2Text", "labels": labels, text: text}
    account = server.account()
    reply = account.post("CreateCustomModelSet", body).checked()
    if reply.status == 200:
        detail = account.call("DescribeModelSet", {"modelSetName": name})
        assert (detail["modelSetName"], detail["labels"]) == (name, labels)


@_SOME
@given(query=st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=60))
@example(query="Action=DescribeModelCompTasks&" + "a=b&" * 3000)
@example(query="%")
@example(query="Action=%zz&=&&==")
def test_any_query(anyone: Account, query: str) -> None:
    anyone.send(f"/v2/model?{query}", b"{}").checked()


def from_headers(account: Account, headers: dict[str, str]) -> Reply:
    target = "/v2/model?Action=DescribeModelCompTasks"
    given = dict(account.headers(target)) | {"content-length": "2"} | headers
    return send_request(account.server.address, target, headers=given.items(), content=b"{}").checked()


@_SOME
@given(value=VISIBLE)
def test_any_authorization(anyone: Account, value: str) -> None:
    assert from_headers(anyone, {"authorization": value}).status == 400


@_SOME
@given(parts=st.lists(VISIBLE, min_size=5, max_size=5))
def test_any_parts_of_an_authorization(anyone: Account, parts: list[str]) -> None:
    reply = from_headers(anyone, {"authorization": "/".join(["bce-auth-v1", *parts])})
    assert reply.status in (400, 403)


@_SOME
@given(name=st.sampled_from(["host", "x-bce-date", "content-type", "accept", "x-bce-security-token"]), value=VISIBLE)
def test_any_other_header(anyone: Account, name: str, value: str) -> None:
    from_headers(anyone, {name: value})
