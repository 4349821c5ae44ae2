"""blocks.c, and its numpy twin: rows of weights become the blocks of llama.cpp's files.

What blocks.c does for a group in a lane of its own the twin does for all groups at once: arrays are [length, groups],
and sums run along the first axis from the first weight to the last, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ctypes import c_float, c_int, c_int64, c_void_p
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel.library import GRIDS, Library
from modelpress.tensors.kernel.numbers import Bytes, Floats, narrow, widen

if TYPE_CHECKING:
    from modelpress.tensors.rounding.blocks import BlockRounding

Integers: TypeAlias = NDArray[np.int32]

#: The largest number of F16, in which every scale is stored.
LARGEST = np.float32(65504)
_SMALLEST = np.float32(2.0**-100)
_INVERSE_LIMIT = np.float32(2.0**127)

#: Integers that a group's range may span, 15 first: of equals the first is kept.
_Q4_K_REACH = (15.0, 12.0, 12.5, 13.0, 13.4, 13.8, 14.2, 14.6, 15.2, 15.4, 15.6, 15.8)
#: What becomes of a group's extreme weight.
_Q6_K_REACH = (-32.0, -31.125, -31.5625, -32.4375, -32.875)

#: Weights rounded at a time. Bounds the float32 intermediates to about 20 MB, whatever the piece given.
_BLOCK_ELEMENTS = 1 << 18


class EncodeBlocks(Protocol):
    """See :func:`by_numpy`."""

    def __call__(self, rounding: BlockRounding, source: Bytes, output: Bytes) -> int: ...


def by_library(library: Library) -> EncodeBlocks:
    """The C function behind the signature of its twin."""
    call = library.function(
        "encode_blocks", *(c_void_p, c_int, c_int64, c_int64, c_int, c_int64, c_int64, c_float, c_void_p)
    )

    def encode(rounding: BlockRounding, source: Bytes, output: Bytes) -> int:
        block_type = rounding.block_type
        return call(
            source.ctypes.data,
            GRIDS[rounding.grid],
            len(source) // rounding.source_row_bytes,
            rounding.columns,
            block_type.number,
            block_type.length,
            block_type.size_bytes,
            rounding.added,
            output.ctypes.data,
        )

    return encode


def by_numpy(rounding: BlockRounding, source: Bytes, output: Bytes) -> int:
    """Fill ``output`` from the rows of ``source``; the first row that cannot be stored, or -1.

    That is one with a NaN or an infinity, or a weight above 65504 in size unless it becomes F32 or BF16.

    Shapes: source [rows * source_row_bytes], output [rows * row_bytes].
    """
    rows = len(source) // rounding.source_row_bytes
    step = max(1, _BLOCK_ELEMENTS // rounding.columns)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore", under="ignore"):
        for start in range(0, rows, step):
            part = slice(start, min(start + step, rows))
            weights = widen(source.reshape(rows, -1)[part], rounding.grid)
            sound = np.isfinite(weights)
            if rounding.block_type.name not in {"F32", "BF16"}:
                sound &= np.abs(weights) <= LARGEST
            if not sound.all():
                return start + int(np.argmin(sound.all(axis=1)))
            if rounding.added:
                weights += np.float32(rounding.added)
            encoded = _ENCODERS[rounding.block_type.name](weights)
            output.reshape(rows, -1)[part] = encoded.reshape(len(weights), -1)
    return -1


def _halves(numbers: Floats) -> Bytes:
    """As F16, nearest and ties to even. Shapes: [blocks] -> [blocks, 2]."""
    return numbers.astype("<f2").view(np.uint8).reshape(-1, 2)


def _inverse(scale: Floats) -> Floats:
    inverse = np.where(scale != 0, np.float32(1) / scale, np.float32(0))
    return np.where(np.abs(inverse) <= _INVERSE_LIMIT, inverse, np.float32(0))


def _encode_f32(weights: Floats) -> Bytes:
    return weights.astype("<f4").view(np.uint8)


def _encode_f16(weights: Floats) -> Bytes:
    return weights.astype("<f2").view(np.uint8)


def _encode_bf16(weights: Floats) -> Bytes:
    return narrow(np.ascontiguousarray(weights), Grid.BF16)


def _encode_q8_0(weights: Floats) -> Bytes:
    blocks = weights.reshape(-1, 32)
    scale = np.abs(blocks).max(axis=1) / np.float32(127)
    scaled = blocks * _inverse(scale)[:, None]
    # Half away from zero, as C's roundf.
    whole = np.trunc(np.abs(scaled))
    whole += np.abs(scaled) - whole >= 0.5
    values = np.copysign(whole, scaled).astype(np.int8)
    return np.concatenate([_halves(scale), values.view(np.uint8)], axis=1)


def _encode_symmetric(weights: Floats, half: int) -> Bytes:
    blocks = weights.reshape(-1, 32)
    extreme = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)[:, 0]
    # A zero of either sign counts as the positive one.
    scale = (extreme + np.float32(0)) / np.float32(-half)
    raised = blocks * _inverse(scale)[:, None] + np.float32(half + 0.5)
    values = np.minimum(raised.astype(np.int32), 2 * half - 1).astype(np.uint8)
    parts = [_halves(scale), (values[:, :16] & 15) | (values[:, 16:] & 15) << 4]
    if half == 16:
        fifth = (values >> 4).astype(np.uint32) << np.arange(32, dtype=np.uint32)
        parts.insert(1, np.bitwise_or.reduce(fifth, axis=1).astype("<u4").view(np.uint8).reshape(-1, 4))
    return np.concatenate(parts, axis=1)


def _encode_q4_0(weights: Floats) -> Bytes:
    return _encode_symmetric(weights, 8)


def _encode_q5_0(weights: Floats) -> Bytes:
    return _encode_symmetric(weights, 16)


def _sum(terms: Floats) -> Floats:
    """From the first to the last, one at a time. Shapes: [length, groups] -> [groups]."""
    total = np.zeros(terms.shape[1], np.float32)
    for term in terms:
        total += term
    return total


def _nearest(numbers: Floats, low: int, high: int) -> Integers:
    """The nearest integer within the bounds, ties to even."""
    integers: Integers = (numbers + np.float32(12582912)).view(np.int32) - np.int32(0x4B400000)
    return np.minimum(np.maximum(integers, np.int32(low)), np.int32(high))


def _divided(number: float, numbers: Floats) -> Floats:
    return np.divide(np.float32(number), numbers, dtype=np.float32)


def _or_one(numbers: Floats, sound: NDArray[np.bool_]) -> Floats:
    return np.where(sound, numbers, np.float32(1))


def _inverse_or_zero(scale: Floats, sound: NDArray[np.bool_]) -> Floats:
    return np.where(sound, np.float32(1) / _or_one(scale, sound), np.float32(0))


def _groups(weights: Floats, length: int) -> Floats:
    """Shapes: any of whole groups -> [length, groups]."""
    return np.ascontiguousarray(weights.reshape(-1, length).T)


def _weigh(x: Floats) -> tuple[Floats, Floats, Floats]:
    """What each weight's squared error counts, the sum of it, and its sum with the weights."""
    mean = np.sqrt(_sum(x * x) / np.float32(len(x)))
    w = mean + np.abs(x)
    return w, _sum(w), _sum(w * x)


class _FitQ4K:
    """The best scale and minimum found for each group so far, and by how much they lower its squared error."""

    def __init__(self, x: Floats, w: Floats, sum_w: Floats, sum_wx: Floats) -> None:
        self._x, self._w, self._sum_w, self._sum_wx = x, w, sum_w, sum_wx
        low = np.minimum(x.min(axis=0), np.float32(0))
        reach = np.maximum(x[0], x.max(axis=0)) - low
        reach = np.where(reach > _SMALLEST, reach, np.float32(1) / _SMALLEST)
        mean = sum_wx / _or_one(sum_w, sum_w > 0)
        self.scale: Floats = np.zeros_like(sum_w)
        self.minimum: Floats = np.where(mean < 0, mean, np.float32(0))
        self._gain = self.minimum * sum_wx
        for levels in _Q4_K_REACH:
            self._improve(low, _divided(levels, reach))
        self._improve(self.minimum, _inverse_or_zero(self.scale, self.scale > 0))

    def _improve(self, low: Floats, by: Floats) -> None:
        x, sum_w, sum_wx = self._x, self._sum_w, self._sum_wx
        q = _nearest(by * (x - low), 0, 15).astype(np.float32)
        wq = self._w * q
        sum_q, sum_qq, sum_qx = _sum(wq), _sum(wq * q), _sum(wq * x)
        determinant = sum_w * sum_qq - sum_q * sum_q
        sound = determinant > 0
        determinant = _or_one(determinant, sound)
        scale = (sum_w * sum_qx - sum_wx * sum_q) / determinant
        minimum = (sum_qq * sum_wx - sum_q * sum_qx) / determinant
        above = minimum > 0
        scale = np.where(above, sum_qx / _or_one(sum_qq, sound), scale)
        minimum = np.where(above, np.float32(0), minimum)
        gain = scale * sum_qx + minimum * sum_wx
        better = sound & (gain > self._gain) & (scale > _SMALLEST)
        self.scale = np.where(better, scale, self.scale)
        self.minimum = np.where(better, minimum, self.minimum)
        self._gain = np.where(better, gain, self._gain)


class _SmallQ4K:
    """Scales and minimums as small integers under those of their block: those with the least squared error found."""

    def __init__(self, x: Floats, w: Floats, sum_w: Floats, fit: _FitQ4K) -> None:
        self._x, self._w = x, w
        blocks = x.shape[1] // 8
        self.half_scale = _halves(np.maximum(fit.scale, 0).reshape(blocks, 8).max(axis=1) / np.float32(63))
        self.half_minimum = _halves(np.maximum(-fit.minimum, 0).reshape(blocks, 8).max(axis=1) / np.float32(63))
        self._unit = np.repeat(self.half_scale.view("<f2")[:, 0].astype(np.float32), 8)
        self._unit_minimum = np.repeat(self.half_minimum.view("<f2")[:, 0].astype(np.float32), 8)
        self._error = np.full(x.shape[1], np.inf, np.float32)
        self.scale = np.zeros(x.shape[1], np.int32)
        self.minimum = np.zeros(x.shape[1], np.int32)
        fitted = self._small(fit.scale, self._unit)
        first = self._small(-fit.minimum, self._unit_minimum)
        for step in (-1, 0, 1):
            scale = np.where(self._unit > 0, np.clip(fitted + np.int32(step), 0, 63), np.int32(0))
            refit = self._try(scale, first)
            self._try(scale, self._small(refit / _or_one(sum_w, sum_w > 0), self._unit_minimum))

    @staticmethod
    def _small(numbers: Floats, unit: Floats) -> Integers:
        return np.where(unit > 0, _nearest(numbers / _or_one(unit, unit > 0), 0, 63), np.int32(0))

    def _values(self, scale: Integers, minimum: Integers) -> tuple[Integers, Floats, Floats]:
        d = self._unit * scale.astype(np.float32)
        m = self._unit_minimum * minimum.astype(np.float32)
        return _nearest(_inverse_or_zero(d, d > 0) * (self._x + m), 0, 15), d, m

    def _try(self, scale: Integers, minimum: Integers) -> Floats:
        values, d, m = self._values(scale, minimum)
        above = d * values.astype(np.float32) - self._x
        off = above - m
        error = _sum(self._w * off * off)
        better = error < self._error
        self._error = np.where(better, error, self._error)
        self.scale = np.where(better, scale, self.scale)
        self.minimum = np.where(better, minimum, self.minimum)
        return _sum(self._w * above)

    @property
    def values(self) -> Integers:
        """The integers of the weights, with the scales and minimums found."""
        return self._values(self.scale, self.minimum)[0]


def _encode_q4_k(weights: Floats) -> Bytes:
    x = _groups(weights, 32)
    w, sum_w, sum_wx = _weigh(x)
    small = _SmallQ4K(x, w, sum_w, _FitQ4K(x, w, sum_w, sum_wx))
    scale, minimum = small.scale.astype(np.uint8).reshape(-1, 8), small.minimum.astype(np.uint8).reshape(-1, 8)
    pairs = small.values.astype(np.uint8).T.reshape(-1, 4, 2, 32)
    parts = [
        small.half_scale,
        small.half_minimum,
        scale[:, :4] | scale[:, 4:] >> 4 << 6,
        minimum[:, :4] | minimum[:, 4:] >> 4 << 6,
        (scale[:, 4:] & 15) | (minimum[:, 4:] & 15) << 4,
        (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128),
    ]
    return np.concatenate(parts, axis=1)


def _fit_q6_k(x: Floats, w: Floats) -> Floats:
    """The scale of each group of 16, of either sign: its extreme weight comes near -32."""
    most, least = x.max(axis=0), x.min(axis=0)
    extreme = np.where(most >= -least, most, least)
    sound = np.abs(extreme) > _SMALLEST
    scale: Floats = np.zeros_like(extreme)
    gain: Floats = np.zeros_like(extreme)
    for reach in _Q6_K_REACH:
        by = np.where(sound, np.float32(reach) / _or_one(extreme, sound), np.float32(0))
        q = _nearest(by * x, -32, 31).astype(np.float32)
        wq = w * q
        sum_qx, sum_qq = _sum(wq * x), _sum(wq * q)
        fitted = sum_qx / _or_one(sum_qq, sum_qq > 0)
        gained = fitted * sum_qx
        better = gained > gain
        scale, gain = np.where(better, fitted, scale), np.where(better, gained, gain)
    return scale


def _encode_q6_k(weights: Floats) -> Bytes:
    x = _groups(weights, 16)
    w, _, _ = _weigh(x)
    scale = _fit_q6_k(x, w)
    by_block = scale.reshape(-1, 16)
    extreme = np.take_along_axis(by_block, np.abs(by_block).argmax(axis=1)[:, None], axis=1)[:, 0]
    half = _halves(extreme / np.float32(-128))
    unit = np.repeat(half.view("<f2")[:, 0].astype(np.float32), 16)
    fitted = np.where(unit != 0, _nearest(scale / _or_one(unit, unit != 0), -128, 127), np.int32(0))
    error, small = np.full(x.shape[1], np.inf, np.float32), np.zeros(x.shape[1], np.int32)
    for step in (-1, 0, 1):
        tried = np.where(unit != 0, np.clip(fitted + np.int32(step), -128, 127), np.int32(0))
        values, d = _values_q6_k(x, unit, tried)
        off = d * values.astype(np.float32) - x
        found = _sum(w * off * off)
        better = found < error
        error, small = np.where(better, found, error), np.where(better, tried, small)
    halves = (_values_q6_k(x, unit, small)[0] + 32).astype(np.uint8).T.reshape(-1, 2, 4, 32)
    first, second, third, fourth = (halves[:, :, quarter] for quarter in range(4))
    low = np.concatenate([(first & 15) | (third & 15) << 4, (second & 15) | (fourth & 15) << 4], axis=2)
    high = first >> 4 | second >> 4 << 2 | third >> 4 << 4 | fourth >> 4 << 6
    parts = [low.reshape(-1, 128), high.reshape(-1, 64), small.astype(np.int8).view(np.uint8).reshape(-1, 16), half]
    return np.concatenate(parts, axis=1)


def _values_q6_k(x: Floats, unit: Floats, small: Integers) -> tuple[Integers, Floats]:
    d = unit * small.astype(np.float32)
    return _nearest(_inverse_or_zero(d, d != 0) * x, -32, 31), d


_ENCODERS: Mapping[str, Callable[[Floats], Bytes]] = MappingProxyType(
    {
        "F32": _encode_f32,
        "F16": _encode_f16,
        "BF16": _encode_bf16,
        "Q4_0": _encode_q4_0,
        "Q5_0": _encode_q5_0,
        "Q8_0": _encode_q8_0,
        "Q4_K": _encode_q4_k,
        "Q6_K": _encode_q6_k,
    }
)
