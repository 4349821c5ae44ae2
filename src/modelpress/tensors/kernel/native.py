"""integers.c with the signature of its twin."""

from __future__ import annotations

from ctypes import POINTER, Structure, byref, c_int32, c_int64, c_void_p
from typing import TYPE_CHECKING

import numpy as np

from modelpress.tensors.kernel.library import GRIDS, Library
from modelpress.tensors.kernel.numbers import Bytes

if TYPE_CHECKING:
    from modelpress.tensors.rounding.integers import IntegerRounding


class _Integers(Structure):
    """``struct integers``."""

    _fields_ = (
        *((name, c_int64) for name in ("columns", "group")),
        *((name, c_int32) for name in ("grid", "bits", "packed", "symmetric", "search")),
    )


class NativeKernel:
    """Calls ``library``, or else the one that was built. Raises: OSError if that cannot be loaded."""

    def __init__(self, library: Library | None = None) -> None:
        self._quantize = (library or Library()).function(
            "quantize", c_void_p, c_int64, POINTER(_Integers), c_void_p, c_void_p, c_void_p, c_void_p
        )

    def quantize(
        self, rounding: IntegerRounding, source: Bytes, *, values: Bytes, scales: Bytes, zeros: Bytes | None = None
    ) -> int:
        """See :func:`modelpress.tensors.kernel.twin.quantize`."""
        how = _Integers(
            columns=rounding.columns,
            group=rounding.group,
            grid=GRIDS[rounding.grid],
            bits=rounding.bits,
            packed=rounding.packed,
            symmetric=rounding.symmetric,
            search=rounding.scale_search == "mse",
        )
        scratch = np.empty(5 * rounding.columns + 64, dtype=np.uint8)
        return self._quantize(
            source.ctypes.data,
            len(source) // rounding.source_row_bytes,
            byref(how),
            values.ctypes.data,
            scales.ctypes.data,
            None if zeros is None else zeros.ctypes.data,
            scratch.ctypes.data,
        )
