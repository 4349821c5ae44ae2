"""The floating-point grids a source's weights may lie on; all arithmetic on a weight is rounded to its own grid."""

from __future__ import annotations

from enum import StrEnum


class Grid(StrEnum):
    """A dtype of weights, by the name safetensors gives it."""

    BF16 = "BF16"
    F16 = "F16"
    F32 = "F32"

    @property
    def size_bytes(self) -> int:
        """Bytes of one number."""
        return 4 if self is Grid.F32 else 2

    @property
    def epsilon(self) -> float:
        """The distance from 1 to the next number: the scale of a group that is all zero (docs/formats.md)."""
        return {Grid.BF16: 2.0**-7, Grid.F16: 2.0**-10, Grid.F32: 2.0**-23}[self]


#: Bits of one element of every dtype safetensors 0.8 knows. Numbers smaller than a byte come in whole bytes only.
DTYPE_BITS = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
