"""The block types of a GGUF file that we read, and how their bytes become float32.

A quantized row is cut into blocks of 32 values; each block carries its own scale, and Q4_1 its own minimum too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]
Bytes = NDArray[np.uint8]


def _decode_f32(data: Bytes) -> Values:
    return data.view("<f4")


def _decode_f16(data: Bytes) -> Values:
    return data.view("<f2").astype(np.float32)


_Q4_1 = np.dtype([("scale", "<f2"), ("minimum", "<f2"), ("nibbles", "u1", (16,))])
_Q8_0 = np.dtype([("scale", "<f2"), ("values", "i1", (32,))])


def _decode_q4_1(data: Bytes) -> Values:
    blocks = data.view(_Q4_1)
    values = np.empty((len(blocks), 32), np.float32)
    # The low halves of the 16 bytes are values 0..15 of the block, the high halves values 16..31.
    values[:, :16] = blocks["nibbles"] & 15
    values[:, 16:] = blocks["nibbles"] >> 4
    values *= blocks["scale"].astype(np.float32)[:, None]
    values += blocks["minimum"].astype(np.float32)[:, None]
    return values.reshape(-1)


def _decode_q8_0(data: Bytes) -> Values:
    blocks = data.view(_Q8_0)
    values = blocks["values"].astype(np.float32)
    values *= blocks["scale"].astype(np.float32)[:, None]
    return values.reshape(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockType:
    """How one tensor type lies on disk: ``length`` values in ``size_bytes`` bytes, made float32 by ``decode``."""

    name: str
    length: int
    size_bytes: int
    decode: Callable[[Bytes], Values]


BLOCK_TYPES: Mapping[int, BlockType] = MappingProxyType(
    {
        0: BlockType(name="F32", length=1, size_bytes=4, decode=_decode_f32),
        1: BlockType(name="F16", length=1, size_bytes=2, decode=_decode_f16),
        3: BlockType(name="Q4_1", length=32, size_bytes=_Q4_1.itemsize, decode=_decode_q4_1),
        8: BlockType(name="Q8_0", length=32, size_bytes=_Q8_0.itemsize, decode=_decode_q8_0),
    }
)

#: Types that exist and that we do not read, so that a refusal can say their name (ggml.h, enum ggml_type).
UNREAD_TYPES: Mapping[int, str] = MappingProxyType(
    {
        2: "Q4_0", 6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
        15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
        23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0",
        35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
    }
)  # fmt: skip


def dequantize(data: Bytes, block_type: BlockType) -> Values:
    """Decode whole blocks of ``block_type`` to float32.

    Q8_0 is ``scale * q``, Q4_1 is ``scale * q + minimum``. Scale and minimum are float16, so the product is exact in
    float32 and a value is rounded at most once: it is the float32 nearest to the stored number.

    Shapes: data [blocks * size_bytes] -> [blocks * length].
    Bound:  exact for F32, F16 and Q8_0; half a unit in the last place for Q4_1.
    Source: ggml-common.h (block_q4_1, block_q8_0) for the layout.
    """
    # An infinite or NaN scale gives NaN, in silence: whoever writes weights refuses them with the tensor's name.
    with np.errstate(invalid="ignore"):
        return block_type.decode(np.ascontiguousarray(data))
