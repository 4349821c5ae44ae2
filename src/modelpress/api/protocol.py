"""HTTP/1.1 as uvicorn reads it, with a bound on what comes before the body, and errors in the API's own form.

uvicorn's httptools protocol takes headers of any size, and answers bytes that are no HTTP with a line of text.
"""

from __future__ import annotations

import uuid

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from modelpress.api import status
from modelpress.api.answer import Answer, error_answer

#: Request line and headers together. The official SDKs send some 700 bytes.
LARGEST_HEAD_BYTES = 32_768


class _HeadTooLarge(Exception):
    """Passes through the parser, which ends the request; what is answered is chosen below."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    _head_bytes = 0
    _in_head = False
    _too_large = False

    def data_received(self, data: bytes) -> None:
        """Take in bytes; a head that has not ended within the limit ends the connection."""
        super().data_received(data)
        # The parser keeps a header to itself until its end has come: count what it swallowed.
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD_BYTES:
                self._too_large = True
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_bytes, self._in_head = 0, True

    def on_headers_complete(self) -> None:
        """All headers are here."""
        self._in_head = False
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > LARGEST_HEAD_BYTES:
            self._too_large = True
            raise _HeadTooLarge
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read as a request, and hang up."""
        row, text = status.NOT_HTTP, "the bytes received are no HTTP/1.1 request"
        if self._too_large:
            row = status.HEAD_TOO_LARGE
            text = f"request line and headers are larger than the allowed {LARGEST_HEAD_BYTES} bytes"
        request_id = str(uuid.uuid4())
        answer: Answer = error_answer(request_id, row, text, headers={"connection": "close"})
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers(request_id))
        self.transport.write(STATUS_LINE[answer.status] + lines + b"\r\n" + answer.content)
        self.transport.close()
