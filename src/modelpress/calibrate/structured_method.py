"""Structured pruning as a method of the engine: each block's neurons are chosen when what reaches them is known.

What a block computes with from then on is the repaired weight with zeros for the neurons that went, so that the blocks
behind it see what the narrower model gives them; what the output gets has neither those columns nor the rows before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from modelpress.calibrate.block_method import LEAST_TOKENS, BlockPass
from modelpress.calibrate.block_work import BlockWork
from modelpress.calibrate.decoder import run
from modelpress.calibrate.lockstep import Group
from modelpress.calibrate.statistics import InputStatistics
from modelpress.calibrate.structured import choose_blocks, choose_neurons, cosine_distance, lost, repair
from modelpress.domain.tuning import DEFAULT_DAMPENING
from modelpress.tensors.structure import Structure, UnmadeRows

_WEIGHT = ".weight"
#: What is told of a block whose distance was measured, under the name of no layer.
DISTANCE = "distance"


def prune_structure(work: BlockWork, through: BlockPass) -> Iterable[Tensor]:
    """Narrow the block's feed-forward parts as planned; a :data:`modelpress.calibrate.block_method.BlockMethod`."""
    narrowing = [group for group in through.groups if not work.narrowed.isdisjoint(group.names)]

    def treat(group: Group, statistics: InputStatistics) -> None:
        for name in group.names:
            if name in work.narrowed:
                _narrow(work, name, statistics)

    outputs = replace(through, groups=narrowing).go(work.blocks, treat)
    _copy_the_rest(work)
    return outputs


def measure_distance(work: BlockWork, through: BlockPass) -> Iterable[Tensor]:
    """Change nothing, and tell how far the block turns hidden states, on the average of all tokens."""
    distances: list[float] = []
    outputs: list[Tensor] = []
    for number, (hidden, call) in enumerate(through.batches):
        output = run(work.block, hidden, call)
        distances.append(cosine_distance(hidden.flatten(0, 1), output.flatten(0, 1)) * hidden[..., 0].numel())
        outputs.append(output.cpu())
        through.tick((number + 1) / len(through.batches))
    work.tell("", **{DISTANCE: sum(distances) / sum(output[..., 0].numel() for output in outputs)})
    return outputs


def staying_blocks(measured: Sequence[Mapping[str, Any]], structure: Structure) -> list[int]:
    """The blocks that stay, by what :func:`measure_distance` told of each."""
    distances = torch.tensor([block["layers"][""][DISTANCE] for block in measured], dtype=torch.float64)
    staying: list[int] = choose_blocks(distances, structure.blocks - structure.kept_blocks).tolist()
    return staying


def _narrow(work: BlockWork, name: str, statistics: InputStatistics) -> None:
    """Choose neurons of the part that ``name`` ends, fit its weight to what stays, and cut what leads there."""
    before = work.weight(name)
    columns = before.shape[1]
    keep = work.steps[f"{name}{_WEIGHT}"].source.shape[1]
    starved = statistics.tokens < LEAST_TOKENS
    if starved:
        kept = _largest(work, name, keep)
        after = before[:, kept]
    else:
        damping = (work.recipe.tuning.dampening if work.recipe.tuning is not None else None) or DEFAULT_DAMPENING
        kept = choose_neurons(statistics.gram, before, keep, dampening=damping)
        after = repair(before, statistics.gram, kept, dampening=damping)
    within = torch.zeros_like(before)
    within[:, kept] = after
    work.set_weight(name, within)
    work.replaced[f"{name}{_WEIGHT}"] = work.block.get_submodule(name).weight.detach()[:, kept]
    for parameter in _feeding(work, name):
        tensor = work.block.get_parameter(parameter).detach()
        # Gate and up may be one tensor, one after the other.
        halves = range(0, len(tensor), columns)
        work.replaced[parameter] = tensor[torch.cat([kept + start for start in halves])]
    facts = {"starved": True} if starved else {"error": lost(before, statistics.gram, kept, after)}
    work.tell(name, tokens=statistics.tokens, neurons=keep, neurons_before=columns, **facts)


def _feeding(work: BlockWork, name: str) -> list[str]:
    """The parameters whose rows are the neurons of the part that layer ``name`` ends."""
    part = _parent(name)
    return [
        parameter
        for parameter in _unmade(work)
        if _parent(_parent(parameter)) == part
        and _parent(parameter) != name
        and work.steps[parameter].source.shape != tuple(work.block.get_parameter(parameter).shape)
    ]


def _largest(work: BlockWork, name: str, keep: int) -> Tensor:
    """The neurons with the largest weights, where too few tokens tell how active they are."""
    before = work.weight(name)
    sizes = before.square().sum(dim=0)
    for parameter in _feeding(work, name):
        tensor = work.block.get_parameter(parameter).detach().float()
        if tensor.ndim == 2:
            for half in tensor.split(before.shape[1]):
                sizes = sizes * half.square().sum(dim=1)
    return torch.sort(torch.sort(sizes, descending=True, stable=True).indices[:keep]).values


def _copy_the_rest(work: BlockWork) -> None:
    """Blocks that are numbered anew bring all their tensors along."""
    for parameter in _unmade(work):
        if parameter not in work.replaced:
            work.replaced[parameter] = work.block.get_parameter(parameter).detach()


def _unmade(work: BlockWork) -> list[str]:
    return [parameter for parameter, step in work.steps.items() if isinstance(step.rows, UnmadeRows)]


def _parent(name: str) -> str:
    return name.rpartition(".")[0]
