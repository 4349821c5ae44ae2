"""Writes small GGUF files for tests, sound or lying, from the format's definition alone."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Raw bytes stand for a value of any type, sound or not: its type number and what follows.
MetadataValue = str | bool | int | float | Sequence[str] | Sequence[int] | bytes

F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K, Q6_K, BF16 = 0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 30


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
    if number in LENGTHS_OF_ONE:
        return decode_number(number, data)
    decode = decode_large_block if BLOCK_LENGTHS[number] == 256 else decode_small_block
    return [nearest_float32(value) for value in decode(number, data)]


def decode_number(number: int, data: bytes) -> list[float]:
    """Decode one float of 16 or 32 bits; a bf16 is the upper half of a float32."""
    if number == BF16:
        return list(struct.unpack("<f", b"\0\0" + data))
    return list(struct.unpack("<f" if number == F32 else "<e", data))


def decode_small_block(number: int, data: bytes) -> list[float]:
    """Decode a block of 32 values."""
    if number == Q8_0:
        scale, *integers = struct.unpack("<e32b", data)
        return [scale * integer for integer in integers]
    with_minimum, five_bits = number in {Q4_1, Q5_1}, number in {Q5_0, Q5_1}
    scale, minimum = struct.unpack("<ee", data[:4]) if with_minimum else (*struct.unpack("<e", data[:2]), 0.0)
    high = int.from_bytes(data[-20:-16], "little") if five_bits else 0
    nibbles = [byte % 16 for byte in data[-16:]] + [byte // 16 for byte in data[-16:]]
    integers = [nibble + 16 * (high >> place & 1) for place, nibble in enumerate(nibbles)]
    middle = 0 if with_minimum else 16 if five_bits else 8
    return [scale * (integer - middle) + minimum for integer in integers]


def decode_large_block(number: int, data: bytes) -> list[float]:
    """Decode a block of 256 values."""
    return decode_q6_k(data) if number == Q6_K else decode_q4_or_q5_k(data, five_bits=number == Q5_K)


def decode_q4_or_q5_k(data: bytes, *, five_bits: bool) -> list[float]:
    scale, minimum = struct.unpack("<ee", data[:4])
    small, high, nibbles = data[4:16], data[16:48], data[-128:]
    values = []
    for group in range(8):
        if group < 4:
            factor, offset = small[group] % 64, small[group + 4] % 64
        else:
            factor = small[group + 4] % 16 + small[group - 4] // 64 * 16
            offset = small[group + 4] // 16 + small[group] // 64 * 16
        for place in range(32):
            byte = nibbles[group // 2 * 32 + place]
            integer = byte // 16 if group % 2 else byte % 16
            if five_bits:
                integer += 16 * (high[place] >> group & 1)
            values.append(scale * factor * integer - minimum * offset)
    return values


def decode_q6_k(data: bytes) -> list[float]:
    low, high, small = data[:128], data[128:192], struct.unpack("<16b", data[192:208])
    (scale,) = struct.unpack("<e", data[208:])
    values = []
    for place in range(256):
        half, within = divmod(place, 128)
        quarter, byte = divmod(within, 32)
        four = low[half * 64 + within % 64]
        four = four // 16 if within >= 64 else four % 16
        two = high[half * 32 + byte] >> 2 * quarter & 3
        values.append(scale * small[place // 16] * (four + 16 * two - 32))
    return values


LENGTHS_OF_ONE = (F32, F16, BF16)
BLOCK_BYTES = {
    F32: 4, F16: 2, BF16: 2, Q4_0: 18, Q4_1: 20, Q5_0: 22, Q5_1: 24, Q8_0: 34, Q4_K: 144, Q5_K: 176, Q6_K: 210
}  # fmt: skip
BLOCK_LENGTHS = {
    number: 1 if number in LENGTHS_OF_ONE else 256 if number in {Q4_K, Q5_K, Q6_K} else 32 for number in BLOCK_BYTES
}
#: Where the float16 numbers of a block lie, for tests that want them finite.
HALVES_AT = {
    F16: (0,), Q4_0: (0,), Q4_1: (0, 2), Q5_0: (0,), Q5_1: (0, 2), Q8_0: (0,), Q4_K: (0, 2), Q5_K: (0, 2), Q6_K: (208,)
}  # fmt: skip


def decode_data(number: int, data: bytes) -> list[float]:
    """Decode all blocks of ``data``, one after the other."""
    size = BLOCK_BYTES[number]
    return [value for start in range(0, len(data), size) for value in decode_block(number, data[start : start + size])]
