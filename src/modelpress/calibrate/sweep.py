"""One pass over columns of a weight: each is decided, and what that loses is made up for by those after it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from modelpress.calibrate.integers import IntegerFormat, Scales


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """The integers that columns become: column i by the scales of group ``groups[i]``."""

    format: IntegerFormat
    scales: Scales
    groups: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Zeroing:
    """Which entries of columns become zero: those of ``mask``, bool [columns, rows], or so many of each few columns."""

    mask: Tensor | None = None
    #: (2, 4): in every row the two of each four columns that cost the least.
    pattern: tuple[int, int] | None = None


def sweep(
    columns: Tensor, factor: Tensor, *, rounding: Rounding | None = None, zeroing: Zeroing | None = None
) -> tuple[Tensor, Tensor]:
    """Decide these columns, from the first to the last; their integers, and what the columns beyond must make up for.

    ``columns`` then holds what was decided. The errors times factor[these, beyond] are to be subtracted from those.

    Shapes: columns float32 [count, rows], factor [count, count], upper -> integers int8 [count, rows], none where
            nothing is rounded, and errors [count, rows].
    Source: Frantar et al. 2022 (GPTQ), Frantar & Alistarh 2023 (SparseGPT).
    """
    integers = torch.zeros(columns.shape if rounding else (0,), dtype=torch.int8, device=columns.device)
    errors = torch.empty_like(columns)
    mask = None if zeroing is None else zeroing.mask
    for index, column in enumerate(columns):
        if zeroing is not None and zeroing.pattern is not None:
            zeros, of = zeroing.pattern
            if index % of == 0:
                few = slice(index, index + of)
                mask = _least(columns[few].square() / factor.diagonal()[few, None].square(), zeros)
            gone = None if mask is None else mask[index % of]
        else:
            gone = None if mask is None else mask[index]
        decided = column if gone is None else column.masked_fill(gone, 0)
        if rounding is not None:
            scales, group = rounding.scales, rounding.groups[index]
            scale, zero = scales.scale[group], None if scales.zero is None else scales.zero[group]
            levels = rounding.format.place(decided, scale=scale, zero=zero)
            integers[index] = levels.to(torch.int8)
            decided = rounding.format.value(levels, scale=scale, zero=zero)
        error = torch.sub(column, decided, out=errors[index]).div_(factor[index, index])
        column.copy_(decided)
        # Two operations, each rounded: a multiply-add would give other bytes than the C kernel.
        columns[index + 1 :] -= error * factor[index, index + 1 :, None]
    return integers, errors


def _least(costs: Tensor, count: int) -> Tensor:
    """Which ``count`` of the first axis are the least, the earlier of equals."""
    return costs.sort(dim=0, stable=True).indices.argsort(dim=0) < count
