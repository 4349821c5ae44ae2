"""The header of a safetensors file: read with every lie found out before anything is allocated, and written.

Source: the format's description in safetensors' README; the reader refuses all that its Rust parser refuses,
and besides a name twice, fields of no known meaning, and more dimensions, tensors or letters of a name than the limits.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from modelpress.errors import BadSource
from modelpress.tensors.folder import Folder
from modelpress.tensors.grid import DTYPE_BITS
from modelpress.tensors.json_object import NotAnObject, is_text, parse_object
from modelpress.tensors.spec import TensorSpec

#: safetensors' own cap.
LARGEST_HEADER_BYTES = 100_000_000
#: Far above any real model (a 10 000-expert model has under a million tensors); keeps a hostile header cheap.
MOST_TENSORS = 1_000_000
MOST_DIMENSIONS = 8
LONGEST_NAME = 1000
_LENGTH_BYTES = 8
_ENTRY = frozenset({"dtype", "shape", "data_offsets"})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor of a safetensors file: what it is, and where its bytes begin in the file."""

    spec: TensorSpec
    file: str
    offset: int


class _Lie(ValueError):
    """What is wrong with a header, for :func:`read_header` to put the file's name to."""


def read_header(folder: Folder, name: str) -> tuple[StoredTensor, ...]:
    """Every tensor of the safetensors file ``name``, in the order of their bytes.

    Raises: BadSource naming the file and what is wrong with its header.
    """
    size = folder.size(name)
    try:
        length = _header_length(folder, name, size=size)
        raw = bytearray(length)
        folder.read_into(name, _LENGTH_BYTES, memoryview(raw))
        return _tensors(_parse(bytes(raw)), file=name, data_start=_LENGTH_BYTES + length, file_size=size)
    except _Lie as exc:
        raise BadSource(f"{name} is not a sound safetensors file: {exc}") from exc


def encode_header(tensors: Sequence[tuple[TensorSpec, int]]) -> bytes:
    """The first bytes of a file that holds ``tensors`` at their offsets after the header; padded to 8 bytes."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for spec, offset in tensors:
        entries[spec.name] = {
            "dtype": spec.dtype,
            "shape": list(spec.shape),
            "data_offsets": [offset, offset + spec.size_bytes],
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(_LENGTH_BYTES, "little") + text


def _header_length(folder: Folder, name: str, *, size: int) -> int:
    if size < _LENGTH_BYTES:
        raise _Lie(f"it has {size} bytes, fewer than the {_LENGTH_BYTES} that tell the header's length")
    raw = bytearray(_LENGTH_BYTES)
    folder.read_into(name, 0, memoryview(raw))
    length = int.from_bytes(raw, "little")
    if length > LARGEST_HEADER_BYTES:
        raise _Lie(f"it claims a header of {length} bytes, more than the {LARGEST_HEADER_BYTES} that are allowed")
    if length > size - _LENGTH_BYTES:
        raise _Lie(f"it claims a header of {length} bytes, but the whole file has {size}")
    return length


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        entries = parse_object(raw, strict=True)
    except NotAnObject as exc:
        raise _Lie(f"its header is {exc}") from exc
    metadata = entries.pop("__metadata__", None)
    if metadata is not None and not _is_metadata(metadata):
        raise _Lie("its __metadata__ is no map from texts to texts")
    if len(entries) > MOST_TENSORS:
        raise _Lie(f"it names {len(entries)} tensors, more than the {MOST_TENSORS} that are accepted")
    return entries


def _is_metadata(value: Any) -> bool:
    return isinstance(value, dict) and all(
        is_text(key) and isinstance(item, str) and is_text(item) for key, item in value.items()
    )


def _tensors(entries: dict[str, Any], *, file: str, data_start: int, file_size: int) -> tuple[StoredTensor, ...]:
    placed = sorted((_entry(name, value) for name, value in entries.items()), key=lambda item: item[1:])
    expected = 0
    for spec, start, end in placed:
        if start != expected:
            kind = "overlaps what is before it" if start < expected else "leaves a hole before it"
            raise _Lie(f"tensor {spec.name!r} begins at {start} where {expected} was due: it {kind}")
        expected = end
    if data_start + expected != file_size:
        raise _Lie(f"its tensors need {data_start + expected} bytes, but it has {file_size}")
    return tuple(StoredTensor(spec=spec, file=file, offset=data_start + start) for spec, start, _ in placed)


def _entry(name: str, value: Any) -> tuple[TensorSpec, int, int]:
    if len(name) > LONGEST_NAME or not is_text(name):
        raise _Lie(f"it has a tensor whose name is no text of at most {LONGEST_NAME} characters")
    if not isinstance(value, dict) or value.keys() != _ENTRY:
        raise _Lie(f"tensor {name!r} has other fields than dtype, shape and data_offsets, or lacks one")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise _Lie(f"tensor {name!r} has the unknown dtype {str(dtype)[:40]!r}")
    if not _naturals(shape) or len(shape) > MOST_DIMENSIONS:
        raise _Lie(f"tensor {name!r} has an impossible shape")
    if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise _Lie(f"tensor {name!r} has impossible data_offsets")
    start, end = offsets
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if bits == 0 and _overflows(shape):
        raise _Lie(f"tensor {name!r} of shape {shape} has more elements than can be counted")
    if bits != (end - start) * 8:
        raise _Lie(f"tensor {name!r} of shape {shape} and dtype {dtype} needs {bits / 8:g} bytes, it has {end - start}")
    return TensorSpec(name=name, dtype=dtype, shape=tuple(shape)), start, end


def _overflows(shape: list[int]) -> bool:
    """Whether counting from the left passes 64 bits before a 0 comes, as it does for a reader in Rust or C."""
    return any(count >= 2**64 for count in accumulate(shape, operator.mul))


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 2**63 for item in value)
