"""The order of answers on one connection and among many."""

from __future__ import annotations

import json
import socket
import threading
from asyncio import AbstractEventLoop
from typing import Any, cast

from modelpress.api.turns import Turns
from tests.api.exchange import read_reply
from tests.api.server import Account
from tests.api.test_transport import TARGET, raw_request

CREATE = "/v2/model?Action=CreateCustomModelSet"


class _Loop:
    """Runs what was called for, one round at a time."""

    def __init__(self) -> None:
        self.ready: list[tuple[Any, ...]] = []

    def call_soon(self, *call: Any) -> None:
        self.ready.append(call)

    def round(self) -> None:
        ready, self.ready = self.ready, []
        for function, *arguments in ready:
            function(*arguments)


class _Connection:
    def __init__(self, name: str, told: list[str]) -> None:
        self._name, self._told = name, told

    def take_turn(self) -> None:
        self._told.append(self._name)


def test_one_answer_a_round_in_the_order_of_arrival() -> None:
    loop, turns, told = _Loop(), Turns(), list[str]()
    for name in "abc":
        turns.queue(_Connection(name, told), cast(AbstractEventLoop, loop))
    seen = []
    for number in range(5):
        loop.round()
        if number == 1:
            turns.queue(_Connection("d", told), cast(AbstractEventLoop, loop))
        seen.append("".join(told))
    assert seen == ["a", "ab", "abc", "abcd", "abcd"]
    assert not loop.ready
    turns.queue(_Connection("e", told), cast(AbstractEventLoop, loop))
    loop.round()
    assert told[-1] == "e"


def _named(account: Account, name: str) -> bytes:
    content = json.dumps({"modelSetName": name, "modelType": "Text2Text"}).encode()
    return raw_request(account, ("content-length", str(len(content))), content=content, target=CREATE)


def _page(account: Account, size: int) -> bytes:
    content = json.dumps({"maxKeys": size}).encode()
    return raw_request(account, ("content-length", str(len(content))), content=content)


def _results(connection: socket.socket, count: int) -> list[Any]:
    """The next results on a connection, however their bytes come; http.client reads past the end of the first."""
    results = []
    with connection.makefile("rb") as incoming:
        for _ in range(count):
            assert incoming.readline() == b"HTTP/1.1 200 OK\r\n"
            headers = dict(line.lower().split(b": ", 1) for line in iter(incoming.readline, b"\r\n"))
            results.append(json.loads(incoming.read(int(headers[b"content-length"])))["result"])
    return results


def test_requests_in_one_piece_are_answered_in_their_order_reads_and_writes(account: Account) -> None:
    """A read is answered at its turn and a write by a thread; neither may overtake the other."""
    with socket.create_connection(account.server.address, timeout=20) as connection:
        connection.sendall(
            _page(account, 1) + _page(account, 2) + _named(account, "a") + _page(account, 3) + _named(account, "b")
        )
        told = _results(connection, 5)
    assert [isinstance(result, str) or result["pageInfo"]["maxKeys"] for result in told] == [1, 2, True, 3, True]


def test_a_sound_request_before_bytes_that_are_no_http_is_answered(account: Account) -> None:
    with socket.create_connection(account.server.address, timeout=20) as connection:
        connection.sendall(_page(account, 5) + b"\x16\x03\x01\r\n\r\n")
        with connection.makefile("rb") as incoming:
            told = incoming.read()
    assert told.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"maxKeys":5' in told
    assert b"HTTP/1.1 400 Bad Request\r\n" in told


def test_a_body_that_comes_byte_by_byte_is_one_body(account: Account) -> None:
    raw = _page(account, 7)
    with socket.create_connection(account.server.address, timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in range(len(raw)):
            connection.sendall(raw[byte : byte + 1])
        assert read_reply(connection).success()["result"]["pageInfo"]["maxKeys"] == 7


def test_a_head_that_begins_in_a_piece_with_a_large_body_is_not_taken_for_a_large_head(account: Account) -> None:
    content = b"{}".ljust(200_000)
    first = raw_request(account, ("content-length", str(len(content))), content=content)
    second = _page(account, 3)
    with socket.create_connection(account.server.address, timeout=20) as connection:
        connection.sendall(first + second[:100])
        read_reply(connection).success()
        connection.sendall(second[100:])
        assert read_reply(connection).success()["result"]["pageInfo"]["maxKeys"] == 3


def test_a_read_with_a_large_body_is_answered_all_the_same(account: Account) -> None:
    content = b"{}".ljust(100_000)
    account.send(TARGET, content).success()


def test_a_connection_that_is_not_to_be_kept_is_closed_after_the_answer(account: Account) -> None:
    for raw in (
        raw_request(account, ("content-length", "2"), ("connection", "close")),
        raw_request(account, ("content-length", "2")).replace(b"HTTP/1.1", b"HTTP/1.0"),
    ):
        with socket.create_connection(account.server.address, timeout=20) as connection:
            connection.sendall(raw)
            reply = read_reply(connection)
            reply.success()
            assert reply.headers["connection"] == "close"
            assert connection.recv(1) == b""


def test_many_connections_at_once_get_each_its_own_answer(account: Account) -> None:
    told: dict[int, int] = {}

    def ask(size: int) -> None:
        with socket.create_connection(account.server.address, timeout=20) as connection:
            for _ in range(5):
                connection.sendall(_page(account, size))
                told[size] = read_reply(connection).success()["result"]["pageInfo"]["maxKeys"]

    threads = [threading.Thread(target=ask, args=(size,)) for size in range(1, 41)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == {size: size for size in range(1, 41)}
