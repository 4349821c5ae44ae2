"""A proxy between an SDK and a server: hands requests on, broken where an SDK alone would not break them."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

from tests.api.exchange import Address, Reply, send_bytes


def unchanged(request: bytes) -> bytes:
    """The request as the SDK sent it."""
    return request


class Relay(socketserver.TCPServer):
    """One request a connection; ``last`` is the server's reply to the last."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream: Address = ("", 0)
        self.alter: Callable[[bytes], bytes] = unchanged
        #: What is answered instead of asking the server.
        self.instead: Reply | None = None
        self.last: Reply | None = None

    @property
    def url(self) -> str:
        """What SDKs are told as the address."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        relay = cast(Relay, self.server)
        request = self._read()
        if not request:
            return
        relay.last = reply = relay.instead or send_bytes(relay.upstream, relay.alter(request))
        headers = {**reply.headers, "connection": "close"}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.wfile.write(f"HTTP/1.1 {reply.status} -\r\n{lines}\r\n".encode("latin-1") + reply.content)

    def _read(self) -> bytes:
        head, length = b"", 0
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return b""
            head += line
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return head + self.rfile.read(length)


@contextmanager
def running_relay() -> Iterator[Relay]:
    """A relay in a thread of the test."""
    with Relay() as relay:
        thread = threading.Thread(target=relay.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield relay
        finally:
            relay.shutdown()
            thread.join()


def repeated_host(request: bytes) -> bytes:
    """With a second Host."""
    return request.replace(b"\r\n", b"\r\nhost: another\r\n", 1)


def other_method(request: bytes) -> bytes:
    """As PUT."""
    return request.replace(b"POST", b"PUT", 1)


def no_http(request: bytes) -> bytes:
    """With a first line that is none."""
    return b"BREW" + request


#: How to break a request so that it meets the error of this number.
BREAKING: dict[int, Callable[[bytes], bytes]] = {400009: repeated_host, 405001: other_method, 400010: no_http}
