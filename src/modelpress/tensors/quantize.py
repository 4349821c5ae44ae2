"""Rows of a weight, rounded by the kernel into buffers of the caller's."""

from __future__ import annotations

import numpy as np

from modelpress.tensors import kernel
from modelpress.tensors.kernel.twin import Bytes
from modelpress.tensors.rounding import Rounding


def quantize_rows(rounding: Rounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int | None:
    """Fill ``scales`` and ``values`` from the rows of ``source``; the first row that is not finite, or None.

    ``scale = grid(max|w| / (2^(bits-1) - 0.5))`` in each group, ``value = round_half_even(grid(w / scale))``,
    clamped to ``bits`` bits. A group that is all zero takes the grid's epsilon as its scale, so it decodes to zeros.
    When a row is not finite, the buffers' content means nothing.

    Shapes: source [rows * source_row_bytes], scales [rows * scale_row_bytes], values [rows * value_row_bytes].
    Bound:  |w - value * scale| <= scale / 2 plus one rounding of w / scale to the grid, for each weight.
    Source: docs/formats.md (equal, bit for bit, to llm-compressor 0.14.0.1 without data).
    """
    rows, rest = divmod(len(source), rounding.source_row_bytes)
    assert rest == 0, (rounding, len(source))
    assert len(scales) == rows * rounding.scale_row_bytes, (rounding, len(scales))
    assert len(values) == rows * rounding.value_row_bytes, (rounding, len(values))
    for buffer in (source, scales, values):
        assert buffer.dtype == np.uint8
        assert buffer.flags.c_contiguous
    row = kernel.quantize(rounding, source, scales=scales, values=values)
    return None if row < 0 else row
