"""The block types of a GGUF file that are read, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors import kernel
from modelpress.tensors.kernel import block_decoding

Values = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockType:
    """How one tensor type lies on disk: ``length`` values in ``size_bytes`` bytes."""

    name: str
    number: int
    length: int

    @property
    def size_bytes(self) -> int:
        """Bytes of a block."""
        return block_decoding.SIZES[self.number]

    @property
    def rounded(self) -> bool:
        """Whether weights had to be rounded to be stored so."""
        return self.length > 1


#: By their numbers in a file (ggml.h, enum ggml_type).
BLOCK_TYPES: Mapping[int, BlockType] = MappingProxyType(
    {
        number: BlockType(name=name, number=number, length=length)
        for number, name, length in (
            (0, "F32", 1), (1, "F16", 1), (2, "Q4_0", 32), (3, "Q4_1", 32), (6, "Q5_0", 32), (7, "Q5_1", 32),
            (8, "Q8_0", 32), (12, "Q4_K", 256), (13, "Q5_K", 256), (14, "Q6_K", 256), (30, "BF16", 1),
        )
    }
)  # fmt: skip

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

    Shapes: data [blocks * size_bytes] -> [blocks * length].
    """
    return block_decoding.widen(block_type.number, data)


def decode_to_bfloat16(
    data: Bytes, block_type: BlockType, *, out: NDArray[np.uint16], lowered_by: int = 0
) -> int | None:
    """Fill ``out`` with the bits of the values, less ``lowered_by``, rounded to bf16; the first that is not finite.

    None where all are finite in bf16; otherwise the content of ``out`` means nothing.
    Shapes: data [blocks * size_bytes], out [blocks * length].
    """
    if lowered_by:
        place = block_decoding.narrow(dequantize(data, block_type) - np.float32(lowered_by), out)
    else:
        place = kernel.decode_blocks(block_type.number, data, out)
    return None if place < 0 else place
