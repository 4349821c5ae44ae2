"""Methods that scale a group's input before they round its layers, and undo it in what makes that input.

Within a block's pass the input is what it was: what has gone through the source already is not run again. So a layer
that is finished computes with its rounded weight divided by the scales, which is the same function. What the output
gets is the divided source, and the rounded weight as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from modelpress.calibrate.architecture import Fold, fold_before
from modelpress.calibrate.block_method import LEAST_TOKENS, BlockMethod, BlockPass, relative_error
from modelpress.calibrate.block_work import BlockWork
from modelpress.calibrate.discovery import folds_in
from modelpress.calibrate.fold import divide, multiply_columns
from modelpress.calibrate.integers import IntegerFormat, RoundedWeight
from modelpress.calibrate.lockstep import Group
from modelpress.calibrate.statistics import InputStatistics


class ScaleChooser(Protocol):
    """Chooses the scales of a group's input."""

    def __call__(
        self,
        work: BlockWork,
        weights: Sequence[Tensor],
        statistics: InputStatistics,
        *,
        format: IntegerFormat,
        fold: Fold,
    ) -> Tensor:
        """Shapes: weights [rows, columns] of the block's dtype, of the layers that read it -> float32 [columns]."""


class Rounder(Protocol):
    """Rounds layers that share an input, row under row."""

    def __call__(
        self, work: BlockWork, weight: Tensor, statistics: InputStatistics, *, format: IntegerFormat
    ) -> RoundedWeight:
        """Shapes: weight float32 [rows, columns]."""


def by_scaled_groups(choose: ScaleChooser, round: Rounder) -> BlockMethod:
    """The block method that scales each group's input where there is a place for it, and rounds the group.

    Layers behind a router share the scales of the norm before it, chosen by all tokens; an expert that too few tokens
    reach is rounded to the nearest, scaled as the others are.
    """

    def method(work: BlockWork, through: BlockPass) -> Iterable[Tensor]:
        folds = folds_in(work.block, through.batches[0])
        scaled = _ScaledBlock(work=work, choose=choose, round=round, folds=folds)
        groups = _with_routers(through.groups, folds, work)
        return replace(through, groups=groups).go(work.blocks, scaled.treat)

    return method


@dataclass(slots=True, kw_only=True)
class _ScaledBlock:
    """A block on its way: which scales are chosen, and by which its layers' inputs are divided in the output."""

    work: BlockWork
    choose: ScaleChooser
    round: Rounder
    folds: Sequence[Fold]
    #: [columns], by reader.
    divisors: dict[str, Tensor] = field(default_factory=dict)

    def treat(self, group: Group, statistics: InputStatistics) -> None:
        fold = fold_before(group.names, self.folds)
        starved = statistics.tokens < LEAST_TOKENS
        if fold is not None and not starved and self.divisors.keys().isdisjoint(fold.readers):
            self._scale(fold, statistics)
        for format, names in self.work.by_format(group.names):
            if starved:
                self._finish_starved(names, statistics.tokens, format=format)
            else:
                self._finish(names, statistics, format=format)

    def _scale(self, fold: Fold, statistics: InputStatistics) -> None:
        """Choose a fold's scales, and change what the output gets of its source and of readers that are not rounded."""
        formats = self.work.by_format(fold.readers)
        if not formats:
            return
        format, names = formats[0]
        weights = [self.work.block.get_submodule(name).weight for name in names]
        scales = self.choose(self.work, weights, statistics, format=format, fold=fold)
        true = _divide_source(self.work, fold, scales)
        for reader in fold.readers:
            self.divisors[reader] = true
            if reader not in self.work.formats:
                weight = self.work.block.get_submodule(reader).weight
                self.work.replaced[f"{reader}.weight"] = multiply_columns(weight, true).to(weight.dtype)

    def _finish(self, names: Sequence[str], statistics: InputStatistics, *, format: IntegerFormat) -> None:
        work, divisors = self.work, self.divisors.get(names[0])
        weights = [work.weight(name) for name in names]
        joined, seen = torch.cat(weights), statistics
        if divisors is not None:
            joined, seen = multiply_columns(joined, divisors), statistics.divided_by(divisors)
        rounded = self.round(work, joined, seen, format=format)
        for name, weight, part in zip(names, weights, rounded.split([len(one) for one in weights]), strict=True):
            work.finish_rounded(name, part, divisors=divisors)
            work.tell(name, tokens=statistics.tokens, error=relative_error(work, name, weight, statistics))

    def _finish_starved(self, names: Sequence[str], tokens: int, *, format: IntegerFormat) -> None:
        for name in names:
            weight, divisors = self.work.weight(name), self.divisors.get(name)
            scaled = weight if divisors is None else multiply_columns(weight, divisors)
            self.work.finish_rounded(name, format.round_nearest(scaled), divisors=divisors)
            self.work.tell(name, tokens=tokens, starved=True)


def _divide_source(work: BlockWork, fold: Fold, scales: Tensor) -> Tensor:
    """Change what the output gets of a fold's source; gives what its rows were truly divided by, for each column."""
    source = work.block.get_submodule(fold.source)
    weight_name, bias_name = f"{fold.source}.weight", f"{fold.source}.bias"
    rounded = work.rounded.get(fold.source)
    weight = work.replaced.get(weight_name, source.weight) if rounded is None else rounded.scales
    bias = work.replaced.get(bias_name, getattr(source, "bias", None))
    divided = divide(weight, bias=bias, fold=fold, scales=scales)
    if rounded is None:
        work.replaced[weight_name] = divided.weight
    else:
        work.rounded[fold.source] = replace(rounded, scales=divided.weight)
    if divided.bias is not None:
        work.replaced[bias_name] = divided.bias
    return divided.scales


def _with_routers(groups: Sequence[Group], folds: Sequence[Fold], work: BlockWork) -> list[Group]:
    """The groups, and before the first expert's the router as a group of its own: it sees what all experts see."""
    found: list[Group] = []
    seen: set[str] = set()
    for group in groups:
        fold = fold_before(group.names, folds)
        if fold is not None and len(fold.readers) > len(group.names) and seen.isdisjoint(fold.readers):
            router = work.block.get_submodule(fold.readers[0])
            if fold.readers[0] not in group.names and ".experts." in group.names[0]:
                found.append(Group(names=(fold.readers[0],), columns=router.weight.shape[-1]))
            seen.update(fold.readers)
        found.append(group)
    return found
