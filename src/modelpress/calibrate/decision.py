"""What a few columns of a weight become, each making up for what those before it lost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from modelpress.calibrate import native
from modelpress.calibrate.integers import IntegerFormat, Scales
from modelpress.tensors.kernel.sweep import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """The integers that columns become: column i by the scales of group ``groups[i]``."""

    format: IntegerFormat
    scales: Scales
    groups: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Zeroing:
    """Which entries become zero: those of ``mask``, or in each row so many of each few columns, what costs least."""

    #: bool [columns, rows].
    mask: Tensor | None = None
    #: (2, 4): two of each four columns.
    pattern: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is done to columns, one after another: entries become zero, the others integers, or both."""

    rounding: Rounding | None = None
    zeroing: Zeroing | None = None


def decide(columns: Tensor, factor: Tensor, decision: Decision) -> tuple[Tensor, Tensor]:
    """Decide these columns, from the first to the last; their integers, and what the columns beyond must make up for.

    ``columns`` then holds what was decided. The errors times factor[these, beyond] are to be subtracted from those.

    Shapes: columns float32 [count, rows], factor [count, count], upper -> integers int8 [count, rows], none where
            nothing is rounded, and errors [count, rows].
    """
    integers = torch.empty(columns.shape if decision.rounding else (0,), dtype=torch.int8, device=columns.device)
    errors = torch.empty_like(columns)
    sweeps = native.sweeps_for(columns)
    if sweeps is not None:
        native.decide(sweeps, _block(columns, factor, decision, integers=integers, errors=errors))
        return integers, errors
    zeros = _Zeros(columns, factor, decision.zeroing)
    for index, column in enumerate(columns):
        decided = zeros.put(column, index)
        if decision.rounding is not None:
            decided, levels = _round(decided, decision.rounding, index)
            integers[index] = levels
        error = torch.sub(column, decided, out=errors[index]).div_(factor[index, index])
        column.copy_(decided)
        # Two operations, each rounded: a multiply-add would give other bytes than the C kernel.
        columns[index + 1 :] -= error * factor[index, index + 1 :, None]
    return integers, errors


def _block(columns: Tensor, factor: Tensor, decision: Decision, *, integers: Tensor, errors: Tensor) -> Block:
    """The same for the C kernel."""
    block = Block(columns=native.array(columns), errors=native.array(errors), factor=native.array(factor.contiguous()))
    rounding, zeroing = decision.rounding, decision.zeroing
    if rounding is not None:
        block = replace(
            block,
            integers=native.array(integers),
            scales=native.array(rounding.scales.scale),
            zeros=None if rounding.scales.zero is None else native.array(rounding.scales.zero),
            groups=np.array(rounding.groups, dtype=np.int32),
            grid=native.GRIDS[rounding.format.dtype],
            bits=rounding.format.bits,
        )
    if zeroing is not None:
        mask = None if zeroing.mask is None else native.array(zeroing.mask.view(torch.uint8))
        block = replace(block, mask=mask, pattern=zeroing.pattern)
    return block


class _Zeros:
    """Which entries of the columns become zero, known when their turn comes."""

    def __init__(self, columns: Tensor, factor: Tensor, zeroing: Zeroing | None) -> None:
        self._columns, self._diagonal = columns, factor.diagonal()[:, None]
        self._mask = None if zeroing is None else zeroing.mask
        self._pattern = None if zeroing is None else zeroing.pattern

    def put(self, column: Tensor, index: int) -> Tensor:
        """The column with its zeros."""
        if self._pattern is not None:
            zeros, of = self._pattern
            if index % of == 0:
                few = slice(index, index + of)
                self._mask = least(costs(self._columns[few], self._diagonal[few]), zeros)
            index %= of
        return column if self._mask is None else column.masked_fill(self._mask[index], 0)


def costs(columns: Tensor, diagonal: Tensor) -> Tensor:
    """What it costs the layer to make each entry zero, where the columns after it make up for it: (w / U_ii)²."""
    return (columns / diagonal).square_()


def least(numbers: Tensor, count: int) -> Tensor:
    """Which ``count`` along the first axis are the least, the earlier of equals; that axis is short."""
    places = [
        sum((other < one) | ((other == one) if before < place else False) for before, other in enumerate(numbers))
        for place, one in enumerate(numbers)
    ]
    return torch.stack(places) < count


def _round(column: Tensor, rounding: Rounding, index: int) -> tuple[Tensor, Tensor]:
    """What a server has for the column, and its integers."""
    scales, group = rounding.scales, rounding.groups[index]
    scale, zero = scales.scale[group], None if scales.zero is None else scales.zero[group]
    levels = rounding.format.place(column, scale=scale, zero=zero)
    return rounding.format.value(levels, scale=scale, zero=zero), levels.to(torch.int8)
