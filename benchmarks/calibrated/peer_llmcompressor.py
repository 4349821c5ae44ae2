"""llm-compressor on one model, run by an environment that has it; nothing of this repository is imported.

    python peer_llmcompressor.py METHOD MODEL SAMPLES OUTPUT

METHOD is gptq, awq, w8a8, sparsegpt or wanda; SAMPLES is a safetensors file with ``input_ids`` [samples, length].
Everything that is not named here is as the library has it by default: in 0.14.0.1, damping 0.01, blocks of 128 columns
and static order by activation for GPTQ; the same but the order for SparseGPT; 20 grid points for AWQ.
"""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

_GROUP_SIZE = 64
_KEPT = ["lm_head"]


def main() -> None:
    """Compress and save, as the library's documents show."""
    from datasets import Dataset
    from llmcompressor import oneshot
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    method, source, samples, destination = sys.argv[1:]
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    tokenizer = AutoTokenizer.from_pretrained(source)
    rows = load_file(samples)["input_ids"].tolist()
    dataset = Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]})
    oneshot(
        model=model,
        processor=tokenizer,
        dataset=dataset,
        recipe=_recipe(method),
        num_calibration_samples=len(rows),
        max_seq_length=len(rows[0]),
        shuffle_calibration_samples=False,
    )
    model.save_pretrained(destination, save_compressed=True)
    tokenizer.save_pretrained(destination)


def _recipe(method: str) -> list[Any]:
    from llmcompressor.modifiers.gptq import GPTQModifier
    from llmcompressor.modifiers.pruning import SparseGPTModifier, WandaPruningModifier
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    if method == "gptq":
        return [GPTQModifier(config_groups=_four_bits(), ignore=_KEPT)]
    if method == "awq":
        _without_pinned_memory()
        return [AWQModifier(), QuantizationModifier(config_groups=_four_bits(), ignore=_KEPT)]
    if method == "w8a8":
        return [
            SmoothQuantModifier(smoothing_strength=0.8),
            GPTQModifier(targets="Linear", scheme="W8A8", ignore=_KEPT),
        ]
    if method == "sparsegpt":
        return [SparseGPTModifier(sparsity=0.5, ignore=[*_KEPT, "re:.*lm_head"])]
    if method == "wanda":
        return [WandaPruningModifier(sparsity=0.5, ignore=[*_KEPT, "re:.*lm_head"])]
    raise SystemExit(f"no method {method!r}")


def _four_bits() -> dict[str, Any]:
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": _GROUP_SIZE}
    return {"group_0": {"targets": ["Linear"], "weights": weights}}


def _without_pinned_memory() -> None:
    """AWQ asks for memory pinned for an accelerator, and fails where there is none."""
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    if not torch.accelerator.is_available():
        IntermediatesCache.pin_memory = lambda *_, **__: None


if __name__ == "__main__":
    main()
