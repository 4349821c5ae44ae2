"""What a tensor is, without its data: name, dtype, shape."""

from __future__ import annotations

import math
from dataclasses import dataclass

from modelpress.tensors.grid import DTYPE_BITS


def printable(text: str) -> str:
    """A sentence that may hold a stranger's names, with all that a terminal might obey written out."""
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """A tensor's name, its dtype by safetensors' name, and its shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor's data."""
        return math.prod(self.shape) * DTYPE_BITS[self.dtype] // 8

    @property
    def alignment_bytes(self) -> int:
        """What the data's offset must be a multiple of for loaders that map the file."""
        return max(1, DTYPE_BITS[self.dtype] // 8)
