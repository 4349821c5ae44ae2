"""The bytes of a GGUF file's header, version 3, little endian.

Source: github.com/ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from modelpress.tensors.gguf.blocks import BlockType

#: What every tensor's data begins at a multiple of, unless a file says otherwise.
ALIGNMENT_BYTES = 32

_U32, _I32, _F32, _BOOL, _TEXT, _ARRAY = 4, 5, 6, 7, 8, 9
_VERSION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTensor:
    """One tensor of the file; ``shape`` has the outermost dimension first, and a row is a whole number of blocks."""

    name: str
    shape: tuple[int, ...]
    block_type: BlockType

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's blocks."""
        return self.shape[-1] // self.block_type.length * self.block_type.size_bytes

    @property
    def rows(self) -> int:
        """How many rows there are."""
        count = 1
        for extent in self.shape[:-1]:
            count *= extent
        return count

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor's data."""
        return self.rows * self.row_bytes


def u32(number: int) -> bytes:
    """A metadata value: a whole number."""
    return struct.pack("<II", _U32, number)


def f32(number: float) -> bytes:
    """A metadata value: a number."""
    return struct.pack("<If", _F32, number)


def boolean(value: bool) -> bytes:
    """A metadata value: true or false."""
    return struct.pack("<IB", _BOOL, value)


def text(value: str) -> bytes:
    """A metadata value: a text."""
    return struct.pack("<I", _TEXT) + _text(value)


def texts(values: Sequence[str]) -> bytes:
    """A metadata value: an array of texts."""
    return struct.pack("<IIQ", _ARRAY, _TEXT, len(values)) + b"".join(map(_text, values))


def i32s(values: ArrayLike) -> bytes:
    """A metadata value: an array of whole numbers."""
    numbers = np.asarray(values, dtype="<i4")
    return struct.pack("<IIQ", _ARRAY, _I32, len(numbers)) + numbers.tobytes()


def f32s(values: ArrayLike) -> bytes:
    """A metadata value: an array of numbers."""
    numbers = np.asarray(values, dtype="<f4")
    return struct.pack("<IIQ", _ARRAY, _F32, len(numbers)) + numbers.tobytes()


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def encode_header(metadata: Mapping[str, bytes], tensors: Sequence[OutputTensor]) -> tuple[bytes, dict[str, int]]:
    """The header, up to where data begins, and where in the file each tensor's data begins; in the order given."""
    offsets, end = {}, 0
    for tensor in tensors:
        offsets[tensor.name] = end
        end += -(-tensor.size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
    header = b"".join(_parts(metadata, tensors, offsets))
    header += bytes(-len(header) % ALIGNMENT_BYTES)
    return header, {name: len(header) + offset for name, offset in offsets.items()}


def _parts(
    metadata: Mapping[str, bytes], tensors: Sequence[OutputTensor], offsets: Mapping[str, int]
) -> Iterable[bytes]:
    yield b"GGUF" + struct.pack("<IQQ", _VERSION, len(tensors), len(metadata))
    for key, value in metadata.items():
        yield _text(key) + value
    for tensor in tensors:
        yield _text(tensor.name) + struct.pack(
            f"<I{len(tensor.shape)}QIQ",
            len(tensor.shape),
            *reversed(tensor.shape),
            tensor.block_type.number,
            offsets[tensor.name],
        )
