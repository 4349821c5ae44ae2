"""The block types of a GGUF file that are read, and how their bytes become numbers.

A quantized row is cut into blocks of 32 values with a scale each, or into blocks of 256 whose groups of 16 or 32 have
small scales of their own under the block's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Bytes = NDArray[np.uint8]

# 1 MiB of float32, so that a piece is still in the processor's cache in each pass over it.
_VALUES_AT_ONCE = 1 << 18
# Halfway between the largest bf16 and the next power of two: from here on, rounding gives infinity.
_BFLOAT16_OVERFLOW = np.float32(float.fromhex("0x1.ffp127"))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockType:
    """How one tensor type lies on disk: ``length`` values in ``size_bytes`` bytes, made float32 by ``decode``."""

    name: str
    number: int
    length: int
    size_bytes: int
    # Not in its text: that is part of a plan's digest, and a function's holds an address.
    decode: Callable[[Bytes], Values] = field(repr=False)

    @property
    def rounded(self) -> bool:
        """Whether weights had to be rounded to be stored so."""
        return self.length > 1


def _blocks_of(number: int, name: str, layout: np.dtype[Any], decode: Callable[[Bytes], Values]) -> BlockType:
    return BlockType(
        name=name, number=number, length=256 if name.endswith("_K") else 32, size_bytes=layout.itemsize, decode=decode
    )


#: By their numbers in a file (ggml.h, enum ggml_type).
BLOCK_TYPES: Mapping[int, BlockType] = MappingProxyType(
    {
        known.number: known
        for known in (
            BlockType(name="F32", number=0, length=1, size_bytes=4, decode=_decode_f32),
            BlockType(name="F16", number=1, length=1, size_bytes=2, decode=_decode_f16),
            _blocks_of(2, "Q4_0", _Q4_0, _decode_q4_0),
            _blocks_of(3, "Q4_1", _Q4_1, _decode_q4_1),
            _blocks_of(6, "Q5_0", _Q5_0, _decode_q5_0),
            _blocks_of(7, "Q5_1", _Q5_1, _decode_q5_1),
            _blocks_of(8, "Q8_0", _Q8_0, _decode_q8_0),
            _blocks_of(12, "Q4_K", _Q4_K, _decode_q4_k),
            _blocks_of(13, "Q5_K", _Q5_K, _decode_q5_k),
            _blocks_of(14, "Q6_K", _Q6_K, _decode_q6_k),
            BlockType(name="BF16", number=30, length=1, size_bytes=2, decode=_decode_bf16),
        )
    }
)

#: Types that exist and that we do not read, so that a refusal can say their name (ggml.h, enum ggml_type).
UNREAD_TYPES: Mapping[int, str] = MappingProxyType(
    {
        9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
        20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
        29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
    }
)  # fmt: skip


def dequantize(data: Bytes, block_type: BlockType) -> Values:
    """Decode whole blocks of ``block_type`` to float32.

    Scales are float16 and integers have at most 8 bits, so every product is exact in float32, in whatever order it is
    made; where a minimum is added or taken away, that is the one rounding. So the result is ggml's, bit for bit.

    Shapes: data [blocks * size_bytes] -> [blocks * length].
    Source: ggml-common.h for the layouts, dequantize_row_* of ggml-quants.c for the arithmetic.
    """
    # An infinite or NaN scale gives NaN, in silence: whoever writes weights refuses them with the tensor's name.
    with np.errstate(invalid="ignore"):
        return block_type.decode(np.ascontiguousarray(data))


def decode_to_bfloat16(
    data: Bytes, block_type: BlockType, *, out: NDArray[np.uint16], lowered_by: int = 0
) -> int | None:
    """Fill ``out`` with the bits of the values, less ``lowered_by``, rounded to bf16; the first that is not finite.

    None where all are finite in bf16; otherwise the content of ``out`` means nothing.
    Shapes: data [blocks * size_bytes], out [blocks * length].
    """
    blocks = data.reshape(-1, block_type.size_bytes)
    step = max(1, _VALUES_AT_ONCE // block_type.length)
    for start in range(0, len(blocks), step):
        values = dequantize(blocks[start : start + step].reshape(-1), block_type)
        if lowered_by:
            values = values - np.float32(lowered_by)
        finite = np.abs(values) < _BFLOAT16_OVERFLOW  # False for a NaN too
        if not finite.all():
            return start * block_type.length + int(np.argmin(finite))
        out[start * block_type.length :][: len(values)] = round_to_bfloat16(values)
    return None


def round_to_bfloat16(values: Values) -> NDArray[np.uint16]:
    """Round to the nearest bf16, ties to even, and give its bits; for values that are finite in bf16."""
    bits = values.view(np.uint32)
    # Adding just under half of the last kept bit, or all of half where that bit is odd, carries exactly when it should.
    return ((bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) >> 16).astype(np.uint16)
