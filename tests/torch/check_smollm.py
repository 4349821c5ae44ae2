"""Checks the sample model against transformers: run by an interpreter that has torch and transformers.

    python tests/torch/check_smollm.py MODEL_DIRECTORY [--gguf FILE]

Prints one line of JSON with the greedy continuation of "The capital of France is"; fails unless " Paris" comes first
and the tokenizer gives the ids that the original model's own tokenizer gives. With --gguf (which needs the package
gguf) every weight is compared, bit for bit, with what transformers itself reads from the GGUF file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT = "The capital of France is"

# What the original tokenizer prints for a user's one message "hello world", as the public instructions for running
# AXERA-TECH/SmolLM2-360M-Instruct (the same tokenizer) show it.
HELLO_WORLD = [1, 9690, 198, 2683, 359, 253, 5356, 5646, 11173, 3365, 3511, 308, 34519, 28, 7018, 411, 407, 19712, 8182]
HELLO_WORLD += [2, 198, 1, 4093, 198, 28120, 905, 2, 198, 1, 520, 9531, 198]

# Digits are cut out before GPT-2's pattern looks, so the spaces before a number stay together. A reader that leaves the
# digits' rule out (transformers' own reading of the GGUF file does) gives two tokens for these three spaces.
SPACED_NUMBER = "x =   12"
SPACED_NUMBER_TOKENS = ["x", "Ġ=", "ĠĠĠ", "1", "2"]

ROUND_TRIPS = (
    "It's 2024, isn't it?  Twice  spaced,\ttabbed\n\n\nand broken.",
    "def f(x):\n    return x**2 + 3.14159  # naïve café",
    "模型压缩把模型变小。",
    "👩‍👩‍👧 🇫🇷 ½ ² ٣",
    " leading and trailing ",
    "<|im_start|>user\nhi<|im_end|>",
)


def fail(why: str) -> NoReturn:
    """Print why the model is not what it should be, and end."""
    print(why, file=sys.stderr)
    sys.exit(1)


def check_tokenizer(tokenizer: Any) -> None:
    """Compare token ids with the original's, and decode what was encoded."""
    chat = [{"role": "user", "content": "hello world"}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    if ids != HELLO_WORLD:
        fail(f"the chat template gives {ids}, the original gives {HELLO_WORLD}")
    tokens = tokenizer.convert_ids_to_tokens(tokenizer(SPACED_NUMBER)["input_ids"])
    if tokens != SPACED_NUMBER_TOKENS:
        fail(f"{SPACED_NUMBER!r} becomes {tokens}, not {SPACED_NUMBER_TOKENS}")
    for text in ROUND_TRIPS:
        if (decoded := tokenizer.decode(tokenizer(text)["input_ids"])) != text:
            fail(f"{text!r} comes back as {decoded!r}")


def check_weights(model: Any, gguf: Path) -> int:
    """Compare each weight's bits with transformers' own reading of ``gguf``; give the number of tensors compared."""
    theirs = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).state_dict()
    ours = model.state_dict()
    if ours.keys() != theirs.keys():
        fail(f"tensors that only one side has: {sorted(ours.keys() ^ theirs.keys())}")
    for name, tensor in ours.items():
        other = theirs[name].to(torch.bfloat16)
        if tensor.dtype != torch.bfloat16 or tensor.shape != other.shape:
            fail(f"{name}: {tensor.dtype} {tuple(tensor.shape)}, transformers has {tuple(other.shape)}")
        if differing := int((tensor.view(torch.int16) != other.view(torch.int16)).sum()):
            fail(f"{name}: {differing} of {tensor.numel()} values differ from transformers' reading")
    return len(ours)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--gguf", type=Path)
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.directory)
    check_tokenizer(tokenizer)
    model = AutoModelForCausalLM.from_pretrained(arguments.directory)
    report: dict[str, object] = {}
    if arguments.gguf:
        report["tensorsEqual"] = check_weights(model, arguments.gguf)
    prompt = tokenizer(PROMPT, return_tensors="pt")
    with torch.inference_mode():
        ids = model.generate(**prompt, max_new_tokens=12, do_sample=False)
    report["continuation"] = tokenizer.decode(ids[0, prompt["input_ids"].shape[1] :])
    print(json.dumps(report, ensure_ascii=False))
    if not str(report["continuation"]).startswith(" Paris"):
        fail(f"{PROMPT!r} does not go on with ' Paris'")


if __name__ == "__main__":
    main()
