"""What a method is to the engine, and the way most go: group by group, as their statistics are complete."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from modelpress.calibrate.block_work import BlockWork
from modelpress.calibrate.lockstep import Batches, Group, Treat, pass_together, pass_twice
from modelpress.calibrate.memory import give_back
from modelpress.calibrate.statistics import InputStatistics

#: Fewer tokens than these say little of a layer's inputs: it is rounded to the nearest, and the report names it.
LEAST_TOKENS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPass:
    """What goes through a block, and how."""

    batches: Batches
    #: Those with a layer that is wanted, in the order they are reached.
    groups: Sequence[Group]
    #: Whether what all batches' forwards hold within the block fits into memory.
    together: bool
    #: Told what share of the block is done, 0 to 1; may raise to stop.
    tick: Callable[[float], None]

    def go(self, blocks: Sequence[nn.Module], treat: Treat) -> Iterable[Tensor]:
        """The block's outputs for all batches, each group treated before anything goes through it, and told of."""
        done = 0

        def treat_and_tell(group: Group, statistics: InputStatistics) -> None:
            nonlocal done
            treat(group, statistics)
            give_back()
            done += 1
            self.tick(done / len(self.groups))

        passing = pass_together if self.together else pass_twice
        return passing(blocks, self.batches, self.groups, treat_and_tell)


#: Does what is wanted to a block's layers; gives the changed block's outputs for all batches, each of the shape of its
#: hidden states.
BlockMethod = Callable[[BlockWork, BlockPass], Iterable[Tensor]]

#: What a method does with the wanted layers of a group, by name, before anything goes through them.
GroupMethod = Callable[[BlockWork, Sequence[str], InputStatistics], None]


def by_groups(treat: GroupMethod) -> BlockMethod:
    """The block method that does ``treat`` to every group; layers that too few tokens reach are rounded as they are."""

    def method(work: BlockWork, through: BlockPass) -> Iterable[Tensor]:
        def treat_group(group: Group, statistics: InputStatistics) -> None:
            names = [name for name in group.names if name in work.wanted]
            if statistics.tokens < LEAST_TOKENS:
                work.finish_starved(names, statistics.tokens)
            else:
                before = {name: work.weight(name) for name in names}
                treat(work, names, statistics)
                for name, weight in before.items():
                    work.tell(name, tokens=statistics.tokens, error=relative_error(work, name, weight, statistics))

        return through.go(work.blocks, treat_group)

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
