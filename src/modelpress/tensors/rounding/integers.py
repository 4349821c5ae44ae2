"""Rounding to integers of a few bits, with one scale a group of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from modelpress.domain.recipe import ScaleSearch
from modelpress.tensors import kernel
from modelpress.tensors.grid import Grid
from modelpress.tensors.pack import pack, pack_down


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerRounding:
    """Rows of ``columns`` weights on ``grid`` become ``bits``-bit integers with one scale a ``group`` of columns.

    ``packed``: unsigned, low bits first, in whole little-endian 32-bit words; otherwise one signed byte each.

    ``symmetric``: ``scale = grid(max|w| / (2^(bits-1) - 0.5))`` in each group, ``value = round_half_even(grid(w /
    scale))``, clamped to ``bits`` bits. Otherwise the numbers from min(w, 0) to max(w, 0) fill those of ``bits`` bits:
    ``scale = grid(grid(max - min) / (2^bits - 1))``, ``zero = round_half_even(grid(-2^(bits-1) - grid(min / scale)))``,
    clamped, and ``value = round_half_even(grid(grid(w / scale) + zero))``. A group that is all zero takes the grid's
    epsilon as its scale, so it decodes to zeros.

    ``scale_search`` "mse": the same for weights that reach up to 1.04 or down to 0.40 times as far, twelve in all;
    what loses least in squared error is taken, never more than the plain scale does, which is tried first.

    Outputs: values, scales, and where not symmetric the zero points, packed along the rows.
    Bound:   symmetric, without search: |w - value * scale| <= scale / 2 plus one rounding of w / scale to the grid, for
             each weight.
    Source:  docs/formats.md (equal, bit for bit, to llm-compressor 0.14.0.1 without data).
    """

    grid: Grid
    bits: int
    columns: int
    group: int
    packed: bool
    symmetric: bool = True
    scale_search: ScaleSearch = "max"

    def __post_init__(self) -> None:
        assert 2 <= self.bits <= 8, self
        assert self.packed or (self.bits == 8 and self.symmetric), self
        assert self.columns > 0, self
        assert self.group > 0, self
        assert self.columns % self.group == 0, self

    @property
    def row_multiple(self) -> int:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        return 1 if self.symmetric else 32 // gcd(32, self.bits)

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

    def output_bytes(self, rows: int) -> tuple[int, ...]:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        values, scales = rows * self.value_row_bytes, rows * self.scale_row_bytes
        return (values, scales) if self.symmetric else (values, scales, self.zero_bytes(rows))

    def zero_bytes(self, rows: int) -> int:
        """Bytes of the zero points of the first ``rows`` rows."""
        return 4 * -(-rows * self.bits // 32) * self.groups

    def round_rows(self, source: NDArray[np.uint8], outputs: Sequence[NDArray[np.uint8]]) -> int | None:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        rows, rest = divmod(len(source), self.source_row_bytes)
        assert rest == 0, (self, len(source))
        assert tuple(map(len, outputs)) == self.output_bytes(rows), (self, tuple(map(len, outputs)))
        for buffer in (source, *outputs):
            assert buffer.dtype == np.uint8
            assert buffer.flags.c_contiguous
        values, scales, *zeros = outputs
        row = kernel.quantize(self, source, values=values, scales=scales, zeros=zeros[0] if zeros else None)
        return None if row < 0 else row

    def encode(
        self, integers: NDArray[np.int8], *, scales: NDArray[np.uint8], zeros: NDArray[np.int8] | None = None
    ) -> tuple[NDArray[np.uint8], ...]:
        """The outputs that :meth:`round_rows` fills, of integers that were found otherwise.

        Shapes: integers [rows, columns], scales [rows * scale_row_bytes], zeros [rows, groups], None where symmetric.
        """
        rows = len(integers)
        assert integers.shape == (rows, self.columns), (self, integers.shape)
        assert scales.shape == (rows * self.scale_row_bytes,), (self, scales.shape)
        assert (zeros is None) == self.symmetric, self
        values = pack(integers, bits=self.bits) if self.packed else integers.view(np.uint8)
        outputs: tuple[NDArray[np.uint8], ...] = (np.ascontiguousarray(values).reshape(-1), scales)
        if zeros is not None:
            assert zeros.shape == (rows, self.groups), (self, zeros.shape)
            outputs = (*outputs, pack_down(zeros, bits=self.bits))
        assert tuple(map(len, outputs)) == self.output_bytes(rows), self
        return outputs
