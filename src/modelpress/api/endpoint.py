"""A route of actions: from what was received to an answer, whatever happens. Synchronous, and free of any server.

The only catch-all of the API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl

import structlog

from modelpress.api import status, wire
from modelpress.api.action import Action
from modelpress.api.actions import ACTIONS
from modelpress.api.answer import Answer, error_answer, refusal_answer, success_answer
from modelpress.api.rate import RateLimit
from modelpress.api.request import Received, authenticate, authorise, decode, read_request
from modelpress.errors import InvalidAction, InvalidHTTPRequest, ServiceError, StoreUnavailable
from modelpress.service.services import Services
from modelpress.settings import Settings

_log = structlog.get_logger("modelpress.api")

#: A larger body is never looked at on the event loop, whatever its action.
SMALL_BODY_BYTES = 16_384
_REMEMBERED = 256

#: The action that a query names, None if there is none.
Choose = Callable[[str], Action | None]
RawHeaders = Iterable[tuple[bytes, bytes]]


class RawRequest(NamedTuple):
    """A POST as the server read it; path and query are still percent-encoded."""

    path: bytes
    query: bytes
    headers: RawHeaders
    body: bytes


class Prepared(NamedTuple):
    """What was found out of a request before its signature was checked; the form is None where the body is none."""

    action: Action
    request: wire.Request | None


class ActionEndpoint:
    """A route whose action is chosen from the query."""

    def __init__(self, services: Services, settings: Settings, rate_limit: RateLimit, choose: Choose) -> None:
        self._services = services
        self._settings = settings
        self._rate_limit = rate_limit
        self._choose = choose

    def prepare(self, raw: RawRequest) -> Prepared | None:
        """What is known of a request that is an indexed read, cheaper than handing it to a thread; else None."""
        if not self._services.answers_fast or len(raw.body) > SMALL_BODY_BYTES:
            return None
        query = _text(raw.query)
        action = self._choose(query)
        if action is None or not action.quick:
            return None
        if action.slow_when is None:
            return Prepared(action, None)
        try:
            request = decode(raw.body, action.request, query=query)
        except ServiceError:  # told in its turn, after the signature was checked
            return Prepared(action, None)
        return None if action.slow_when(request) else Prepared(action, request)

    def answer(self, raw: RawRequest, *, request_id: str, prepared: Prepared | None = None) -> Answer:
        """The answer to one request, whatever happens."""
        try:
            return self._carry_out(raw, request_id, prepared)
        except ServiceError as exc:
            return refusal_answer(request_id, exc)
        except StoreUnavailable as exc:
            # Without its trace: a driver's message quotes the statement's parameters, which came from callers.
            _log.error("database unavailable", request_id=request_id, path=_text(raw.path), why=exc.message)
            return error_answer(request_id, status.UNAVAILABLE, "The database does not answer; nothing was changed.")
        except Exception:  # the catch-all of the HTTP edge: the caller gets a form, the log the trace
            _log.exception("request failed", request_id=request_id, path=_text(raw.path))
            return error_answer(request_id, status.INTERNAL, "We encountered an internal error.")

    def _carry_out(self, raw: RawRequest, request_id: str, prepared: Prepared | None) -> Answer:
        received = Received(
            # As it came: what the signature covers is not yet decoded.
            path=_text(raw.path),
            query=_text(raw.query),
            headers=_headers(raw.headers),
            body=raw.body,
        )
        caller = authenticate(self._services, self._settings, received)
        self._rate_limit.admit(caller.access_key)
        action = prepared.action if prepared else self._choose(received.query)
        if action is None:
            raise InvalidAction(_action_name(received.query))
        authorise(caller, action)
        request = (prepared and prepared.request) or read_request(received, action)
        return success_answer(request_id, action.run(self._services, caller, request), old=action.old)


def chosen_by_query(query: str) -> Action | None:
    """The action of ``/v2/model`` that the query names."""
    return ACTIONS.get(_action_name(query))


def always(action: Action) -> Choose:
    """The same action whatever the query says."""
    return lambda _query: action


@lru_cache(_REMEMBERED)
def _action_name(query: str) -> str:
    # The signature covers the sorted query, so of two Actions nobody could tell which one was meant.
    return ",".join(value for name, value in parse_qsl(query, keep_blank_values=True) if name == "Action")


def _headers(raw: RawHeaders) -> dict[str, str]:
    """Headers by lower-case name; a repeated one is one list (RFC 9110, 5.3), but of these two there must be one.

    Raises: InvalidHTTPRequest.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in headers:
            if name in ("host", "authorization"):
                raise InvalidHTTPRequest(f"the request has more than one {name} header")
            value = f"{headers[name]}, {value}"
        headers[name] = value
    return headers


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
