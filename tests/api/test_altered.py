"""Requests that would be carried out, altered: every answer is in a documented form, and a refusal changed nothing."""

from __future__ import annotations

import copy
import io
import json
import re
import select
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from modelpress.settings import Settings
from tests.api.contents import Contents, contents_of
from tests.api.exchange import Reply, send_bytes
from tests.api.model_directory import write_all
from tests.api.server import Account, RunningServer, running_server
from tests.api.test_arbitrary import JSON, TARGETS, TEXT, VISIBLE
from tests.api.test_fields import BODIES, FORMS
from tests.conformance.clock import SettableClock

LIST = "/v2/model?Action=DescribeModelCompTasks"
#: What a caller without bounds may write for any value.
WILD: st.SearchStrategy[Any] = st.sampled_from(
    [
        *(0, -1, 2**63, 10**400, 1e308, "", " ", "\0", "é" * 64, "x" * 65, "x" * 100_000, "../..", "%s", "null"),
        *(None, True, [], {}, [[]], {"a": {"b": []}}, ["a"] * 1000, "\u202e", "\U0001f600" * 32),
    ]
)
#: What a header's name may be made of.
TOKEN = st.text(st.sampled_from("abcXYZ019!#$%&'*+-.^_`|~"), min_size=1, max_size=20)
KNOWN = st.sampled_from(
    [
        *("host", "Content-Length", "transfer-encoding", "connection", "expect", "upgrade", "authorization", "te"),
        *("accept-encoding", "content-encoding", "content-type", "forwarded", "x-forwarded-for", "cookie", "range"),
        *("x-bce-date", "x-bce-request-id"),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """An account, and ids of its own for the placeholders of the bodies."""

    account: Account
    contents: Contents
    ids: dict[str, list[str]]

    def body(self, target: str, choose: Callable[[list[str]], str]) -> dict[str, Any]:
        """The action's full body, with ids that there are."""

        def real(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: real(inner) for name, inner in value.items()}
            return choose(self.ids[value]) if isinstance(value, str) and value in self.ids else value

        body: dict[str, Any] = real(copy.deepcopy(BODIES[FORMS[target].name]))
        return body

    def send(self, target: str, content: bytes, *, query: str = "") -> Reply:
        """The reply; if it is a refusal, or the action only reads, nothing has changed."""
        before = self.contents.read()
        reply = self.account.send(target + query, content).checked()
        if reply.status != 200 or not FORMS[target].writes:
            assert self.contents.read() == before
        return reply


@pytest.fixture(scope="module")
def quiet(log: io.StringIO, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that nobody else calls."""
    made = Settings(data=tmp_path_factory.mktemp("data"))
    with running_server(made, SettableClock()) as running:
        write_all(made.data / "local")
        yield running


@pytest.fixture(scope="module")
def world(quiet: RunningServer) -> Iterator[World]:
    """Something of everything: what is deleted in one example is missed in the next, and that is all."""
    account = quiet.account()
    set_ids = [account.make_set(f"set {number}") for number in range(20)]
    models = [account.import_model(set_id) for set_id in set_ids]
    tasks = [account.make_task(set_id, model_id) for set_id, model_id in zip(set_ids, models, strict=True)]
    for task_id in tasks[::2]:
        account.done("CancelModelCompTask", {"modelCompTaskId": task_id})
    with contents_of(quiet) as contents:
        yield World(account=account, contents=contents, ids={"am-x": set_ids, "amv-x": models, "amva-x": tasks})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in inner:
        yield (*path, key)
        yield from places(held, (*path, key))


def alter(data: st.DataObject, body: dict[str, Any]) -> None:
    """Change one thing somewhere in a body."""
    if not (found := list(places(body))):
        return
    *way, last = data.draw(st.sampled_from(found), label="place")
    place: Any = body
    for key in way:
        place = place[key]
    kind = data.draw(st.sampled_from(["wild", "json", "left out", "wrapped", "renamed", "of another", "edited"]))
    if kind == "left out":
        del place[last]
    elif kind == "wrapped":
        place[last] = data.draw(st.sampled_from([[place[last]], {"value": place[last]}]))
    elif kind == "renamed" and isinstance(place, dict):
        place[data.draw(st.sampled_from([last.upper(), last + " ", last[:-1], f"x{last}"]))] = place.pop(last)
    elif kind == "of another":
        place[last] = copy.deepcopy(next(iter(body.values())))
    elif kind == "edited" and isinstance(place[last], str):
        place[last] = place[last].swapcase() + data.draw(TEXT)
    else:
        place[last] = copy.deepcopy(data.draw(WILD if kind == "wild" else JSON))


@settings(max_examples=1000)
@given(data=st.data(), target=TARGETS, changes=st.integers(0, 3))
def test_a_body_with_any_changes(world: World, data: st.DataObject, target: str, changes: int) -> None:
    body = world.body(target, lambda ids: ids[data.draw(st.integers(0, len(ids) - 1), label="id")])
    for _ in range(changes):
        alter(data, body)
    world.send(target, json.dumps(body).encode())


Edit = tuple[float, int, bytes]
#: Where, how many bytes go, and what comes in their place.
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 4) | st.just(10_000),
        st.binary(max_size=4)
        | st.sampled_from([b"\r\n", b"\r\n\r\n", b"{", b'"', b"\\u0000", b"\\ud800", b":", b"\xff"]),
    ),
    min_size=1,
    max_size=3,
)


def edited(content: bytes, edits: list[Edit]) -> bytes:
    for where, gone, come in edits:
        place = int(where * len(content))
        content = content[:place] + come + content[place + gone :]
    return content


@settings(max_examples=500)
@given(target=TARGETS, edits=EDITS)
def test_a_body_with_any_bytes_changed(world: World, target: str, edits: list[Edit]) -> None:
    body = world.body(target, lambda ids: ids[0])
    world.send(target, edited(json.dumps(body, ensure_ascii=False).encode(), edits))


#: What may stand behind the Action in a query.
QUERY = st.lists(
    st.sampled_from(["&", "=", "&clientToken=", "&Action=", "&action=", "%00", "%ff", "%", "%20", "+", ";", "?", "#"])
    | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=5)
    | st.just("x" * 100),
    max_size=6,
).map("".join)


@settings(max_examples=300)
@given(target=TARGETS.filter(lambda target: "?" in target), query=QUERY)
def test_a_sound_body_with_any_query(world: World, target: str, query: str) -> None:
    body = world.body(target, lambda ids: ids[-1])
    world.send(target, json.dumps(body).encode(), query=query)


#: Pieces of the parameters that name an upload's boundary, field and file.
PARAMETER = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["; ", ";", " "]),
    st.sampled_from(["boundary", "name", "filename", "Name", "x", ""]),
    st.sampled_from(["=", "*=", "*0=", "*1*=", "*=", "", "==", "*" + "9" * 5000 + "="]),
    st.sampled_from(["x", '"x"', "file", "customSpecFile", "a.py", "utf-8'en'%ff.py", "idna''%ff", "undefined''a", '"'])
    | st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=8),
)
UPLOAD = "/v2/model?Action=CreateModelCustomConf"


@settings(max_examples=400)
@given(
    kind=st.lists(PARAMETER, max_size=3).map("".join),
    named=st.lists(PARAMETER, max_size=3).map("".join),
    edits=st.just([]) | EDITS,
)
@example(kind="; boundary*=x; boundary*0=y", named="; name=file; filename=a.py", edits=[])
@example(kind="; boundary*" + "9" * 5000 + "=x", named="; name=file; filename=a.py", edits=[])
@example(kind="; boundary=x", named="; name=file; filename*=a; filename*0=a.py", edits=[])
@example(kind="; boundary=x", named="; name=file; filename*=idna'en'%ff%fe.py", edits=[])
def test_an_upload_with_any_names_and_bytes_changed(world: World, kind: str, named: str, edits: list[Edit]) -> None:
    lines = ["--x", f"content-disposition: form-data{named}", "", "{}", "--x--", ""]
    content = edited("\r\n".join(lines).encode("latin-1"), edits)
    length = ("content-length", str(len(content)))
    headers = [*world.account.headers(UPLOAD), ("content-type", f"multipart/form-data{kind}"), length]
    before = world.contents.read()
    reply = send_bytes(world.account.server.address, request(headers, content, target=UPLOAD)).checked()
    assert reply.status == 200 or world.contents.read() == before


# HTTP itself. When the answer has begun, or does not, since the server waits for more, the sending side is closed, and
# all that comes back is read: a server that does not close then runs into the time-out. All requests are mere reads,
# since what is under way at that moment is carried out without an answer.

#: So long an answer is waited for: what takes longer on a busy machine is not looked at.
PATIENCE_SECONDS = 0.03


def exchange(account: Account, raw: bytes) -> list[Reply]:
    """The replies to these bytes; interim ones left out."""
    received = b""
    with socket.create_connection(account.server.address, timeout=20) as connection:
        try:
            connection.sendall(raw)
            select.select([connection], [], [], PATIENCE_SECONDS)
            connection.shutdown(socket.SHUT_WR)
            while some := connection.recv(1 << 16):
                received += some
        except TimeoutError:
            raise
        except OSError:  # it answered and closed before all was sent
            pass
    replies = map(as_reply, re.split(rb"(?=HTTP/1\.1 \d{3} )", received)[1:])
    return [reply for reply in replies if reply.status >= 200]


def as_reply(raw: bytes) -> Reply:
    top, _, content = raw.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Reply(status=int(first[9:12]), headers=headers, content=content)


def check(account: Account, raw: bytes) -> list[int]:
    """The statuses of the replies to these bytes, each in a documented form; and the server goes on."""
    replies = exchange(account, raw)
    for reply in replies:
        if reply.content and reply.content != b'{"status":"ok"}':
            reply.checked()
        else:  # to HEAD, or of the health check
            assert reply.status < 500
    account.call("DescribeModelCompTasks")
    return [reply.status for reply in replies]


def head(account: Account, target: str = LIST) -> list[tuple[str, str]]:
    """The headers of a sound request without a body's length."""
    return [*account.headers(target), ("content-type", "application/json")]


def request(headers: list[tuple[str, str]], content: bytes, *, target: str = LIST, method: str = "POST") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content


HEADERS = st.lists(st.tuples(TOKEN | KNOWN, VISIBLE | st.sampled_from(["0", "2", "chunked", "close", ""])), max_size=6)


@settings(max_examples=400)
@given(
    more=HEADERS, first=st.booleans(), length=st.sampled_from(["2", "0", "3", "-1", "1e1", "2, 2", "99999999999999"])
)
def test_any_headers_besides(world: World, more: list[tuple[str, str]], first: bool, length: str) -> None:
    headers, before = [*head(world.account), ("content-length", length)], world.contents.read()
    check(world.account, request([*more, *headers] if first else [*headers, *more], b"{}"))
    assert world.contents.read() == before


@settings(max_examples=60)
@given(name=TOKEN, count=st.integers(1, 300), size=st.integers(0, 5000))
@example(name="x", count=1, size=60_000)
@example(name="x", count=1, size=300_000)
@example(name="x", count=5_000, size=1)
def test_headers_of_any_number_and_size(world: World, name: str, count: int, size: int) -> None:
    more = [(name, "v" * size)] * count
    statuses = check(world.account, request([*head(world.account), ("content-length", "2"), *more], b"{}"))
    assert len(statuses) <= 1


@settings(max_examples=400)
@given(edits=EDITS)
def test_a_signature_with_any_bytes_changed_signs_nothing(world: World, edits: list[Edit]) -> None:
    target, content = "/v2/model?Action=CreateCustomModelSet", b'{"modelSetName": "never", "modelType": "Text2Text"}'
    *others, (name, value) = world.account.headers(target)
    altered = edited(value.encode(), edits).decode("latin-1")
    assume(altered.strip() != value)
    before = world.contents.read()
    headers = [*others, (name, altered), ("content-length", str(len(content)))]
    reply = send_bytes(world.account.server.address, request(headers, content, target=target))
    assert reply.checked().status in (400, 403)
    assert world.contents.read() == before


METHODS = st.sampled_from(["POST", "GET", "HEAD", "OPTIONS", "CONNECT", "TRACE", "post", "PRI", "M-SEARCH"])
TARGET = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40)
READ = st.sampled_from([target for target, action in FORMS.items() if not action.writes])


@settings(max_examples=300)
@given(method=METHODS, target=TARGET | TARGET.map("/v2/model?{}".format) | TARGET.map("/{}".format) | READ)
@example(method="POST", target="/healthz")
@example(method="HEAD", target="/healthz")
@example(method="GET", target="/healthz/")
def test_any_method_and_target(world: World, method: str, target: str) -> None:
    before = world.contents.read()
    check(world.account, request([*head(world.account), ("content-length", "2")], b"{}", target=target, method=method))
    assert world.contents.read() == before


@settings(max_examples=600)
@given(edits=EDITS, close=st.booleans())
def test_a_request_with_any_bytes_changed(world: World, edits: list[Edit], close: bool) -> None:
    headers = [*head(world.account), ("content-length", "13"), *([("connection", "close")] if close else [])]
    before = world.contents.read()
    check(world.account, edited(request(headers, b'{"maxKeys": 1}'), edits))
    assert world.contents.read() == before


@settings(max_examples=200)
@given(raw=st.binary(max_size=400))
@example(raw=b"\r\n" * 200)
@example(raw=b"POST " + b"/" * 100_000)
@example(raw=b"POST / HTTP/1.1\r\n" + b"a" * 100_000)
@example(raw=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
def test_any_bytes_at_all(world: World, raw: bytes) -> None:
    check(world.account, raw)
