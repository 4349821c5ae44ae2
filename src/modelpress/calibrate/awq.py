"""AWQ: columns whose inputs are large are scaled up before they are rounded, and so lose less.

Source: Lin, Tang, Tang, Yang, Dang, Han: AWQ, 2023 (arXiv 2306.00978): scales are x^r, with x how large a column's
inputs are, and the r that loses the least is looked for. Where we differ:

- The loss is that of the layers' outputs over all tokens of the calibration, and no forward pass is run to find it: the
  sum over tokens of |(W' - W) x|² is tr((W' - W) G (W' - W)ᵀ) with G = Σ x xᵀ, which the statistics hold.
- x is the root of a column's mean square, which G's diagonal holds, not its mean size: measured on SmolLM2-135M it lost
  as much or less in nearly every kind of layer, also beside x^r / w^(1 - r), w the column's mean weight.
- Clipping, which the paper searches for after scaling, is part of how scales of integers are fitted, in every trial.
- The scaled weight is then not rounded to the nearest but swept as GPTQ does (`methods.py`): the two add up. There, the
  layers' error was a quarter to a half of what scaling alone left, and up to 9 % less than what the sweep alone left.
  The model's perplexity, 14.87 in bf16, became 16.29 so, 17.54 by scaling alone, and 16.11 by the sweep alone (W4A16 in
  groups of 64, 4,096 tokens of calibration): which of the two loses less depends on the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modelpress.calibrate.architecture import Fold
from modelpress.calibrate.fold import multiply_columns, tied
from modelpress.calibrate.integers import IntegerFormat
from modelpress.calibrate.statistics import InputStatistics

#: Rows of all weights that scales are chosen by. Bounds the time of the choice, whatever the layers.
ROWS = 512

#: Ratios r are this far apart, as in the paper.
_STEPS = 20

#: Larger ratios are not tried once so many in a row lost more than the best.
_WORSE_IN_A_ROW = 4

#: Scales are at most so far from 1. Beyond, a column is dead in the calibration, or belongs to a few tokens alone.
_FURTHEST = 1e3


def choose_scales(
    weights: Sequence[Tensor], statistics: InputStatistics, *, format: IntegerFormat, fold: Fold
) -> Tensor:
    """The scales of the input's columns, so that rounding the scaled weight loses the least of its outputs.

    No scaling is among what is tried: by these statistics, rounding the rows they are chosen by loses no more with the
    scales than without.

    Shapes: weights [rows, columns] of all layers that share the input -> float32 [columns].
    """
    weight = _some_rows(weights)
    sizes = tied(statistics.gram.diagonal() / max(statistics.tokens, 1), fold, reduce="mean").sqrt()
    best = torch.ones_like(sizes)
    least = lost(weight, statistics.gram, scales=best, format=format)
    worse = 0
    for step in range(1, _STEPS):
        scales = _about_one(sizes ** (step / _STEPS))
        loss = lost(weight, statistics.gram, scales=scales, format=format)
        if loss < least:
            best, least, worse = scales, loss, 0
        else:
            worse += 1
            if worse == _WORSE_IN_A_ROW:
                break
    return best


def lost(weight: Tensor, gram: Tensor, *, scales: Tensor, format: IntegerFormat) -> float:
    """The squared error of the outputs, summed over rows and tokens, where the weight is rounded when scaled.

    Shapes: weight float32 [rows, columns], gram [columns, columns], scales [columns].
    """
    scaled = multiply_columns(weight, scales)
    found = format.fit(scaled, gram.diagonal() / scales.square())
    error = format.round_nearest(scaled, found).dense().float().div_(scales).sub_(weight)
    return float(((error @ gram) * error).sum(dtype=torch.float64))


def _some_rows(weights: Sequence[Tensor]) -> Tensor:
    """Rows taken evenly from all the weights: ROWS or a little more, if there are as many. float32."""
    step = max(1, sum(len(weight) for weight in weights) // ROWS)
    return torch.cat([weight[::step].float() for weight in weights])


def _about_one(scales: Tensor) -> Tensor:
    """With 1 in the middle between the smallest and the largest; 1 for columns that have none."""
    sound = scales > 0
    if not sound.any():
        return torch.ones_like(scales)
    middle = (scales[sound].amin() * scales[sound].amax()).sqrt()
    return torch.where(sound, scales / middle, 1.0).clamp(1 / _FURTHEST, _FURTHEST)
