"""SmoothQuant: what makes activations hard to round, a few large columns, is moved into the weights.

Source: Xiao, Lin, Seznec, Wu, Demouth, Han: SmoothQuant, 2022 (arXiv 2211.10438).
"""

from __future__ import annotations

import torch
from torch import Tensor

from modelpress.calibrate.architecture import Fold
from modelpress.calibrate.fold import tied
from modelpress.calibrate.statistics import InputStatistics

#: How much of it goes into the weights: the paper's usual half.
STRENGTH = 0.5

#: Least and largest scale: a column that is never used must not blow the weights of others' rows up.
_LEAST, _MOST = 1e-4, 1e4


def choose_scales(weight: Tensor, statistics: InputStatistics, *, strength: float, fold: Fold) -> Tensor:
    """The scales s = max|x|^strength / max|w|^(1 - strength) of the input's columns; 1 for columns that are zero.

    Shapes: weight float32 [rows, columns], of all layers that share the input, row under row -> float32 [columns].
    """
    inputs = tied(statistics.largest, fold, reduce="amax")
    weights = tied(weight.abs().amax(dim=0), fold, reduce="amax")
    scales = inputs**strength / weights ** (1 - strength)
    sound = (inputs > 0) & (weights > 0)
    return torch.where(sound, scales, 1.0).clamp(_LEAST, _MOST)
