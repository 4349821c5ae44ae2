"""The integers that calibrated weights become: their scales, and what servers compute with.

Methods hold a weight by columns, [columns, rows]: what they do to one column they do to all of its rows at once, and
a row of numbers that lie side by side is what vectors of the processor take. Its groups of columns come one after
another there too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from modelpress.calibrate import native
from modelpress.tensors.kernel.sweep import Search

#: A search's parts of the whole: how far those weights reach whose scale is tried. tensors/kernel/integers.c tries the
#: same and says why these.
WHOLE, COARSE, NEAR = 50, range(46, 21, -4), (2, -2, 1, -1)

#: Sums that a search's errors are kept in, column i in sum i mod LANES; then they are added by halves.
LANES = 16

#: Weights searched at a time. Bounds the intermediates to about 30 MB, whatever the weight.
_SEARCHED_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """What the integers of each group of columns count: weight = (integer - zero) * scale."""

    #: float32 [groups, rows], numbers of the weight's dtype.
    scale: Tensor
    #: float32 [groups, rows], whole numbers; None where zero is 0.
    zero: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundedWeight:
    """A weight as integers. A group is so many columns in a row; with one group, a row has one scale."""

    #: int8 [rows, columns], signed, as before packing.
    integers: Tensor
    #: Of the source's dtype [rows, groups].
    scales: Tensor
    #: int8 [rows, groups]; None where zero is 0.
    zeros: Tensor | None

    def dense(self) -> Tensor:
        """What a server computes with: (integer - zero) * scale, rounded to the scales' dtype: [rows, columns]."""
        rows, columns = self.integers.shape
        levels = self.integers.reshape(rows, self.scales.shape[1], -1).float()
        if self.zeros is not None:
            levels -= self.zeros.float()[:, :, None]
        levels *= self.scales.float()[:, :, None]
        return levels.reshape(rows, columns).to(self.scales.dtype)

    def split(self, rows: list[int]) -> list[RoundedWeight]:
        """The weights of so many rows each that lie in this one."""
        zeros = [None] * len(rows) if self.zeros is None else self.zeros.split(rows)
        parts = zip(self.integers.split(rows), self.scales.split(rows), zeros, strict=True)
        return [RoundedWeight(integers=one, scales=two, zeros=three) for one, two, three in parts]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegerFormat:
    """Integers of ``bits`` bits, 2 to 8, with one scale for each ``group_size`` columns of a row.

    The arithmetic is that of docs/formats.md and of tensors/rounding/integers.py.
    """

    bits: int
    #: None for one scale a row.
    group_size: int | None
    symmetric: bool
    #: Of the source's weight, and so of the scales.
    dtype: torch.dtype

    @property
    def lowest(self) -> float:
        """The least integer; the greatest is one less than its opposite."""
        return -float(1 << (self.bits - 1))

    @property
    def highest(self) -> float:
        """The greatest integer."""
        return -self.lowest - 1

    def group(self, columns: int) -> int:
        """Columns that share a scale."""
        group = columns if self.group_size is None else self.group_size
        assert columns % group == 0, (columns, group)
        return group

    def fit(self, weight: Tensor, importance: Tensor | None = None) -> Scales:
        """The scales of a weight's groups: from its largest numbers, or where ``importance`` is given searched for.

        The search takes, in each group, what makes the sum of importance * (w - rounded w)² the least of twelve ranges,
        the whole one first: it never loses more than without.

        Shapes: weight float32 [rows, columns], importance float32 [columns].
        """
        return self.fit_columns(weight.T.contiguous(), importance)

    def fit_columns(self, columns: Tensor, importance: Tensor | None = None) -> Scales:
        """As :meth:`fit`, of a weight [columns, rows] that is contiguous."""
        count, rows = columns.shape
        groups = count // self.group(count)
        scale = torch.empty(groups, rows, device=columns.device)
        zero = None if self.symmetric else torch.empty_like(scale)
        sweeps = native.sweeps_for(columns)
        if sweeps is not None and importance is not None:
            native.search(sweeps, self._wanted(columns, importance, scale=scale, zero=zero))
            return Scales(scale=scale, zero=zero)
        step = max(1, _SEARCHED_AT_ONCE // count)
        for start in range(0, rows, step):
            piece = slice(start, min(start + step, rows))
            grouped = columns[:, piece].reshape(groups, -1, piece.stop - start)
            found = self._fit(grouped, importance)
            scale[:, piece] = found.scale
            if zero is not None:
                zero[:, piece] = found.zero
        return Scales(scale=scale, zero=zero)

    def place(self, weight: Tensor, *, scale: Tensor, zero: Tensor | None) -> Tensor:
        """The nearest integers, as floats, of float32 weights whose quotient is not rounded to any dtype."""
        quotient = weight / scale
        if zero is not None:
            quotient = quotient + zero
        return quotient.clamp_(self.lowest, self.highest).round_()

    def value(self, integers: Tensor, *, scale: Tensor, zero: Tensor | None) -> Tensor:
        """What these integers, given as floats, are to a server."""
        return self._on_grid((integers if zero is None else integers - zero) * scale)

    def round_nearest(self, weight: Tensor, scales: Scales | None = None) -> RoundedWeight:
        """Each number to its nearest integer, by the scales of the largest if none are given.

        Equal, bit for bit, to what tensors/rounding/integers.py makes of a weight of this dtype.
        Shapes: weight float32 [rows, columns], its numbers of ``dtype``.
        """
        scales = scales or self.fit(weight)
        rows, columns = weight.shape
        quotient = self._on_grid(weight.reshape(rows, -1, self.group(columns)) / scales.scale.T[:, :, None])
        if scales.zero is not None:
            quotient = self._on_grid(quotient + scales.zero.T[:, :, None])
        integers = quotient.clamp_(self.lowest, self.highest).round_()
        return self.rounded(integers.to(torch.int8).reshape(rows, columns), scales)

    def rounded(self, integers: Tensor, scales: Scales) -> RoundedWeight:
        """The finished weight of int8 ``integers`` [rows, columns]."""
        return RoundedWeight(
            integers=integers,
            scales=scales.scale.T.to(self.dtype).contiguous(),
            zeros=None if scales.zero is None else scales.zero.T.to(torch.int8).contiguous(),
        )

    def _wanted(self, columns: Tensor, importance: Tensor, *, scale: Tensor, zero: Tensor | None) -> Search:
        return Search(
            columns=native.array(columns),
            importance=native.array(importance.contiguous()),
            scales=native.array(scale),
            zeros=None if zero is None else native.array(zero),
            group=self.group(len(columns)),
            grid=native.GRIDS[self.dtype],
            bits=self.bits,
        )

    def _on_grid(self, numbers: Tensor) -> Tensor:
        return numbers if self.dtype is torch.float32 else numbers.to(self.dtype).float()

    def _fit(self, weights: Tensor, importance: Tensor | None) -> Scales:
        """Of [groups, columns of a group, rows]."""
        least = weights.amin(dim=1).clamp_(max=0)
        most = weights.amax(dim=1).clamp_(min=0)
        if self.symmetric:
            most = torch.maximum(-least, most)
            least = torch.zeros_like(most)
        best = self._reaching(least, most)
        if importance is None:
            return best
        weighing = importance.reshape(len(weights), -1, 1)
        error = self._error(weights, best, weighing)
        part = torch.full_like(error, WHOLE)
        for tried in _attempts(part):
            factor = tried / WHOLE
            target = self._reaching(self._on_grid(least * factor), self._on_grid(most * factor))
            lost = self._error(weights, target, weighing)
            better = lost < error
            best.scale[better] = target.scale[better]
            if best.zero is not None and target.zero is not None:
                best.zero[better] = target.zero[better]
            part[better], error[better] = tried[better], lost[better]
        return best

    def _reaching(self, least: Tensor, most: Tensor) -> Scales:
        """For weights that reach from ``least`` <= 0 to ``most`` >= 0; where symmetric, to ``most`` in size."""
        zero = None
        if self.symmetric:
            scale = self._on_grid(most / _like(most, -self.lowest - 0.5))
        else:
            scale = self._on_grid(self._on_grid(most - least) / _like(most, 2 * self.highest + 1))
            zero = self._on_grid(self.lowest - self._on_grid(least / scale))
            zero = zero.nan_to_num_(nan=0.0).clamp_(self.lowest, self.highest).round_()
        scale[scale == 0] = torch.finfo(self.dtype).eps
        return Scales(scale=scale, zero=zero)

    def _error(self, weights: Tensor, target: Scales, importance: Tensor) -> Tensor:
        """The weighed squares of what rounding loses, [groups, rows], summed in the order that LANES says."""
        scale = target.scale[:, None]
        inverse = 1 / scale
        zero = None if target.zero is None else target.zero[:, None]
        sums = torch.zeros(len(weights), LANES, weights.shape[2], device=weights.device)
        for start in range(0, weights.shape[1], LANES):
            part = weights[:, start : start + LANES]
            levels = part * inverse
            if zero is not None:
                levels += zero
            levels.clamp_(self.lowest, self.highest).round_()
            if zero is not None:
                levels -= zero
            lost = levels.mul_(scale).sub_(part)
            sums[:, : part.shape[1]] += lost.square_().mul_(importance[:, start : start + LANES])
        lanes = LANES
        while lanes > 1:
            lanes //= 2
            sums = sums[:, :lanes] + sums[:, lanes:]
        return sums[:, 0]


def _like(tensor: Tensor, number: float) -> Tensor:
    """A number beside a tensor: by a plain Python number CUDA does not divide, it multiplies by the inverse."""
    return torch.full((), number, device=tensor.device)


def _attempts(best: Tensor) -> Iterator[Tensor]:
    """The parts to try, given those that are best so far: wide steps first, then narrow ones about the best."""
    for coarse in COARSE:
        yield torch.full_like(best, coarse)
    middle = best.clone()
    for near in NEAR:
        yield middle + near
