"""What a machine's matrix rate allows: ``python -m benchmarks.calibrated.rates MODEL DEVICE``, with torch.

Prints one line of JSON: for each kind of work that no calibration by second moments can do without, the multiply-adds
of this model and the seconds that they take here, alone, in the shapes in which they come.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.calibrated.texts import LENGTH, SAMPLES

#: Rows of one multiplication, as of a batch of samples.
_TOKENS = 4096
_ROUNDS = 5
_LEAST_SECONDS = 0.2


def main() -> None:
    """Measure, and print."""
    source, device = sys.argv[1:]
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    forward, inputs, blocks, width = _shapes(source)
    tokens = SAMPLES * LENGTH
    work = {
        "forward, bf16": _sum(
            forward, tokens, lambda shape: _forward(shape, device), lambda shape: shape[0] * shape[1]
        ),
        "second moments of bf16 inputs": _sum(
            inputs, tokens, lambda columns: _gram(columns, device), lambda columns: columns * columns
        ),
        "factors of the moments, float32": _sum(
            inputs, 1, lambda columns: _factors(columns, device), lambda columns: columns**3
        ),
    }
    # Half of all pairs of tokens, for the products with keys and with values; at the forward passes' rate.
    pairs = blocks * SAMPLES * LENGTH**2 * width
    rate = work["forward, bf16"]["multiply_adds"] / work["forward, bf16"]["seconds"]
    work["attention, at the forward's rate"] = {"multiply_adds": pairs, "seconds": pairs / rate}
    print(json.dumps({"threads": torch.get_num_threads(), "work": work}))


def _shapes(source: str) -> tuple[Counter[tuple[int, int]], Counter[int], int, int]:
    """How often each shape [rows, columns] of a linear layer comes, and each width of an input that layers share."""
    config = AutoConfig.from_pretrained(source)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        tokens = torch.zeros(1, 8, dtype=torch.long)
    forward: Counter[tuple[int, int]] = Counter()
    seen: dict[int, Tensor] = {}

    def note(module: Any, arguments: tuple[Tensor, ...]) -> None:
        forward[tuple(module.weight.shape)] += 1
        seen[id(arguments[0])] = arguments[0]

    decoder = model.get_decoder()
    for module in decoder.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(note)
    decoder(tokens)
    inputs = Counter(one.shape[-1] for one in seen.values())
    return forward, inputs, config.num_hidden_layers, config.num_attention_heads * _head_width(config)


def _head_width(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _sum(shapes: Counter[Any], times: int, measure: Callable[[Any], float], count: Callable[[Any], int]) -> Any:
    """Of all shapes: ``measure`` gives seconds for one time, ``count`` multiply-adds."""
    return {
        "multiply_adds": times * sum(count(shape) * often for shape, often in shapes.items()),
        "seconds": times * sum(measure(shape) * often for shape, often in shapes.items()),
    }


def _forward(shape: tuple[int, int], device: str) -> float:
    """Seconds a token."""
    weight = torch.randn(shape, device=device).bfloat16()
    inputs = torch.randn(_TOKENS, shape[1], device=device).bfloat16()
    return _seconds(lambda: nn.functional.linear(inputs, weight), device) / _TOKENS


def _gram(columns: int, device: str) -> float:
    """Seconds a token; sums in float32 of numbers that are bf16 already, which loses nothing."""
    inputs = torch.randn(_TOKENS, columns, device=device).bfloat16().float()
    torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    try:
        return _seconds(lambda: inputs.T @ inputs, device) / _TOKENS
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = "ieee"


def _factors(columns: int, device: str) -> float:
    """Seconds for the factor of the inverse."""
    inputs = torch.randn(2 * columns, columns, device=device)
    moments = inputs.T @ inputs

    def factors() -> Tensor:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
        return torch.linalg.cholesky(inverse, upper=True)

    return _seconds(factors, device)


def _seconds(work: Callable[[], Tensor], device: str) -> float:
    """Of one call: the median of rounds that are each long enough to be timed."""

    def timed(calls: int) -> float:
        began = time.perf_counter()
        for _ in range(calls):
            work()
        if device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / calls

    timed(1)
    calls = max(1, round(_LEAST_SECONDS / timed(1)))
    return median(timed(calls) for _ in range(_ROUNDS))


if __name__ == "__main__":
    main()
