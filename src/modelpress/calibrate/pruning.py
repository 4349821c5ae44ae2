"""Pruning of single weights: SparseGPT, Wanda and by magnitude. Results are as large as before, with zeros in them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modelpress.calibrate.curvature import curvature
from modelpress.calibrate.decision import Decision
from modelpress.calibrate.statistics import InputStatistics
from modelpress.calibrate.sweep import sweep
from modelpress.calibrate.zeros import TOGETHER, Choice, least_of_few, least_of_rows, pattern_of
from modelpress.domain.sparsity import Sparsity

#: Weights compared at a time. Bounds the intermediates to about 30 MB, whatever the weight.
_AT_ONCE = 1 << 20


def prune(
    weight: Tensor,
    statistics: InputStatistics,
    *,
    sparsity: Sparsity,
    damping: float = 0.1,
    layers: Sequence[int] = (),
) -> Tensor:
    """SparseGPT: what costs the layer's outputs least becomes zero, and what is left makes up for it.

    Each layer meets the ratio for itself: ``layers`` says how many rows each has that the weight is made of, row under
    row. Where we differ from the paper: see :class:`modelpress.calibrate.zeros.Choice`.

    Shapes: weight float32 [rows, columns], which stays as it is -> [rows, columns].
    Source: Frantar, Alistarh: SparseGPT, 2023 (arXiv 2301.00774).
    """
    known = curvature(statistics.gram, damping=damping, most_important_first=False)
    columns = weight.T.clone(memory_format=torch.contiguous_format)
    choice = Choice(sparsity, columns, known.factor.diagonal(), layers=layers)
    sweep(columns, known.factor, choose=lambda few: Decision(zeroing=choice.of(few)), panel=TOGETHER)
    return columns.T.contiguous()


def prune_by_wanda(weight: Tensor, statistics: InputStatistics, *, sparsity: Sparsity) -> Tensor:
    """Wanda: in each row, what is least in size times the size of its inputs becomes zero; the rest stays as it is.

    Source: Sun, Liu, Bair, Kolter: A Simple and Effective Pruning Approach for Large Language Models, 2023
            (arXiv 2306.11695).
    """
    return _pruned(weight, statistics.gram.diagonal().sqrt(), sparsity)


def prune_by_magnitude(weight: Tensor, *, sparsity: Sparsity) -> Tensor:
    """In each row, what is least in size becomes zero; the rest stays as it is."""
    return _pruned(weight, torch.ones(weight.shape[1], device=weight.device), sparsity)


def _pruned(weight: Tensor, sizes: Tensor, sparsity: Sparsity) -> Tensor:
    rows, columns = weight.shape
    pruned = torch.empty_like(weight)
    step = max(1, _AT_ONCE // columns)
    for start in range(0, rows, step):
        part = weight[start : start + step]
        cost = part.abs() * sizes
        if sparsity.pattern == "unstructured":
            mask = least_of_rows(cost, round(sparsity.ratio * columns))
        else:
            mask = least_of_few(cost, pattern_of(sparsity, columns))
        pruned[start : start + step] = part.masked_fill(mask, 0)
    return pruned
