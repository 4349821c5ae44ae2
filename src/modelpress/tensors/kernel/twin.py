"""The numpy twin of integers.c: the same signature and the same bytes, where the kernel was not built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from modelpress.tensors.kernel.numbers import Bytes, narrow, widen
from modelpress.tensors.pack import pack

if TYPE_CHECKING:
    from modelpress.tensors.rounding.integers import IntegerRounding

#: Weights rounded at a time. Bounds the float32 intermediates to about 10 MB, whatever the piece given.
_BLOCK_ELEMENTS = 1 << 19


def quantize(rounding: IntegerRounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int:
    """Fill ``scales`` and ``values`` from the rows of ``source``; the first row that is not finite, or -1.

    Shapes: source [rows * source_row_bytes], scales [rows * scale_row_bytes], values [rows * value_row_bytes].
    Bound:  |w - value * scale| <= scale / 2 plus one rounding of w / scale to the grid, for each weight.
    Source: docs/formats.md (equal, bit for bit, to llm-compressor 0.14.0.1 without data).
    """
    rows = len(source) // rounding.source_row_bytes
    step = max(1, _BLOCK_ELEMENTS // rounding.columns)
    for start in range(0, rows, step):
        block = slice(start, min(start + step, rows))
        bad = _quantize_block(
            rounding,
            source.reshape(rows, -1)[block],
            scales=scales.reshape(rows, -1)[block],
            values=values.reshape(rows, -1)[block],
        )
        if bad >= 0:
            return start + bad
    return -1


def _quantize_block(rounding: IntegerRounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int:
    weights = widen(source, rounding.grid)
    finite = np.isfinite(weights).all(axis=1)
    if not finite.all():
        return int(np.argmin(finite))
    grouped = weights.reshape(len(weights), rounding.groups, rounding.group)
    half = np.float32(1 << (rounding.bits - 1))
    top = np.abs(grouped).max(axis=2)
    scale_bytes = narrow(top / (half - np.float32(0.5)), rounding.grid)
    scale = widen(scale_bytes, rounding.grid)
    zero = scale == 0
    if zero.any():
        scale[zero] = rounding.grid.epsilon
        scale_bytes = narrow(scale, rounding.grid)
    scales[:] = scale_bytes
    quotients = grouped / scale[:, :, np.newaxis]
    quotients = widen(narrow(quotients.reshape(weights.shape), rounding.grid), rounding.grid)
    rounded = np.rint(np.clip(quotients, -half, half - 1)).astype(np.int8)
    values[:] = pack(rounded, bits=rounding.bits) if rounding.packed else rounded.view(np.uint8)
    return -1
