"""What goes back: status, content, headers; errors in the documented form with the fields that the Go SDK looks for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from modelpress.api import status
from modelpress.errors import AuthenticationError, RequestLimitExceeded, ServiceError

_encode = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """What goes back, before it is sent."""

    status: int
    content: bytes
    headers: Mapping[str, str] = MappingProxyType({})

    def raw_headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        """All headers as they are sent."""
        return [
            # Exactly this: the Node SDK returns garbage for any other type.
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(self.content)),
            (b"x-bce-request-id", request_id.encode()),
            *((name.encode(), value.encode("latin-1")) for name, value in self.headers.items()),
        ]


def success_answer(request_id: str, result: Any, *, old: bool = False) -> Answer:
    """A success; without ``result`` where the action has none, with ``log_id`` on the ``old`` API's routes."""
    answer = {"requestId": request_id} if result is None else {"requestId": request_id, "result": result}
    if old:
        # A number in a string, as in the old API's samples: the first 32 bits of the request id.
        answer["log_id"] = str(int(request_id[:8], 16))
    return Answer(status=200, content=_encode(answer))


def refusal_answer(request_id: str, exc: ServiceError) -> Answer:
    """What a caller's mistake is answered with."""
    row = next(status.ROWS[kind] for kind in type(exc).__mro__ if kind in status.ROWS)
    message = exc.message + (f" hint: {exc.hint}" if exc.hint else "")
    headers = {}
    if isinstance(exc, AuthenticationError):
        headers = {"x-bce-error-code": exc.code, "x-bce-error-message": exc.header_message}
    if isinstance(exc, RequestLimitExceeded):
        headers = {"retry-after": str(exc.retry_after_seconds)}
    return error_answer(request_id, row, message, headers=headers)


def error_answer(
    request_id: str, row: status.ErrorRow, message: str, *, headers: Mapping[str, str] | None = None
) -> Answer:
    """An error of this row."""
    # A message may quote a file's name, and those need not be text.
    text = message.encode(errors="backslashreplace").decode()
    body = {"requestId": request_id, "code": row.code, "message": text, "error_code": row.number, "error_msg": text}
    return Answer(status=row.status, headers=headers or {}, content=_encode(body))
