"""The methods by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from modelpress.calibrate import awq, gptq, smoothquant
from modelpress.calibrate.architecture import Fold
from modelpress.calibrate.block_method import BlockMethod, by_groups
from modelpress.calibrate.block_work import BlockWork
from modelpress.calibrate.integers import IntegerFormat, RoundedWeight
from modelpress.calibrate.scaling import by_scaled_groups
from modelpress.calibrate.statistics import InputStatistics
from modelpress.calibrate.structured_method import prune_structure
from modelpress.domain.method import Method
from modelpress.domain.tuning import DEFAULT_DAMPENING


def _gptq(work: BlockWork, names: Sequence[str], statistics: InputStatistics) -> None:
    for format, members in work.by_format(names):
        weights = [work.weight(name) for name in members]
        rounded = _swept(work, torch.cat(weights), statistics, format=format)
        for name, part in zip(members, rounded.split([len(weight) for weight in weights]), strict=True):
            work.finish_rounded(name, part)


def _swept(work: BlockWork, weight: Tensor, statistics: InputStatistics, *, format: IntegerFormat) -> RoundedWeight:
    tuning = work.recipe.tuning
    return gptq.round_weight(
        weight,
        statistics,
        format=format,
        order="natural" if tuning is not None and tuning.act_order is False else "importance",
        damping=(tuning.dampening if tuning is not None else None) or DEFAULT_DAMPENING,
    )


def _by_loss(
    work: BlockWork, weight: Tensor, statistics: InputStatistics, *, format: IntegerFormat, fold: Fold
) -> Tensor:
    return awq.choose_scales(weight, statistics, format=format, fold=fold)


def _by_largest(
    work: BlockWork, weight: Tensor, statistics: InputStatistics, *, format: IntegerFormat, fold: Fold
) -> Tensor:
    tuning = work.recipe.tuning
    strength = None if tuning is None else tuning.smoothing_strength
    strength = smoothquant.STRENGTH if strength is None else strength
    return smoothquant.choose_scales(weight, statistics, strength=strength, fold=fold)


METHODS: Mapping[Method, BlockMethod] = {
    Method.GPTQ: by_groups(_gptq),
    Method.AWQ: by_scaled_groups(_by_loss, _swept),
    Method.SMOOTHQUANT: by_scaled_groups(_by_largest, _swept, norms_alone=True, sizes=True),
    Method.STRUCTURED: prune_structure,
}
