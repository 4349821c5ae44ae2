"""Serving the application with uvicorn: the ready line, the address file that local commands read."""

from __future__ import annotations

import errno
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import uvicorn

from modelpress.api.http import Application
from modelpress.api.protocol import ApiProtocol
from modelpress.errors import SettingsError
from modelpress.service.services import Services
from modelpress.settings import Settings

_HINTS = {
    errno.EADDRINUSE: "another program has the port: choose one with --port, or --port 0 for a free one",
    errno.EADDRNOTAVAIL: "--host takes an address of this machine; 0.0.0.0 means all of them",
    errno.EACCES: "ports below 1024 need a privilege: choose another with --port",
}
_HINT_HOST = "--host takes an address of this machine, such as 127.0.0.1"


class _Server(uvicorn.Server):
    """uvicorn's server, telling when the port answers, and returning when a signal told it to stop."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal is not raised again at the end: it would end the process before the worker."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def make_config(services: Services, settings: Settings) -> uvicorn.Config:
    """uvicorn's configuration for the application over these services."""
    return uvicorn.Config(
        Application(services, settings),
        http=ApiProtocol,
        log_config=None,
        # Its warnings are about what clients send: bytes that are no HTTP, and upgrades offered.
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        # Nothing here asks for a peer's address.
        proxy_headers=False,
        timeout_graceful_shutdown=5,
        # Whichever libraries are installed: an upgrade that a client offers is ignored, and HTTP answered.
        ws="none",
    )


def serve(services: Services, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises: SettingsError if the address cannot be had.
    """
    listening = _listen(settings)
    url = _url(settings.host, listening.getsockname()[1])
    path = settings.address_path

    def ready() -> None:
        path.write_text(json.dumps({"url": url, "pid": os.getpid()}) + "\n", encoding="utf-8")
        print(f"modelpress is ready at {url}", file=sys.stderr, flush=True)

    # What was imported stays until the end: looking through it again and again made the slowest requests.
    gc.collect()
    gc.freeze()
    try:
        _Server(make_config(services, settings), ready).run(sockets=[listening])
    finally:
        _forget_address(path)


def _forget_address(path: Path) -> None:
    """Remove the address file, unless it is that of another server which was started on the same directory since."""
    with suppress(FileNotFoundError, ValueError):
        if json.loads(path.read_bytes())["pid"] == os.getpid():
            path.unlink()


def _url(host: str, port: int) -> str:
    # A server that listens everywhere is reached at this machine's own address by local commands.
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((settings.host, settings.port))
    except OSError as exc:
        listening.close()
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.port}: {exc.strerror or exc}",
            hint=_HINTS.get(exc.errno or 0, _HINT_HOST),
        ) from exc
    listening.listen(1024)
    return listening
