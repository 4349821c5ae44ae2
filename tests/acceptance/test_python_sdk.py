"""Baidu's Python SDK, unmodified, against a real server: the document's example, the typed wrappers, its own hints."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import Sample
from tests.acceptance.sdk import sdk_environment
from tests.acceptance.server import Server

pytestmark = pytest.mark.slow

EXAMPLE = files("modelpress.demo").joinpath("examples/python.txt").read_text(encoding="utf-8")
EXAMPLE_MARKER = "amva-n50985crhqq3"

#: Every call is positional: the SDK's wrapper of create_model_comp_task fails on a keyword before it sends anything.
WRAPPERS = """
import json, sys, time
from qianfan.errors import RequestError
from qianfan.resources import Model
from qianfan.resources.console import consts as c

V2 = Model.V2
bucket, path = sys.argv[1:]

def refused(call, *arguments):
    try:
        call(*arguments)
    except RequestError as error:
        return str(error)

seen = {}
set_id = V2.create_custom_model_set("by wrapper", c.CustomModelSetModelType.Text2Text)["result"]
meta = {"bucket": bucket, "objectPath": path, "modelFormat": "HuggingFace.Transformers"}
model = V2.create_custom_model(set_id, c.CreateCustomModelSourceType.Import, "a model", None, meta)["result"]["modelId"]
seen["model"] = V2.describe_model(model)["result"]
config = {"strategy": c.ModelCompStrategy.Quantization, "weight": c.ModelQuantizationWeight.W4A16C16}
task = V2.create_model_comp_task("first", model, config, set_id, "by wrapper")["result"]
assert isinstance(task, str), task
seen["in use"] = refused(V2.delete_model, model)
until = time.monotonic() + 60
while V2.describe_model_comp_task(task)["result"]["status"] in ("creating", "running"):
    assert time.monotonic() < until
    time.sleep(0.1)
seen["task"] = V2.describe_model_comp_task(task)["result"]
seen["cancel"] = refused(V2.cancel_model_comp_task, task)
second = V2.create_model_comp_task("second", model, config, set_id)["result"]
V2.cancel_model_comp_task(second)
until = time.monotonic() + 60
while V2.describe_model_comp_task(second)["result"]["status"] not in ("stopped", "succeeded"):
    assert time.monotonic() < until
    time.sleep(0.1)
seen["page"] = V2.describe_model_comp_tasks(task, 1, False, model)["result"]
seen["back"] = V2.describe_model_comp_tasks(None, 10, True)["result"]
seen["produced"] = V2.describe_model(seen["task"]["modelId"])["result"]
seen["deleted"] = dict(V2.delete_model_comp_task(second).body)
seen["gone"] = refused(V2.describe_model_comp_task, second)
seen["after"] = V2.describe_model_comp_tasks(None, None, None, model)["result"]
seen["set"] = V2.describe_model_set(None, set_id)["result"]
seen["sets"] = V2.describe_custom_model_sets(None, 10, False)["result"]
V2.delete_model(model)
V2.delete_model_set(set_id)
seen["no set"] = refused(V2.describe_model_set, None, set_id)
print(json.dumps({**seen, "ids": [set_id, model, task, second]}))
"""

#: Of the shared models, of exports and of configurations.
OTHER_WRAPPERS = """
import json, sys, time
from qianfan.resources import Model

V2 = Model.V2
model, = sys.argv[1:]
seen = {"shared": V2.describe_system_model_sets(None, 10, True)["result"]}
seen["export"] = V2.create_model_export_model(model)["result"]["exportId"]
until = time.monotonic() + 60
while (found := V2.describe_model_export_model(model)["result"])["status"] == "Doing":
    assert time.monotonic() < until
    time.sleep(0.1)
seen["found"] = found
seen["system"] = V2.describe_model_system_advanced_conf("chat")["result"]
seen["custom"] = V2.describe_model_custom_advanced_conf(model)["result"]
try:
    V2.create_custom_model_conf(json.__file__)
except Exception as error:
    seen["upload"] = type(error).__name__
print(json.dumps(seen))
"""


def run_sdk(
    python: Path, code: str, *arguments: str, server: Server, keys: Mapping[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` where the SDK is, with nothing in its environment but address and keys."""
    return subprocess.run(
        [python, "-c", code, *arguments],
        env=sdk_environment(folder, server=server, keys=keys),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_documents_example_runs_verbatim_and_with_a_real_marker_prints_the_page(
    server: Server, sdk_python: Path, small: Sample, tmp_path: Path
) -> None:
    pair = server.take_over_example_keys()
    verbatim = run_sdk(sdk_python, EXAMPLE, server=server, keys=pair, folder=tmp_path)
    assert "qianfan.errors.RequestError" in verbatim.stderr, verbatim.stderr
    assert "InvalidMarker" in verbatim.stderr

    model = server.register(small.directory, name="small")
    first, second = server.create_task(model), server.create_task(model, weight="W8A16C16")
    assert EXAMPLE_MARKER in EXAMPLE
    real = run_sdk(sdk_python, EXAMPLE.replace(EXAMPLE_MARKER, second), server=server, keys=pair, folder=tmp_path)
    assert real.returncode == 0, real.stderr
    assert second in real.stdout
    assert first not in real.stdout
    assert "'isTruncated': False" in real.stdout


def test_the_typed_wrappers_do_everything_when_called_positionally(
    server: Server, sdk_python: Path, small: Sample, tmp_path: Path
) -> None:
    server.place(small.directory, name="small")
    ended = run_sdk(sdk_python, WRAPPERS, "local", "small", server=server, keys=server.keys, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    seen: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    set_id, model, first, second = seen["ids"]
    assert seen["model"]["isSupportModelComp"] is True
    assert seen["task"]["status"] == "succeeded"
    assert "ModelInUse" in seen["in use"]
    assert "TaskStatusConflict" in seen["cancel"]
    assert [task["id"] for task in seen["page"]["modelCompTaskList"]] == [first]
    assert seen["page"]["pageInfo"] == {"marker": first, "maxKeys": 1, "isTruncated": True, "nextMarker": second}
    assert [task["id"] for task in seen["back"]["modelCompTaskList"]] == [second, first]
    assert seen["produced"]["isSupportModelComp"] is False
    assert seen["produced"]["sourceInfo"]["accelerationTaskId"] == first
    assert set(seen["deleted"]) == {"requestId"}
    assert "NoSuchModelCompTask" in seen["gone"]
    assert [task["id"] for task in seen["after"]["modelCompTaskList"]] == [first]
    assert model in seen["set"]["modelIds"]
    assert [item["modelSetId"] for item in seen["sets"]["customModelSetList"]] == [set_id]
    assert "NoSuchModelSet" in seen["no set"]


def test_the_wrappers_of_shared_models_exports_and_configurations_do_what_they_say(
    server: Server, sdk_python: Path, small: Sample, tmp_path: Path
) -> None:
    model = server.register(small.directory, name="small")
    command = [sys.executable, "-m", "modelpress.cli.main", "model", "share", model.set_id, "--data", str(server.data)]
    subprocess.run(command, check=True, capture_output=True)
    ended = run_sdk(sdk_python, OTHER_WRAPPERS, model.id, server=server, keys=server.keys, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    seen: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert [item["modelIds"] for item in seen["shared"]["systemModelSetList"]] == [[model.id]]
    assert (seen["found"]["exportId"], seen["found"]["status"]) == (seen["export"], "Done")
    assert seen["found"]["fileSize"] == sum(path.stat().st_size for path in small.directory.iterdir())
    assert json.loads(seen["system"])["modelApplicationType"] == "chat"
    assert isinstance(json.loads(seen["custom"]), dict)  # the import said nothing
    assert seen["upload"] == "TypeError"  # of its own, before it sends anything


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"accessKey": "nobody"}, "Access Key(`nobody***`) 错误"),
        ({"secretKey": "wrong"}, "Secret Key(`wrong***`) 错误"),
    ],
)
def test_a_wrong_key_gets_the_sdks_own_hint(
    wrong: Mapping[str, str], hint: str, server: Server, sdk_python: Path, tmp_path: Path
) -> None:
    code = "from qianfan.resources import Model; Model.V2.describe_model_comp_tasks()"
    ended = run_sdk(sdk_python, code, server=server, keys={**server.keys, **wrong}, folder=tmp_path)
    assert ended.returncode != 0
    assert hint in ended.stderr, ended.stderr
