"""SmoothQuant: what makes activations hard to round, a few large columns, is moved into the weights.

Source: Xiao, Lin, Seznec, Wu, Demouth, Han: SmoothQuant, 2022 (arXiv 2211.10438): s = max|x|^a / max|w|^(1 - a), for
inputs that norms make. Where we differ, both by measurement (SmolLM2-135M, INT8-PTQ, divergence in nats a token on text
like the calibration's and on a licence; 0.0292 and 0.0411 without any scales):

- A column's inputs are as large as the root of their mean square. The largest |x| belongs to a few tokens, often to the
  first alone, and tokens are rounded by scales of their own; what makes all others hard to round is a column that is
  large in every token. With the norms' inputs alone: 0.0150 and 0.0223 by the largest, 0.0135 and 0.0184 by the root
  (by the largest, with a = 0.8: 0.0135 and 0.0224).
- Inputs that linear layers make are smoothed too, those of the output and down projections: then 0.0087 and 0.0160.

Done block by block, with weights swept as GPTQ does, it leaves 0.0079 and 0.0127. Of the 0.0292, 0.0048 is the weights'
share: how these are rounded matters less.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from modelpress.calibrate.architecture import Fold
from modelpress.calibrate.fold import tied
from modelpress.calibrate.statistics import InputStatistics

#: How much of it goes into the weights: the paper's usual half.
STRENGTH = 0.5

#: Least and largest scale: a column that is never used must not blow the weights of others' rows up.
_LEAST, _MOST = 1e-4, 1e4


def choose_scales(weights: Sequence[Tensor], statistics: InputStatistics, *, strength: float, fold: Fold) -> Tensor:
    """The scales s = rms(x)^strength / max|w|^(1 - strength) of the input's columns; 1 for columns that are zero.

    Shapes: weights [rows, columns] of all layers that share the input -> float32 [columns].
    """
    squares = statistics.gram.diagonal() / max(statistics.tokens, 1)
    inputs = tied(squares, fold, reduce="mean").sqrt()
    columns = torch.stack([weight.abs().amax(dim=0).float() for weight in weights]).amax(dim=0)
    largest = tied(columns, fold, reduce="amax")
    scales = inputs**strength / largest ** (1 - strength)
    sound = (inputs > 0) & (largest > 0)
    return torch.where(sound, scales, 1.0).clamp(_LEAST, _MOST)
