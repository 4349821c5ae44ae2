"""Rows in which the weights of the smallest magnitude are zero: pruning that needs no data.

It is a way of reading, so that it goes with every source, and with whatever is made of rows: a copy or a rounding.

The order of magnitudes is that of the bits below the sign, taken as integers. With a number's column below them every
key is another, and the earlier of two equal magnitudes is the smaller: one partition of the keys splits a row into as
many as are asked for and the rest. Partitioning bare magnitudes left ties to be counted: three times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpress.domain.sparsity import Sparsity
from modelpress.errors import BadSource, Unsupported
from modelpress.tensors.folder import Folder
from modelpress.tensors.grid import Grid
from modelpress.tensors.rows import Rows, Workbench
from modelpress.tensors.spec import TensorSpec

#: Numbers whose keys are made at a time: they stay in a core's own cache.
_BATCH = 64 * 1024
#: Infinity's bits, above which there are NaNs alone.
_INFINITE = {Grid.BF16: 0x7F80, Grid.F16: 0x7C00, Grid.F32: 0x7F800000}

Numbers = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedRows:
    """The rows of weight ``name`` on ``grid``, with zeros as ``sparsity`` says; see :class:`Rows`.

    Bound: memory beside the rows asked for is about eight times _BATCH numbers, or that of one row if it is longer.
    """

    rows: Rows
    name: str
    grid: Grid
    sparsity: Sparsity

    @property
    def count(self) -> int:
        """See :class:`Rows`."""
        return self.rows.count

    @property
    def row_bytes(self) -> int:
        """See :class:`Rows`."""
        return self.rows.row_bytes

    @property
    def stored_bytes(self) -> int:
        """See :class:`Rows`."""
        return self.rows.stored_bytes

    @property
    def finest(self) -> Rows:
        """See :class:`Rows`. A row is pruned whole."""
        return self

    @property
    def zeros_of_row(self) -> int:
        """How many weights of each row become zero; a row may have more zeros, where it had them before."""
        return zeros_of(self.sparsity, self.row_bytes // self.grid.size_bytes)

    def read(self, folder: Folder, *, start: int, buffer: NDArray[np.uint8], bench: Workbench) -> None:
        """See :class:`Rows`. Raises: BadSource also for a number that has no magnitude: a NaN or an infinity."""
        self.rows.read(folder, start=start, buffer=buffer, bench=bench)
        columns = self.row_bytes // self.grid.size_bytes
        numbers = buffer.view(f"<u{self.grid.size_bytes}").reshape(-1, columns)
        at_once = max(1, _BATCH // columns)
        for first in range(0, len(numbers), at_once):
            odd = prune(numbers[first : first + at_once], grid=self.grid, sparsity=self.sparsity)
            if odd is not None:
                raise BadSource(f"weight {self.name!r} holds a NaN or an infinity in row {start + first + odd}")


def zeros_of(sparsity: Sparsity, count: int) -> int:
    """How many of ``count`` weights that are pruned together become zero: a half counts as one."""
    # As it was written: 0.35 of 10 is 3.5, whatever the nearest binary number is.
    return int((Decimal(str(sparsity.ratio)) * count).to_integral_value(ROUND_HALF_UP))


def pruned_rows(rows: Rows, spec: TensorSpec, sparsity: Sparsity) -> PrunedRows:
    """The rows of a weight, pruned. Raises: Unsupported if the pattern does not fit its width."""
    if sparsity.pattern == "2:4" and spec.shape[-1] % 4:
        raise Unsupported(
            f"weight {spec.name!r} has {spec.shape[-1]} columns, which groups of four do not divide",
            hint="leave it out (ignore), or let zeros be anywhere (sparsityPattern: unstructured)",
        )
    return PrunedRows(rows=rows, name=spec.name, grid=Grid(spec.dtype), sparsity=sparsity)


def prune(numbers: Numbers, *, grid: Grid, sparsity: Sparsity) -> int | None:
    """Make the smallest of each row zero, in place; the first row that is not finite, or None.

    Shapes: [rows, columns] of unsigned integers that have the bits of numbers on ``grid``.
    """
    magnitudes = numbers & numbers.dtype.type((1 << (8 * grid.size_bytes - 1)) - 1)
    if magnitudes.max() >= _INFINITE[grid]:
        return int(np.flatnonzero((magnitudes >= _INFINITE[grid]).any(axis=1))[0])
    kept = _kept_of_four(magnitudes) if sparsity.pattern == "2:4" else _kept_of_row(magnitudes, sparsity)
    # Multiplying by 0 or 1 takes a fifth of the time of setting the numbers that a mask names.
    np.multiply(numbers, kept, out=numbers)
    return None


def _kept_of_row(magnitudes: Numbers, sparsity: Sparsity) -> NDArray[np.bool_]:
    """All but the ``zeros`` smallest of each row, the earlier being the smaller of two equal ones."""
    columns = magnitudes.shape[1]
    zeros = zeros_of(sparsity, columns)
    if zeros == 0:
        return np.ones(magnitudes.shape, dtype=bool)
    wide = np.dtype(np.uint32 if magnitudes.itemsize == 2 and columns <= 1 << 16 else np.uint64)
    keys: Numbers = magnitudes.astype(wide)
    np.left_shift(keys, wide.type(4 * wide.itemsize), out=keys)
    keys |= np.arange(columns, dtype=wide)
    largest_pruned = np.partition(keys, zeros - 1, axis=1)[:, zeros - 1, np.newaxis]
    return np.asarray(keys > largest_pruned)


def _kept_of_four(magnitudes: Numbers) -> NDArray[np.bool_]:
    """The two largest of each four neighbours, the earlier being the smaller of two equal ones."""
    four = [np.ascontiguousarray(magnitudes.reshape(-1, 4)[:, place]) for place in range(4)]
    larger = np.zeros((4, len(four[0])), dtype=np.uint8)
    for first in range(4):
        for second in range(first + 1, 4):
            smaller = four[first] <= four[second]
            larger[first] += smaller
            larger[second] += ~smaller
    kept = np.empty((len(four[0]), 4), dtype=bool)
    np.less(larger.T, 2, out=kept)
    return kept.reshape(magnitudes.shape)
