"""One kept connection, by hand: what an HTTP library would add to a request's time is not the server's."""

from __future__ import annotations

import json
import socket
import time
from types import TracebackType
from typing import Any

from benchmarks.api.server import Running

_SECONDS = 60


class Connection:
    """Requests one after the other; answers have a Content-Length."""

    def __init__(self, server: Running) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), timeout=_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def exchange(self, request: bytes) -> tuple[bytes, bytes]:
        """The head and the body of the answer."""
        self._socket.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, body = data.partition(b"\r\n\r\n")
        wanted = content_length(head)
        while len(body) < wanted:
            body += self._receive()
        return head, body

    def _receive(self) -> bytes:
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionError("the server closed the connection")
        return received

    def timed(self, request: bytes) -> float:
        """Microseconds from the request's first byte to the answer's last."""
        began = time.perf_counter_ns()
        head, _ = self.exchange(request)
        taken = time.perf_counter_ns() - began
        assert head.startswith(b"HTTP/1.1 200 "), head
        return taken / 1000

    def result(self, request: bytes) -> Any:
        """The answer's ``result``, which must be a success."""
        head, body = self.exchange(request)
        assert head.startswith(b"HTTP/1.1 200 "), body
        return json.loads(body)["result"]


def content_length(head: bytes) -> int:
    """The length that an answer's head tells."""
    lines = head.lower().split(b"\r\n")
    return int(next(line for line in lines if line.startswith(b"content-length:")).partition(b":")[2])
