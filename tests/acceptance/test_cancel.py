"""A cancel reaches a task whose process is busy in native code, and frees everything it held."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from modelpress.tensors.kernel import library
from tests.acceptance.checkpoint import write_sparse_checkpoint
from tests.acceptance.conftest import MakeServer, Sample
from tests.acceptance.server import Server

pytestmark = pytest.mark.slow

#: What the service promises.
STOP_SECONDS = 5


def test_a_task_busy_in_native_code_stops_within_five_seconds_and_makes_room(
    make_server: MakeServer, tmp_path: Path, small: Sample
) -> None:
    assert library.PATH.exists(), "the C kernel is missing: run make test"
    server = make_server(environment={"MODELPRESS_THREADS": "1"})
    write_sparse_checkpoint(tmp_path / "model", size_bytes=8_000_000_000)
    big = server.create_task(server.register(tmp_path / "model", name="big"))
    waiting = server.create_task(server.register(small.directory, name="small"), weight=small.weight)
    server.await_staged_bytes(big, 1)
    attempt = server.attempt_pid()
    assert server.task(waiting)["status"] == "creating"

    began = time.monotonic()
    server.call("CancelModelCompTask", {"modelCompTaskId": big})
    assert server.task(big)["status"] in ("stopping", "stopped")
    detail = server.await_status(big, "stopped", "succeeded", "failed")
    took = time.monotonic() - began

    assert took < STOP_SECONDS
    assert detail["status"] == "stopped"
    assert [event["status"] for event in detail["events"]] == ["creating", "running", "stopping", "stopped"]
    assert detail["modelId"] == ""
    assert attempt not in server.processes.alive()
    server.await_no_staging(big)
    assert server.await_status(waiting, "succeeded", "failed")["status"] == "succeeded"
    assert len(server.produced()) == 1


def test_a_task_that_waits_is_stopped_at_once_and_never_begun(make_server: MakeServer, small: Sample) -> None:
    server: Server = make_server(arguments=["--no-worker"])
    task_id = server.create_task(server.register(small.directory, name="small"))
    server.call("CancelModelCompTask", {"modelCompTaskId": task_id})
    assert server.task(task_id)["status"] == "stopped"
