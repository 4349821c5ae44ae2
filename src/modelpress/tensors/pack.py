"""Integers of a few bits in 32-bit words: low bits first, rows padded with zero bits to whole words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: By round: neighbours within 16, 32 and 64 bits, the lower and the upper, as eight bytes hold one integer each.
_LOWER = (np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF), np.uint64(0x00000000FFFFFFFF))


def pack(values: NDArray[np.int8], *, bits: int) -> NDArray[np.uint8]:
    """The little-endian bytes of the words that hold each row of ``values``, offset by 2^(bits-1) to be unsigned.

    Shapes: values [rows, columns] -> bytes [rows, 4 * ceil(columns * bits / 32)].
    Bound:  unpack(pack(v)) == v for every v in -2^(bits-1) .. 2^(bits-1)-1; bits is 2 to 8.
    Source: the pack-quantized format of compressed-tensors 0.19, tested against what it writes (tests/golden).
    """
    rows, columns = values.shape
    padded = np.zeros((rows, -(-columns // 32) * 32), dtype=np.uint8)
    padded[:, :columns] = values.view(np.uint8) + np.uint8(1 << (bits - 1)) & np.uint8((1 << bits) - 1)
    if bits < 8:
        eights = padded.view("<u8")
        for round_number, lower in enumerate(_LOWER):
            gone = np.uint64((8 - bits) << round_number)
            eights = (eights & lower) | (eights & ~lower) >> gone
        padded = eights.view(np.uint8).reshape(rows, -1, 8)[:, :, :bits].reshape(rows, -1)
    return padded[:, : -(-columns * bits // 32) * 4]


def pack_down(values: NDArray[np.int8], *, bits: int) -> NDArray[np.uint8]:
    """As :func:`pack`, but a column's values follow one another: the form of zero points.

    Shapes: values [rows, columns] -> bytes [4 * ceil(rows * bits / 32) * columns], words row by row.
    """
    words = pack(np.ascontiguousarray(values.T), bits=bits).view(np.uint32)
    return np.ascontiguousarray(words.T).view(np.uint8).reshape(-1)


def unpack(packed: NDArray[np.uint8], *, bits: int, columns: int) -> NDArray[np.int8]:
    """The rows that :func:`pack` took.

    Shapes: packed [rows, bytes] -> values [rows, columns].
    """
    rows, stored = packed.shape
    whole = np.zeros((rows, -(-stored // bits) * bits), dtype=np.uint8)
    whole[:, :stored] = packed
    padded = np.zeros((rows, whole.shape[1] // bits, 8), dtype=np.uint8)
    padded[:, :, :bits] = whole.reshape(rows, -1, bits)
    if bits < 8:
        eights = padded.view("<u8")
        for round_number in (2, 1, 0):
            width, lane = bits << round_number, 16 << round_number
            lower = np.uint64(sum(((1 << width) - 1) << start for start in range(0, 64, lane)))
            gone = np.uint64((8 - bits) << round_number)
            eights = (eights & lower) | (eights & lower << np.uint64(width)) << gone
        padded = eights.view(np.uint8)
    return (padded.reshape(rows, -1)[:, :columns] - np.uint8(1 << (bits - 1))).view(np.int8)
