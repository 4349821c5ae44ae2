"""GPTQ: a weight is rounded column by column, and the columns not yet rounded make up for what is lost.

Source: Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, 2022 (arXiv 2210.17323). Where we differ: in the order of importance
the groups stay those of the columns' own places, with scales fixed beforehand ("static groups"), so that a server
needs no table of columns; and scales are searched for, with each column's share in the layer's error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from modelpress.calibrate.curvature import Curvature, curvature
from modelpress.calibrate.decision import Decision, Rounding
from modelpress.calibrate.integers import IntegerFormat, RoundedWeight
from modelpress.calibrate.statistics import InputStatistics
from modelpress.calibrate.sweep import PANEL, sweep
from modelpress.calibrate.zeros import TOGETHER, Choice
from modelpress.domain.sparsity import Sparsity

#: Whether columns are rounded as they stand, or those first whose inputs are largest.
ColumnOrder = Literal["natural", "importance"]


def round_weight(
    weight: Tensor,
    statistics: InputStatistics,
    *,
    format: IntegerFormat,
    order: ColumnOrder = "importance",
    damping: float = 0.01,
    sparsity: Sparsity | None = None,
    layers: Sequence[int] = (),
) -> RoundedWeight:
    """The integers that keep the layer's outputs nearest, found greedily; with ``sparsity``, so many are 0 at least.

    Layers that share inputs may be given as one weight, row under row: no row depends on another. ``layers`` then says
    how many rows each has, for the sparsity of each.

    Shapes: weight float32 [rows, columns], which stays as it is.
    """
    assert sparsity is None or format.symmetric, "zeros are no integers where zero is not in the middle"
    if sparsity is not None and sparsity.pattern != "unstructured":
        order = "natural"  # neighbours are compared
    known = curvature(statistics.gram, damping=damping, most_important_first=order == "importance")
    work = _Work(weight, known, format, sparsity=sparsity)
    choice = None
    if sparsity is not None:
        choice = Choice(sparsity, work.columns, known.factor.diagonal(), layers=layers)

    def choose(few: slice) -> Decision:
        return Decision(rounding=work.rounding(few), zeroing=None if choice is None else choice.of(few))

    integers = sweep(
        work.columns,
        known.factor,
        choose=choose,
        group=work.group if work.refits else None,
        panel=PANEL if choice is None else TOGETHER,
    )
    if known.order is not None:
        integers[known.order] = integers.clone()
    return format.rounded(integers.T.contiguous(), work.scales)


class _Work:
    """A weight by columns in the order in which they are rounded, and the scales of its groups."""

    def __init__(self, weight: Tensor, known: Curvature, format: IntegerFormat, *, sparsity: Sparsity | None) -> None:
        self._known, self._format = known, format
        self.columns = weight.T.clone(memory_format=torch.contiguous_format)
        self.group = format.group(len(self.columns))
        self.scales = format.fit_columns(self.columns, known.importance)
        #: Whether the scales of a group are found again when its turn comes, for what it has become.
        self.refits = known.order is None and self.group < len(self.columns) and not _cuts(self.group, sparsity)
        groups = torch.arange(len(self.columns), device=weight.device) // self.group
        if known.order is not None:
            self.columns, groups = self.columns[known.order], groups[known.order]
        self._groups: list[int] = groups.tolist()

    def rounding(self, few: slice) -> Rounding:
        """What these columns become."""
        if self.refits and few.start % self.group == 0:
            self._fit(slice(few.start, few.start + self.group))
        return Rounding(format=self._format, scales=self.scales, groups=self._groups[few])

    def _fit(self, columns: slice) -> None:
        found = self._format.fit_columns(self.columns[columns], self._known.importance[columns])
        self.scales.scale[columns.start // self.group] = found.scale[0]
        if self.scales.zero is not None and found.zero is not None:
            self.scales.zero[columns.start // self.group] = found.zero[0]


def _cuts(group: int, sparsity: Sparsity | None) -> bool:
    """Whether a group's end may lie among neighbours that are compared."""
    return sparsity is not None and sparsity.pattern != "unstructured" and group % int(sparsity.pattern[-1]) != 0
