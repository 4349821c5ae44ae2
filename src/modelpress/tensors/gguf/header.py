"""The header of a GGUF file, versions 2 and 3, little endian, read through ranges.

A header is a stranger's word. Every count and length is held against a limit and against the bytes that are left in
the file before memory is taken for it, so a lying header costs a sentence and not the machine.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from modelpress.errors import BadSource
from modelpress.tensors.folder import Folder
from modelpress.tensors.gguf.blocks import BLOCK_TYPES, UNREAD_TYPES, BlockType

#: A metadata value; an array of numbers stays a read-only numpy array, an array of strings becomes a tuple.
Value: TypeAlias = int | float | bool | str | tuple[str, ...] | NDArray[Any]
T = TypeVar("T")

# A header is nearly all vocabulary: 1.8 MB for 49 152 tokens and their merges, 12 MB for 200 000 and theirs.
HEADER_LIMIT_BYTES = 32 << 20
STRING_LIMIT_BYTES = 4 << 20
NAME_LIMIT_BYTES = 1 << 10
ARRAY_LIMIT = 4 << 20
METADATA_LIMIT = 1 << 16
TENSOR_LIMIT = 1 << 16
DIMENSION_LIMIT = 4
DEFAULT_ALIGNMENT_BYTES = 32
ALIGNMENT_LIMIT_BYTES = 1 << 20

# Ranges start small, so that a short lie costs little, and grow, so that a long vocabulary needs few.
_FIRST_READ_BYTES = 64 << 10
_LARGEST_READ_BYTES = 1 << 20
_LENGTH = struct.Struct("<Q")

# ggml.h, enum gguf_type: the numbers of fixed size; 7 is a bool, 8 a string, 9 an array.
_NUMBERS: Mapping[int, np.dtype[Any]] = MappingProxyType(
    {
        number: np.dtype(code)
        for number, code in {
            0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4",
            6: "<f4", 7: "u1", 10: "<u8", 11: "<i8", 12: "<f8",
        }.items()
    }
)  # fmt: skip
_BOOL, _STRING, _ARRAY = 7, 8, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufTensor:
    """Where one tensor lies; ``shape`` has the outermost dimension first, ``offset`` counts from the file's start."""

    name: str
    shape: tuple[int, ...]
    block_type: BlockType
    offset: int
    size_bytes: int

    @property
    def value_count(self) -> int:
        """Values of the whole tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gguf:
    """A GGUF file of a folder, whose header was read and found sound."""

    file: str
    version: int
    metadata: Mapping[str, Value]
    tensors: Mapping[str, GgufTensor]

    def refuse(self, why: str, *, hint: str | None = None) -> BadSource:
        """Make the error that says ``why`` this file is refused."""
        return BadSource(f"{self.file}: {why}", hint=hint)

    def field(self, key: str, kind: type[T]) -> T:
        """Give the metadata value ``key``; BadSource unless it is there and exactly of ``kind`` (a bool is no int)."""
        value = self.metadata.get(key)
        if type(value) is not kind:
            found = "is missing" if value is None else f"is of type {type(value).__name__}"
            raise self.refuse(f"metadata {key!r} {found}, {kind.__name__} is needed")
        return value

    def optional(self, key: str, kind: type[T]) -> T | None:
        """As ``field``, and None where the key is not there."""
        return self.field(key, kind) if key in self.metadata else None


class _Header:
    """Reads a header's fields in order, never past the file's end or the header's limit."""

    def __init__(self, folder: Folder, file: str) -> None:
        self._folder = folder
        self._file = file
        self._at_hand = bytearray()
        self._read_bytes = _FIRST_READ_BYTES
        self.size_bytes = folder.size(file)
        self.position = 0

    def refuse(self, why: str) -> BadSource:
        """Make the error that says ``why`` this file is refused."""
        return BadSource(f"{self._file}: {why}")

    def take(self, length: int, what: str) -> bytes:
        """Read exactly ``length`` bytes of ``what``, or refuse the file."""
        end = self.position + length
        if end > self.size_bytes:
            raise self.refuse(f"truncated: {what} ends at byte {end}, the file has {self.size_bytes} bytes")
        if end > HEADER_LIMIT_BYTES:
            raise self.refuse(f"{what} ends at byte {end}, a header may have {HEADER_LIMIT_BYTES} bytes")
        if end > len(self._at_hand):
            self._read_until(end)
        data = bytes(self._at_hand[self.position : end])
        self.position = end
        return data

    def _read_until(self, end: int) -> None:
        there = len(self._at_hand)
        ahead = min(max(end, there + self._read_bytes), self.size_bytes, HEADER_LIMIT_BYTES)
        more = bytearray(ahead - there)
        self._folder.read_into(self._file, there, memoryview(more))
        self._at_hand += more
        self._read_bytes = min(2 * self._read_bytes, _LARGEST_READ_BYTES)

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def count(self, what: str, *, limit: int) -> int:
        """Read a 64-bit count of ``what`` that may not be over ``limit``."""
        value = int.from_bytes(self.take(8, f"the number of {what}"), "little")
        if value > limit:
            raise self.refuse(f"it claims {value} {what}, at most {limit} are read")
        return value

    def text(self, what: str, *, limit_bytes: int = STRING_LIMIT_BYTES) -> str:
        data = self.take(self.count(f"bytes in {what}", limit=limit_bytes), what)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            raise self.refuse(f"{what} is not UTF-8: {error.reason} at its byte {error.start}") from error

    def value(self, what: str) -> Value:
        kind = self.u32(f"the type of {what}")
        if kind == _STRING:
            return self.text(what)
        if kind == _ARRAY:
            return self._array(what)
        number: int | float = self._numbers(kind, 1, what)[0].item()
        return number

    def _array(self, what: str) -> Value:
        kind = self.u32(f"the element type of {what}")
        length = self.count(f"elements of {what}", limit=ARRAY_LIMIT)
        if kind == _STRING:
            # Each string brings its own length of 8 bytes, so a count that the file cannot hold is known at once.
            if length * 8 > self.size_bytes - self.position:
                raise self.refuse(f"truncated: {length} strings of {what} do not fit into the file")
            return self._texts(length, what)
        if kind == _ARRAY:
            raise self.refuse(f"{what} is an array of arrays, which is not read")
        return self._numbers(kind, length, what)

    def _texts(self, length: int, what: str) -> tuple[str, ...]:
        texts: list[str] = []
        while len(texts) < length:
            self._take_whole_texts(texts, length)
            if len(texts) < length:
                # One that is cut by the end of what is at hand, or is refused.
                texts.append(self.text(f"an element of {what}"))
        return tuple(texts)

    def _take_whole_texts(self, texts: list[str], length: int) -> None:
        """Add the texts that are wholly at hand, in one loop: a vocabulary with its merges has 300 000 and more."""
        data, position, end = self._at_hand, self.position, len(self._at_hand)
        unpack = _LENGTH.unpack_from
        for _ in range(length - len(texts)):
            start = position + 8
            if start > end:
                break
            stop = start + unpack(data, position)[0]
            if stop > end or stop - start > STRING_LIMIT_BYTES:
                break
            try:
                texts.append(data[start:stop].decode())
            except UnicodeDecodeError:
                break
            position = stop
        self.position = position

    def _numbers(self, kind: int, length: int, what: str) -> NDArray[Any]:
        if (dtype := _NUMBERS.get(kind)) is None:
            raise self.refuse(f"{what} has the unknown value type {kind}")
        numbers = np.frombuffer(self.take(length * dtype.itemsize, what), dtype)
        return numbers != 0 if kind == _BOOL else numbers


def open_gguf(folder: Folder, file: str) -> Gguf:
    """Read and check the header of the GGUF file ``file``; no tensor data is read.

    Bound:  memory is a small multiple of the header, which may have 32 MiB.
    Raises: BadSource if it is no GGUF file of version 2 or 3 in little endian, is truncated, claims more than the
            limits or the file hold, has a tensor type that is not read, or tensors that overlap.
    Source: github.com/ggml-org/ggml, docs/gguf.md.
    """
    header = _Header(folder, file)
    version = _version(header)
    tensor_count = header.count("tensors", limit=TENSOR_LIMIT)
    metadata = _metadata(header, header.count("metadata entries", limit=METADATA_LIMIT))
    stated = [_tensor(header) for _ in range(tensor_count)]
    tensors = _placed(header, stated, alignment=_alignment(header, metadata))
    return Gguf(file=file, version=version, metadata=MappingProxyType(metadata), tensors=MappingProxyType(tensors))


def _version(header: _Header) -> int:
    magic = header.take(4, "the magic number")
    if magic != b"GGUF":
        raise header.refuse(f"not a GGUF file: it begins with {magic!r}, not b'GGUF'")
    version = header.u32("the version")
    if version in (2, 3):
        return version
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in (2, 3):
        raise header.refuse("a big-endian GGUF file; only little-endian ones are read")
    raise header.refuse(f"GGUF version {version} is not read, only versions 2 and 3")


def _metadata(header: _Header, count: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(count):
        key = header.text("a metadata key", limit_bytes=NAME_LIMIT_BYTES)
        if key in metadata:
            raise header.refuse(f"the metadata key {key!r} comes twice")
        metadata[key] = header.value(f"metadata {key!r}")
    return metadata


def _alignment(header: _Header, metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT_BYTES)
    if not isinstance(alignment, int) or not 0 < alignment <= ALIGNMENT_LIMIT_BYTES or alignment % 8:
        found = "a list" if isinstance(alignment, tuple | np.ndarray) else repr(alignment)[:100]
        raise header.refuse(f"general.alignment is {found}, not a multiple of 8 up to {ALIGNMENT_LIMIT_BYTES}")
    return alignment


def _tensor(header: _Header) -> GgufTensor:
    """Read one tensor's entry; its offset still counts from the start of the data."""
    name = header.text("a tensor's name", limit_bytes=NAME_LIMIT_BYTES)
    rank = header.u32(f"the rank of {name!r}")
    if not 1 <= rank <= DIMENSION_LIMIT:
        raise header.refuse(f"tensor {name!r} has {rank} dimensions, 1 to {DIMENSION_LIMIT} are read")
    innermost_first: tuple[int, ...] = struct.unpack(f"<{rank}Q", header.take(8 * rank, f"the shape of {name!r}"))
    number = header.u32(f"the type of {name!r}")
    offset = int.from_bytes(header.take(8, f"the offset of {name!r}"), "little")
    if (block_type := BLOCK_TYPES.get(number)) is None:
        known = ", ".join(known.name for known in BLOCK_TYPES.values())
        type_name = UNREAD_TYPES.get(number, f"number {number}, which is unknown")
        raise header.refuse(f"tensor {name!r} is of type {type_name}; the types read are {known}")
    if 0 in innermost_first or innermost_first[0] % block_type.length:
        raise header.refuse(
            f"tensor {name!r} of shape {innermost_first[::-1]} does not consist of whole {block_type.name} blocks "
            f"of {block_type.length} values along its rows"
        )
    size_bytes = math.prod(innermost_first) // block_type.length * block_type.size_bytes
    return GgufTensor(
        name=name, shape=innermost_first[::-1], block_type=block_type, offset=offset, size_bytes=size_bytes
    )


def _placed(header: _Header, stated: list[GgufTensor], *, alignment: int) -> dict[str, GgufTensor]:
    """Turn offsets into the file's own, and refuse tensors that lie outside it, askew or over one another."""
    start = -(-header.position // alignment) * alignment
    placed: dict[str, GgufTensor] = {}
    for tensor in stated:
        if tensor.name in placed:
            raise header.refuse(f"the tensor {tensor.name!r} comes twice")
        if tensor.offset % alignment:
            raise header.refuse(f"tensor {tensor.name!r} begins at {tensor.offset}, not a multiple of {alignment}")
        offset = start + tensor.offset
        if offset + tensor.size_bytes > header.size_bytes:
            raise header.refuse(
                f"truncated: tensor {tensor.name!r} ends at byte {offset + tensor.size_bytes}, "
                f"the file has {header.size_bytes} bytes"
            )
        placed[tensor.name] = replace(tensor, offset=offset)
    for first, second in pairwise(sorted(placed.values(), key=lambda tensor: tensor.offset)):
        if second.offset < first.offset + first.size_bytes:
            raise header.refuse(f"the tensors {first.name!r} and {second.name!r} overlap")
    return placed
