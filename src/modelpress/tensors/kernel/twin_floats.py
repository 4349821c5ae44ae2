"""The numpy twins of float8.c and float4.c: the same signatures and the same bytes, where the kernel was not built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel.numbers import Bytes, Floats, narrow, widen

if TYPE_CHECKING:
    from modelpress.tensors.rounding.float4 import Mxfp4Rounding, Nvfp4Rounding
    from modelpress.tensors.rounding.float8 import Float8Rounding

#: Weights rounded at a time. Bounds the float32 intermediates to about 10 MB, whatever the piece given.
_BLOCK_ELEMENTS = 1 << 19

_SIGN = np.uint32(1 << 31)


class _Rows(Protocol):
    @property
    def grid(self) -> Grid: ...

    @property
    def row_multiple(self) -> int: ...

    @property
    def columns(self) -> int: ...


class _Block(Protocol):
    def __call__(self, weights: Floats) -> tuple[Bytes, Bytes]:
        """The values and the scales of some rows, each [rows, bytes of a row]; scales may be of fewer rows."""


def float8(rounding: Float8Rounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int:
    """Fill ``scales`` and ``values`` from the rows of ``source``; the first row that is not finite, or -1.

    Shapes: source [rows * columns] of the grid, values [rows * columns], scales [row blocks * column blocks] of the
            grid.
    Source: docs/formats.md (equal, bit for bit, to llm-compressor 0.14.0.1 without data).
    """
    down, across = rounding.height, rounding.width

    def block(weights: Floats) -> tuple[Bytes, Bytes]:
        rows, columns = weights.shape
        tops: Floats = np.maximum.reduceat(np.abs(weights), range(0, columns, across), axis=1)
        tops = np.maximum.reduceat(tops, range(0, rows, down), axis=0)
        scale = _on_grid(tops / np.float32(448), rounding.grid)
        scale[scale == 0] = rounding.grid.epsilon
        each = np.repeat(np.repeat(scale, down, axis=0)[:rows], across, axis=1)[:, :columns]
        return e4m3(_on_grid(weights / each, rounding.grid)), narrow(scale, rounding.grid)

    return _in_blocks(rounding, source, scales=scales, values=values, block=block)


def nvfp4(rounding: Nvfp4Rounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int:
    """Fill ``scales`` and ``values`` from the rows of ``source``; the first row that is not finite, or -1.

    Shapes: source [rows * columns] of the grid, values [rows * columns / 2], scales [rows * columns / 16].
    Source: docs/formats.md (equal, bit for bit, to llm-compressor 0.14.0.1 without data).
    """
    global_scale = np.float32(rounding.global_scale)

    def block(weights: Floats) -> tuple[Bytes, Bytes]:
        groups = weights.reshape(len(weights), -1, 16)
        share = _on_grid(np.abs(groups).max(axis=2) / np.float32(6), rounding.grid)
        codes = e4m3(global_scale * share)
        codes[codes == 0] = 0x20
        quotients = groups / (_from_e4m3(codes) / global_scale)[:, :, np.newaxis]
        return _packed(e2m1(quotients, negative=quotients < 0).reshape(weights.shape)), codes

    return _in_blocks(rounding, source, scales=scales, values=values, block=block)


def mxfp4(rounding: Mxfp4Rounding, source: Bytes, *, scales: Bytes, values: Bytes) -> int:
    """Fill ``scales`` and ``values`` from the rows of ``source``; the first row that is not finite, or -1.

    Shapes: source [rows * columns] of the grid, values [rows * columns / 2], scales [rows * columns / 32].
    Source: docs/formats.md (equal, bit for bit, to llm-compressor 0.14.0.1 without data).
    """
    # A quotient that the grid rounds to zero has lost its sign.
    lost = {Grid.BF16: np.float32(2.0**-134), Grid.F16: np.float32(2.0**-25), Grid.F32: np.float32(0)}[rounding.grid]

    def block(weights: Floats) -> tuple[Bytes, Bytes]:
        groups = weights.reshape(len(weights), -1, 32)
        exponents, inverse = _shared_exponents(np.abs(groups).max(axis=2), rounding.grid)
        quotients = groups * inverse[:, :, np.newaxis]
        return _packed(e2m1(quotients, negative=quotients < -lost).reshape(weights.shape)), exponents

    return _in_blocks(rounding, source, scales=scales, values=values, block=block)


def magnitude(grid: Grid, source: Bytes) -> float:
    """The largest magnitude among the numbers of ``source``; infinity if one is not finite, 0 if there are none."""
    largest = 0.0
    step = _BLOCK_ELEMENTS * grid.size_bytes
    for start in range(0, len(source), step):
        sizes = np.abs(widen(source[start : start + step].reshape(1, -1), grid))
        largest = max(largest, float(sizes.max()) if np.isfinite(sizes).all() else np.inf)
    return largest


def _in_blocks(rounding: _Rows, source: Bytes, *, scales: Bytes, values: Bytes, block: _Block) -> int:
    """Round some rows at a time, as many whole ``row_multiple`` as keep intermediates small."""
    raw = source.reshape(-1, rounding.columns * rounding.grid.size_bytes)
    step = max(1, _BLOCK_ELEMENTS // (rounding.columns * rounding.row_multiple)) * rounding.row_multiple
    value_rows, scale_rows = values.reshape(len(raw), -1), scales.reshape(-(-len(raw) // rounding.row_multiple), -1)
    for start in range(0, len(raw), step):
        weights = widen(raw[start : start + step], rounding.grid)
        finite = np.isfinite(weights).all(axis=1)
        if not finite.all():
            return start + int(np.argmin(finite))
        rounded, scale = block(weights)
        value_rows[start : start + step] = rounded
        scale_rows[start // rounding.row_multiple :][: len(scale)] = scale
    return -1


def _on_grid(numbers: Floats, grid: Grid) -> Floats:
    return widen(narrow(numbers, grid), grid)


def e4m3(numbers: Floats) -> Bytes:
    """The nearest numbers of 4 bits of exponent and 3 of fraction, ties to even, as bytes; at most 448 in size."""
    return _minifloat(numbers, fraction_bits=3, bias=7, largest=0x7E) | _signs(numbers, at=7)


def e2m1(numbers: Floats, *, negative: NDArray[np.bool_]) -> Bytes:
    """The nearest of 0, 0.5, 1, 1.5, 2, 3, 4, 6, ties to the even code, in three bits; ``negative`` in a fourth."""
    return _minifloat(numbers, fraction_bits=1, bias=1, largest=7) | negative.astype(np.uint8) << np.uint8(3)


def _minifloat(numbers: Floats, *, fraction_bits: int, bias: int, largest: int) -> Bytes:
    """Codes without their sign: exponent, then fraction, as a float32 has them in 8 and 23 bits."""
    size = np.abs(numbers)
    bits, dropped = size.view(np.uint32), np.uint32(23 - fraction_bits)
    odd = bits >> dropped & np.uint32(1)
    normal = (bits + np.uint32((1 << 22 - fraction_bits) - 1) + odd >> dropped) - np.uint32(127 - bias << fraction_bits)
    # Numbers below the smallest normal one are as far apart as floats are above this one: adding it rounds.
    smallest = np.float32(2.0 ** (1 - bias))
    ruler = smallest * np.float32(2.0 ** (23 - fraction_bits))
    subnormal = (size + ruler).view(np.uint32) - ruler.view(np.uint32)
    return np.minimum(np.where(size < smallest, subnormal, normal), np.uint32(largest)).astype(np.uint8)


def _signs(numbers: Floats, *, at: int) -> Bytes:
    return ((numbers.view(np.uint32) & _SIGN) >> np.uint32(31 - at)).astype(np.uint8)


def _from_e4m3(codes: Bytes) -> Floats:
    """Positive numbers of their codes, exactly."""
    wide = codes.astype(np.uint32)
    normal = (wide + np.uint32(120 << 3) << np.uint32(20)).view(np.float32)
    return np.where(codes < 8, codes * np.float32(2.0**-9), normal)


def _shared_exponents(tops: Floats, grid: Grid) -> tuple[Bytes, Floats]:
    """A power of two for each group, as its exponent plus 127, and its inverse.

    It is a quarter of the largest weight's own power of two, or half of it where that weight is 1.75 times as large.
    """
    fraction_bits = {Grid.BF16: 7, Grid.F16: 10, Grid.F32: 23}[grid]
    raw = narrow(tops, grid).view("<u4" if grid is Grid.F32 else "<u2").astype(np.int32)
    field = raw + (1 << fraction_bits - 2) >> fraction_bits
    if grid is Grid.F16:
        # What is below half precision's smallest number has no scale but 1.
        exponents = np.where((field == 0) | (field == 31), 127, field + 110)
    else:
        exponents = np.where(field == 255, 127, np.maximum(field - 2, 0))
    inverse = np.ldexp(np.float32(1), 127 - exponents).astype(np.float32)
    # A power of two beyond the grid's largest number is infinity there, by which everything becomes 0.
    inverse[field == (31 if grid is Grid.F16 else 255)] = 0
    return exponents.astype(np.uint8), inverse


def _packed(codes: Bytes) -> Bytes:
    """Two codes a byte, the first in its low bits."""
    return codes[:, 0::2] | codes[:, 1::2] << np.uint8(4)
