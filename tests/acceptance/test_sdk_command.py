"""The Python SDK's own command, ``qianfan api raw.console``, as a shell client of this service."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Sample
from tests.acceptance.sdk import sdk_environment
from tests.acceptance.server import Server

pytestmark = pytest.mark.slow

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def qianfan(server: Server, sdk_command: Path, tmp_path: Path) -> Run:
    """Run ``qianfan api raw.console`` for an action and its data."""

    def run(action: str, data: Any) -> subprocess.CompletedProcess[str]:
        command = [str(sdk_command), "api", "raw.console", "--route", "/v2/model", "--action", action]
        return subprocess.run(
            [*command, "--data", json.dumps(data)],
            env=sdk_environment(tmp_path, server=server, keys=server.keys),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def answer(ended: subprocess.CompletedProcess[str]) -> Any:
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout[ended.stdout.index("{") :])


def test_a_task_is_created_followed_and_listed_from_a_shell(server: Server, qianfan: Run, small: Sample) -> None:
    model = server.register(small.directory, name="small")
    config = {"strategy": "Quantization", "weight": small.weight}
    body = {"name": "模型", "sourceModelId": model.id, "modelSetId": model.set_id, "config": config}
    task_id = answer(qianfan("CreateModelCompTask", body))["result"]
    server.await_status(task_id, "succeeded")
    detail = answer(qianfan("DescribeModelCompTask", {"modelCompTaskId": task_id}))
    assert set(detail) == {"requestId", "result"}
    assert detail["result"] == server.task(task_id)
    assert detail["result"]["name"] == "模型"
    listed = answer(qianfan("DescribeModelCompTasks", {"maxKeys": 1}))["result"]
    assert [item["id"] for item in listed["modelCompTaskList"]] == [task_id]


def test_a_refusal_is_told_with_its_reason(qianfan: Run) -> None:
    ended = qianfan("DescribeModelCompTasks", {"marker": "amva-n50985crhqq3"})
    assert ended.returncode == 0  # this is its own way
    assert ended.stdout.startswith("ERROR: ")
    assert "InvalidMarker" in ended.stdout
