"""Integers of a few bits in 32-bit words: low bits first, rows padded with zero bits to whole words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack(values: NDArray[np.int8], *, bits: int) -> NDArray[np.uint8]:
    """The little-endian bytes of the words that hold each row of ``values``, offset by 2^(bits-1) to be unsigned.

    Shapes: values [rows, columns] -> bytes [rows, 4 * ceil(columns * bits / 32)].
    Bound:  unpack(pack(v)) == v for every v in -2^(bits-1) .. 2^(bits-1)-1; bits is 4 or 8.
    Source: the pack-quantized format of compressed-tensors 0.19, tested against what it writes (tests/golden).
    """
    rows, columns = values.shape
    per_word = 32 // bits
    padded = np.zeros((rows, -(-columns // per_word) * per_word), dtype=np.uint8)
    padded[:, :columns] = values.view(np.uint8) + np.uint8(1 << (bits - 1)) & np.uint8((1 << bits) - 1)
    if bits == 8:
        return padded
    packed: NDArray[np.uint8] = padded[:, 0::2] | padded[:, 1::2] << np.uint8(4)
    return packed


def unpack(packed: NDArray[np.uint8], *, bits: int, columns: int) -> NDArray[np.int8]:
    """The rows that :func:`pack` took.

    Shapes: packed [rows, bytes] -> values [rows, columns].
    """
    if bits == 4:
        packed = np.stack([packed & np.uint8(15), packed >> np.uint8(4)], axis=-1).reshape(len(packed), -1)
    return (packed[:, :columns] - np.uint8(1 << (bits - 1))).view(np.int8)
