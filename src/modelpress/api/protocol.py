"""HTTP/1.1 as uvicorn reads it, with a bound on what comes before the body, a short way for what is answered at once,
and errors in the API's own form.

uvicorn's httptools protocol takes headers of any size, and answers bytes that are no HTTP with a line of text.
"""

from __future__ import annotations

from collections.abc import Iterable

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from modelpress.api import status
from modelpress.api.answer import Answer, error_answer
from modelpress.api.endpoint import SMALL_BODY_BYTES, Prepared, RawRequest
from modelpress.api.http import Application

#: Request line and headers together. The official SDKs send some 700 bytes.
LARGEST_HEAD_BYTES = 32_768


class _HeadTooLarge(Exception):
    """Passes through the parser, which ends the request; what is answered is chosen below."""


class ApiProtocol(HttpToolsProtocol):
    """One connection.

    A small POST to the API's routes is held until its body is whole. If it is a mere indexed read, it is answered when
    its turn has come; else it goes the usual way through a task and ASGI, which costs a tenth of a list.
    """

    #: Whether a head is being read, and how much of it came; whether it began in the midst of this piece of bytes.
    _in_head = _began_inside = False
    _head_bytes = 0
    #: Whether the last request is whole, and whether a head that begins now begins with the piece.
    _between = _at_start = True
    _too_large = False
    #: The body so far of a request that may be answered without a task.
    _held: bytearray | None = None
    #: A request whose turn is to come, and whether the connection is kept after it.
    _waiting: tuple[RawRequest, Prepared, bool] | None = None

    def data_received(self, data: bytes) -> None:
        """Take in bytes; a head that has not ended within the limit ends the connection."""
        self._at_start, self._began_inside = self._between, False
        super().data_received(data)
        # The parser keeps a header to itself until its end has come: count what it swallowed. How much of a piece that
        # begins with something else it swallowed, nobody tells.
        if self._in_head and not self._began_inside and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > LARGEST_HEAD_BYTES:
                self._too_large = True
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins."""
        self.take_turn()  # of the one before, if its answer is still to come: answers are in the order of requests
        super().on_message_begin()
        self._began_inside = not self._at_start
        self._head_bytes, self._in_head = 0, True
        self._between = self._at_start = False

    def on_headers_complete(self) -> None:
        """All headers are here."""
        self._in_head = False
        if len(self.url) + sum([len(name) + len(value) for name, value in self.headers]) > LARGEST_HEAD_BYTES:
            self._too_large = True
            raise _HeadTooLarge
        if self._may_be_held():
            self._held = bytearray()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._held is None:
            super().on_body(body)
            return
        self._held += body
        if len(self._held) > SMALL_BODY_BYTES:
            self._let_go(self._held)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._between = True
        if self._held is None:
            super().on_message_complete()
            return
        path, _, query = self.url.partition(b"?")
        raw = RawRequest(path=path, query=query, headers=self.headers, body=bytes(self._held))
        if prepared := self._application.prepare(raw):
            self._held = None
            keeps = self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            self._waiting = raw, prepared, keeps
            self._application.turns.queue(self, self.loop)
        else:
            self._let_go(self._held)
            super().on_message_complete()

    def take_turn(self) -> None:
        """Answer the request that waits, if one does."""
        if self._waiting is None:
            return
        (raw, prepared, keeps), self._waiting = self._waiting, None
        if self.transport.is_closing():
            return
        request_id = self._application.request_ids.new()
        answer = self._application.answer(raw, request_id=request_id, prepared=prepared)
        self._write(answer, request_id, keeps=keeps)

    def shutdown(self) -> None:
        """The server is to stop: what waits is answered, then the connection ends in order."""
        self.take_turn()
        super().shutdown()

    @property
    def _application(self) -> Application:
        assert isinstance(self.app, Application)
        return self.app

    def _may_be_held(self) -> bool:
        """Whether the request may be answered without a task, as far as its head tells."""
        return (
            isinstance(self.app, Application)
            and self.parser.get_method() == b"POST"
            and self.app.has_actions(self.url.partition(b"?")[0])
            and b"#" not in self.url
            # Another request of the connection is still being answered, or its reader is behind.
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and not self.expect_100_continue
            and not self.parser.should_upgrade()
        )

    def _let_go(self, body: bytearray) -> None:
        """Hand a held request to a task, as if it had just come."""
        self._held = None
        super().on_headers_complete()
        if body:
            super().on_body(bytes(body))

    def _write(self, answer: Answer, request_id: str, *, keeps: bool) -> None:
        headers = [*self.server_state.default_headers, *answer.raw_headers(request_id)]
        if not keeps:
            headers.append((b"connection", b"close"))
        self.transport.write(_head(answer.status, headers) + answer.content)
        if not keeps:
            self.transport.close()
        self.on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read as a request, and hang up."""
        self.take_turn()  # of a sound request before it
        row, text = status.NOT_HTTP, "the bytes received are no HTTP/1.1 request"
        if self._too_large:
            row = status.HEAD_TOO_LARGE
            text = f"request line and headers are larger than the allowed {LARGEST_HEAD_BYTES} bytes"
        request_id = self._application.request_ids.new()
        answer: Answer = error_answer(request_id, row, text, headers={"connection": "close"})
        self.transport.write(_head(answer.status, answer.raw_headers(request_id)) + answer.content)
        self.transport.close()


def _head(status_code: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join((STATUS_LINE[status_code], *lines, b"\r\n"))
