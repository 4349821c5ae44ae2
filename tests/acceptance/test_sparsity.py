"""Pruning through a real server and its worker, and by the command: the same files, with the zeros asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.acceptance.conftest import Sample
from tests.acceptance.server import Server

pytestmark = pytest.mark.slow


def bits(directory: Path) -> dict[str, NDArray[np.uint16]]:
    """Every bf16 matrix of a directory by its name, read without modelpress."""
    found = {}
    for file in sorted(directory.glob("*.safetensors")):
        data = file.read_bytes()
        length = int.from_bytes(data[:8], "little")
        for name, facts in json.loads(data[8 : 8 + length]).items():
            if name != "__metadata__" and facts["dtype"] == "BF16" and len(facts["shape"]) == 2:
                start, end = (8 + length + offset for offset in facts["data_offsets"])
                found[name] = np.frombuffer(data[start:end], dtype="<u2").reshape(facts["shape"])
    return found


def check_pruned(source: Path, output: Path, *, ratio: float) -> None:
    """The rows of every linear weight have so many zeros, and all else is as it was."""
    before, after = bits(source), bits(output)
    assert before.keys() == after.keys()
    zeros = 0
    for name, numbers in after.items():
        pruned = numbers == 0
        assert np.array_equal(numbers[~pruned], before[name][~pruned])
        if "_proj" in name:
            assert (pruned.sum(axis=1) == int(ratio * numbers.shape[1] + 0.5)).all(), name
            assert (before[name][pruned] & 0x7FFF).max() <= (numbers[~pruned] & 0x7FFF).max()
        zeros += int(pruned.sum())
    assert zeros


def test_a_task_prunes_without_data_and_the_command_makes_the_same_files(
    server: Server, small: Sample, tmp_path: Path
) -> None:
    model = server.register(small.directory, name="small")
    body: dict[str, Any] = {
        "name": "test",
        "sourceModelId": model.id,
        "modelSetId": model.set_id,
        "config": {"strategy": "Sparsity", "sparsityRatio": 0.3},
    }
    task_id = str(server.call("CreateModelCompTask", body))
    detail = server.await_status(task_id, "succeeded", "failed")
    assert detail["status"] == "succeeded", detail
    assert detail["config"]["method"] == "magnitude"
    assert detail["config"]["sparsityRatio"] == 0.3
    output = server.output(detail)
    check_pruned(small.directory, output, ratio=0.3)
    config = json.loads((output / "config.json").read_text())
    assert config == json.loads((small.directory / "config.json").read_text())
    notes = json.loads((output / "modelpress.json").read_text())["notes"]
    assert any("as large as the source" in note for note in notes)

    command = [sys.executable, "-m", "modelpress.cli.main", "compress", small.directory, tmp_path / "out"]
    subprocess.run([*map(str, command), "--sparsity", "0.3"], check=True, capture_output=True)
    for file in output.iterdir():
        assert (tmp_path / "out" / file.name).read_bytes() == file.read_bytes(), file.name
