"""float8.c and float4.c with the signatures of their twins."""

from __future__ import annotations

from ctypes import c_float, c_int, c_int64, c_void_p
from typing import TYPE_CHECKING

import numpy as np

from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel.library import GRIDS, Library
from modelpress.tensors.kernel.numbers import Bytes, widen

if TYPE_CHECKING:
    from modelpress.tensors.rounding.float4 import Mxfp4Rounding, Nvfp4Rounding
    from modelpress.tensors.rounding.float8 import Float8Rounding


class NativeFloats:
    """Calls ``library``, or else the one that was built. Raises: OSError if that cannot be loaded."""

    def __init__(self, library: Library | None = None) -> None:
        source = (c_void_p, c_int, c_int64, c_int64)
        outputs = (c_void_p, c_void_p, c_void_p)
        library = library or Library()
        self._float8 = library.function("float8", *source, c_int64, c_int64, *outputs)
        self._nvfp4 = library.function("nvfp4", *source, c_float, *outputs)
        self._mxfp4 = library.function("mxfp4", *source, *outputs)
        self._magnitude = library.function("magnitude", c_void_p, c_int, c_int64)

    def float8(self, rounding: Float8Rounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int:
        """See :func:`modelpress.tensors.kernel.twin_floats.float8`."""
        tops = np.empty(rounding.scales_across, dtype=np.uint32)
        return self._float8(
            *_matrix(rounding.grid, source, columns=rounding.columns),
            rounding.height,
            rounding.width,
            scales.ctypes.data,
            values.ctypes.data,
            tops.ctypes.data,
        )

    def nvfp4(self, rounding: Nvfp4Rounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int:
        """See :func:`modelpress.tensors.kernel.twin_floats.nvfp4`."""
        memory = _memory(rounding.columns, group=16)
        return self._nvfp4(
            *_matrix(rounding.grid, source, columns=rounding.columns),
            rounding.global_scale,
            scales.ctypes.data,
            values.ctypes.data,
            memory.ctypes.data,
        )

    def mxfp4(self, rounding: Mxfp4Rounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int:
        """See :func:`modelpress.tensors.kernel.twin_floats.mxfp4`."""
        memory = _memory(rounding.columns, group=32)
        return self._mxfp4(
            *_matrix(rounding.grid, source, columns=rounding.columns),
            scales.ctypes.data,
            values.ctypes.data,
            memory.ctypes.data,
        )

    def magnitude(self, grid: Grid, source: Bytes) -> float:
        """See :func:`modelpress.tensors.kernel.twin_floats.magnitude`."""
        bits = self._magnitude(source.ctypes.data, GRIDS[grid], len(source) // grid.size_bytes)
        size = float(
            widen(np.frombuffer(bits.to_bytes(grid.size_bytes, "little"), np.uint8).reshape(1, -1), grid)[0, 0]
        )
        return size if np.isfinite(size) else np.inf


def _matrix(grid: Grid, source: Bytes, *, columns: int) -> tuple[int, int, int, int]:
    return source.ctypes.data, GRIDS[grid], len(source) // (columns * grid.size_bytes), columns


def _memory(columns: int, *, group: int) -> Bytes:
    """Intermediates of one row: 12 bytes a group, and 9 a column."""
    return np.empty(12 * (columns // group) + 9 * columns, dtype=np.uint8)
