"""Rounding to floating-point numbers of 8 bits, with one scale an output row or a block of both dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors import kernel
from modelpress.tensors.grid import Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Float8Rounding:
    """Rows of ``columns`` weights on ``grid`` become e4m3 bytes, one scale for ``height`` rows by ``width`` columns.

    ``scale = grid(max|w| / 448)`` in each block, ``value = e4m3(grid(w / scale))``, both to the nearest and ties to
    even. Blocks at the right and at the bottom may be cut. One that is all zero takes the grid's epsilon as its scale.

    Outputs: values, scales.
    Bound:   |w - value * scale| <= step / 2 * scale plus one rounding of w / scale to the grid, for each weight, where
             step is the distance of value's neighbours: value / 8, and 2^-9 at the least.
    Source:  docs/formats.md (equal, bit for bit, to llm-compressor 0.14.0.1 without data).
    """

    grid: Grid
    columns: int
    height: int
    width: int

    @property
    def row_multiple(self) -> int:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        return self.height

    @property
    def scales_across(self) -> int:
        """Scales of one row of blocks."""
        return -(-self.columns // self.width)

    def output_bytes(self, rows: int) -> tuple[int, ...]:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        return rows * self.columns, -(-rows // self.height) * self.scales_across * self.grid.size_bytes

    def round_rows(self, source: NDArray[np.uint8], outputs: Sequence[NDArray[np.uint8]]) -> int | None:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        values, scales = outputs
        row = kernel.float8(self, source, scales=scales, values=values)
        return None if row < 0 else row
