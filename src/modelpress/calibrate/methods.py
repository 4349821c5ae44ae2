"""The methods by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from modelpress.calibrate import gptq
from modelpress.calibrate.block_method import BlockMethod, by_groups
from modelpress.calibrate.block_work import BlockWork
from modelpress.calibrate.integers import IntegerFormat
from modelpress.calibrate.statistics import InputStatistics
from modelpress.domain.method import Method
from modelpress.domain.tuning import DEFAULT_DAMPENING


def _gptq(work: BlockWork, names: Sequence[str], statistics: InputStatistics) -> None:
    tuning = work.recipe.tuning
    for format, members in _by_format(work, names):
        weights = [work.weight(name) for name in members]
        rounded = gptq.round_weight(
            torch.cat(weights),
            statistics,
            format=format,
            order="natural" if tuning is not None and tuning.act_order is False else "importance",
            damping=(tuning.dampening if tuning is not None else None) or DEFAULT_DAMPENING,
        )
        for name, part in zip(members, rounded.split([len(weight) for weight in weights]), strict=True):
            work.finish_rounded(name, part)


def _by_format(work: BlockWork, names: Sequence[str]) -> list[tuple[IntegerFormat, list[str]]]:
    """The layers that get the same integers together: their weights are treated as one."""
    found: dict[IntegerFormat, list[str]] = {}
    for name in names:
        found.setdefault(work.formats[name], []).append(name)
    return list(found.items())


METHODS: Mapping[Method, BlockMethod] = {Method.GPTQ: by_groups(_gptq)}
