"""Rounding to floating-point numbers of 4 bits (e2m1): NVFP4, and MXFP4 of the microscaling formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors import kernel
from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel.numbers import narrow, widen

#: The largest magnitude that scale and value reach together: e4m3's 448 times e2m1's 6.
_REACH = 2688.0

#: The smallest magnitude that the global scale is made for: the grid's smallest normal number.
_SMALLEST = {Grid.BF16: 2.0**-126, Grid.F16: 2.0**-14, Grid.F32: 2.0**-126}


@dataclass(frozen=True, slots=True, kw_only=True)
class Nvfp4Rounding:
    """Rows of ``columns`` weights on ``grid`` become e2m1 pairs with an e4m3 scale for 16 columns and one for all.

    ``scale = e4m3(global * grid(max|w| / 6))`` in each group, ``value = e2m1(w / (scale / global))`` in single
    precision. A group whose scale would be 0 takes 0.125.

    The global scale is made of ``largest``, the largest magnitude of the whole weight, or of all weights that servers
    fuse with it; None until it is known. Its own first row is written with it.

    Outputs: values, scales, the global scale.
    Bound:   |w - value * scale / global| <= scale / global, for each weight no larger than 6 * scale / global.
    Source:  docs/formats.md (equal, bit for bit, to llm-compressor 0.14.0.1 without data).
    """

    grid: Grid
    columns: int
    largest: float | None = None

    @property
    def row_multiple(self) -> int:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        return 1

    @property
    def global_scale(self) -> float:
        """By which scales are multiplied before they are rounded."""
        assert self.largest is not None, self
        with np.errstate(over="ignore"):
            inverse = self._on_grid(1 / max(self.largest, _SMALLEST[self.grid]))
            scale = self._on_grid(inverse * _REACH)
        return scale if np.isfinite(scale) else 1.0

    def _on_grid(self, number: float) -> float:
        return float(widen(narrow(np.array([[number]], dtype=np.float32), self.grid), self.grid)[0, 0])

    def bind(self, largest: float) -> Nvfp4Rounding:
        """The same, knowing the largest magnitude."""
        return replace(self, largest=largest)

    def output_bytes(self, rows: int) -> tuple[int, ...]:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        return rows * self.columns // 2, rows * self.columns // 16, 4 if rows else 0

    def round_rows(self, source: NDArray[np.uint8], outputs: Sequence[NDArray[np.uint8]]) -> int | None:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        values, scales, global_scale = outputs
        global_scale.view("<f4")[:] = self.global_scale
        row = kernel.nvfp4(self, source, scales=scales, values=values)
        return None if row < 0 else row


@dataclass(frozen=True, slots=True, kw_only=True)
class Mxfp4Rounding:
    """Rows of ``columns`` weights on ``grid`` become e2m1 pairs with a power of two for 32 columns, written as e8m0.

    The power is that of the group's largest weight, counting from 1.75 times it on as the next, less two;
    ``value = e2m1(grid(w / scale))``.

    Outputs: values, scales.
    Bound:   |w - value * scale| <= scale, for each weight no larger than 7 * scale.
    Source:  docs/formats.md (equal, bit for bit, to llm-compressor 0.14.0.1 without data).
    """

    grid: Grid
    columns: int

    @property
    def row_multiple(self) -> int:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        return 1

    def output_bytes(self, rows: int) -> tuple[int, ...]:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        return rows * self.columns // 2, rows * self.columns // 32

    def round_rows(self, source: NDArray[np.uint8], outputs: Sequence[NDArray[np.uint8]]) -> int | None:
        """See :class:`modelpress.tensors.rounding.Rounding`."""
        values, scales = outputs
        row = kernel.mxfp4(self, source, scales=scales, values=values)
        return None if row < 0 else row
