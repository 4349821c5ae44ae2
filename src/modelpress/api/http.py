"""The HTTP edge: receives requests, chooses the thread, and turns answers and errors into responses.

The only place that knows an HTTP status, and the only catch-all of the API.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl

import anyio
import anyio.to_thread
import structlog
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from modelpress.api import status
from modelpress.api.action import Action
from modelpress.api.actions import ACTIONS, V1_ROUTES
from modelpress.api.answer import Answer, error_answer, refusal_answer, success_answer
from modelpress.api.rate import RateLimit
from modelpress.api.request import Received, authenticate, authorise, decode, read_request
from modelpress.domain.policy import Caller
from modelpress.errors import (
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
#: A larger body is decoded in a thread, whatever its action.
_SMALL_BODY_BYTES = 16_384
_REMEMBERED = 256

Choose = Callable[[str], Action]


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What all endpoints share."""

    services: Services
    settings: Settings
    limiter: anyio.CapacityLimiter
    rate_limit: RateLimit


class ActionEndpoint:
    """A raw ASGI endpoint for a route whose action is chosen from the query."""

    def __init__(self, house: House, choose: Choose) -> None:
        self._house = house
        self._choose = choose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        request_id = str(uuid.uuid4())
        try:
            answer = await self._answer(scope, receive, request_id)
        except ServiceError as exc:
            answer = refusal_answer(request_id, exc)
        except StoreUnavailable as exc:
            # Without its trace: a driver's message quotes the statement's parameters, which came from callers.
            _log.error("database unavailable", request_id=request_id, path=scope["path"], why=exc.message)
            answer = error_answer(request_id, status.UNAVAILABLE, "The database does not answer; nothing was changed.")
        except Exception:  # the catch-all of the HTTP edge: the caller gets a form, the log the trace
            _log.exception("request failed", request_id=request_id, path=scope["path"])
            answer = error_answer(request_id, status.INTERNAL, "We encountered an internal error.")
        await _send(send, request_id, answer)

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> Answer:
        if scope["method"] != "POST":
            message = f"{scope['method']} is not allowed here; use POST"
            return error_answer(request_id, status.NOT_POST, message, headers={"allow": "POST"})
        received = Received(
            # As it came: what the signature covers is not yet decoded.
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=_headers(scope["headers"]),
            body=await _read_body(receive, limit_bytes=self._house.settings.body_bytes),
        )
        services = self._house.services
        if not services.answers_fast:
            return await self._in_thread(lambda: self._carry_out(request_id, received, *self._admit(received)))
        # An indexed SQLite read costs less than handing it to a thread: measured 2.3 times the rate.
        caller, action = self._admit(received)
        if action.quick and len(received.body) <= _SMALL_BODY_BYTES:
            request = decode(received.body, action.request, query=received.query)
            if action.slow_when is None or not action.slow_when(request):
                return success_answer(request_id, action.run(services, caller, request), old=action.old)
        return await self._in_thread(lambda: self._carry_out(request_id, received, caller, action))

    def _admit(self, received: Received) -> tuple[Caller, Action]:
        caller = authenticate(self._house.services, self._house.settings, received)
        self._house.rate_limit.admit(caller.access_key)
        action = self._choose(received.query)
        authorise(caller, action)
        return caller, action

    def _carry_out(self, request_id: str, received: Received, caller: Caller, action: Action) -> Answer:
        request = read_request(received, action)
        return success_answer(request_id, action.run(self._house.services, caller, request), old=action.old)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await anyio.to_thread.run_sync(work, limiter=self._house.limiter)


def _chosen_by_query(query: str) -> Action:
    named = _action_name(query)
    action = ACTIONS.get(named)
    if action is None:
        raise InvalidAction(named)
    return action


@lru_cache(_REMEMBERED)
def _action_name(query: str) -> str:
    # The signature covers the sorted query, so of two Actions nobody could tell which one was meant.
    return ",".join(value for name, value in parse_qsl(query, keep_blank_values=True) if name == "Action")


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


async def _send(send: Send, request_id: str, answer: Answer) -> None:
    headers = answer.raw_headers(request_id)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})


async def _health(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] in ("GET", "HEAD"):
        await JSONResponse({"status": "ok"})(scope, receive, send)
        return
    request_id, message = str(uuid.uuid4()), f"{scope['method']} is not allowed here; use GET"
    await _send(send, request_id, error_answer(request_id, status.NOT_POST, message, headers={"allow": "GET, HEAD"}))


async def _no_route(scope: Scope, receive: Receive, send: Send) -> None:
    request_id = str(uuid.uuid4())
    await _send(send, request_id, error_answer(request_id, status.NO_ROUTE, f"no route {scope['path']!r}"))


def make_app(services: Services, settings: Settings) -> ASGIApp:
    """The ASGI application over these services."""
    house = House(
        services=services,
        settings=settings,
        limiter=anyio.CapacityLimiter(_THREADS),
        rate_limit=RateLimit(settings.requests_per_second),
    )
    endpoints: dict[str, ASGIApp] = {"/v2/model": ActionEndpoint(house, _chosen_by_query)}
    endpoints |= {path: ActionEndpoint(house, _always(action)) for path, action in V1_ROUTES.items()}
    endpoints["/healthz"] = _health
    others = Starlette()
    others.router.default = _no_route
    others.router.redirect_slashes = False

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        # These few paths are found without Starlette's middleware and router, a tenth of a list's time.
        endpoint = endpoints.get(scope["path"], others) if scope["type"] == "http" else others
        await endpoint(scope, receive, send)

    return app
