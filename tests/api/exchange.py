"""One HTTP exchange by hand: any bytes go out, and whatever comes back is held against the documented forms."""

from __future__ import annotations

import http.client
import json
import socket
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from modelpress.api import status

Address = tuple[str, int]
Headers = Mapping[str, str]

#: Every documented error by its number.
ROWS = {row.number: row for row in (*status.ROWS.values(), *status.OTHERS)}
_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back; header names are lower case."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> dict[str, Any]:
        """The body, which is a JSON object."""
        value = json.loads(self.content)
        assert isinstance(value, dict)
        return value

    def success(self) -> dict[str, Any]:
        """The body of a success, in the documented form."""
        body = self.json
        assert self.status == 200, body
        assert set(body) <= {"requestId", "result", "log_id"}
        _check_envelope(self, body)
        assert not _has_null(body)
        return body

    def refusal(self, code: str | None = None) -> str:
        """The message of an error, in the documented form; of this code, if one is named."""
        body = self.json
        assert self.status >= 400, body
        assert set(body) == {"requestId", "code", "message", "error_code", "error_msg"}
        _check_envelope(self, body)
        row = ROWS[body["error_code"]]
        assert (row.code, row.status) == (body["code"], self.status)
        assert body["error_msg"] == body["message"]
        if code is not None:
            assert body["code"] == code, body["message"]
        return str(body["message"])

    def checked(self) -> Reply:
        """Itself, if it is in one of the two documented forms and no failure of the server."""
        if self.status == 200:
            self.success()
        else:
            self.refusal()
        assert self.status < 500, self.json
        return self


def send_request(
    address: Address,
    target: str,
    *,
    headers: Iterable[tuple[str, str]],
    content: bytes,
    method: str = "POST",
    version: str = "HTTP/1.1",
) -> Reply:
    """The reply to one request on a connection of its own."""
    lines = [f"{method} {target} {version}", *(f"{name}: {value}" for name, value in headers)]
    return send_bytes(address, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + content, method=method)


def send_bytes(address: Address, raw: bytes, *, method: str = "POST") -> Reply:
    """The reply to these very bytes."""
    with socket.create_connection(address, timeout=_SECONDS) as connection:
        connection.sendall(raw)
        return read_reply(connection, method=method)


def read_reply(connection: socket.socket, *, method: str = "POST") -> Reply:
    """The next reply on an open connection."""
    with http.client.HTTPResponse(connection, method=method) as response:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Reply(status=response.status, headers=headers, content=response.read())


def _check_envelope(reply: Reply, body: dict[str, Any]) -> None:
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-bce-request-id"] == body["requestId"]
    assert uuid.UUID(body["requestId"]).version == 4
    # Its mere presence makes the Python SDK throttle itself.
    assert "x-ratelimit-limit-requests" not in reply.headers


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_null, value.values()))
    if isinstance(value, list):
        return any(map(_has_null, value))
    return value is None
