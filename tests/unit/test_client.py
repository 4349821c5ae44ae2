"""The client against a real HTTP server on localhost that checks every signature."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelpress import signature
from modelpress.client.client import Client, RequestFailed, ServerUnreachable
from modelpress.errors import AuthenticationError, SettingsError

ACCESS_KEY = "AK-of-the-test"
SECRET_KEY = "SK-nobody-may-see-this"
OK = {"requestId": "r-1", "result": {"id": "am-1"}}


class Server(ThreadingHTTPServer):
    """Answers ``status`` and ``reply`` to whatever is rightly signed, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 200
        self.reply = json.dumps(OK).encode()
        self.headers = {"Content-Type": "application/json"}
        self.asked: list[tuple[str, Any]] = []
        self.connections: set[int] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        target = self.requestline.split(" ")[1]
        self.server.asked.append((target, json.loads(body)))
        self.server.connections.add(self.client_address[1])
        parts = urlsplit(target)  # through a proxy it is a whole URL
        request = signature.SignedRequest(
            method=self.command,
            path=parts.path,
            query=parts.query,
            headers={name.lower(): value for name, value in self.headers.items()},
        )
        status, reply = self.server.status, self.server.reply
        try:
            authorization = signature.parse_authorization(self.headers["authorization"])
            signature.verify(authorization, request, secret_key=SECRET_KEY, now=datetime.now(UTC))
        except AuthenticationError as error:
            status, reply = 400, json.dumps({"requestId": "r-2", "code": error.code, "message": error.message}).encode()
        self.send_response(status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is pytest's."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with a_client(server.url) as made:
        yield made


def a_client(url: str, **options: Any) -> Client:
    return Client(url, **({"access_key": ACCESS_KEY, "secret_key": SECRET_KEY} | options))


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Listens, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def url_of(listening: socket.socket) -> str:
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


def nobodys_url() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return url_of(listening)


# A call.


def test_a_call_is_signed_and_gives_the_whole_reply(server: Server, client: Client) -> None:
    assert client.call("DescribeModelSet", {"modelSetId": "am-1"}) == OK
    assert server.asked == [("/v2/model?Action=DescribeModelSet", {"modelSetId": "am-1"})]


def test_a_call_without_a_body_sends_an_empty_object(server: Server, client: Client) -> None:
    client.call("DescribeModelCompTasks")
    assert server.asked == [("/v2/model?Action=DescribeModelCompTasks", {})]


def test_a_reply_without_a_result_is_a_success(server: Server, client: Client) -> None:
    server.reply = b'{"requestId": "r-1"}'
    assert client.call("CancelModelCompTask") == {"requestId": "r-1"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(text=st.text(st.characters(exclude_categories=[])))
def test_any_text_arrives_as_it_was_sent_and_comes_back(server: Server, client: Client, text: str) -> None:
    server.reply = json.dumps({"requestId": "r-1", "result": {"name": text}}).encode()
    assert client.call("CreateCustomModelSet", {"name": text})["result"]["name"] == text
    assert server.asked[-1][1] == {"name": text}


@pytest.mark.parametrize("action", ["A b&c=d/é模", "", "%41"])
def test_an_odd_action_is_signed_as_it_is_sent(server: Server, client: Client, action: str) -> None:
    assert client.call(action) == OK


def test_a_path_before_the_route_is_signed_with_it(server: Server) -> None:
    with a_client(f"{server.url}/press%20one/") as client:
        client.call("X")
    assert server.asked[0][0] == "/press%20one/v2/model?Action=X"


def test_calls_share_one_connection(server: Server, client: Client) -> None:
    for _ in range(3):
        client.call("DescribeModelCompTasks")
    assert len(server.asked) == 3
    assert len(server.connections) == 1


# Replies that are no success.


def test_an_error_reply_tells_code_message_status_and_request(server: Server, client: Client) -> None:
    server.status = 409
    server.reply = json.dumps(
        {"requestId": "r-9", "code": "NameConflict", "message": "模型 'a' already exists", "error_code": 409003}
    ).encode()
    with pytest.raises(RequestFailed) as caught:
        client.call("CreateCustomModelSet")
    error = caught.value
    assert (error.code, error.message, error.status) == ("NameConflict", "模型 'a' already exists", 409)
    assert (error.request_id, error.hint) == ("r-9", None)
    assert str(error) == "模型 'a' already exists (NameConflict, HTTP 409, request r-9)"


def test_the_request_is_told_from_the_header_where_the_body_does_not(server: Server, client: Client) -> None:
    server.status, server.reply = 500, b'{"code": "InternalError", "message": ""}'
    server.headers["x-bce-request-id"] = "r-header"
    with pytest.raises(RequestFailed) as caught:
        client.call("X")
    assert str(caught.value) == "InternalError (InternalError, HTTP 500, request r-header)"


def test_a_wrong_secret_is_told_with_a_hint(server: Server) -> None:
    with a_client(server.url, secret_key="SK-another") as client, pytest.raises(RequestFailed) as caught:
        client.call("X")
    assert caught.value.code == "SignatureDoesNotMatch"
    assert "secret key" in str(caught.value.hint)
    assert "SK-another" not in str(caught.value)


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_wrong_clock_is_told_with_a_hint(server: Server, hours: int) -> None:
    wrong = datetime.now(UTC) + timedelta(hours=hours)
    with a_client(server.url, clock=lambda: wrong) as client, pytest.raises(RequestFailed) as caught:
        client.call("X")
    assert caught.value.code == "RequestExpired"
    assert "clock" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("status", "kind", "reply", "message"),
    [
        (502, "text/html", b"<html>\n <b>Bad  Gateway</b>", "(text/html): <html> <b>Bad Gateway</b>"),
        (200, "text/html; charset=utf-8", "<p>你好".encode(), "<p>你好"),
        (200, "application/json", b"[1]", "[1]"),
        (200, "application/json", b'{"hello": 1}', '{"hello": 1}'),
        (201, "application/json", json.dumps(OK).encode(), "r-1"),
        (301, "application/json", b"", "an empty body"),
        (500, "application/json", b"\xff\xfe\x00", "(application/json)"),
        (500, "application/json", b'{"code": 7}', '{"code": 7}'),
        (500, "text/plain", b"x" * 5000, "x" * 200),
    ],
)
def test_a_reply_that_is_not_the_apis_is_quoted_in_short(
    server: Server, client: Client, status: int, kind: str, reply: bytes, message: str
) -> None:
    server.status, server.reply = status, reply
    server.headers = {"Content-Type": kind, "x-bce-request-id": "r-header", "Location": server.url}
    with pytest.raises(RequestFailed) as caught:
        client.call("X")
    assert message in caught.value.message
    assert len(caught.value.message) < 300
    assert (caught.value.code, caught.value.status, caught.value.request_id) == (None, status, "r-header")
    assert "modelpress server" in str(caught.value.hint)
    assert len(server.asked) == 1  # a redirect is not followed: the signature is for this host


# No reply.


def test_where_nothing_listens_the_hint_tells_how_to_start_a_server() -> None:
    url = nobodys_url()
    with a_client(url) as client, pytest.raises(ServerUnreachable) as caught:
        client.call("X")
    assert f"no server answers at {url}" in caught.value.message
    assert "modelpress serve" in str(caught.value.hint)


def test_a_server_that_is_silent_is_given_up_after_the_time_allowed(silent: socket.socket) -> None:
    with a_client(url_of(silent), timeout_seconds=0.05) as client, pytest.raises(ServerUnreachable) as caught:
        client.call("X")
    assert "did not reply within 0.05 s" in caught.value.message
    assert "may have carried it out" in str(caught.value.hint)


def test_a_connection_that_breaks_is_told_as_one_whose_outcome_is_unknown(silent: socket.socket) -> None:
    def hang_up() -> None:
        connection, _ = silent.accept()
        with connection:
            connection.recv(65536)

    thread = threading.Thread(target=hang_up)
    thread.start()
    with a_client(url_of(silent)) as client, pytest.raises(ServerUnreachable) as caught:
        client.call("X")
    thread.join()
    assert "broke off" in caught.value.message
    assert "may have carried it out" in str(caught.value.hint)


def test_https_spoken_to_an_http_port_is_told_with_a_hint(server: Server) -> None:
    with a_client(server.url.replace("http", "https")) as client, pytest.raises(ServerUnreachable) as caught:
        client.call("X")
    assert "is it https" in str(caught.value.hint)


# Proxies.


@pytest.fixture
def dead_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, nobodys_url())
    for name in ("ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "gopher://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("dead_proxies")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0"])
def test_a_proxy_does_not_get_between_us_and_this_machine(server: Server, host: str) -> None:
    with a_client(f"http://{host}:{server.server_port}") as client:
        assert client.call("X") == OK


@pytest.mark.usefixtures("dead_proxies")
def test_a_proxy_that_cannot_be_used_is_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match="proxy") as caught:
        a_client("http://press.example.com")
    assert "NO_PROXY" in str(caught.value.hint)


@pytest.mark.usefixtures("dead_proxies")
def test_other_machines_are_reached_through_the_proxy(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, server.url)
    for name in ("ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name)
    with a_client("http://press.example.com:80") as client:
        assert client.call("X") == OK
    assert server.asked[0][0] == "http://press.example.com/v2/model?Action=X"


# What is given to a client.


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://127.0.0.1",
        "http://",
        "http://[::1",
        "http://a:99999999",
        "http://user:SK-nobody-may-see-this@127.0.0.1",
        "http://127.0.0.1/?key=SK-nobody-may-see-this",
        "http://127.0.0.1/#SK-nobody-may-see-this",
        "http://\x00",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_and_not_quoted(url: str) -> None:
    with pytest.raises(SettingsError, match="server's URL") as caught:
        a_client(url)
    assert SECRET_KEY not in str(caught.value)


@pytest.mark.parametrize("keys", [{"access_key": ""}, {"access_key": "a/b"}, {"access_key": "模"}, {"secret_key": ""}])
def test_keys_that_cannot_sign_are_refused_and_not_quoted(keys: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="key is missing") as caught:
        a_client("http://127.0.0.1", **keys)
    assert "a/b" not in str(caught.value)


def test_the_secret_is_in_no_text_of_the_client() -> None:
    with a_client(nobodys_url()) as client:
        assert ACCESS_KEY in repr(client)
        with pytest.raises(ServerUnreachable) as caught:
            client.call("X", {"secret": "no"})
        for text in (repr(client), str(client), repr(caught.value), str(caught.value), caught.value.message):
            assert SECRET_KEY not in text


def test_a_secret_key_never_goes_over_the_wire(silent: socket.socket) -> None:
    seen: list[bytes] = []

    def listen() -> None:
        connection, _ = silent.accept()
        with connection:
            seen.append(connection.recv(65536))

    thread = threading.Thread(target=listen)
    thread.start()
    with a_client(url_of(silent)) as client, pytest.raises(ServerUnreachable):
        client.call("X")
    thread.join()
    assert ACCESS_KEY.encode() in seen[0]
    assert SECRET_KEY.encode() not in seen[0]
