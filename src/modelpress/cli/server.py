"""``modelpress serve`` and ``modelpress worker``: the long-running processes."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from modelpress.cli import option
from modelpress.settings import Settings, load_settings

if TYPE_CHECKING:
    from modelpress.service.services import Services

Host = Annotated[
    str | None, typer.Option("--host", envvar="MODELPRESS_HOST", help="Address to listen on.", show_default="127.0.0.1")
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", envvar="MODELPRESS_PORT", help="Port to listen on; 0 takes a free one.", show_default="8080"
    ),
]
Slots = Annotated[
    int | None,
    typer.Option("--slots", envvar="MODELPRESS_SLOTS", help="Tasks to run at the same time.", show_default="1"),
]


def serve(
    data: option.Data = None,
    host: Host = None,
    port: Port = None,
    database: option.Database = None,
    config: option.Config = None,
    slots: Slots = None,
    no_worker: Annotated[
        bool, typer.Option("--no-worker", help="Serve the API alone; run `modelpress worker` elsewhere.")
    ] = False,
) -> None:
    """Serve the API, with a worker beside it."""
    flags = {"data": data, "host": host, "port": port, "database": database, "slots": slots}
    settings = load_settings(flags=flags, config=config)
    _log_to_stderr(settings)
    from modelpress.api.server import serve as serve_api
    from modelpress.service.services import open_services

    with open_services(settings) as services:
        _make_first_key(services, settings)
        _check_master_key(services)
        keeper = None if no_worker else _WorkerKeeper(settings, config)
        try:
            serve_api(services, settings)
        finally:
            if keeper is not None:
                keeper.stop()


def worker(
    data: option.Data = None,
    database: option.Database = None,
    config: option.Config = None,
    slots: Slots = None,
    parent: Annotated[int, typer.Option("--parent", hidden=True)] = 0,
) -> None:
    """Run a worker alone: it claims tasks from the database and compresses."""
    if parent:
        from modelpress.runners.parent import die_with_parent

        die_with_parent(parent, by=signal.SIGTERM)
    flags = {"data": data, "database": database, "slots": slots}
    settings = load_settings(flags=flags, config=config)
    _log_to_stderr(settings)
    from modelpress.service.services import open_services
    from modelpress.worker.courier import Courier
    from modelpress.worker.supervisor import Supervisor

    with open_services(settings) as services, Courier(services.webhooks):
        supervisor = Supervisor([services.work, services.export_work], settings)

        def leave(_number: int, _frame: FrameType | None) -> None:
            supervisor.leave()

        signal.signal(signal.SIGTERM, leave)
        signal.signal(signal.SIGINT, leave)
        supervisor.run()


class _WorkerKeeper:
    """Starts a worker process, and starts it again whenever it dies, until told to stop."""

    _PAUSE_SECONDS = 1.0

    def __init__(self, settings: Settings, config: Path | None) -> None:
        self._argv = [sys.executable, "-m", "modelpress.cli.main", "worker", "--data", str(settings.data)]
        self._argv += ["--slots", str(settings.slots), "--parent", str(os.getpid())]
        self._argv += ["--config", str(config)] if config else []
        # By the environment: a database URL may hold a password, and arguments are for all to see.
        self._environment = {**os.environ, "MODELPRESS_DATABASE": settings.database}
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        # The worker dies with the thread that started it, so that thread lives as long as this process.
        self._thread = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        import structlog

        log = structlog.get_logger("modelpress.serve")
        while True:
            with self._lock:
                if self._stopping.is_set():
                    return
                # A session of its own: Ctrl-C goes to the server alone, which then ends the worker in order.
                self._process = subprocess.Popen(self._argv, env=self._environment, start_new_session=True)
            status = self._process.wait()
            if self._stopping.is_set():
                return
            log.warning("worker died and is started again", status=status)
            self._stopping.wait(self._PAUSE_SECONDS)

    def stop(self) -> None:
        """End the worker and wait until it is gone."""
        with self._lock:
            self._stopping.set()
            if self._process is not None:
                self._process.terminate()
        self._thread.join()


def _check_master_key(services: Services) -> None:
    """Refuse to start where no request could be let in.

    Raises: SettingsError if the secrets of the database were encrypted with another key.
    """
    keys = services.access.keys()
    for key in [key for key in keys if key.revoked_at is None][:1]:
        services.access.caller(key.id)


def _make_first_key(services: Services, settings: Settings) -> None:
    from modelpress.service.access import new_pair

    if services.access.keys():
        return
    pair = new_pair()
    # The file first: were the process killed in between, the next start makes another pair, and none is lost.
    content = {"accessKey": pair.access_key, "secretKey": pair.secret_key}
    descriptor = os.open(settings.credentials_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as out:
        out.write(json.dumps(content) + "\n")
    services.access.create_key(pair=pair)
    typer.echo(
        f"first access key, kept in {settings.credentials_path} and shown only now:\n"
        f"  QIANFAN_ACCESS_KEY={pair.access_key}\n  QIANFAN_SECRET_KEY={pair.secret_key}",
        err=True,
    )


def _log_to_stderr(settings: Settings) -> None:
    """Lines for people on a terminal, JSON lines elsewhere."""
    import structlog

    people = sys.stderr.isatty()
    # Plain: rich's way would print the local variables of a traceback, secrets among them.
    for_people = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            *([] if people else [structlog.processors.format_exc_info]),
            for_people if people else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
