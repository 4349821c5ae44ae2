"""sweep.c: what calibration does to every weight. Its twin is in torch, which alone runs where a GPU is: calibrate/."""

from __future__ import annotations

from ctypes import POINTER, Structure, byref, c_int32, c_int64, c_void_p
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel.library import GRIDS, Library
from modelpress.tensors.kernel.numbers import Floats

#: Columns of a block, and neighbours of a pattern, at most; sweep.c has room for so many.
MOST_COLUMNS, MOST_NEIGHBOURS = 128, 8

#: Rows whose scales are searched for together.
_FEW = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Columns to decide, and how. Arrays are contiguous; those of rows hold all rows of the weight.

    Shapes: columns, errors float32 and integers int8 [count, rows], factor [count, count], scales, zeros
            [groups, rows], groups int32 [count], mask of 0 or 1 [count, rows].
    """

    columns: Floats
    errors: Floats
    factor: Floats
    #: These three are None where nothing is rounded.
    integers: NDArray[np.int8] | None = None
    scales: Floats | None = None
    groups: NDArray[np.int32] | None = None
    zeros: Floats | None = None
    grid: Grid = Grid.F32
    bits: int = 8
    mask: NDArray[np.uint8] | None = None
    #: So many of so many neighbours in a row become zero, if any.
    pattern: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Scales to find. Arrays are contiguous float32.

    Shapes: columns [columns, rows], importance [columns], scales and zeros [columns / group, rows].
    """

    columns: Floats
    importance: Floats
    scales: Floats
    #: None where zero is 0.
    zeros: Floats | None
    group: int
    grid: Grid
    bits: int


class _Sweep(Structure):
    """``struct sweep``."""

    _fields_ = (
        *((name, c_int64) for name in ("rows", "count")),
        *((name, c_void_p) for name in ("factor", "scales", "zeros", "groups", "mask")),
        *((name, c_int32) for name in ("grid", "bits", "zeroed", "of")),
    )


class _Search(Structure):
    """``struct search``."""

    _fields_ = (
        *((name, c_int64) for name in ("rows", "columns", "group")),
        ("importance", c_void_p),
        *((name, c_int32) for name in ("grid", "bits", "symmetric")),
    )


class Sweeps:
    """The functions of sweep.c. Both let other threads run, which may do other rows meanwhile."""

    def __init__(self, library: Library) -> None:
        self._sweep = library.function("sweep", c_void_p, c_void_p, c_void_p, POINTER(_Sweep), c_int64, c_int64)
        self._search = library.function(
            "search_scales", c_void_p, POINTER(_Search), c_void_p, c_void_p, c_int64, c_int64, c_void_p
        )

    def decide(self, block: Block, *, first: int, last: int) -> None:
        """The rows from ``first`` up to ``last``, as modelpress.calibrate.decision.decide does."""
        count, rows = block.columns.shape
        zeroed, of = block.pattern or (0, 0)
        assert count <= MOST_COLUMNS, count
        assert of <= MOST_NEIGHBOURS, block.pattern
        assert of == 0 or count % of == 0, (count, of)
        how = _Sweep(
            rows=rows,
            count=count,
            factor=_place(block.factor),
            scales=_place(block.scales),
            zeros=_place(block.zeros),
            groups=_place(block.groups),
            mask=_place(block.mask),
            grid=GRIDS[block.grid],
            bits=block.bits,
            zeroed=zeroed,
            of=of,
        )
        self._sweep(_place(block.columns), _place(block.integers), _place(block.errors), byref(how), first, last)

    def search(self, search: Search, *, first: int, last: int) -> None:
        """The scales of the rows from ``first`` up to ``last``, as modelpress.calibrate.integers searches for them."""
        columns, rows = search.columns.shape
        how = _Search(
            rows=rows,
            columns=columns,
            group=search.group,
            importance=_place(search.importance),
            grid=GRIDS[search.grid],
            bits=search.bits,
            symmetric=search.zeros is None,
        )
        scratch = np.empty(search.group * _FEW, dtype=np.float32)
        places = (_place(search.scales), _place(search.zeros))
        self._search(_place(search.columns), byref(how), *places, first, last, _place(scratch))


def _place(array: NDArray[np.generic] | None) -> int | None:
    """Where its first number lies."""
    if array is None:
        return None
    assert array.flags.c_contiguous
    return array.ctypes.data
