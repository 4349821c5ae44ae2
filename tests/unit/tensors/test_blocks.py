"""Rounding to llama.cpp's blocks: C and numpy give the same bytes, which stand for weights near those given."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelpress.tensors.gguf.blocks import BLOCK_TYPES, BlockType, dequantize
from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel.blocks import EncodeBlocks, by_library, by_numpy
from modelpress.tensors.kernel.library import Library
from modelpress.tensors.kernel.numbers import widen
from modelpress.tensors.rounding.blocks import BlockRounding
from tests.kernel import needs_c

TYPES = {block_type.name: block_type for block_type in BLOCK_TYPES.values()}
WRITTEN = ["F32", "F16", "BF16", "Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q6_K"]
EXPONENT = {Grid.BF16: 0x7F80, Grid.F16: 0x7C00, Grid.F32: 0x7F800000}
WORD = {Grid.BF16: "<u2", Grid.F16: "<u2", Grid.F32: "<u4"}
KINDS = ["usual", "heavy tails", "any bits", "subnormal", "one-sided", "alike"]

ROUNDINGS = st.builds(
    lambda grid, name, blocks: BlockRounding(grid=grid, columns=blocks * TYPES[name].length, block_type=TYPES[name]),
    st.sampled_from(list(Grid)),
    st.sampled_from(WRITTEN),
    st.integers(1, 5),
)


def source(rounding: BlockRounding, *, rows: int, seed: int, kind: str) -> NDArray[np.uint8]:
    """Weights that can be stored; some blocks wholly zero, of either sign."""
    random = np.random.default_rng(seed)
    count = rows * rounding.columns
    if kind in {"any bits", "subnormal"}:
        bits = random.integers(0, 1 << 8 * rounding.grid.size_bytes, count, dtype=np.uint32)
        if kind == "subnormal":
            bits &= ~np.uint32(EXPONENT[rounding.grid])
        numbers = widen(bits.astype(WORD[rounding.grid]).view(np.uint8), rounding.grid)
        bits[~(np.abs(numbers) <= 65504)] = 0
    else:
        numbers = random.standard_normal(count, dtype=np.float32) / np.float32(50)
        if kind == "heavy tails":
            numbers *= np.exp2(random.integers(0, 9, count)).astype(np.float32)
        if kind == "one-sided":
            numbers = np.abs(numbers)
        if kind == "alike":
            numbers[:] = numbers[0]
        raw = numbers.astype(np.float16).view(np.uint16) if rounding.grid is Grid.F16 else numbers.view(np.uint32)
        bits = raw.astype(np.uint32) >> np.uint32(16 if rounding.grid is Grid.BF16 else 0)
    blocks = bits.reshape(-1, rounding.block_type.length).copy()
    blocks[random.random(len(blocks)) < 0.1] = 0
    blocks[random.random(len(blocks)) < 0.1] = 1 << 8 * rounding.grid.size_bytes - 1
    return blocks.astype(WORD[rounding.grid]).reshape(-1).view(np.uint8)


def run(encode: EncodeBlocks, rounding: BlockRounding, weights: NDArray[np.uint8]) -> tuple[int, NDArray[np.uint8]]:
    output = np.full(rounding.output_bytes(len(weights) // rounding.source_row_bytes)[0], 0xAA, np.uint8)
    return encode(rounding, weights, output), output


@functools.cache
def natives() -> tuple[EncodeBlocks, ...]:
    """The C function for every instruction set this machine has."""
    return tuple(by_library(Library(instruction_set=name)) for name in Library().instruction_sets)


@needs_c
@settings(max_examples=400)
@given(ROUNDINGS, st.integers(1, 3), st.integers(0, 2**32), st.sampled_from(KINDS))
def test_c_and_numpy_give_the_same_blocks(rounding: BlockRounding, rows: int, seed: int, kind: str) -> None:
    weights = source(rounding, rows=rows, seed=seed, kind=kind)
    row, blocks = run(by_numpy, rounding, weights)
    assert row == -1
    for encode in natives():
        assert run(encode, rounding, weights)[0] == -1
        assert run(encode, rounding, weights)[1].tobytes() == blocks.tobytes()


@needs_c
def test_something_added_to_weights_is_added_in_float32_by_both() -> None:
    rounding = BlockRounding(grid=Grid.BF16, columns=100, block_type=TYPES["F32"], added=1.0)
    weights = source(rounding, rows=2, seed=3, kind="usual")
    blocks = run(by_numpy, rounding, weights)[1]
    assert np.array_equal(blocks.view("<f4"), widen(weights, Grid.BF16) + np.float32(1))
    for encode in natives():
        assert run(encode, rounding, weights)[1].tobytes() == blocks.tobytes()


@given(ROUNDINGS, st.integers(0, 2**32), st.sampled_from(["usual", "heavy tails", "one-sided"]))
def test_blocks_stand_for_weights_within_a_step_of_those_given(rounding: BlockRounding, seed: int, kind: str) -> None:
    weights = source(rounding, rows=2, seed=seed, kind=kind)
    row, blocks = run(by_numpy, rounding, weights)
    assert row == -1
    numbers = widen(weights, rounding.grid).astype(np.float64)
    decoded = dequantize(blocks, rounding.block_type).astype(np.float64)
    assert (np.abs(decoded - numbers) <= _step(rounding.block_type, numbers)).all()


def _step(block_type: BlockType, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far apart the numbers of a block lie at most, by its largest weight; for Q4_K, of all its groups' steps."""
    if block_type.length == 1:
        return np.abs(numbers) * 2.0**-8 + 2.0**-25
    top = np.abs(numbers).reshape(-1, block_type.length).max(axis=1)
    levels = {"Q4_0": 8, "Q5_0": 16, "Q8_0": 127, "Q4_K": 7, "Q6_K": 31}[block_type.name]
    return np.repeat(1.02 * top / levels + 2.0**-20, block_type.length)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_row_that_cannot_be_stored_is_told_by_its_number(name: str) -> None:
    rounding = BlockRounding(grid=Grid.BF16, columns=256, block_type=TYPES[name])
    for bad in (np.inf, -np.inf, np.nan, 70000.0):
        numbers = np.zeros((5, 256), np.float32)
        numbers[3, 100] = bad
        weights = (numbers.view(np.uint32) >> np.uint32(16)).astype("<u2").reshape(-1).view(np.uint8)
        expected = -1 if name in {"F32", "BF16"} and np.isfinite(bad) else 3
        for encode in (by_numpy, *natives()):
            assert run(encode, rounding, weights)[0] == expected
