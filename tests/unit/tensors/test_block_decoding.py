"""Decoding the blocks of GGUF files: C and numpy give the same bytes, and refuse the same values."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelpress.tensors.gguf.blocks import BLOCK_TYPES, BlockType
from modelpress.tensors.kernel.block_decoding import DecodeBlocks, by_library, by_numpy
from modelpress.tensors.kernel.library import Library
from tests.kernel import needs_c
from tests.unit.gguf_writer import HALVES_AT

TYPES = list(BLOCK_TYPES.values())


@functools.cache
def kernels() -> tuple[DecodeBlocks, ...]:
    """One for each instruction set of this machine."""
    return tuple(by_library(Library(instruction_set=name)) for name in Library().instruction_sets)


def some_blocks(block_type: BlockType, *, count: int, seed: int, finite: bool) -> NDArray[np.uint8]:
    """Blocks of any bytes; with ``finite``, their scales are numbers."""
    blocks = np.random.default_rng(seed).integers(0, 256, (count, block_type.size_bytes), dtype=np.uint8)
    if finite:
        for at in HALVES_AT.get(block_type.number, ()):
            blocks[:, at + 1] &= 0xBF  # a bit of the exponent that only large halves have
        if block_type.name in {"F32", "BF16"}:
            blocks[:, -1] &= 0xBF
    return blocks.reshape(-1)


def decoded(decode: DecodeBlocks, block_type: BlockType, source: NDArray[np.uint8]) -> tuple[int, bytes]:
    target = np.empty(len(source) // block_type.size_bytes * block_type.length, np.uint16)
    return decode(block_type.number, source, target), target.tobytes()


@needs_c
@pytest.mark.parametrize("block_type", TYPES, ids=lambda known: known.name)
@given(count=st.integers(0, 700), seed=st.integers(0, 1 << 32))
def test_c_and_numpy_decode_to_the_same_bytes(block_type: BlockType, count: int, seed: int) -> None:
    source = some_blocks(block_type, count=count if block_type.length == 1 else count % 9, seed=seed, finite=True)
    expected = decoded(by_numpy, block_type, source)
    assert expected[0] == -1
    for kernel in kernels():
        assert decoded(kernel, block_type, source) == expected


@needs_c
@pytest.mark.parametrize("block_type", TYPES, ids=lambda known: known.name)
@given(count=st.integers(1, 600), seed=st.integers(0, 1 << 32))
def test_c_and_numpy_stop_at_the_same_value(block_type: BlockType, count: int, seed: int) -> None:
    source = some_blocks(block_type, count=count if block_type.length == 1 else count % 9, seed=seed, finite=False)
    expected, _ = decoded(by_numpy, block_type, source)
    for kernel in kernels():
        assert decoded(kernel, block_type, source)[0] == expected


@needs_c
@pytest.mark.parametrize(
    ("bits", "place"), [(0x7F7F7FFF, -1), (0x7F7F8000, 300), (0xFF7F8000, 300), (0x7F800000, 300), (0x7FFFFFFF, 300)]
)
def test_a_value_is_refused_from_half_a_step_over_the_largest_on(bits: int, place: int) -> None:
    values = np.zeros(700, "<u4")
    values[[300, 500]] = bits
    for decode in (by_numpy, *kernels()):
        assert decoded(decode, BLOCK_TYPES[0], values.view(np.uint8))[0] == place


def test_numpy_decodes_many_blocks_as_it_decodes_each() -> None:
    block_type = BLOCK_TYPES[12]
    source = some_blocks(block_type, count=1500, seed=3, finite=True)
    halves = [decoded(by_numpy, block_type, half)[1] for half in np.split(source, 2)]
    assert decoded(by_numpy, block_type, source)[1] == b"".join(halves)
