"""Baidu's Node SDK, unmodified, against a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import pytest

from tests.acceptance.conftest import MakeServer, Sample
from tests.acceptance.sdk import sdk_environment
from tests.acceptance.server import Server

pytestmark = pytest.mark.slow

EXAMPLE = files("modelpress.demo").joinpath("examples/node.txt").read_text(encoding="utf-8")

FOLLOW = """
import {consoleAction} from "@baiducloud/qianfan";

const [modelId, setId] = process.argv.slice(2);
const call = (action, data) => consoleAction({base_api_route: "/v2/model", action, data});
const pause = () => new Promise((resume) => setTimeout(resume, 100));

const config = {strategy: "Quantization", weight: "W4A16C16"};
const ids = [];
for (const name of ["first", "second", "third"]) {
  const created = await call("CreateModelCompTask", {name, sourceModelId: modelId, modelSetId: setId, config});
  ids.push(created.result);
}
const until = Date.now() + 60000;
let task;
do {
  if (Date.now() > until) throw new Error("not done: " + JSON.stringify(task));
  await pause();
  task = (await call("DescribeModelCompTask", {modelCompTaskId: ids[2]})).result;
} while (["creating", "running"].includes(task.status));
const pages = [];
let marker;
do {
  const {result} = await call("DescribeModelCompTasks", marker ? {maxKeys: 1, marker} : {maxKeys: 1});
  pages.push(result.modelCompTaskList.map((item) => item.id));
  marker = result.pageInfo.nextMarker;
} while (marker);
console.log(JSON.stringify({ids, status: task.status, pages}));
"""

END = """
import {consoleAction} from "@baiducloud/qianfan";

const [modelId, setId] = process.argv.slice(2);
const call = (action, data) => consoleAction({base_api_route: "/v2/model", action, data});
const refused = (action, data) => call(action, data).then(() => null, (error) => error.message);

const config = {strategy: "Quantization", weight: "W4A16C16"};
const body = {name: "模型", sourceModelId: modelId, modelSetId: setId, config};
const named = {modelCompTaskId: (await call("CreateModelCompTask", body)).result};
const early = await refused("DeleteModelCompTask", named);
const cancelled = await call("CancelModelCompTask", named);
const {result: task} = await call("DescribeModelCompTask", named);
const deleted = await call("DeleteModelCompTask", named);
const gone = await refused("DescribeModelCompTask", named);
console.log(JSON.stringify({id: named.modelCompTaskId, early, cancelled, task, deleted, gone}));
"""


@pytest.fixture
def sdk_folder(sdk_node: Path, tmp_path: Path) -> Path:
    """A folder of this test where ``import "@baiducloud/qianfan"`` resolves."""
    (tmp_path / "node_modules").symlink_to(sdk_node / "node_modules")
    return tmp_path


def run_node(
    folder: Path, code: str, *arguments: str, server: Server, keys: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    script = folder / "script.mjs"
    script.write_text(code, encoding="utf-8")
    path = os.pathsep.join((os.environ["PATH"], str(Path(sys.executable).parent)))
    environment = {"PATH": path, **sdk_environment(folder, server=server, keys=keys)}
    return subprocess.run(
        ["node", script, *arguments], env=environment, cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_documents_example_runs_verbatim_to_invalid_marker(server: Server, sdk_folder: Path) -> None:
    ended = run_node(sdk_folder, EXAMPLE, server=server, keys=server.take_over_example_keys())
    assert ended.returncode != 0
    assert "InvalidMarker" in ended.stderr, ended.stderr


def test_a_node_program_creates_a_task_follows_it_and_lists_pages(
    server: Server, sdk_folder: Path, small: Sample
) -> None:
    model = server.register(small.directory, name="small")
    ended = run_node(sdk_folder, FOLLOW, model.id, model.set_id, server=server, keys=server.keys)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert seen["status"] == "succeeded"
    assert seen["pages"] == [[task_id] for task_id in seen["ids"]]


def test_a_node_program_cancels_a_task_and_deletes_it(make_server: MakeServer, sdk_folder: Path, small: Sample) -> None:
    server = make_server(arguments=["--no-worker"])
    model = server.register(small.directory, name="small")
    ended = run_node(sdk_folder, END, model.id, model.set_id, server=server, keys=server.keys)
    assert ended.returncode == 0, ended.stderr
    seen = json.loads(ended.stdout.splitlines()[-1])
    assert "TaskStatusConflict" in seen["early"]
    assert (seen["task"]["status"], seen["task"]["name"]) == ("stopped", "模型")
    for answer in (seen["cancelled"], seen["deleted"]):
        assert set(answer) == {"requestId", "headers"}  # headers are the SDK's addition
    assert f"no compression task '{seen['id']}'" in seen["gone"]
    assert "NoSuchModelCompTask" in seen["gone"]
