"""Loads model directories with transformers on the CPU, and prints one JSON line for each with the text after a prompt.

Run with the interpreter of an environment that has torch==2.13.0, transformers and compressed-tensors; nothing of
modelpress is imported, so what it shows is what a stranger's loader makes of our output.

    python tests/torch/load_and_generate.py MODEL_DIRECTORY... [--prompt TEXT] [--new-tokens 3]

A model without a tokenizer gets the first tokens that there are, and its text is left empty. With --like, the mean
divergence of each model's predictions from those of another directory is given too, in nats.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def describe(directory: Path, *, prompt: str, new_tokens: int, like: torch.Tensor | None) -> dict[str, Any]:
    """What became of the model when it was loaded and ran."""
    model, loading = AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
    model.eval()
    ids, tokenizer = encode(directory, prompt)
    with torch.no_grad():
        logits = model(ids).logits[0].float()
    loss = torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:]).item()
    said: dict[str, Any] = {
        "prompt_loss": loss if math.isfinite(loss) else None,
        "missing": sorted(loading["missing_keys"]),
        "unexpected": sorted(loading["unexpected_keys"]),
        "parameters": sum(p.numel() for p in model.parameters()),
        "text": "",
    }
    if tokenizer is not None:
        with torch.no_grad():
            made = model.generate(ids, max_new_tokens=new_tokens, do_sample=False)
        said["text"] = tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
    if like is not None:
        theirs = torch.log_softmax(like, dim=-1)
        ours = torch.log_softmax(logits, dim=-1)
        said["divergence"] = (theirs.exp() * (theirs - ours)).sum(dim=-1).mean().item()
    return said


def encode(directory: Path, prompt: str) -> tuple[torch.Tensor, Any]:
    """The prompt's tokens, and the tokenizer if there is one."""
    if not (directory / "tokenizer.json").exists():
        return torch.arange(1, 33)[None], None
    tokenizer = AutoTokenizer.from_pretrained(directory)
    return tokenizer(prompt, return_tensors="pt")["input_ids"], tokenizer


def logits_of(directory: Path, prompt: str) -> torch.Tensor:
    """What an uncompressed model predicts, in full precision."""
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(encode(directory, prompt)[0]).logits[0]
    return logits


def main() -> None:
    """Load, generate, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directories", nargs="+", type=Path)
    parser.add_argument("--prompt", default="The capital of France is")
    parser.add_argument("--new-tokens", type=int, default=3)
    parser.add_argument("--like", type=Path)
    arguments = parser.parse_args()
    like = logits_of(arguments.like, arguments.prompt) if arguments.like else None
    for directory in arguments.directories:
        said = describe(directory, prompt=arguments.prompt, new_tokens=arguments.new_tokens, like=like)
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
