"""What a method is to the engine, and the way most go: group by group, as their statistics are complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from modelpress.calibrate.block_work import BlockWork
from modelpress.calibrate.lockstep import Batches, Group, pass_together, pass_twice
from modelpress.calibrate.statistics import InputStatistics

#: Fewer tokens than these say little of a layer's inputs: it is rounded to the nearest, and the report names it.
LEAST_TOKENS = 128


class BlockMethod(Protocol):
    """Does what is wanted to a block's layers."""

    def __call__(
        self,
        work: BlockWork,
        batches: Batches,
        groups: Sequence[Group],
        *,
        together: bool,
        tick: Callable[[float], None],
    ) -> Iterable[Tensor]:
        """The changed block's outputs for all batches, each of the shape of its hidden states.

        ``groups`` are those with a layer that is wanted. ``together``: whether what all batches' forwards hold within
        the block fits into memory. ``tick`` is told what share of the block is done, 0 to 1, and may raise to stop.
        """


#: What a method does with the wanted layers of a group, by name, before anything goes through them.
GroupMethod = Callable[[BlockWork, Sequence[str], InputStatistics], None]


def by_groups(treat: GroupMethod) -> BlockMethod:
    """The block method that does ``treat`` to every group; layers that too few tokens reach are rounded as they are."""

    def method(
        work: BlockWork,
        batches: Batches,
        groups: Sequence[Group],
        *,
        together: bool,
        tick: Callable[[float], None],
    ) -> Iterable[Tensor]:
        done = 0

        def treat_group(group: Group, statistics: InputStatistics) -> None:
            nonlocal done
            names = [name for name in group.names if name in work.wanted]
            if statistics.tokens < LEAST_TOKENS:
                work.finish_starved(names, statistics.tokens)
            else:
                before = {name: work.weight(name) for name in names}
                treat(work, names, statistics)
                for name, weight in before.items():
                    work.tell(name, tokens=statistics.tokens, error=relative_error(work, name, weight, statistics))
            done += 1
            tick(done / len(groups))

        passing = pass_together if together else pass_twice
        return passing(work.blocks, batches, groups, treat_group)

    return method


def relative_error(work: BlockWork, name: str, before: Tensor, statistics: InputStatistics) -> float:
    """How much of a layer's output is lost: the squared error over the square, summed over the calibration tokens.

    Shapes: before float32 [outputs, inputs].
    """
    lost = work.weight(name) - before
    return float(_energy(lost, statistics.gram) / _energy(before, statistics.gram).clamp_min(torch.finfo().tiny))


def _energy(weight: Tensor, gram: Tensor) -> Tensor:
    """The sum of (weight x)² over all outputs and tokens."""
    return ((weight @ gram) * weight).sum(dtype=torch.float64).clamp_min(0)
