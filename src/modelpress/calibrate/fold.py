"""Scales of a layer's input, put into the weights around it so that the model's function stays what it was.

The columns of all layers that read an input are multiplied by s, the rows of what makes it divided by s. Both sides are
rounded to the model's dtype or to integers; what the division truly came to after that is told, so that the readers can
make up for it where they still can.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modelpress.calibrate.architecture import Fold


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided:
    """What becomes of a fold's source."""

    weight: Tensor
    bias: Tensor | None
    #: [columns]: what the readers' columns are to be multiplied by. It is what was asked for, but for the rounding
    #: of the source.
    scales: Tensor


def rows_of(fold: Fold, *, columns: int, device: torch.device | None = None) -> Tensor:
    """For each column of the readers the source's row that makes it: int64 [columns]."""
    column = torch.arange(columns, device=device)
    head = column.div(fold.width * fold.repeats, rounding_mode="floor")
    return fold.first_row + head * fold.width + column % fold.width


def divide(weight: Tensor, *, bias: Tensor | None, fold: Fold, scales: Tensor) -> Divided:
    """The source with its rows divided by the scales.

    A layer that is rounded already keeps its integers: its scales [rows, groups] are divided in its weight's place.
    With one group a row, and for a norm, what is told of the division is exact; else it holds on average over the row,
    and the rounding of each group's scale stays (bf16: 0.2 % at most).
    Shapes: weight [rows] of a norm, [rows, n] of a linear layer; bias [rows]; scales [columns], positive, and equal
    where one row makes several columns (:func:`tied`). Rows that no column reads stay as they are. The scales' dtype,
    float32 at least, is what is computed in.
    """
    rows = rows_of(fold, columns=len(scales), device=scales.device)
    divisors = torch.ones(len(weight), dtype=scales.dtype, device=scales.device).index_copy_(0, rows, scales)
    wide = weight.to(scales.dtype).reshape(len(weight), -1) + fold.norm_offset
    divided = (wide / divisors[:, None] - fold.norm_offset).to(weight.dtype)
    before, after = wide.abs().sum(dim=1), (divided.to(scales.dtype) + fold.norm_offset).abs().sum(dim=1)
    true = torch.where((before > 0) & (after > 0), before / after, divisors)
    return Divided(
        weight=divided.reshape(weight.shape),
        bias=None if bias is None else (bias.to(scales.dtype) / true).to(bias.dtype),
        scales=true[rows],
    )


def multiply_columns(weight: Tensor, scales: Tensor) -> Tensor:
    """A reader's weight [rows, columns] for an input that was divided by the scales, in the scales' dtype."""
    return weight.to(scales.dtype) * scales


def tied(values: Tensor, fold: Fold, *, reduce: str) -> Tensor:
    """``values`` [columns] with one value for all columns that one row of the source makes: their "mean" or "amax"."""
    if fold.repeats == 1:
        return values
    heads = values.reshape(-1, fold.repeats, fold.width)
    one = heads.amax(dim=1, keepdim=True) if reduce == "amax" else heads.mean(dim=1, keepdim=True)
    return one.expand_as(heads).reshape(-1)


def apply(fold: Fold, block: nn.Module, scales: Tensor) -> Tensor:
    """Fold scales into a block of weights that are not rounded yet, in place; gives the scales as they truly are.

    The block's function is unchanged, but for the rounding of its weights to their dtype.
    """
    source = block.get_submodule(fold.source)
    bias = getattr(source, "bias", None)
    divided = divide(source.weight, bias=bias, fold=fold, scales=scales)
    with torch.no_grad():
        source.weight.copy_(divided.weight)
        if bias is not None:
            bias.copy_(divided.bias)
        for reader in fold.readers:
            weight = block.get_submodule(reader).weight
            weight.copy_(multiply_columns(weight, divided.scales))
    return divided.scales
