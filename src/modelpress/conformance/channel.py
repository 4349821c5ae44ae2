"""Ways of calling a server: what comes back is a reply, by whatever way it came."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import httpx

from modelpress.client.client import Client

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back; ``headers`` (by lower-case name) is None where the way of calling does not show them."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] | None = None


class Channel(Protocol):
    """A way of calling a server, as one caller."""

    def send(self, target: str, body: Mapping[str, Any]) -> Reply:
        """The reply to ``body`` at ``target``, a path and query."""


class HttpChannel:
    """Plain HTTP by our own client; it can also send what no SDK would."""

    def __init__(self, url: str, *, access_key: str, secret_key: str, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._given = {"access_key": access_key, "secret_key": secret_key}
        self._url = url
        self._clock = clock
        self._client = Client(url, access_key=access_key, secret_key=secret_key, clock=clock)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    @contextmanager
    def altered(self, *, ahead: timedelta = timedelta(), **keys: str) -> Iterator[HttpChannel]:
        """The same server called with another key, or by a clock that is ahead."""
        channel = HttpChannel(self._url, **{**self._given, **keys}, clock=lambda: self._clock() + ahead)
        try:
            yield channel
        finally:
            channel.close()

    def send(self, target: str, body: Mapping[str, Any] | bytes, *, authorization: str | None = None) -> Reply:
        """The reply; ``authorization`` stands in the place of a signature, empty for none."""
        return _reply(self._client.exchange(target, body, authorization=authorization))

    def send_file(self, target: str, *, field: str, name: str, content: bytes) -> Reply:
        """The reply to a form of one file."""
        boundary = secrets.token_hex(16)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        return _reply(self._client.exchange(target, body, content_type=kind))


def _reply(response: httpx.Response) -> Reply:
    try:
        content = json.loads(response.content)
    except ValueError:
        content = None
    return Reply(
        status=response.status_code,
        body=content if isinstance(content, dict) else {},
        headers={name.lower(): value for name, value in response.headers.items()},
    )
