"""What a calibrated run will need, told before it begins: refusing early with the numbers is better than dying late."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from modelpress.calibrate.memory import available_bytes
from modelpress.errors import OutOfMemory

#: torch and transformers themselves, as measured on Linux, and what allocators keep back.
_RUNTIME_BYTES = 700_000_000
#: Copies of a group's weight in float32 at the same time: as it was, by columns, its error, what a search tries.
_COPIES = 5
#: Matrices of columns by columns in float32 at the same time: the Gram matrix, its factor and what solving takes.
_SQUARES = 4
_FLOAT32_BYTES = 4
#: Of learned rounding, for each weight of a block.
_LEARNED_BYTES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Of a decoder and its calibration; layers are linear layers [outputs, inputs] of the largest block."""

    layers: Sequence[tuple[int, int]]
    block_bytes: int
    embedding_bytes: int
    hidden_size: int
    number_bytes: int
    tokens: int
    batch_tokens: int
    blocks: int
    #: Of learned rounding: how many lessons a block has, and the tokens of each.
    lessons: int = 0
    lesson_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """Bytes of memory at most, and multiply-adds in all."""

    #: With all samples within a block at the same time.
    together_bytes: int
    #: With one batch at a time.
    apart_bytes: int
    multiply_adds: int
    #: Of the hidden states of all samples, as they lie on the disk between two blocks.
    states_bytes: int


def needs_of(sizes: Sizes) -> Needs:
    """An upper estimate: what each token holds within a block, the block itself, and the work on its largest layer.

    A token holds its hidden state before, within and after the block, and the input of the widest layer twice.
    """
    widest = max((columns for _, columns in sizes.layers), default=sizes.hidden_size)
    a_token = sizes.number_bytes * (4 * sizes.hidden_size + 2 * widest)
    largest = max((rows * columns for rows, columns in sizes.layers), default=0)
    fixed = (
        _RUNTIME_BYTES
        + sizes.block_bytes
        + sizes.embedding_bytes
        + _FLOAT32_BYTES * (_COPIES * largest + _SQUARES * widest * widest)
    )
    weights = sum(rows * columns for rows, columns in sizes.layers)
    if sizes.lessons:
        # Where each weight lies between two integers, its gradient, and what a lesson's forward keeps for the backward.
        fixed += _LEARNED_BYTES * weights + 2 * sizes.number_bytes * sizes.lesson_tokens * sum(
            rows + columns for rows, columns in sizes.layers
        )
    # One batch's forward computes wider things than it keeps, in float32 at times.
    batch = sizes.batch_tokens * (3 * a_token + 2 * _FLOAT32_BYTES * widest)
    grams = _FLOAT32_BYTES * sum(columns * columns for columns in {columns for _, columns in sizes.layers})
    # A lesson goes forward once, and backward for inputs and for weights.
    passes = sizes.tokens + 3 * sizes.lessons * sizes.lesson_tokens
    statistics = sum(columns * columns for columns in {columns for _, columns in sizes.layers})
    return Needs(
        together_bytes=fixed + batch + sizes.tokens * a_token,
        apart_bytes=fixed + batch + grams,
        multiply_adds=sizes.blocks * (passes * weights + sizes.tokens * statistics),
        states_bytes=sizes.tokens * sizes.hidden_size * sizes.number_bytes,
    )


def fits_together(needs: Needs, device: torch.device) -> bool:
    """Whether all samples fit at the same time; where nobody tells what there is, they are taken to.

    Raises: OutOfMemory with both numbers if not even one batch at a time fits.
    """
    there = available_bytes(device)
    if there is None:
        return True
    if needs.apart_bytes > there:
        raise OutOfMemory(
            f"calibration needs about {needs.apart_bytes} bytes of memory for its largest block, and {there} are free "
            f"on {device}",
            hint="method rtn needs a few hundred MB, whatever the model",
        )
    return needs.together_bytes <= there


def matrix_rate(dtype: torch.dtype, device: torch.device) -> float:
    """Multiply-adds a second of matrix products here, from one product of 1024 by 1024."""
    size = 1024
    factor = torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        float((factor @ factor)[0, 0])
        best = min(best, time.perf_counter() - began)
    return size**3 / best
