"""Layers for the tests of methods: weights and inputs as models have them, small."""

from __future__ import annotations

import torch
from torch import Tensor

from modelpress.calibrate.statistics import InputStatistics


def weight(rows: int, columns: int, *, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """float32 [rows, columns] of numbers of ``dtype``."""
    random = torch.Generator().manual_seed(seed)
    return (torch.randn(rows, columns, generator=random) * 0.05).to(dtype).float()


def inputs(tokens: int, columns: int, *, seed: int) -> Tensor:
    """Correlated, some columns far larger than others."""
    random = torch.Generator().manual_seed(seed + 1)
    mixing = torch.randn(columns, columns, generator=random) / columns**0.5 + torch.eye(columns)
    sizes = torch.rand(columns, generator=random).mul(4).exp() / 10
    return torch.randn(tokens, columns, generator=random) @ mixing * sizes


def statistics(tokens: int, columns: int, *, seed: int, dead: tuple[int, ...] = ()) -> InputStatistics:
    """Of :func:`inputs`, with these columns zero."""
    seen = inputs(tokens, columns, seed=seed)
    seen[:, list(dead)] = 0
    found = InputStatistics(columns, device=seen.device)
    found.add(seen)
    return found


def layer_error(before: Tensor, after: Tensor, known: InputStatistics) -> float:
    """The squared error of the layer's outputs over the calibration, in float64."""
    lost = before.double() - after.double()
    return float(((lost @ known.gram.double()) * lost).sum())
