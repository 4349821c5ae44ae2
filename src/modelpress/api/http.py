"""The HTTP edge: receives requests, chooses the thread, and turns answers and errors into responses.

The only place that knows an HTTP status, and the only catch-all of the API.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from modelpress.api import status
from modelpress.api.action import Action
from modelpress.api.actions import ACTIONS, V1_ROUTES
from modelpress.api.request import Received, authenticate, perform
from modelpress.domain.policy import Caller
from modelpress.errors import (
    AuthenticationError,
    EntityTooLarge,
    InvalidAction,
    InvalidHTTPRequest,
    ServiceError,
    StoreUnavailable,
)
from modelpress.service.services import Services
from modelpress.settings import Settings

_log = structlog.get_logger("modelpress.api")

#: Requests that may take longer than a millisecond run in at most this many threads at once.
_THREADS = 16

Choose = Callable[[str], Action]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back, before it is sent."""

    status: int
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class ActionEndpoint:
    """A raw ASGI endpoint for a route whose action is chosen from the query."""

    def __init__(self, services: Services, settings: Settings, choose: Choose, limiter: anyio.CapacityLimiter) -> None:
        self._services = services
        self._settings = settings
        self._choose = choose
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        request_id = str(uuid.uuid4())
        try:
            answer = await self._answer(scope, receive, request_id)
        except ServiceError as exc:
            answer = _refusal(request_id, exc)
        except StoreUnavailable as exc:
            # Without its trace: a driver's message quotes the statement's parameters, which came from callers.
            _log.error("database unavailable", request_id=request_id, path=scope["path"], why=exc.message)
            answer = _error(request_id, status.UNAVAILABLE, "The database does not answer; nothing was changed.")
        except Exception:  # the catch-all of the HTTP edge: the caller gets a form, the log the trace
            _log.exception("request failed", request_id=request_id, path=scope["path"])
            answer = _error(request_id, status.INTERNAL, "We encountered an internal error.")
        await _send(send, request_id, answer)

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> Answer:
        if scope["method"] != "POST":
            message = f"{scope['method']} is not allowed here; use POST"
            return _error(request_id, status.NOT_POST, message, headers={"allow": "POST"})
        received = Received(
            # As it came: what the signature covers is not yet decoded.
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=_headers(scope["headers"]),
            body=await _read_body(receive, limit_bytes=self._settings.body_bytes),
        )

        def admit() -> tuple[Caller, Action]:
            caller = authenticate(self._services, self._settings, received)
            return caller, self._choose(received.query)

        def carry_out(caller: Caller, action: Action) -> Answer:
            return _success(request_id, perform(self._services, caller, action, received.body))

        if not self._services.answers_fast:
            return await self._in_thread(lambda: carry_out(*admit()))
        # An indexed SQLite read costs less than handing it to a thread: measured 2.3 times the rate.
        caller, action = admit()
        if action.quick:
            return carry_out(caller, action)
        return await self._in_thread(lambda: carry_out(caller, action))

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)


def _chosen_by_query(query: str) -> Action:
    # The signature covers the sorted query, so of two Actions nobody could tell which one was meant.
    named = ",".join(value for name, value in parse_qsl(query, keep_blank_values=True) if name == "Action")
    action = ACTIONS.get(named)
    if action is None:
        raise InvalidAction(named)
    return action


def _always(action: Action) -> Choose:
    return lambda _query: action


async def _read_body(receive: Receive, *, limit_bytes: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidHTTPRequest("the connection ended before the whole body had come")
        body += message.get("body", b"")
        if len(body) > limit_bytes:
            raise EntityTooLarge(limit_bytes=limit_bytes)
        if not message.get("more_body"):
            return bytes(body)


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; a repeated one is one list (RFC 9110, 5.3), but of these two there must be one.

    Raises: InvalidHTTPRequest.
    """
    headers: dict[str, str] = {}
    for name, value in ((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw):
        if name in ("host", "authorization") and name in headers:
            raise InvalidHTTPRequest(f"the request has more than one {name} header")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _success(request_id: str, result: Any) -> Answer:
    answer = {"requestId": request_id} if result is None else {"requestId": request_id, "result": result}
    return Answer(status=200, content=msgspec.json.encode(answer))


def _refusal(request_id: str, exc: ServiceError) -> Answer:
    row = next(status.ROWS[kind] for kind in type(exc).__mro__ if kind in status.ROWS)
    message = exc.message + (f" hint: {exc.hint}" if exc.hint else "")
    headers = {}
    if isinstance(exc, AuthenticationError):
        headers = {"x-bce-error-code": exc.code, "x-bce-error-message": exc.header_message}
    return _error(request_id, row, message, headers=headers)


def _error(request_id: str, row: status.ErrorRow, message: str, *, headers: Mapping[str, str] | None = None) -> Answer:
    # A message may quote a file's name, and those need not be text.
    text = message.encode(errors="backslashreplace").decode()
    body = {"requestId": request_id, "code": row.code, "message": text, "error_code": row.number, "error_msg": text}
    return Answer(status=row.status, headers=headers or {}, content=msgspec.json.encode(body))


async def _send(send: Send, request_id: str, answer: Answer) -> None:
    named = {
        # Exactly this: the Node SDK returns garbage for any other type.
        "content-type": "application/json",
        "content-length": str(len(answer.content)),
        "x-bce-request-id": request_id,
        **answer.headers,
    }
    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.content})


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    request_id = str(uuid.uuid4())
    await _send(send, request_id, _error(request_id, status.NO_ROUTE, f"no route {scope['path']!r}"))


def make_app(services: Services, settings: Settings) -> ASGIApp:
    """The ASGI application over these services."""
    limiter = anyio.CapacityLimiter(_THREADS)

    def endpoint(choose: Choose) -> ActionEndpoint:
        return ActionEndpoint(services, settings, choose, limiter)

    routes = [
        Route("/v2/model", endpoint(_chosen_by_query)),
        *(Route(path, endpoint(_always(action))) for path, action in V1_ROUTES.items()),
        Route("/healthz", _health, methods=["GET"]),
    ]
    app = Starlette(routes=routes)
    app.router.default = _no_route
    app.router.redirect_slashes = False
    return app
