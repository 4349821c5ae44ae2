"""Whole calibrated runs on tiny models: what a source directory, a recipe and calibration text become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from modelpress.domain.calibration import Calibration, CalibrationSource
from modelpress.domain.method import Method, Strategy
from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import known_scheme
from modelpress.domain.sparsity import Sparsity
from modelpress.domain.task import Progress
from modelpress.domain.tuning import Tuning
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.plan import Plan
from modelpress.worker.press import press
from tests.calibrate.test_samples import ROWS, make_tokenizer
from tests.calibrate.tiny import tiny_model

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "head_dim": 16,
    "num_hidden_layers": 4,
    "vocab_size": ROWS,
    "moe_intermediate_size": 64,
    "num_experts": 6,
}
SAMPLES, LENGTH = 8, 32

CALIBRATION = Calibration(
    source=CalibrationSource.OBJECT, object_path="text.txt", num_samples=SAMPLES, max_length=LENGTH
)
HALF = Sparsity(ratio=0.5)


def quantizing(method: Method, scheme: str = "W4A16C16", **facts: Any) -> Recipe:
    """With groups of 32 columns, where weights have groups."""
    group_size = 32 if scheme == "W4A16C16" else None
    return replace(
        Recipe(scheme=known_scheme(scheme), method=method, group_size=group_size, calibration=CALIBRATION), **facts
    )


def pruning(method: Method, scheme: str = "DENSE", *, sparsity: Sparsity = HALF) -> Recipe:
    """Half of the weights, and integers too where a scheme is named."""
    return quantizing(method, scheme, strategy=Strategy.SPARSITY, sparsity=sparsity)


#: One recipe for each way that a run can go.
RECIPES = {
    "gptq": quantizing(Method.GPTQ),
    "learned": quantizing(Method.LEARNED, tuning=Tuning(iterations=6)),
    "awq": quantizing(Method.AWQ),
    "smoothquant": quantizing(Method.SMOOTHQUANT, "INT8-PTQ"),
    "sparsegpt": pruning(Method.SPARSEGPT),
    "sparsegpt with integers": pruning(Method.SPARSEGPT, "W4A16C16"),
    "sparsegpt in 2:4": pruning(Method.SPARSEGPT, sparsity=Sparsity(ratio=0.5, pattern="2:4")),
    "wanda": pruning(Method.WANDA),
    "wanda with integers": pruning(Method.WANDA, "W8A16C16"),
    "structured": pruning(Method.STRUCTURED),
    "structured, fewer blocks": pruning(Method.STRUCTURED, sparsity=Sparsity(ratio=0.65)),
}


def write_source(folder: Path, model_type: str = "llama", *, dtype: torch.dtype = torch.bfloat16, **sizes: Any) -> Path:
    """A checkpoint and a tokenizer of bytes."""
    tiny_model(model_type, sizes={**SIZES, **sizes}).to(dtype).save_pretrained(folder)
    make_tokenizer(folder)
    return folder


def write_text(path: Path, *, seed: int = 0) -> Path:
    """Letters enough for all samples, the same for a seed."""
    letters = torch.randint(97, 123, (2 * SAMPLES * LENGTH,), generator=torch.Generator().manual_seed(seed))
    path.write_bytes(bytes(letters.tolist()))
    return path


def run(
    source: Path,
    out: Path,
    recipe: Recipe,
    *,
    report: Callable[[Progress], None] = lambda progress: None,
    say: Callable[[str], None] = lambda text: None,
    text: Path | None = None,
) -> Plan:
    """Press ``source`` into ``out``, with the text that lies beside it unless another is given."""
    text = text or write_text(source.with_suffix(".txt"))
    plan, _ = press(LocalFolder(source), recipe, out, report=report, say=say, threads=1, calibration_file=text)
    return plan


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint's files."""
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def loaded(folder: Path) -> Any:
    """The model as transformers loads it, with every tensor in its place and weights unpacked."""
    model, problems = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
    assert not any(problems[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), problems
    return model.eval()
