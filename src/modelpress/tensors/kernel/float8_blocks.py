"""float8_blocks.c, and its numpy twin: e4m3 bytes with a scale a block become bf16."""

from __future__ import annotations

from collections.abc import Callable
from ctypes import c_int64, c_void_p

import numpy as np

from modelpress.tensors.kernel.library import Library
from modelpress.tensors.kernel.numbers import Bytes, Floats

#: ``(source, scales, block_columns, target)``, see :func:`by_numpy`.
WidenFloat8 = Callable[[Bytes, Floats, int, Bytes], None]


def by_library(library: Library) -> WidenFloat8:
    """The C function behind the signature of its twin."""
    call = library.function("widen_float8", *(c_void_p, c_int64, c_int64, c_void_p, c_int64, c_void_p))

    def widen(source: Bytes, scales: Floats, block_columns: int, target: Bytes) -> None:
        rows, columns = source.shape
        call(source.ctypes.data, rows, columns, scales.ctypes.data, block_columns, target.ctypes.data)

    return widen


def by_numpy(source: Bytes, scales: Floats, block_columns: int, target: Bytes) -> None:
    """Fill ``target`` with ``source * scale``, in float32, rounded to bf16, ties to even.

    Shapes: source [rows, columns] of e4m3, scales [ceil(columns / block_columns)], target [rows * columns * 2] bytes.
    """
    columns = source.shape[1]
    products = _E4M3[source] * np.repeat(scales, block_columns)[:columns]
    bits = products.view(np.uint32)
    odd = bits >> np.uint32(16) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + odd >> np.uint32(16)).astype("<u2")
    rounded[np.isnan(products)] = 0x7FC0
    target[:] = rounded.reshape(-1).view(np.uint8)


def _every_e4m3() -> Floats:
    codes = np.arange(256)
    exponents, fractions = codes >> 3 & 15, codes & 7
    sizes = np.where(exponents == 0, fractions * 2.0**-9, (8 + fractions) * 2.0 ** (exponents - 10.0))
    sizes[codes & 127 == 127] = np.nan
    return np.where(codes < 128, sizes, -sizes).astype(np.float32)


_E4M3 = _every_e4m3()
