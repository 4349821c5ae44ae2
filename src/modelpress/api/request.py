"""One request, from bytes to an answer: authenticate, decode, authorise, run. Synchronous, and free of any server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from modelpress.api import wire
from modelpress.api.action import Action
from modelpress.api.multipart import find_file
from modelpress.domain.policy import Caller
from modelpress.errors import AccessDenied, InvalidRequest, MalformedJSON
from modelpress.service.services import Services
from modelpress.settings import Settings
from modelpress.signature import SignedRequest, parse_authorization, verify

#: The end of msgspec's message: where in the body the fault lies.
_PLACE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]*)`")


class Received(NamedTuple):
    """A request as it came: the raw path and query, headers with lower-case names, the body."""

    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes


def authenticate(services: Services, settings: Settings, received: Received) -> Caller:
    """Who sent this.

    Raises: AuthenticationError.
    """
    authorization = parse_authorization(received.headers.get("authorization"))
    caller, secret_key = services.access.caller(authorization.access_key)
    verify(
        authorization,
        SignedRequest(method="POST", path=received.path, query=received.query, headers=received.headers),
        secret_key=secret_key,
        now=services.clock(),
        longest_seconds=settings.signature_seconds,
        public_hosts=settings.public_hosts,
    )
    return caller


def authorise(caller: Caller, action: Action) -> None:
    """Return if the caller's policies allow the action.

    Raises: AccessDenied.
    """
    allowed = action.open_to_all or (caller.may_write() if action.writes or action.guarded else caller.may_read())
    if not allowed:
        raise AccessDenied(action.name)


def read_request(received: Received, action: Action) -> wire.Request:
    """What the body asks for, in the form of the action.

    Raises: MalformedJSON, InvalidRequest naming the field.
    """
    if action.multipart:
        return _read_upload(received)
    return decode(received.body, action.request, query=received.query)


def _read_upload(received: Received) -> wire.SpecFile:
    """The uploaded file; the documents' own samples call its field ``file``."""
    found = find_file(
        received.headers.get("content-type", ""), received.body, fields=(wire.SPEC_FIELD, wire.SPEC_FIELD_IN_SAMPLES)
    )
    if found is None:
        raise InvalidRequest(wire.SPEC_FIELD, "required, as a file in multipart/form-data")
    return wire.SpecFile(custom_spec_file=found)


def decode(body: bytes, form: type[wire.Request], *, query: str = "") -> wire.Request:
    """The body as a ``form``; an empty body counts as ``{}``, as the Node SDK sends it.

    Of the query, ``clientToken`` is taken where the form has such a field.

    Raises: MalformedJSON, InvalidRequest naming the field.
    """
    try:
        request = msgspec.json.decode(body or b"{}", type=form, dec_hook=_read)
    except msgspec.ValidationError as exc:
        raise _invalid(str(exc)) from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise MalformedJSON(str(exc)) from exc
    except RecursionError as exc:
        raise MalformedJSON("it is nested too deeply") from exc
    if b"u0000" in body:  # the only way to write a zero character
        _check_texts(request, path="")
    return _with_token(request, query) if isinstance(request, wire.Repeatable) else request


def _with_token(request: wire.Repeatable, query: str) -> wire.Request:
    """The request with the client token of its body or of its query.

    Raises: InvalidRequest if they name different ones.
    """
    named = {value for name, value in parse_qsl(query, keep_blank_values=True) if name == "clientToken"}
    if request.client_token is not None:
        named.add(request.client_token)
    if not named:
        return request
    if len(named) > 1:
        raise InvalidRequest("clientToken", "the query and the body name different ones, or the query names several")
    try:
        token = msgspec.convert(named.pop(), wire.ClientToken)
    except msgspec.ValidationError as exc:
        raise InvalidRequest("clientToken", str(exc)[:1].lower() + str(exc)[1:]) from exc
    return msgspec.structs.replace(request, client_token=token)


def _read(kind: type[Any], value: Any) -> Any:
    if kind in (wire.NameText, wire.StatusWords, wire.ColumnCount):
        return kind.parse(value)
    assert kind is wire.Whole, f"no form has a {kind}"
    if isinstance(value, bool) or not isinstance(value, int | float) or int(value) != value:
        raise ValueError("Expected a whole number")
    return wire.Whole(value)


def _check_texts(value: Any, *, path: str) -> None:
    """Nothing, unless a text has a zero character, which PostgreSQL cannot keep.

    Raises: InvalidRequest.
    """
    if isinstance(value, str) and "\0" in value:
        raise InvalidRequest(path, "a text must not have a zero character")
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            _check_texts(item, path=f"{path}[{index}]")
    if isinstance(value, wire.Request):
        for attribute, name in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
            _check_texts(getattr(value, attribute), path=f"{path}.{name}" if path else name)


def _invalid(message: str) -> InvalidRequest | MalformedJSON:
    place = _PLACE.search(message)
    path = place["path"] if place else ""
    why = message[: place.start()] if place else message
    missing = _MISSING.match(why)
    if missing:
        return InvalidRequest(".".join(filter(None, (path, missing["field"]))), "required")
    if not path:
        return MalformedJSON(f"the body must be a JSON object: {why}")
    return InvalidRequest(path, why[:1].lower() + why[1:])
