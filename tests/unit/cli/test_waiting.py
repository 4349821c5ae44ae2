"""Waiting for tasks while the server comes and goes; its replies are written down beforehand."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from tests.unit.cli.conftest import Cli

TASK = "amva-000000000000"
BUSY = (503, {"requestId": "r", "code": "ServiceUnavailable", "message": "busy"})


def answer(status: str, percent: int, **more: str) -> tuple[int, dict[str, Any]]:
    return 200, {"requestId": "r", "result": {"id": TASK, "status": status, "progress": percent, **more}}


class Script(HTTPServer):
    """Gives each reply once, in order."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[tuple[int, dict[str, Any]]] = []


class Handler(BaseHTTPRequestHandler):
    server: Script

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        status, reply = self.server.replies.pop(0)
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


def test_a_line_is_told_for_each_change_of_state_stage_and_tenth(cli: Cli, script: Script) -> None:
    script.replies = [
        answer("creating", 0),
        answer("running", 11, stage="compressing"),
        answer("running", 19, stage="compressing"),
        answer("running", 20, stage="compressing"),
        answer("succeeded", 100, stage="verify", modelId="amv-000000000000"),
    ]
    outcome = cli("task", "wait", TASK)
    assert outcome.code == 0
    assert outcome.err == (
        f"{TASK}: creating\n{TASK}: running, compressing 10 %\n{TASK}: running, compressing 20 %\n{TASK}: succeeded\n"
    )


def test_a_server_that_is_busy_for_a_while_is_asked_again(cli: Cli, script: Script) -> None:
    script.replies = [answer("creating", 0), BUSY, BUSY, answer("succeeded", 100)]
    outcome = cli("task", "wait", TASK)
    assert outcome.code == 0
    assert outcome.err == (
        f"{TASK}: creating\nthe server does not answer; it is asked again for 60 s\n{TASK}: succeeded\n"
    )


def test_a_server_that_is_busy_from_the_beginning_is_not_waited_for(cli: Cli, script: Script) -> None:
    script.replies = [BUSY]
    outcome = cli("task", "wait", TASK)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "error: busy (ServiceUnavailable, HTTP 503, request r)\n"


def test_a_task_that_is_deleted_meanwhile_is_an_error(cli: Cli, script: Script) -> None:
    gone = (404, {"requestId": "r", "code": "NoSuchModelCompTask", "message": "no such task"})
    script.replies = [answer("creating", 0), gone]
    outcome = cli("task", "wait", TASK)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.splitlines()[-1] == "error: no such task (NoSuchModelCompTask, HTTP 404, request r)"
