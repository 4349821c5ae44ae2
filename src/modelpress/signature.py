"""Signing of requests as Baidu's bce-auth-v1 has it: the api verifies with it, the client signs with it.

    Authorization: bce-auth-v1/{access key}/{timestamp}/{expiration seconds}/{signed header names}/{signature}

The first four parts, under the secret key, give a signing key, which signs the canonical request: method, path, query
and the listed headers. The body is signed by nobody. The list of names is not signed as such, but every name whose
header has a value has a line in what is.

Nothing here reads a clock or does I/O: bytes and a time in, a verdict out.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from urllib.parse import quote, unquote_to_bytes

from modelpress.errors import InvalidAuthHeader, SignatureExpired, SignatureMismatch

_SCHEME = "bce-auth-v1"
_FORM = f"{_SCHEME}/{{access key}}/{{timestamp}}/{{seconds}}/{{signed headers}}/{{signature}}"

# The official SDKs send about 200 characters; this leaves room for long lists of headers, and bounds what is parsed.
_LONGEST_HEADER_CHARACTERS = 4096
# How far a caller's clock may be ahead. One that is behind is bounded by the signature's own expiration.
_FUTURE = timedelta(minutes=15)

#: What an access key may be written with: visible ASCII without the slash, which parts the header.
ACCESS_KEY = re.compile(r"[!-.0-~]{1,128}")

# Both are written back into the text that was signed, so only the one canonical spelling is taken (no +, no 0300).
_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_EXPIRATION = re.compile(r"[1-9][0-9]{0,8}")
_HEADER_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+")
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_HOST = re.compile(r"(?P<name>\[[^\]]*\]|[^:\[\]]*)(?::[0-9]*)?")

# Clients send the same path, query, host and content type again and again; encoding them is most of a check's work.
# What is remembered is bounded here in number, and by the server's limit on headers in length.
_REMEMBERED = 256

# What an empty list of signed headers stands for, besides every x-bce-* header that is there.
_DEFAULT_HEADERS = frozenset({"host", "content-length", "content-type", "content-md5"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """The parts of an Authorization header, well-formed but not yet believed."""

    access_key: str
    timestamp: str
    expiration_seconds: int
    signed_headers: tuple[str, ...]  #: lower case, in the order listed; empty stands for the default set
    signature: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRequest:
    """What of a request a signature covers, as it is on the request line and in the headers.

    ``path`` and ``query`` are raw, still percent-encoded, parted at the first ``?``. ``headers`` has lower-case names.
    Text is bytes read as Latin-1, the way ASGI servers and http.server hand it on.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)


def parse_authorization(value: str | None) -> Authorization:
    """The parts of the Authorization header ``value``.

    Raises: InvalidAuthHeader, saying what is wrong; it never quotes the header, which may hold another scheme's token.
    """
    if not value:
        raise InvalidAuthHeader("it is missing")
    if len(value) > _LONGEST_HEADER_CHARACTERS:
        raise InvalidAuthHeader(f"it has {len(value)} characters, at most {_LONGEST_HEADER_CHARACTERS} are read")
    parts = value.split("/")
    if parts[0] != _SCHEME:
        raise InvalidAuthHeader(f"only {_SCHEME} is spoken here: {_FORM}")
    if len(parts) != 6:
        raise InvalidAuthHeader(f"it has {len(parts)} parts between slashes, not 6: {_FORM}")
    _, access_key, timestamp, expiration, names, signature = parts
    if not ACCESS_KEY.fullmatch(access_key):
        raise InvalidAuthHeader("the access key is not 1 to 128 visible ASCII characters")
    if not _SIGNATURE.fullmatch(signature):
        raise InvalidAuthHeader(f"the signature is not 64 lower-case hexadecimal digits ({len(signature)} characters)")
    _check_timestamp(timestamp)
    if not _EXPIRATION.fullmatch(expiration):
        raise InvalidAuthHeader(f"the expiration {expiration[:20]!r} is not a number of seconds from 1 to 999999999")
    return Authorization(
        access_key=access_key,
        timestamp=timestamp,
        expiration_seconds=int(expiration),
        signed_headers=_parse_names(names),
        signature=signature,
    )


def verify(
    authorization: Authorization,
    request: SignedRequest,
    *,
    secret_key: str,
    now: datetime,
    longest_seconds: int = 1800,
    public_hosts: Sequence[str] = (),
) -> None:
    """Return if ``request`` was signed with ``secret_key`` and the signature is still good at ``now`` (with a zone).

    ``host`` must be signed. The date needs no header: the timestamp in the Authorization header is part of the signing
    key, so it is signed in any case, and it alone is held against the clock. Therefore ``host`` by itself is enough, as
    in Baidu's own samples, and an ``x-bce-date`` that is sent but not listed is not looked at.

    Two values stand in for what the SDKs sign but do not send: the host without its port (Go, Java; Go without an IPv6
    address's brackets too), or one of ``public_hosts`` where a proxy rewrote it; and the Authorization timestamp for
    ``x-bce-date`` (Java reads the clock three times). Which of them was right shows in the time that a good signature
    takes, and to nobody who could not make one; a wrong one is held against all.

    Raises: SignatureMismatch; SignatureExpired if older than the smaller of its own expiration and ``longest_seconds``,
        or more than 15 minutes ahead. The signature comes first: a wrong secret is told as such whatever the clocks
        say, and only who holds the secret learns that a clock is wrong.
    """
    key = _signing_key(_prefix(authorization), secret_key)
    candidates = _canonical_requests(authorization, request, public_hosts)
    if not any(hmac.compare_digest(_hmac_hex(key, candidate), authorization.signature) for candidate in candidates):
        raise SignatureMismatch()
    _check_clock(authorization, now=now, longest_seconds=longest_seconds)


def sign(
    request: SignedRequest,
    *,
    access_key: str,
    secret_key: str,
    now: datetime,
    expiration_seconds: int = 1800,
    signed_headers: Sequence[str] = ("host", "x-bce-date"),
) -> str:
    """The Authorization value for ``request``, which has each of ``signed_headers``; ``now`` has a zone.

    Raises: InvalidAuthHeader if the parts do not make a header that can be read back; ValueError if a header to be
        signed is absent.
    """
    prefix = f"{_SCHEME}/{access_key}/{format_timestamp(now)}/{expiration_seconds}"
    names = frozenset(signed_headers) or _default_names(request.headers)
    if absent := sorted(names - request.headers.keys()):
        raise ValueError(f"headers to be signed are absent: {', '.join(absent)}")
    lines = _in_order(_header_line(name, request.headers[name]) for name in names)
    text = f"{_canonical_request_line(request)}\n{lines}"
    signature = _hmac_hex(_signing_key(prefix, secret_key), text)
    value = f"{prefix}/{';'.join(signed_headers)}/{signature}"
    parse_authorization(value)
    return value


def format_timestamp(moment: datetime) -> str:
    """``moment``, which has a zone, as the header and ``x-bce-date`` write it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# The header's parts.


def _check_timestamp(timestamp: str) -> None:
    try:
        if _TIMESTAMP.fullmatch(timestamp):
            _instant(timestamp)
            return
    except ValueError:  # of the right form, but no such day or time
        pass
    raise InvalidAuthHeader(f"the timestamp {timestamp[:40]!r} is not a UTC time like 2026-01-02T03:04:05Z")


def _instant(timestamp: str) -> datetime:
    return datetime.fromisoformat(timestamp)


@lru_cache(_REMEMBERED)
def _parse_names(text: str) -> tuple[str, ...]:
    names = tuple(text.lower().split(";")) if text else ()
    if not all(_HEADER_NAME.fullmatch(name) for name in names):
        raise InvalidAuthHeader("the signed headers are not header names joined by ';'")
    if names and "host" not in names:
        raise InvalidAuthHeader("host is not among the signed headers")
    return names


def _prefix(authorization: Authorization) -> str:
    parts = (_SCHEME, authorization.access_key, authorization.timestamp, str(authorization.expiration_seconds))
    return "/".join(parts)


# The text that is signed. Names and values are encoded in it, so none can pass for a separator: two requests with the
# same text mean the same, but for the order of the query's pairs, which is lost.


def _canonical_requests(
    authorization: Authorization, request: SignedRequest, public_hosts: Sequence[str]
) -> Iterator[str]:
    """What may have been signed; nothing if ``host`` is not signed or a listed header is absent."""
    headers = request.headers
    names = frozenset(authorization.signed_headers) or _default_names(headers)
    if "host" not in names or not names <= headers.keys():
        return
    request_line = _canonical_request_line(request)
    fixed = [_header_line(name, headers[name]) for name in names if name not in ("host", "x-bce-date")]
    hosts = [form for host in (headers["host"], *public_hosts) for form in _host_forms(host)]
    dates = [headers["x-bce-date"], authorization.timestamp] if "x-bce-date" in names else [""]
    for host in dict.fromkeys(hosts):
        for date in dict.fromkeys(dates):
            lines = [*fixed, _header_line("host", host), _date_line(date)]
            yield f"{request_line}\n{_in_order(lines)}"


@lru_cache(_REMEMBERED)
def _host_forms(host: str) -> tuple[str, ...]:
    """``host`` as it is, without its port, and without port and brackets."""
    host = host.strip()
    parsed = _HOST.fullmatch(host)
    name = parsed["name"] if parsed else host
    # An empty value has no line in the text, so it would be a signature without a host.
    return tuple(form for form in (host, name, name.strip("[]")) if form)


def _canonical_request_line(request: SignedRequest) -> str:
    return "\n".join((request.method, _canonical_path(request.path), _canonical_query(request.query)))


@lru_cache(_REMEMBERED)
def _canonical_path(path: str) -> str:
    # Segment by segment, so that an encoded slash stays encoded.
    return "/".join(_encode(unquote_to_bytes(_wire(segment))) for segment in path.split("/")) or "/"


@lru_cache(_REMEMBERED)
def _canonical_query(query: str) -> str:
    # A plus sign is a plus sign: the scheme follows RFC 3986, not HTML forms.
    pairs = [item.partition("=") for item in query.split("&")] if query else []
    decoded = [(unquote_to_bytes(_wire(name)), unquote_to_bytes(_wire(value))) for name, _, value in pairs]
    # A signature may itself travel in the query under this name, so it cannot be part of what is signed.
    kept = [(name, value) for name, value in decoded if name.lower() != b"authorization"]
    return "&".join(sorted(f"{_encode(name)}={_encode(value)}" for name, value in kept))


@lru_cache(_REMEMBERED)
def _header_line(name: str, value: str) -> str:
    """The line of one header; empty values have none."""
    encoded = _encode(_wire(value).strip())
    return f"{_encode(_wire(name))}:{encoded}" if encoded else ""


def _in_order(lines: Iterable[str]) -> str:
    # Whole lines are sorted: the order of the list is whatever the caller's set gave.
    return "\n".join(sorted(filter(None, lines)))


def _default_names(headers: Mapping[str, str]) -> frozenset[str]:
    return frozenset(name for name in headers if name in _DEFAULT_HEADERS or name.startswith("x-bce-"))


def _date_line(timestamp: str) -> str:
    """The line of ``x-bce-date``. Of nearly every request it is another one, so it is written out, not remembered."""
    if _TIMESTAMP.fullmatch(timestamp):
        return f"x-bce-date:{timestamp.replace(':', '%3A')}"
    return _header_line("x-bce-date", timestamp)


def _encode(data: bytes) -> str:
    """Percent-encoded but for ``A-Z a-z 0-9 - . _ ~``, which is also what ``quote`` always keeps."""
    return quote(data, safe="")


def _wire(text: str) -> bytes:
    # Text of another origin than the wire (a public host typed with other letters) matches nothing, but does no harm.
    return text.encode("latin-1", errors="backslashreplace")


# Keys and clocks.


def _signing_key(prefix: str, secret_key: str) -> str:
    return _hmac_hex(secret_key, prefix)


def _hmac_hex(key: str, text: str) -> str:
    # The signing key is used as its hexadecimal text, not as the bytes it stands for.
    return hmac.digest(key.encode(), text.encode(), "sha256").hex()


def _check_clock(authorization: Authorization, *, now: datetime, longest_seconds: int) -> None:
    age = now - _instant(authorization.timestamp)
    good_for = timedelta(seconds=min(authorization.expiration_seconds, longest_seconds))
    if -_FUTURE <= age <= good_for:
        return
    if age > good_for:
        why = (
            f"it is {age.total_seconds():.1f} s old and was good for {good_for.total_seconds():.0f} s "
            f"(signed for {authorization.expiration_seconds} s, the server allows {longest_seconds} s)"
        )
    else:
        why = f"it is {-age.total_seconds():.1f} s in the future, at most {_FUTURE.total_seconds():.0f} s are allowed"
    raise SignatureExpired(signed_at=authorization.timestamp, server_time=format_timestamp(now), why=why)
