"""integers.c with the signature of its twin."""

from __future__ import annotations

from ctypes import c_int, c_int64, c_void_p
from typing import TYPE_CHECKING

import numpy as np

from modelpress.tensors.kernel.library import GRIDS, Library
from modelpress.tensors.kernel.numbers import Bytes

if TYPE_CHECKING:
    from modelpress.tensors.rounding.integers import IntegerRounding


class NativeKernel:
    """Calls ``library``, or else the one that was built. Raises: OSError if that cannot be loaded."""

    def __init__(self, library: Library | None = None) -> None:
        self._quantize = (library or Library()).function(
            "quantize",
            *(c_void_p, c_int, c_int64, c_int64, c_int64, c_int, c_int),
            *(c_void_p, c_void_p, c_void_p),
        )

    def quantize(self, rounding: IntegerRounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int:
        """See :func:`modelpress.tensors.kernel.twin.quantize`."""
        scratch = np.empty(rounding.columns, dtype=np.uint8)
        return self._quantize(
            source.ctypes.data,
            GRIDS[rounding.grid],
            len(source) // rounding.source_row_bytes,
            rounding.columns,
            rounding.group,
            rounding.bits,
            rounding.packed,
            scales.ctypes.data,
            values.ctypes.data,
            scratch.ctypes.data,
        )
