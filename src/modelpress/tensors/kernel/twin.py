"""The numpy twin of integers.c: the same signature and the same bytes, where the kernel was not built."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.kernel.numbers import Bytes, Floats, narrow, widen
from modelpress.tensors.pack import pack, pack_down

if TYPE_CHECKING:
    from modelpress.tensors.rounding.integers import IntegerRounding

#: Weights rounded at a time. Bounds the float32 intermediates to about 10 MB, whatever the piece given.
_BLOCK_ELEMENTS = 1 << 19

#: Sums that a search's errors are kept in; integers.c says why the order of adding is fixed.
_LANES = 16

#: A search's parts of the whole: how far those weights reach whose target is tried. integers.c says why these.
_WHOLE, _COARSE, _NEAR = 50, range(46, 21, -4), (2, -2, 1, -1)


class _Target(NamedTuple):
    """What weights become: round(weight / scale + zero), clamped. Shapes: [rows, groups, 1] each."""

    scale: Floats
    zero: Floats


def quantize(
    rounding: IntegerRounding, source: Bytes, *, values: Bytes, scales: Bytes, zeros: Bytes | None = None
) -> int:
    """Fill ``values``, ``scales`` and ``zeros`` from the rows of ``source``; the first row that is not finite, or -1.

    Shapes: source [rows * source_row_bytes], values [rows * value_row_bytes], scales [rows * scale_row_bytes],
            zeros [zero_bytes(rows)], None where the rounding is symmetric.
    Bound:  |w - (value - zero) * scale| <= scale / 2 plus two roundings of w / scale + zero to the grid, for each
            weight, where the scale is the largest weight's.
    Source: docs/formats.md (equal, bit for bit, to llm-compressor 0.14.0.1 without data).
    """
    rows = len(source) // rounding.source_row_bytes
    points = np.zeros((rows, rounding.groups), dtype=np.int8)
    step = max(1, _BLOCK_ELEMENTS // rounding.columns)
    for start in range(0, rows, step):
        block = slice(start, min(start + step, rows))
        bad = _quantize_block(
            rounding,
            source.reshape(rows, -1)[block],
            values=values.reshape(rows, -1)[block],
            scales=scales.reshape(rows, -1)[block],
            points=points[block],
        )
        if bad >= 0:
            return start + bad
    if zeros is not None:
        zeros[:] = pack_down(points, bits=rounding.bits)
    return -1


@np.errstate(all="ignore")
def _quantize_block(
    rounding: IntegerRounding, source: Bytes, *, values: Bytes, scales: Bytes, points: NDArray[np.int8]
) -> int:
    weights = widen(source, rounding.grid)
    finite = np.isfinite(weights).all(axis=1)
    if not finite.all():
        return int(np.argmin(finite))
    grouped = weights.reshape(len(weights), rounding.groups, rounding.group)
    target = _search(rounding, grouped)
    scales[:] = narrow(target.scale[:, :, 0], rounding.grid)
    points[:] = target.zero[:, :, 0].astype(np.int8)
    rounded = _place(rounding, grouped, target).astype(np.int8).reshape(weights.shape)
    values[:] = pack(rounded, bits=rounding.bits) if rounding.packed else rounded.view(np.uint8)
    return -1


def _search(rounding: IntegerRounding, weights: Floats) -> _Target:
    """The target that loses least in each group among those tried, the earliest of equals."""
    least = np.minimum(weights.min(axis=2, keepdims=True), np.float32(0))
    most = np.maximum(weights.max(axis=2, keepdims=True), np.float32(0))
    if rounding.symmetric:
        most = np.maximum(-least, most)
    best = _target(rounding, least, most)
    if rounding.scale_search == "max":
        return best
    part = np.full(least.shape, _WHOLE, dtype=np.int32)
    error = _squared_error(rounding, weights, best)

    def attempt(tried: NDArray[np.int32]) -> None:
        nonlocal best, part, error
        factor = tried.astype(np.float32) / np.float32(_WHOLE)
        target = _target(rounding, _on_grid(rounding, least * factor), _on_grid(rounding, most * factor))
        lost = _squared_error(rounding, weights, target)
        better = lost < error
        best = _Target(*(np.where(better, new, old) for new, old in zip(target, best, strict=True)))
        part, error = np.where(better, tried, part), np.where(better, lost, error)

    for coarse in _COARSE:
        attempt(np.full(least.shape, coarse, dtype=np.int32))
    middle = part
    for near in _NEAR:
        attempt(middle + np.int32(near))
    return best


def _target(rounding: IntegerRounding, least: Floats, most: Floats) -> _Target:
    """For weights that reach from ``least`` <= 0 to ``most`` >= 0; where symmetric, to ``most`` in size."""
    half = np.float32(1 << (rounding.bits - 1))
    if rounding.symmetric:
        scale = _on_grid(rounding, most / (half - np.float32(0.5)))
        zero = np.zeros_like(scale)
    else:
        scale = _on_grid(rounding, _on_grid(rounding, most - least) / (half + half - np.float32(1)))
        zero = np.clip(_on_grid(rounding, -half - _on_grid(rounding, least / scale)), -half, half - 1)
        zero = np.rint(np.where(np.isnan(zero), np.float32(0), zero))
    return _Target(np.where(scale == 0, np.float32(rounding.grid.epsilon), scale), zero)


def _place(rounding: IntegerRounding, weights: Floats, target: _Target) -> Floats:
    """The integers that weights become, as floats."""
    half = np.float32(1 << (rounding.bits - 1))
    quotients = _on_grid(rounding, weights / target.scale)
    if not rounding.symmetric:
        quotients = _on_grid(rounding, quotients + target.zero)
    return np.rint(np.clip(quotients, -half, half - 1))


def _squared_error(rounding: IntegerRounding, weights: Floats, target: _Target) -> Floats:
    """The squares of what rounding loses, summed in the order that integers.c says. Shapes: -> [rows, groups, 1]."""
    errors = (_place(rounding, weights, target) - target.zero) * target.scale - weights
    squares = np.zeros((*errors.shape[:2], -(-errors.shape[2] // _LANES) * _LANES), dtype=np.float32)
    squares[:, :, : errors.shape[2]] = errors * errors
    sums = np.zeros((*errors.shape[:2], _LANES), dtype=np.float32)
    for start in range(0, squares.shape[2], _LANES):
        sums += squares[:, :, start : start + _LANES]
    lanes = _LANES
    while lanes > 1:
        lanes //= 2
        sums = sums[:, :, :lanes] + sums[:, :, lanes:]
    return sums


def _on_grid(rounding: IntegerRounding, numbers: Floats) -> Floats:
    """The nearest numbers of the grid, infinity included."""
    flat = narrow(np.ascontiguousarray(numbers).reshape(1, -1), rounding.grid)
    return widen(flat, rounding.grid).reshape(numbers.shape)
