"""One class, one call: an action and its body go to a server, signed, and the reply comes back as it is."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from modelpress import __version__, signature
from modelpress.errors import ModelpressError, SettingsError

# uvicorn closes a connection that was idle for 5 s. Let go earlier, or a call may go out on one that is just closing.
_KEEP_IDLE_SECONDS = 3
_LONGEST_EXCERPT_CHARACTERS = 200

_HINTS = {
    "InvalidAccessKeyId": "is this the address of the server that issued the access key?",
    "SignatureDoesNotMatch": "the secret key is not the one that was issued with this access key",
    "RequestExpired": "this machine's clock and the server's differ: set both by NTP",
}
_HINT_NOT_OURS = "is this the address of a modelpress server, and not of something before it?"
_HINT_URL = "it looks like http://127.0.0.1:8080"
_HINT_START = "start one with `modelpress serve`, or set MODELPRESS_URL to one that runs"
_HINT_TLS = "is it https at that port? a private authority's certificate goes into SSL_CERT_FILE"
_HINT_UNKNOWN_OUTCOME = "the server may have carried it out: look before you repeat it"


class RequestFailed(ModelpressError):
    """The server answered, but not with success; ``code`` is None where the reply is not in the documented form."""

    def __init__(
        self, message: str, *, code: str | None, status: int, request_id: str | None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.status = status
        self.request_id = request_id

    def __str__(self) -> str:
        known = (self.code, f"HTTP {self.status}", self.request_id and f"request {self.request_id}")
        return f"{self.message} ({', '.join(part for part in known if part)})"


class ServerUnreachable(ModelpressError):
    """No reply came: nothing listens there, the connection broke, or the time was up."""


class Client:
    """Signed calls to the server at ``url``, over connections that are kept; safe to share between threads.

    Raises: SettingsError if the URL or one of the keys cannot be used.
    """

    def __init__(
        self,
        url: str,
        *,
        access_key: str,
        secret_key: str,
        timeout_seconds: float = 30,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._base = _parse_url(url)
        _check_keys(access_key, secret_key)
        self._access_key = access_key
        self._secret_key = secret_key
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._http = _open_connections(self._base, timeout_seconds=timeout_seconds)

    def __repr__(self) -> str:
        return f"Client({str(self._base)!r}, access_key={self._access_key!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the kept connections; the client cannot be used any more."""
        self._http.close()

    def call(self, action: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """The whole reply to ``action``: ``requestId``, and ``result`` where the action has one.

        Raises: RequestFailed for any answer but a success; ServerUnreachable if none came.
        """
        return _read_reply(self.exchange(f"/v2/model?Action={quote(action, safe='')}", dict(body or {})))

    def exchange(
        self,
        target: str,
        body: Mapping[str, object] | bytes,
        *,
        authorization: str | None = None,
        content_type: str = "application/json",
    ) -> httpx.Response:
        """Whatever comes back for ``body`` sent to ``target`` (path and query), also if it is no success.

        ``authorization`` is sent in the place of a signature; empty: without any.

        Raises: ServerUnreachable if nothing came.
        """
        try:
            return self._http.send(self._signed(target, body, authorization=authorization, content_type=content_type))
        except httpx.RequestError as error:
            raise self._unreachable(error) from error

    def _signed(
        self, target: str, body: Mapping[str, object] | bytes, *, authorization: str | None, content_type: str
    ) -> httpx.Request:
        route, _, query = target.partition("?")
        path = self._base.raw_path.decode().rstrip("/") + route
        now = self._clock()
        headers = {
            # Set here, so that what is signed is what is sent.
            "host": self._base.netloc.decode(),
            "content-type": content_type,
            "x-bce-date": signature.format_timestamp(now),
        }
        if authorization is None:
            to_sign = signature.SignedRequest(method="POST", path=path, query=query, headers=headers)
            authorization = signature.sign(to_sign, access_key=self._access_key, secret_key=self._secret_key, now=now)
        if authorization:
            headers["authorization"] = authorization
        url = self._base.copy_with(raw_path=(f"{path}?{query}" if query else path).encode())
        content = body if isinstance(body, bytes) else json.dumps(dict(body), allow_nan=False)
        return self._http.build_request("POST", url, headers=headers, content=content)

    def _unreachable(self, error: httpx.RequestError) -> ServerUnreachable:
        within = f"within {self._timeout_seconds:g} s"
        match error:
            case httpx.ConnectTimeout():
                return ServerUnreachable(f"no server answers at {self._base} {within}", hint=_HINT_START)
            case httpx.ConnectError():
                hint = _HINT_TLS if "SSL" in str(error) else _HINT_START
                return ServerUnreachable(f"no server answers at {self._base}: {error}", hint=hint)
            case httpx.TimeoutException():
                return ServerUnreachable(f"{self._base} did not reply {within}", hint=_HINT_UNKNOWN_OUTCOME)
        return ServerUnreachable(f"the exchange with {self._base} broke off: {error}", hint=_HINT_UNKNOWN_OUTCOME)


# What is given to a client. None of these messages quotes a key, or a URL that may hold a password.


def _parse_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SettingsError("the server's URL is not a URL", hint=_HINT_URL) from error
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 0) > 65535:
        raise SettingsError("the server's URL is not http:// or https://, a host, and a port", hint=_HINT_URL)
    # httpx would make Basic authentication of a name and password, in the place of the signature.
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise SettingsError("the server's URL has more than scheme, host, port and path: no name, query or fragment")
    return parsed


def _check_keys(access_key: str, secret_key: str) -> None:
    if not signature.ACCESS_KEY.fullmatch(access_key):
        raise SettingsError("the access key is missing, or is not visible ASCII without a slash")
    if not secret_key:
        raise SettingsError("the secret key is missing")


def _open_connections(base: httpx.URL, *, timeout_seconds: float) -> httpx.Client:
    """Connections to ``base``: straight to this machine, elsewhere by the environment's proxies and certificates.

    httpx sends localhost to HTTP_PROXY as well unless NO_PROXY names it, and refuses to start where ALL_PROXY is of a
    kind it does not speak. Neither may get between the command line and a server on the same machine.
    """
    try:
        return httpx.Client(
            timeout=timeout_seconds,
            trust_env=not _is_this_machine(base.host),
            limits=httpx.Limits(keepalive_expiry=_KEEP_IDLE_SECONDS),
            headers={"user-agent": f"modelpress/{__version__}"},
        )
    except (ImportError, ValueError) as error:
        raise SettingsError(
            f"the environment's proxy cannot be used: {error}", hint="set NO_PROXY, or a proxy of the kind http://"
        ) from error


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # People type the address a server was told to listen at; 0.0.0.0 connects to this machine.
    return address.is_loopback or address.is_unspecified


# What comes back.


def _read_reply(response: httpx.Response) -> dict[str, Any]:
    reply = _json_object(response)
    if reply is not None and response.status_code == 200 and "requestId" in reply:
        return reply
    code = reply.get("code") if reply is not None else None
    if reply is None or not isinstance(code, str):
        raise _not_ours(response)
    raise RequestFailed(
        str(reply.get("message", "")) or code,
        code=code,
        status=response.status_code,
        request_id=str(reply.get("requestId", "")) or response.headers.get("x-bce-request-id"),
        hint=_HINTS.get(code),
    )


def _json_object(response: httpx.Response) -> dict[str, Any] | None:
    try:
        reply = json.loads(response.content)
    except ValueError:  # not JSON, or not even text
        return None
    return reply if isinstance(reply, dict) else None


def _not_ours(response: httpx.Response) -> RequestFailed:
    kind = response.headers.get("content-type", "no content type")
    excerpt = " ".join(response.text.split())[:_LONGEST_EXCERPT_CHARACTERS]
    return RequestFailed(
        f"the reply is not one of the API's ({kind}): {excerpt or 'an empty body'}",
        code=None,
        status=response.status_code,
        request_id=response.headers.get("x-bce-request-id"),
        hint=_HINT_NOT_OURS,
    )
