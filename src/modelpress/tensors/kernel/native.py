"""kernel.c as the package's build left it beside this file, called through ctypes (which lets other threads run)."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel.twin import Bytes

if TYPE_CHECKING:
    from modelpress.tensors.rounding.integers import IntegerRounding

#: Where hatch_build.py puts the library.
LIBRARY = Path(__file__).with_name("modelpress_kernel" + (".dylib" if sys.platform == "darwin" else ".so"))

_GRIDS = {Grid.BF16: 0, Grid.F16: 1, Grid.F32: 2}


class NativeKernel:
    """The loaded library. Raises: OSError if it is not there or cannot be loaded on this machine."""

    def __init__(self, library: Path = LIBRARY) -> None:
        self._call = ctypes.CDLL(str(library)).modelpress_quantize
        self._call.restype = ctypes.c_int64
        self._call.argtypes = [
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_int,
            ctypes.c_int,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]

    def quantize(self, rounding: IntegerRounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int:
        """See :func:`modelpress.tensors.kernel.twin.quantize`."""
        rows = len(source) // rounding.source_row_bytes
        scratch = np.empty(rounding.columns, dtype=np.uint8)
        row: int = self._call(
            source.ctypes.data,
            _GRIDS[rounding.grid],
            rows,
            rounding.columns,
            rounding.group,
            rounding.bits,
            rounding.packed,
            scales.ctypes.data,
            values.ctypes.data,
            scratch.ctypes.data,
        )
        return row
