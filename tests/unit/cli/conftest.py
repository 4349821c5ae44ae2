"""The command line as people call it, a real server on a free port, a real worker, and a small real checkpoint."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvicorn

import modelpress
from modelpress.api.http import Application
from modelpress.cli.main import main
from modelpress.service.services import Services, open_services
from modelpress.settings import Settings, load_settings
from modelpress.worker.supervisor import Supervisor
from tests.golden.synthetic import MODELS, write_model

#: A Llama of two layers in three shards; the first output shard of W4A16C16 is the smallest.
TINY = replace(MODELS[0], name="tiny", files=3, hard_rows=False)

_STAND_INS = (
    (re.compile(r"\b(amva|amv|amx|am|acc|whd)-[a-z0-9]{12}\b"), lambda found: f"{found[1]}-" + "x" * 12),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), lambda found: "YYYY-MM-DD hh:mm"),
    (re.compile(r"\b\d+\.\d s$", re.MULTILINE), lambda found: "(time)"),
    (re.compile(r"(?<=peak memory  ).*"), lambda found: "(size)"),
    (re.compile(r"(?<=kernel       ).*"), lambda found: "(kernel)"),
    (re.compile(r"request [0-9a-f-]{36}"), lambda found: "request (id)"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def plain(self) -> str:
        """stdout with stand-ins for what differs from run to run."""
        return plain(self.out)


def plain(text: str) -> str:
    """``text`` with stand-ins for ids, times and measurements, and no spaces at the ends of lines."""
    for pattern, stand_in in _STAND_INS:
        text = pattern.sub(stand_in, text)
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


Cli = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the person who runs the tests, and a data directory of the test's own."""
    for name in os.environ:
        if name.startswith(("MODELPRESS_", "QIANFAN_")) and name != "MODELPRESS_KERNEL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("MODELPRESS_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("NO_COLOR", "1")
    # Processes that a test starts run this very code, wherever it runs from.
    monkeypatch.setenv("PYTHONPATH", str(Path(modelpress.__file__).parents[1]))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run ``modelpress`` with these arguments, to its exit status."""

    def run(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["modelpress", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Outcome(code=int(ended.value.code or 0), out=printed.out, err=printed.err)

    return run


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small checkpoint; not to be changed."""
    directory = tmp_path_factory.mktemp("models") / "tiny"
    write_model(TINY, directory)
    return directory


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server of the test's data directory, whose files tell the command line where it is and with which keys."""

    url: str
    access_key: str
    secret_key: str
    services: Services
    settings: Settings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    settings = load_settings(flags={"data": tmp_path / "data"}, environ={})
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with open_services(settings) as services, socket.create_server(("127.0.0.1", 0)) as listening:
        pair = services.access.create_key()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        keys = {"accessKey": pair.access_key, "secretKey": pair.secret_key}
        settings.credentials_path.write_text(json.dumps(keys))
        settings.address_path.write_text(json.dumps({"url": url, "pid": os.getpid()}))
        config = uvicorn.Config(Application(services, settings), log_config=None, access_log=False, lifespan="off")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield RunningServer(
                url=url,
                access_key=pair.access_key,
                secret_key=pair.secret_key,
                services=services,
                settings=settings,
            )
        finally:
            running.should_exit = True
            thread.join()
            structlog.reset_defaults()


@pytest.fixture
def worker(server: RunningServer) -> Iterator[None]:
    """A worker for ``server``."""
    supervisor = Supervisor([server.services.work, server.services.export_work], server.settings)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield
    finally:
        supervisor.leave()
        thread.join()


@pytest.fixture
def imported(cli: Cli, server: RunningServer, tiny_model: Path) -> str:
    """The id of the small checkpoint's model version."""
    outcome = cli("model", "import", tiny_model, "--json")
    assert outcome.code == 0, outcome.err
    return str(json.loads(outcome.out)["modelId"])


class Script(HTTPServer):
    """Gives each reply once, in order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        #: Status and body; None hangs up without a word.
        self.replies: list[tuple[int, dict[str, Any]] | None] = []


class Handler(BaseHTTPRequestHandler):
    server: Script

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        scripted = self.server.replies.pop(0)
        if scripted is None:
            return
        status, reply = scripted
        content = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the test's output is pytest's."""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Script]:
    with Script() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("MODELPRESS_URL", f"http://127.0.0.1:{running.server_port}")
        monkeypatch.setenv("MODELPRESS_ACCESS_KEY", "access")
        monkeypatch.setenv("MODELPRESS_SECRET_KEY", "secret")
        yield running
        running.shutdown()
        thread.join()
