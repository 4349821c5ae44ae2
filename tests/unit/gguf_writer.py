"""Writes small GGUF files for tests, sound or lying, from the format's definition alone."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Raw bytes stand for a value of any type, sound or not: its type number and what follows.
MetadataValue = str | bool | int | float | Sequence[str] | Sequence[int] | bytes

F32, F16, Q4_1, Q8_0 = 0, 1, 3, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """A tensor's entry and data; ``offset`` and ``data`` need not fit the rest."""

    shape: tuple[int, ...]
    number: int
    data: bytes
    offset: int | None = None


def gguf_text(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def gguf_value(value: MetadataValue) -> bytes:
    match value:
        case bytes():
            return value
        case str():
            return struct.pack("<I", 8) + gguf_text(value)
        case bool():
            return struct.pack("<IB", 7, value)
        case int():
            return struct.pack("<II", 4, value)
        case float():
            return struct.pack("<If", 6, value)
    texts = [item for item in value if isinstance(item, str)]
    if texts:
        return struct.pack("<IIQ", 9, 8, len(texts)) + b"".join(map(gguf_text, texts))
    return struct.pack("<IIQ", 9, 5, len(value)) + struct.pack(f"<{len(value)}i", *value)


def gguf_bytes(
    metadata: Mapping[str, MetadataValue],
    tensors: Mapping[str, StoredTensor],
    *,
    version: int = 3,
    alignment: int = 32,
    tensor_count: int | None = None,
    metadata_count: int | None = None,
) -> bytes:
    """Lay out a whole file; the counts are the true ones unless others are given."""
    header = b"GGUF" + struct.pack(
        "<IQQ",
        version,
        len(tensors) if tensor_count is None else tensor_count,
        len(metadata) if metadata_count is None else metadata_count,
    )
    for key, value in metadata.items():
        header += gguf_text(key) + gguf_value(value)
    body = b""
    for name, tensor in tensors.items():
        offset = len(body) if tensor.offset is None else tensor.offset
        innermost_first = tensor.shape[::-1]
        header += gguf_text(name) + struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *innermost_first)
        header += struct.pack("<IQ", tensor.number, offset)
        body += tensor.data + bytes(-len(tensor.data) % alignment)
    return header + bytes(-len(header) % alignment) + body


def nearest_float32(value: float) -> float:
    """Round a double to float32."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def decode_block(number: int, data: bytes) -> list[float]:
    """Decode one block, value by value, in doubles that hold every result exactly, then round it to float32."""
    if number == F32:
        return list(struct.unpack("<f", data))
    if number == F16:
        return list(struct.unpack("<e", data))
    if number == Q8_0:
        scale, *integers = struct.unpack("<e32b", data)
        return [nearest_float32(scale * integer) for integer in integers]
    scale, minimum = struct.unpack("<ee", data[:4])
    nibbles = [byte % 16 for byte in data[4:]] + [byte // 16 for byte in data[4:]]
    return [nearest_float32(scale * nibble + minimum) for nibble in nibbles]


BLOCK_BYTES = {F32: 4, F16: 2, Q4_1: 20, Q8_0: 34}


def decode_data(number: int, data: bytes) -> list[float]:
    """Decode all blocks of ``data``, one after the other."""
    size = BLOCK_BYTES[number]
    return [value for start in range(0, len(data), size) for value in decode_block(number, data[start : start + size])]
