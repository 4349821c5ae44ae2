"""Loads a model directory with transformers on the CPU, and prints one JSON line with the text that follows a prompt.

Run with the interpreter of an environment that has torch==2.13.0, transformers and compressed-tensors; nothing of
modelpress is imported, so what it shows is what a stranger's loader makes of our output.

    python tests/torch/load_and_generate.py MODEL_DIRECTORY [PROMPT] [--new-tokens 8]
"""

from __future__ import annotations

import argparse
import json
import math
import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main() -> None:
    """Load, generate, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directory")
    parser.add_argument("prompt", nargs="?", default="The capital of France is")
    parser.add_argument("--new-tokens", type=int, default=8)
    arguments = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(arguments.directory)
    model, loading = AutoModelForCausalLM.from_pretrained(arguments.directory, output_loading_info=True)
    model.eval()
    tokens = tokenizer(arguments.prompt, return_tensors="pt")
    with torch.no_grad():
        logits = model(**tokens).logits
        made = model.generate(**tokens, max_new_tokens=arguments.new_tokens, do_sample=False)
    text = tokenizer.decode(made[0, tokens["input_ids"].shape[1] :], skip_special_tokens=True)
    loss = torch.nn.functional.cross_entropy(logits[0, :-1].float(), tokens["input_ids"][0, 1:]).item()
    print(
        json.dumps(
            {
                "text": text,
                "prompt_loss": loss if math.isfinite(loss) else None,
                "missing": sorted(loading["missing_keys"]),
                "unexpected": sorted(loading["unexpected_keys"]),
                "parameters": sum(p.numel() for p in model.parameters()),
            }
        )
    )


if __name__ == "__main__":
    main()
