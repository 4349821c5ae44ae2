"""One POST to a receiver, with one deadline for all of it.

httpx's timeouts begin anew with each read, so a receiver that sends a byte now and then could keep a courier for ever.
Here every read and write gets what is left of the whole. Redirects are not followed, proxies not asked, and of the
answer only its head is read.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

import httpcore
import httpx

_LONGEST_ERROR_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a receiver may take."""

    connect_seconds: float = 5.0
    total_seconds: float = 10.0


class NoAnswer(Exception):
    """The receiver could not be reached, or gave no HTTP answer in time; the text says which."""


def post(url: str, *, headers: Mapping[str, str], body: bytes, limits: Limits) -> int:
    """The status that the receiver at ``url`` answers with.

    Raises: NoAnswer.
    """
    parts = urlsplit(url)
    # Given, because httpcore would write an IPv6 address without its brackets.
    head = {"host": parts.netloc, **headers}
    context = trusted() if parts.scheme == "https" else None
    try:
        with (
            httpcore.ConnectionPool(ssl_context=context, network_backend=_Deadline(limits)) as pool,
            pool.stream("POST", url, headers=list(head.items()), content=body) as answer,
        ):
            return answer.status
    except httpcore.ConnectTimeout as exc:
        raise NoAnswer(f"no connection within {limits.connect_seconds:g} s") from exc
    except httpcore.TimeoutException as exc:
        raise NoAnswer(f"no answer within {limits.total_seconds:g} s") from exc
    except (httpcore.NetworkError, httpcore.ProtocolError) as exc:
        raise NoAnswer(_printable(str(exc)) or type(exc).__name__) from exc


@cache
def trusted() -> ssl.SSLContext:
    """certifi's authorities, or those that SSL_CERT_FILE or SSL_CERT_DIR names."""
    return httpx.create_ssl_context()


def _printable(text: str) -> str:
    """``text`` for a log: it may quote what a receiver sent."""
    return "".join(char if char.isprintable() else "?" for char in text)[:_LONGEST_ERROR_CHARACTERS]


class _Deadline(httpcore.NetworkBackend):
    """Connections that all end at the same moment."""

    def __init__(self, limits: Limits) -> None:
        self._backend = httpcore.SyncBackend()
        self._connect_seconds = limits.connect_seconds
        self._ends_at = time.monotonic() + limits.total_seconds

    def left(self) -> float:
        """Seconds that are left, and at least a moment: 0 would mean a socket that never waits."""
        return max(self._ends_at - time.monotonic(), 0.001)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        within = min(self._connect_seconds, self.left())
        stream = self._backend.connect_tcp(host, port, within, local_address, socket_options)
        return _Stream(stream, self)


class _Stream(httpcore.NetworkStream):
    """A connection whose every wait is cut to what its deadline leaves."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, self._deadline.left()), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
