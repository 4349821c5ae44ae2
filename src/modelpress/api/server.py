"""Serving the application with uvicorn: the ready line, the address file that local commands read."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable

import uvicorn

from modelpress.api.http import make_app
from modelpress.errors import SettingsError
from modelpress.service.services import Services
from modelpress.settings import Settings

class _Server(uvicorn.Server):
    """uvicorn's server, telling when the port answers."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


def serve(services: Services, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM.

    Raises: SettingsError if the address cannot be had.
    """
    listening = _listen(settings)
    url = _url(settings.host, listening.getsockname()[1])
    config = uvicorn.Config(
        make_app(services, settings),
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    path = settings.address_path

    def ready() -> None:
        path.write_text(json.dumps({"url": url, "pid": os.getpid()}) + "\n", encoding="utf-8")
        print(f"modelpress is ready at {url}", file=sys.stderr, flush=True)

    try:
        asyncio.run(_Server(config, ready).serve(sockets=[listening]))
    finally:
        path.unlink(missing_ok=True)


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
            hint="another program has the port? choose one with --port, or --port 0 for a free one",
        ) from exc
    listening.listen(1024)
    return listening
