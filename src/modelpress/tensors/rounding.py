"""How the rows of one weight are rounded: grid, bits, group, layout of the result."""

from __future__ import annotations

from dataclasses import dataclass

from modelpress.tensors.grid import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """Rows of ``columns`` weights on ``grid`` become ``bits``-bit integers with one scale a ``group`` of columns.

    ``packed``: unsigned, low bits first, in whole little-endian 32-bit words; otherwise one signed byte each.
    """

    grid: Grid
    bits: int
    columns: int
    group: int
    packed: bool

    def __post_init__(self) -> None:
        assert self.bits in {4, 8}, self
        assert self.packed or self.bits == 8, self
        assert self.columns > 0, self
        assert self.group > 0, self
        assert self.columns % self.group == 0, self

    @property
    def groups(self) -> int:
        """Scales of one row."""
        return self.columns // self.group

    @property
    def words(self) -> int:
        """Packed 32-bit words of one row."""
        return -(-self.columns * self.bits // 32)

    @property
    def source_row_bytes(self) -> int:
        """Bytes of one row as it is read."""
        return self.columns * self.grid.size_bytes

    @property
    def scale_row_bytes(self) -> int:
        """Bytes of one row's scales, which lie on the source's grid."""
        return self.groups * self.grid.size_bytes

    @property
    def value_row_bytes(self) -> int:
        """Bytes of one row's integers."""
        return 4 * self.words if self.packed else self.columns
