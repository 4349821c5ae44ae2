"""Roundings: how rows of weights become the bytes of the output's tensors; one file a family of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.grid import Grid


class Rounding(Protocol):
    """What a file of this folder offers, for the rows of one weight."""

    @property
    def grid(self) -> Grid:
        """Where the weights lie before."""

    @property
    def columns(self) -> int:
        """Weights of one row."""

    @property
    def row_multiple(self) -> int:
        """Rows may be rounded apart from those before them if their first one's number is a multiple of this."""

    def output_bytes(self, rows: int) -> tuple[int, ...]:
        """Bytes of each output for the first ``rows`` rows of the weight; in proportion at each ``row_multiple``."""

    def round_rows(self, source: NDArray[np.uint8], outputs: Sequence[NDArray[np.uint8]]) -> int | None:
        """Fill ``outputs`` from the rows of ``source``; the first row that is not finite, or None.

        When a row is not finite, the outputs' content means nothing.
        Shapes: source [rows * columns * grid.size_bytes], outputs as ``output_bytes(rows)`` says.
        """


def source_row_bytes(rounding: Rounding) -> int:
    """Bytes of one row before."""
    return rounding.columns * rounding.grid.size_bytes
