"""The application called by hand in this process: all that a request costs but HTTP."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A request as an ASGI server hands it on."""

    scope: dict[str, Any]
    body: bytes

    def header(self, name: str) -> str:
        """A header's value."""
        headers: list[tuple[bytes, bytes]] = self.scope["headers"]
        return next(value.decode() for key, value in headers if key.decode() == name)


def prepare(raw: bytes) -> Prepared:
    """The request of these bytes."""
    head, _, body = raw.partition(b"\r\n\r\n")
    line, *fields = head.split(b"\r\n")
    method, target, _ = line.split(b" ")
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "scheme": "http",
        "root_path": "",
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8080),
        "method": method.decode(),
        "path": path.decode(),
        "raw_path": path,
        "query_string": query,
        "headers": [tuple(field.split(b": ", 1)) for field in fields],
    }
    return Prepared(scope=scope, body=body)


async def timed(app: ASGIApp, prepared: Prepared) -> float:
    """Microseconds that the application takes to answer, which it must with a success."""
    status = 0

    async def receive() -> Message:
        return {"type": "http.request", "body": prepared.body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    scope = dict(prepared.scope)
    began = time.perf_counter_ns()
    await app(scope, receive, send)
    taken = time.perf_counter_ns() - began
    assert status == 200, status
    return taken / 1000
