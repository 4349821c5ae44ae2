"""``Model.compress`` of Baidu's Python SDK 0.4.7, the newest in which it works, to each of a task's three ends.

It looks at the task after every ``time.sleep(15)``. That is the one thing replaced: the program says that it sleeps,
and goes on when the test tells it to.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.checkpoint import last_weight, write_checkpoint, write_sparse_checkpoint
from tests.acceptance.conftest import Sample
from tests.acceptance.sdk import sdk_environment
from tests.acceptance.server import Model, Server

pytestmark = pytest.mark.slow

COMPRESS = """
import json, sys
import qianfan.model.model
from qianfan.model import Model

def sleep(seconds):
    print("asleep for", seconds, flush=True)
    assert sys.stdin.readline()

qianfan.model.model.time.sleep = sleep
model_id, weight = sys.argv[1:]
made = Model(id=model_id).compress("Quantization", weight)
print(json.dumps({"id": made.id, "set_id": made.set_id}), flush=True)
"""


class Compression:
    """A program in the midst of ``compress``."""

    def __init__(self, process: subprocess.Popen[str], server: Server) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._wake = process.stdin
        self._said = process.stdout
        self._server = server
        self._process = process

    def await_sleep(self) -> str:
        """Wait until it sleeps; the id of its task, the account's newest."""
        assert self._said.readline() == "asleep for 15\n", self.failure()
        newest = {"pageReverse": True, "maxKeys": 1}
        return str(self._server.call("DescribeModelCompTasks", newest)["modelCompTaskList"][0]["id"])

    def wake(self) -> None:
        """Let it look at the task."""
        self._wake.write("\n")
        self._wake.flush()

    def result(self) -> Any:
        """What it returned."""
        line = self._said.readline()
        assert line, self.failure()
        return json.loads(line)

    def failure(self) -> str:
        """What it raised."""
        _, errors = self._process.communicate()
        assert self._process.returncode
        return str(errors)


@contextmanager
def compression(python: Path, model: Model, *, weight: str, server: Server, folder: Path) -> Iterator[Compression]:
    process = subprocess.Popen(
        [python, "-c", COMPRESS, model.id, weight],
        env=sdk_environment(folder, server=server, keys=server.keys),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Compression(process, server)
        finally:
            process.kill()


def test_it_returns_the_compressed_model_once_its_task_has_succeeded(
    server: Server, sdk_compress: Path, small: Sample, tmp_path: Path
) -> None:
    model = server.register(small.directory, name="small")
    with compression(sdk_compress, model, weight=small.weight, server=server, folder=tmp_path) as running:
        task_id = running.await_sleep()
        detail = server.await_status(task_id, "succeeded", "failed")
        running.wake()
        assert running.result() == {"id": detail["modelId"], "set_id": model.set_id}
    assert detail["name"].startswith("mco_")
    assert detail["description"] == f"mcomp_{model.id}_Quantization_{small.weight}"
    assert server.call("DescribeModel", {"modelId": detail["modelId"]})["sourceInfo"]["accelerationTaskId"] == task_id


def test_it_raises_the_reason_when_its_task_has_failed(server: Server, sdk_compress: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", shards=1, rows=32, nan_in=0)
    model = server.register(tmp_path / "model", name="nan")
    with compression(sdk_compress, model, weight="W8A16C16", server=server, folder=tmp_path) as running:
        detail = server.await_status(running.await_sleep(), "failed", "succeeded")
        running.wake()
        failure = running.failure()
    assert "qianfan.errors.InternalError" in failure
    assert f"run with status failed, failed reason: {detail['failedReason']}" in failure
    assert last_weight(1) in detail["failedReason"]


def test_it_goes_on_while_its_task_runs_and_raises_when_another_stops_it(
    server: Server, sdk_compress: Path, tmp_path: Path
) -> None:
    write_sparse_checkpoint(tmp_path / "model", size_bytes=8_000_000_000)  # of half a minute
    model = server.register(tmp_path / "model", name="sparse")
    with compression(sdk_compress, model, weight="W4A16C16", server=server, folder=tmp_path) as running:
        task_id = running.await_sleep()
        server.await_status(task_id, "running")
        running.wake()
        assert running.await_sleep() == task_id
        server.call("CancelModelCompTask", {"modelCompTaskId": task_id})
        server.await_status(task_id, "stopped")
        running.wake()
        assert "InternalError" in (failure := running.failure())
    assert f"compress task {task_id} run with status stopped" in failure


def test_what_is_compressed_already_is_refused_by_the_sdk_itself(
    server: Server, sdk_compress: Path, small: Sample, tmp_path: Path
) -> None:
    model = server.register(small.directory, name="small")
    detail = server.await_status(server.create_task(model), "succeeded")
    made = Model(set_id=model.set_id, id=detail["modelId"], directory=model.directory)
    with compression(sdk_compress, made, weight="W8A16C16", server=server, folder=tmp_path) as running:
        assert f"model {made.id} is not supported to compress" in running.failure()
