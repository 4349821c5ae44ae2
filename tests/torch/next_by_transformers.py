"""Prints what transformers says comes next: run by an interpreter that has torch and transformers.

    python tests/torch/next_by_transformers.py MODEL_DIRECTORY… -- ID…

Prints one line of JSON for each directory: the logarithms of the probabilities of all tokens after these ids, and the
names of tensors that the model lacks or that it has no use for.
"""

from __future__ import annotations

import json
import sys

import torch
from transformers import AutoModelForCausalLM


def main() -> None:
    at = sys.argv.index("--")
    ids = torch.tensor([list(map(int, sys.argv[at + 1 :]))])
    for directory in sys.argv[1:at]:
        model, told = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, output_loading_info=True)
        with torch.inference_mode():
            logits = model.eval()(ids).logits[0, -1]
        answer = {
            "missing": sorted(told["missing_keys"]),
            "unexpected": sorted(told["unexpected_keys"]),
            "next": torch.log_softmax(logits, -1).tolist(),
        }
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
