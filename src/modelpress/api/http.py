"""The HTTP edge as an ASGI application: receives requests, chooses the thread, sends answers.

A server that can (``protocol.py``) asks first whether a request is a mere read, and saves it the way through ASGI.
"""

from __future__ import annotations

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from modelpress.api import status
from modelpress.api.actions import V1_ROUTES
from modelpress.api.answer import Answer, error_answer, refusal_answer
from modelpress.api.endpoint import ActionEndpoint, Choose, Prepared, RawRequest, always, chosen_by_query
from modelpress.api.rate import RateLimit
from modelpress.api.request_id import RequestIds
from modelpress.api.turns import Turns
from modelpress.errors import EntityTooLarge, InvalidHTTPRequest, ServiceError
from modelpress.service.services import Services
from modelpress.settings import Settings

#: Requests that may take longer than a millisecond run in at most this many threads at once.
_THREADS = 16


class Application:
    """The ASGI application over some services."""

    def __init__(self, services: Services, settings: Settings) -> None:
        self._body_bytes = settings.body_bytes
        self._limiter = anyio.CapacityLimiter(_THREADS)
        rate_limit = RateLimit(settings.requests_per_second)
        routes: dict[str, Choose] = {"/v2/model": chosen_by_query}
        routes |= {path: always(action) for path, action in V1_ROUTES.items()}
        #: By path; found without Starlette's middleware and router, a tenth of a list's time.
        self._endpoints = {
            path: ActionEndpoint(services, settings, rate_limit, choose) for path, choose in routes.items()
        }
        self._by_raw_path = {path.encode(): endpoint for path, endpoint in self._endpoints.items()}
        self.request_ids = RequestIds()
        self._others = _other_routes(self.request_ids)
        self.turns = Turns()

    def has_actions(self, raw_path: bytes) -> bool:
        """Whether the path is a route of actions."""
        return raw_path in self._by_raw_path

    def prepare(self, raw: RawRequest) -> Prepared | None:
        """What is known of a request of a route of actions whose ``answer`` needs no thread; else None."""
        return self._by_raw_path[raw.path].prepare(raw)

    def answer(self, raw: RawRequest, *, request_id: str, prepared: Prepared) -> Answer:
        """The answer to a request that was prepared."""
        return self._by_raw_path[raw.path].answer(raw, request_id=request_id, prepared=prepared)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        endpoint = self._endpoints.get(scope["path"]) if scope["type"] == "http" else None
        if endpoint is None:
            await self._others(scope, receive, send)
            return
        request_id = self.request_ids.new()
        await _send(send, request_id, await self._answer(endpoint, scope, receive, request_id))

    async def _answer(self, endpoint: ActionEndpoint, scope: Scope, receive: Receive, request_id: str) -> Answer:
        if scope["method"] != "POST":
            message = f"{scope['method']} is not allowed here; use POST"
            return error_answer(request_id, status.NOT_POST, message, headers={"allow": "POST"})
        try:
            body = await _read_body(receive, limit_bytes=self._body_bytes)
        except ServiceError as exc:
            return refusal_answer(request_id, exc)
        raw = RawRequest(path=scope["raw_path"], query=scope["query_string"], headers=scope["headers"], body=body)
        # An indexed SQLite read costs less than handing it to a thread: measured 2.3 times the rate.
        if prepared := endpoint.prepare(raw):
            return endpoint.answer(raw, request_id=request_id, prepared=prepared)
        return await anyio.to_thread.run_sync(
            lambda: endpoint.answer(raw, request_id=request_id), limiter=self._limiter
        )


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


async def _send(send: Send, request_id: str, answer: Answer) -> None:
    headers = answer.raw_headers(request_id)
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.content})


def _other_routes(request_ids: RequestIds) -> ASGIApp:
    others = Starlette()

    async def refuse(send: Send, row: status.ErrorRow, message: str, **headers: str) -> None:
        request_id = request_ids.new()
        await _send(send, request_id, error_answer(request_id, row, message, headers=headers))

    async def health(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in ("GET", "HEAD"):
            await JSONResponse({"status": "ok"})(scope, receive, send)
            return
        await refuse(send, status.NOT_POST, f"{scope['method']} is not allowed here; use GET", allow="GET, HEAD")

    async def no_route(scope: Scope, receive: Receive, send: Send) -> None:
        await refuse(send, status.NO_ROUTE, f"no route {scope['path']!r}")

    async def route(scope: Scope, receive: Receive, send: Send) -> None:
        found: ASGIApp = health if scope["type"] == "http" and scope["path"] == "/healthz" else others
        await found(scope, receive, send)

    others.router.default = no_route
    others.router.redirect_slashes = False
    return route
