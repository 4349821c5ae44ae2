"""block_decoding.c, and its numpy twin: the blocks of a GGUF file become bf16.

A quantized row is cut into blocks of 32 values with a scale each, or into blocks of 256 whose groups of 16 or 32 have
small scales of their own under the block's. Scales are float16 and integers have at most 8 bits, so every product is
exact in float32, in whatever order it is made; where a minimum is added or taken away, that is the one rounding. So the
float32 values are ggml's, bit for bit.

Source: ggml-common.h for the layouts, dequantize_row_* of ggml-quants.c for the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import c_int, c_int64, c_void_p
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.kernel.library import Library

Values: TypeAlias = NDArray[np.float32]
Bytes: TypeAlias = NDArray[np.uint8]
Halves: TypeAlias = NDArray[np.uint16]

#: ``(number, source, target)``, see :func:`by_numpy`.
DecodeBlocks = Callable[[int, Bytes, Halves], int]

# 1 MiB of float32, so that a piece is still in the processor's cache in each pass over it.
_VALUES_AT_ONCE = 1 << 18
# Halfway between the largest bf16 and the next power of two: from here on, rounding gives infinity.
_BFLOAT16_OVERFLOW = np.float32(float.fromhex("0x1.ffp127"))


def by_library(library: Library) -> DecodeBlocks:
    """The C function behind the signature of its twin."""
    call = library.function("decode_blocks", *(c_int, c_int64, c_void_p, c_void_p))

    def decode(number: int, source: Bytes, target: Halves) -> int:
        blocks = len(source) // SIZES[number]
        return call(number, blocks, source.ctypes.data, target.ctypes.data)

    return decode


def by_numpy(number: int, source: Bytes, target: Halves) -> int:
    """Fill ``target`` with the values of whole blocks, rounded to bf16; the first that is not finite there, or -1.

    Where one is not finite, the content of ``target`` means nothing. ``number`` is ggml's of the block type.
    Shapes: source [blocks * SIZES[number]], target [blocks * values of a block].
    """
    blocks = source.reshape(-1, SIZES[number])
    length = len(target) // max(1, len(blocks))
    step = max(1, _VALUES_AT_ONCE // max(1, length))
    for start in range(0, len(blocks), step):
        values = widen(number, blocks[start : start + step].reshape(-1))
        place = narrow(values, target[start * length :][: len(values)])
        if place >= 0:
            return start * length + place
    return -1


def narrow(values: Values, target: Halves) -> int:
    """Fill ``target`` with the values rounded to bf16; the first that is not finite there, or -1."""
    finite = np.abs(values) < _BFLOAT16_OVERFLOW  # False for a NaN too
    target[:] = round_to_bfloat16(values)
    return -1 if finite.all() else int(np.argmin(finite))


def round_to_bfloat16(values: Values) -> Halves:
    """Round to the nearest bf16, ties to even, and give its bits; for values that are finite in bf16."""
    bits = values.view(np.uint32)
    # Adding just under half of the last kept bit, or all of half where that bit is odd, carries exactly when it should.
    return ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)


def widen(number: int, source: Bytes) -> Values:
    """The values of whole blocks as float32; NaN or infinity where a scale is."""
    with np.errstate(invalid="ignore"):
        return _DECODERS[number](np.ascontiguousarray(source))


def _decode_f32(data: Bytes) -> Values:
    return data.view("<f4")


def _decode_f16(data: Bytes) -> Values:
    return data.view("<f2").astype(np.float32)


def _decode_bf16(data: Bytes) -> Values:
    return (data.view("<u2").astype(np.uint32) << np.uint32(16)).view(np.float32)


_Q4_0 = np.dtype([("scale", "<f2"), ("nibbles", "u1", (16,))])
_Q4_1 = np.dtype([("scale", "<f2"), ("minimum", "<f2"), ("nibbles", "u1", (16,))])
_Q5_0 = np.dtype([("scale", "<f2"), ("high", "<u4"), ("nibbles", "u1", (16,))])
_Q5_1 = np.dtype([("scale", "<f2"), ("minimum", "<f2"), ("high", "<u4"), ("nibbles", "u1", (16,))])
_Q8_0 = np.dtype([("scale", "<f2"), ("values", "i1", (32,))])
_Q4_K = np.dtype([("scale", "<f2"), ("minimum", "<f2"), ("small", "u1", (12,)), ("nibbles", "u1", (4, 32))])
_Q5_K = np.dtype(
    [("scale", "<f2"), ("minimum", "<f2"), ("small", "u1", (12,)), ("high", "u1", (32,)), ("nibbles", "u1", (4, 32))]
)
_Q6_K = np.dtype([("low", "u1", (2, 64)), ("high", "u1", (2, 32)), ("small", "i1", (16,)), ("scale", "<f2")])


def _nibbles(blocks: NDArray[Any]) -> Bytes:
    """The low halves of the 16 bytes are values 0..15 of the block, the high halves values 16..31."""
    nibbles = blocks["nibbles"]
    return np.concatenate([nibbles & 15, nibbles >> 4], axis=1)


def _fifth_bits(blocks: NDArray[Any]) -> Bytes:
    """Bit i of the word belongs to value i; given as 16 or 0."""
    bits = blocks["high"].astype(np.uint32)[:, None] >> np.arange(32, dtype=np.uint32)
    fifth: Bytes = np.left_shift(bits.astype(np.uint8) & 1, 4, dtype=np.uint8)
    return fifth


def _wide(halves: NDArray[Any]) -> Values:
    return halves.astype(np.float32)[:, None]


def _decode_q4_0(data: Bytes) -> Values:
    blocks = data.view(_Q4_0)
    return ((_nibbles(blocks).astype(np.float32) - 8) * _wide(blocks["scale"])).reshape(-1)


def _decode_q4_1(data: Bytes) -> Values:
    blocks = data.view(_Q4_1)
    return (_nibbles(blocks) * _wide(blocks["scale"]) + _wide(blocks["minimum"])).reshape(-1)


def _decode_q5_0(data: Bytes) -> Values:
    blocks = data.view(_Q5_0)
    values = (_nibbles(blocks) | _fifth_bits(blocks)).astype(np.float32) - 16
    return (values * _wide(blocks["scale"])).reshape(-1)


def _decode_q5_1(data: Bytes) -> Values:
    blocks = data.view(_Q5_1)
    values = _nibbles(blocks) | _fifth_bits(blocks)
    return (values * _wide(blocks["scale"]) + _wide(blocks["minimum"])).reshape(-1)


def _decode_q8_0(data: Bytes) -> Values:
    blocks = data.view(_Q8_0)
    return (blocks["values"] * _wide(blocks["scale"])).reshape(-1)


def _small_scales(blocks: NDArray[Any]) -> tuple[Values, Values]:
    """Scale and minimum of each of the eight groups of 32: six bits each, times the block's own.

    The first four have the low six bits of a byte each; of the last four, a byte has four bits of scale and of minimum,
    and the upper two are the upper bits of the first eight bytes.
    """
    small = blocks["small"]
    first, second, mixed = small[:, :4], small[:, 4:8], small[:, 8:]
    scales = np.concatenate([first & 63, mixed & 15 | first >> 6 << 4], axis=1)
    minimums = np.concatenate([second & 63, mixed >> 4 | second >> 6 << 4], axis=1)
    return scales * _wide(blocks["scale"]), minimums * _wide(blocks["minimum"])


def _pairs_of_groups(blocks: NDArray[Any]) -> Bytes:
    """The eight groups of 32: of each run of 32 bytes first the low halves, then the high ones."""
    nibbles = blocks["nibbles"]
    return np.stack([nibbles & 15, nibbles >> 4], axis=2).reshape(-1, 8, 32)


def _decode_q4_k(data: Bytes) -> Values:
    blocks = data.view(_Q4_K)
    scales, minimums = _small_scales(blocks)
    return (_pairs_of_groups(blocks) * scales[:, :, None] - minimums[:, :, None]).reshape(-1)


def _decode_q5_k(data: Bytes) -> Values:
    blocks = data.view(_Q5_K)
    scales, minimums = _small_scales(blocks)
    # Bit g of byte i belongs to value i of group g.
    fifth = (blocks["high"][:, None, :] >> np.arange(8, dtype=np.uint8)[:, None] & 1) << 4
    values = _pairs_of_groups(blocks) | fifth
    return (values * scales[:, :, None] - minimums[:, :, None]).reshape(-1)


def _decode_q6_k(data: Bytes) -> Values:
    blocks = data.view(_Q6_K)
    low, high = blocks["low"], blocks["high"]
    # Each half of the block has 128 values: low halves of 64 bytes, then the high ones; two bits more from ``high``.
    four = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 2, 4, 32)
    two = (high[:, :, None, :] >> np.array([0, 2, 4, 6], np.uint8)[:, None] & 3) << 4
    values = (four | two).astype(np.float32).reshape(-1, 16, 16) - 32
    scales: Values = blocks["small"] * _wide(blocks["scale"])
    decoded: Values = values * scales[:, :, None]
    return decoded.reshape(-1)


_TYPES: tuple[tuple[int, int, Callable[[Bytes], Values]], ...] = (
    (0, 4, _decode_f32),
    (1, 2, _decode_f16),
    (2, _Q4_0.itemsize, _decode_q4_0),
    (3, _Q4_1.itemsize, _decode_q4_1),
    (6, _Q5_0.itemsize, _decode_q5_0),
    (7, _Q5_1.itemsize, _decode_q5_1),
    (8, _Q8_0.itemsize, _decode_q8_0),
    (12, _Q4_K.itemsize, _decode_q4_k),
    (13, _Q5_K.itemsize, _decode_q5_k),
    (14, _Q6_K.itemsize, _decode_q6_k),
    (30, 2, _decode_bf16),
)
#: Bytes of a block, by ggml's number of its type.
SIZES: Mapping[int, int] = MappingProxyType({number: size for number, size, _ in _TYPES})
_DECODERS = {number: decode for number, _, decode in _TYPES}
