"""GPTQ: a weight is rounded column by column, and the columns not yet rounded make up for what is lost.

Source: Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, 2022 (arXiv 2210.17323). Where we differ: in the order of importance
the groups stay those of the columns' own places, with scales fixed beforehand ("static groups"), so that a server
needs no table of columns; and scales are searched for, with each column's share in the layer's error.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from modelpress.calibrate.curvature import Curvature, curvature
from modelpress.calibrate.integers import IntegerFormat, RoundedWeight, Scales
from modelpress.calibrate.statistics import InputStatistics
from modelpress.calibrate.sweep import Rounding, sweep

#: Whether columns are rounded as they stand, or those first whose inputs are largest.
ColumnOrder = Literal["natural", "importance"]

#: Columns decided before what they lose is taken to all that follow, by one matrix product.
BLOCK = 128


def round_weight(
    weight: Tensor,
    statistics: InputStatistics,
    *,
    format: IntegerFormat,
    order: ColumnOrder = "importance",
    damping: float = 0.01,
) -> RoundedWeight:
    """The integers that keep the layer's outputs nearest, found greedily.

    Layers that share inputs may be given as one weight, row under row: no row depends on another.

    Shapes: weight float32 [rows, columns], which stays as it is.
    """
    known = curvature(statistics.gram, damping=damping, most_important_first=order == "importance")
    columns = weight.T.clone(memory_format=torch.contiguous_format)
    group = format.group(len(columns))
    scales = format.fit_columns(columns, known.importance)
    groups = torch.arange(len(columns), device=weight.device) // group
    if known.order is not None:
        columns, groups = columns[known.order], groups[known.order]
    integers = torch.empty(columns.shape, dtype=torch.int8, device=weight.device)
    refit = known.order is None and group < len(columns)
    belongs = groups.tolist()
    for block in _blocks(len(columns), group if refit else len(columns)):
        if refit and block.start % group == 0:
            _fit_again(scales, columns, known, format=format, at=block.start, group=group)
        rounding = Rounding(format=format, scales=scales, groups=belongs[block])
        integers[block], errors = sweep(columns[block], known.factor[block, block], rounding=rounding)
        columns[block.stop :].addmm_(known.factor[block, block.stop :].T, errors, alpha=-1)
    if known.order is not None:
        integers[known.order] = integers.clone()
    return format.rounded(integers.T.contiguous(), scales)


def _blocks(columns: int, group: int) -> list[slice]:
    """Runs of at most BLOCK columns; one begins wherever a group does."""
    starts = [start for first in range(0, columns, group) for start in range(first, min(first + group, columns), BLOCK)]
    return [slice(start, stop) for start, stop in zip(starts, [*starts[1:], columns], strict=True)]


def _fit_again(
    scales: Scales, columns: Tensor, known: Curvature, *, format: IntegerFormat, at: int, group: int
) -> None:
    """Scales for what the group that begins at this column has become."""
    columns_of = slice(at, at + group)
    found = format.fit_columns(columns[columns_of], known.importance[columns_of])
    scales.scale[at // group] = found.scale[0]
    if scales.zero is not None and found.zero is not None:
        scales.zero[at // group] = found.zero[0]
