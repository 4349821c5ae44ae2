"""The HTTP edge: receives requests, chooses the thread, and turns answers and errors into responses.

The only place that knows an HTTP status, and the only catch-all of the API.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
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
from modelpress.api.actions import ACTIONS, V1_ROUTES, Action
from modelpress.api.request import Received, authenticate, perform
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
        query = scope["query_string"].decode("latin-1")
        try:
            if scope["method"] != "POST":
                await _send(send, request_id, *_not_post(request_id, scope["method"]))
                return
            received = Received(
                path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
                query=query,
                headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
                body=await _read_body(receive, limit_bytes=self._settings.body_bytes),
            )
            content = await self._answer(received, request_id)
            await _send(send, request_id, 200, {}, content)
        except (ServiceError, StoreUnavailable) as exc:
            await _send(send, request_id, *_refusal(request_id, exc))
        except Exception:  # the catch-all of the HTTP edge: the caller gets a form, the log the trace
            _log.exception("request failed", request_id=request_id, query=query)
            await _send(send, request_id, *_error(request_id, status.INTERNAL, "We encountered an internal error."))

    async def _answer(self, received: Received, request_id: str) -> bytes:
        if self._services.answers_fast:
            # An indexed SQLite read costs less than handing it to a thread: measured 2.3 times the rate.
            caller = authenticate(self._services, self._settings, received)
            action = self._choose(received.query)
            if action.quick:
                return _success(request_id, perform(self._services, caller, action, received.body))

        def whole() -> bytes:
            caller = authenticate(self._services, self._settings, received)
            action = self._choose(received.query)
            return _success(request_id, perform(self._services, caller, action, received.body))

        return await anyio.to_thread.run_sync(whole, limiter=self._limiter)


def _chosen_by_query(query: str) -> Action:
    # The signature covers the sorted query, so of two Actions nobody could tell which one was meant.
    named = ",".join(value for name, value in parse_qsl(query, keep_blank_values=True) if name == "Action")
    action = ACTIONS.get(named)
    if action is None:
        raise InvalidAction(named)
    return action


async def _read_body(receive: Receive, *, limit_bytes: int) -> bytes:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidHTTPRequest("the connection ended before the whole body had come")
        body += message.get("body", b"")
        if len(body) > limit_bytes:
            raise EntityTooLarge(limit_bytes=limit_bytes)
        if not message.get("more_body"):
            return body


def _success(request_id: str, result: Any) -> bytes:
    answer = {"requestId": request_id} if result is None else {"requestId": request_id, "result": result}
    return msgspec.json.encode(answer)


def _refusal(request_id: str, exc: ServiceError | StoreUnavailable) -> tuple[int, dict[str, str], bytes]:
    if isinstance(exc, StoreUnavailable):
        return _error(request_id, status.UNAVAILABLE, "The service is not available at present; nothing was changed.")
    row = next(status.ROWS[kind] for kind in type(exc).__mro__ if kind in status.ROWS)
    message = exc.message + (f" hint: {exc.hint}" if exc.hint else "")
    code, headers, content = _error(request_id, row, message)
    if isinstance(exc, AuthenticationError):
        headers |= {"x-bce-error-code": exc.code, "x-bce-error-message": exc.header_message}
    return code, headers, content


def _not_post(request_id: str, method: str) -> tuple[int, dict[str, str], bytes]:
    code, headers, content = _error(request_id, status.NOT_POST, f"{method} is not allowed here; use POST")
    return code, headers | {"allow": "POST"}, content


def _error(request_id: str, row: status.ErrorRow, message: str) -> tuple[int, dict[str, str], bytes]:
    body = {
        "requestId": request_id,
        "code": row.code,
        "message": message,
        "error_code": row.number,
        "error_msg": message,
    }
    return row.status, {}, msgspec.json.encode(body)


async def _send(send: Send, request_id: str, code: int, headers: dict[str, str], content: bytes) -> None:
    named = {
        # Exactly this: the Node SDK returns garbage for any other type.
        "content-type": "application/json",
        "content-length": str(len(content)),
        "x-bce-request-id": request_id,
        **headers,
    }
    raw = [(name.encode(), value.encode("latin-1")) for name, value in named.items()]
    await send({"type": "http.response.start", "status": code, "headers": raw})
    await send({"type": "http.response.body", "body": content})


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    request_id = str(uuid.uuid4())
    await _send(send, request_id, *_error(request_id, status.NO_ROUTE, f"no route {scope['path']!r}"))


def make_app(services: Services, settings: Settings) -> ASGIApp:
    """The ASGI application over these services."""
    limiter = anyio.CapacityLimiter(_THREADS)

    def endpoint(choose: Choose) -> ActionEndpoint:
        return ActionEndpoint(services, settings, choose, limiter)

    routes = [
        Route("/v2/model", endpoint(_chosen_by_query)),
        *(Route(path, endpoint(lambda _query, action=action: action)) for path, action in V1_ROUTES.items()),
        Route("/healthz", _health, methods=["GET"]),
    ]
    app = Starlette(routes=routes)
    app.router.default = _no_route
    app.router.redirect_slashes = False
    return app
