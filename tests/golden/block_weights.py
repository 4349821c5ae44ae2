"""Weights whose blocks are compared with ggml's: made of whole numbers, so that every numpy makes the same ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

ROWS, COLUMNS = 96, 1024


def make_weights() -> Mapping[str, NDArray[np.float32]]:
    """By what they are like. Shapes: [ROWS, COLUMNS] each."""
    usual = _bell(np.random.default_rng(1)) * np.float32(2.0**-18)
    random = np.random.default_rng(2)
    tails = usual * (np.float32(2) ** (random.integers(0, 64, usual.shape) // 21)).astype(np.float32)
    sparse = np.where(random.integers(0, 8, usual.shape) == 0, usual, np.float32(0))
    # A whole block of zeros, one of one number, and one of the smallest numbers that a scale can hold.
    odd = usual.copy()
    odd[0] = 0
    odd[1] = np.float32(-0.75)
    odd[2] *= np.float32(2.0**-16)
    return {
        "usual": usual,
        "bf16": (usual.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32),
        "tails": tails,
        "sparse": sparse,
        "odd": odd,
        "steps": (random.integers(-8, 8, usual.shape) / 64).astype(np.float32),
        "one-sided": np.abs(usual),
    }


def _bell(random: np.random.Generator) -> NDArray[np.float32]:
    """Sums of whole numbers, which come near a Gaussian of deviation 2^12."""
    parts = random.integers(-2048, 2049, (12, ROWS, COLUMNS))
    sums: NDArray[np.float32] = parts.sum(axis=0).astype(np.float32)
    return sums
