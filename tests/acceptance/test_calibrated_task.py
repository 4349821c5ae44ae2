"""Calibrated compression as a task: by the SDK, the command line, and through kills, a stop and a retry."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.checkpoint import file_hashes
from tests.acceptance.conftest import CACHE, MakeServer
from tests.acceptance.sdk import sdk_environment
from tests.acceptance.server import Model, Server, await_outside, end_process
from tests.acceptance.tiny_llama import Sizes, write_llama, write_texts

# Every attempt imports torch, which takes seconds.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DOCUMENTS = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))
TEXT = "texts/ours.jsonl"
SAMPLES = {"bucket": "local", "objectPath": TEXT, "numSamples": 16, "maxLength": 64}
#: What the service promises.
STOP_SECONDS = 5
#: For a task of several attempts, each of which imports torch on a machine that is busy.
LONG_SECONDS = 300.0

SDK = """
import json, sys, time
from qianfan.errors import RequestError
from qianfan.resources import Model
from qianfan.resources.console import consts as c

V2 = Model.V2
set_id, model, calibration = sys.argv[1:]
calibration = json.loads(calibration)

def made(name, config):
    return V2.create_model_comp_task(name, model, config, set_id)["result"]

def refused(config):
    try:
        return made("refused", config)
    except RequestError as error:
        return str(error)

def followed(task):
    looks = []
    while True:
        detail = V2.describe_model_comp_task(task)["result"]
        if not looks or looks[-1] != [detail.get("stage"), detail["progress"]]:
            looks.append([detail.get("stage"), detail["progress"]])
        if detail["status"] not in ("creating", "running"):
            return {"detail": detail, "looks": looks}
        time.sleep(0.05)

quantized = {"strategy": c.ModelCompStrategy.Quantization, "weight": c.ModelQuantizationWeight.W4A16C16}
quantized["method"] = "gptq"
seen = {
    "no object": refused({**quantized, "calibration": {**calibration, "objectPath": "texts/none.jsonl"}}),
    "contradiction": refused({**quantized, "method": "rtn", "calibration": calibration}),
}
seen["gptq"] = followed(made("four bits", {**quantized, "calibration": calibration}))
half = {"strategy": "Sparsity", "sparsityRatio": 0.5, "calibration": calibration}
seen["sparse"] = followed(made("half of it", half))
print(json.dumps(seen))
"""

LOADS = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)
source, *outputs = sys.argv[1:]
ids = AutoTokenizer.from_pretrained(source)("what the model will read", return_tensors="pt")["input_ids"]

def logits(folder):
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits

before = logits(source)
print(json.dumps([float((logits(output) - before).norm() / before.norm()) for output in outputs]))
"""


@pytest.fixture(scope="session")
def python_with_torch() -> Path:
    """The interpreter that has what calibration imports."""
    python = CACHE / "calibrate" / "bin" / "python"
    assert python.is_file(), f"{python} is missing: run make test"
    return python


def calibrating_server(make_server: MakeServer, python: Path) -> Server:
    return make_server(python=python, environment={"MODELPRESS_THREADS": "1"})


def with_model(server: Server, folder: Path, sizes: Sizes) -> Model:
    """A model and a text in the server's bucket."""
    write_llama(folder / "llama", sizes)
    write_texts(server.data / "local" / TEXT, DOCUMENTS)
    return server.register(folder / "llama", name="llama")


def create(server: Server, model: Model, *, calibration: Mapping[str, object], weight: str = "W4A16C16") -> str:
    config = {"strategy": "Quantization", "weight": weight, "method": "gptq", "calibration": calibration}
    body = {"name": "test", "sourceModelId": model.id, "modelSetId": model.set_id, "config": config}
    return str(server.call("CreateModelCompTask", body))


def log(server: Server, task_id: str) -> list[str]:
    """What the task's log says, without the times."""
    lines = server.call("DescribeModelCompTaskLogs", {"modelCompTaskId": task_id, "maxLines": 1000})["lines"]
    return [line.split(" ", 1)[1] for line in lines]


def finished_before(lines: list[str]) -> list[int]:
    """How many blocks each attempt that went on found."""
    return [int(number) for number in re.findall(r"^(\d+) of \d+ blocks were finished before$", "\n".join(lines), re.M)]


def report(output: Path) -> Any:
    return json.loads((output / "modelpress.json").read_text(encoding="utf-8"))


def test_the_sdk_creates_follows_and_gets_calibrated_models_and_the_command_line_the_same(
    make_server: MakeServer, python_with_torch: Path, sdk_python: Path, tmp_path: Path
) -> None:
    server = calibrating_server(make_server, python_with_torch)
    model = with_model(server, tmp_path, Sizes(blocks=3))
    command: list[str | Path] = [sdk_python, "-c", SDK, model.set_id, model.id, json.dumps(SAMPLES)]
    environment = sdk_environment(tmp_path, server=server, keys=server.keys)
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    seen: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    assert "NoSuchObject" in seen["no object"]
    assert "calibration" in seen["contradiction"]

    outputs = []
    for name, method in (("gptq", "gptq"), ("sparse", "sparsegpt")):
        detail, looks = seen[name]["detail"], seen[name]["looks"]
        assert detail["status"] == "succeeded", detail
        assert detail["config"]["method"] == method
        percents = [percent for _, percent in looks]
        assert percents == sorted(percents), looks
        output = server.output(detail)
        told = report(output)
        assert told["recipe"]["method"] == method
        assert told["calibration"]["samples"]["samples"] == 16
        assert [block["block"] for block in told["calibration"]["blocks"]] == [0, 1, 2]
        lines = log(server, detail["id"])
        assert [line.split(" is finished")[0] for line in lines if line.startswith("block ")] == [
            f"block {number} of 3" for number in (1, 2, 3)
        ]
        assert any(line.startswith("calibration: 3 blocks on c") for line in lines), lines
        outputs.append(output)
    loaded = subprocess.run(
        [python_with_torch, "-c", LOADS, model.directory, *outputs], capture_output=True, text=True, check=False
    )
    assert loaded.returncode == 0, loaded.stderr
    changed = json.loads(loaded.stdout.splitlines()[-1])
    assert 0 < changed[0] < 0.5, changed
    assert changed[0] < changed[1] < 1, changed

    words = ["--method", "gptq", "--weight", "W4A16C16", "--calibration", f"local/{TEXT}", "--samples", "16"]
    words += ["--length", "64", "--wait", "--json", "--data", str(server.data)]
    made = subprocess.run(
        [python_with_torch, "-m", "modelpress.cli.main", "task", "create", "--model", model.id, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    assert file_hashes(server.output(json.loads(made.stdout))) == file_hashes(outputs[0])


def test_killed_stopped_and_retried_a_calibrated_task_goes_on_at_its_block_to_the_same_bytes(
    make_server: MakeServer, python_with_torch: Path, tmp_path: Path
) -> None:
    server = calibrating_server(make_server, python_with_torch)
    model = with_model(server, tmp_path, Sizes(blocks=12, hidden=256, inner=512))
    calibration = {**SAMPLES, "numSamples": 64, "maxLength": 256}
    whole = create(server, model, calibration=calibration)

    def tells_of_its_block() -> bool:
        task = server.task(whole)
        return "etaSeconds" in task and bool(re.fullmatch(r"calibrating block \d+ of 12", task.get("stage", "")))

    await_outside(tells_of_its_block, what="block and remaining time are told", seconds=LONG_SECONDS)
    undisturbed = server.await_status(whole, "succeeded", "failed", seconds=LONG_SECONDS)
    assert undisturbed["status"] == "succeeded", undisturbed

    old = create(server, model, calibration=calibration)
    blocks = server.staging(old) / ".calibrated"

    shown: list[int] = []

    def await_block(number: int) -> None:
        file = blocks / f"block-{number:05}.safetensors"

        def look() -> bool:
            shown.append(server.task(old)["progress"])
            return file.exists()

        await_outside(look, what=f"block {number} is finished", seconds=LONG_SECONDS)

    # More often than barren attempts are allowed: a block that was finished is progress.
    for number, kill in enumerate((server.attempt_pid, server.worker_pid, server.attempt_pid, server.attempt_pid)):
        await_block(2 * number)
        end_process(kill())
    await_block(8)
    server.call("CancelModelCompTask", {"modelCompTaskId": old})
    assert server.await_status(old, "stopped", "succeeded", "failed")["status"] == "stopped"
    went_on = finished_before(log(server, old))
    assert len(went_on) == 4
    assert all(found >= 2 * number + 1 for number, found in enumerate(went_on)), went_on
    assert went_on == sorted(went_on)
    # What a kill takes away is less than a block, also while the next attempt starts.
    lost = [max(shown[:place]) - percent for place, percent in enumerate(shown) if place]
    assert max(lost) <= 100 / 12, shown
    kept = len(list(blocks.glob("*.safetensors")))
    assert kept >= 9
    assert not list(server.staging(old).rglob("*.partial"))

    new = str(server.call("RetryModelCompTask", {"modelCompTaskId": old}))
    detail = server.await_status(new, "succeeded", "failed", seconds=LONG_SECONDS)
    assert detail["status"] == "succeeded", detail
    assert finished_before(log(server, new)) == [kept]
    assert file_hashes(server.output(detail)) == file_hashes(server.output(undisturbed))
    assert not server.staging(old).exists()
    assert not server.staging(new).exists()


def test_a_task_busy_in_a_block_stops_within_five_seconds_and_keeps_nothing_but_whole_blocks(
    make_server: MakeServer, python_with_torch: Path, tmp_path: Path
) -> None:
    server = calibrating_server(make_server, python_with_torch)
    model = with_model(server, tmp_path, Sizes(blocks=1, hidden=1024, inner=4096))
    task_id = create(server, model, calibration={**SAMPLES, "numSamples": 128, "maxLength": 512})
    # Its inputs are there, and so torch is at the block: matrix products of most of a minute.
    inputs = server.staging(task_id) / ".calibrated" / "hidden-00000.bin"
    await_outside(inputs.exists, what="the block is begun", seconds=LONG_SECONDS)
    await_outside(lambda: server.task(task_id).get("stage") == "calibrating block 1 of 1", what="the stage is told")
    attempt = server.attempt_pid()
    began = time.monotonic()
    server.call("CancelModelCompTask", {"modelCompTaskId": task_id})
    detail = server.await_status(task_id, "stopped", "succeeded", "failed")
    took = time.monotonic() - began
    assert detail["status"] == "stopped"
    assert took < STOP_SECONDS
    assert attempt not in server.processes.alive()
    server.await_no_staging(task_id)


def test_where_torch_is_missing_a_calibrated_task_fails_at_once_and_says_what_to_install(
    server: Server, tmp_path: Path
) -> None:
    task_id = create(server, with_model(server, tmp_path, Sizes(blocks=1)), calibration=SAMPLES)
    detail = server.await_status(task_id, "failed", "succeeded")
    assert detail["status"] == "failed"
    assert detail["failedReason"].startswith("Unsupported: method gptq needs torch and transformers")
    assert "pip install 'modelpress[calibrate]'" in detail["failedReason"]
    assert not server.staging(task_id).exists()
