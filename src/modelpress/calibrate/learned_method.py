"""The method "learned" on a block: GPTQ first, then lessons from what the block of the source makes of the samples.

What is wanted of a block are the outputs it has in the source, where no block before it was changed: so each makes up
for some of what those before it lost. The same outputs are what goes into the next block of the source.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from modelpress.calibrate.block_method import BlockPass, GroupMethod, by_groups
from modelpress.calibrate.block_work import BlockWork
from modelpress.calibrate.curvature import curvature
from modelpress.calibrate.decoder import Call, run
from modelpress.calibrate.learned_rounding import Course, Places, learn, relative_error
from modelpress.calibrate.lockstep import Batches
from modelpress.calibrate.statistics import InputStatistics
from modelpress.domain.recipe import Recipe
from modelpress.domain.tuning import DEFAULT_DAMPENING

#: Steps a block, where the recipe says nothing.
STEPS = 200

#: Tokens of a lesson at most, if one sample has no more.
LESSON_TOKENS = 1024

#: The part of a block's work that comes before the lessons.
_BEGINNING = 0.2


def steps_of(recipe: Recipe) -> int:
    """Lessons of each block."""
    return (recipe.tuning.iterations if recipe.tuning is not None else None) or STEPS


class LearnedRounding:
    """A block method. ``begin`` rounds a group as GPTQ does, by the importance of columns, and finishes its layers."""

    def __init__(self, begin: GroupMethod) -> None:
        self._begin = begin

    def __call__(self, work: BlockWork, through: BlockPass) -> Iterable[Tensor]:
        """See :data:`modelpress.calibrate.block_method.BlockMethod`."""
        batches, tick = through.batches, through.tick
        assert work.untouched is not None, "the engine keeps what the source's blocks give"
        wanted = work.untouched.keep_outputs(run(work.block, hidden, call) for hidden, call in work.untouched.batches)
        learned: dict[str, Places] = {}
        beginning = replace(through, tick=lambda share: tick(share * _BEGINNING))
        passed = by_groups(self._noting(learned))(work, beginning)
        before = _error(passed, wanted)
        parts = _parts(batches, seed=work.number)

        def lesson(_: int) -> tuple[Tensor, Tensor]:
            number, samples = next(parts)
            hidden, call = batches[number]
            outputs = run(work.block, hidden[samples], _of_samples(call, samples, count=len(hidden)))
            return outputs, wanted[number][samples]

        learn(
            work.block,
            learned,
            lesson,
            course=Course(steps=steps_of(work.recipe)),
            tick=lambda share: tick(_BEGINNING + share * (1 - _BEGINNING)),
        )
        outputs = [run(work.block, *batch) for batch in batches] if through.together else None
        after = _error(outputs or (run(work.block, *batch) for batch in batches), wanted)
        work.told |= {"begun_error": before, "error": min(before, after)}
        for name, places in learned.items():
            work.finish_rounded(name, places.rounded() if after < before else work.rounded[name])
        if outputs is None or after >= before:
            return (run(work.block, *batch) for batch in batches)
        return outputs

    def _noting(self, learned: dict[str, Places]) -> GroupMethod:
        """The beginning, which notes where it left each layer's weights."""

        def treat(work: BlockWork, names: Sequence[str], statistics: InputStatistics) -> None:
            weights = {name: work.weight(name) for name in names}
            self._begin(work, names, statistics)
            known = curvature(statistics.gram, damping=DEFAULT_DAMPENING, most_important_first=True)
            for name, weight in weights.items():
                rounded = work.rounded[name]
                learned[name] = Places.as_decided(weight, rounded, known, format=work.formats[name])

        return treat


def _error(outputs: Iterable[Tensor], wanted: Sequence[Tensor]) -> float:
    """The mean over the tokens of all samples."""
    lost = tokens = 0.0
    for number, output in enumerate(outputs):
        count = output.shape[:-1].numel()
        lost += count * float(relative_error(output, wanted[number].to(output.device)))
        tokens += count
    return lost / tokens


def _parts(batches: Batches, *, seed: int) -> Iterator[tuple[int, slice]]:
    """Lessons without end: of which batch which samples. All come, in any order, before one comes again."""
    random = torch.Generator().manual_seed(seed)
    parts: list[tuple[int, slice]] = []
    for number, (hidden, _) in enumerate(batches):
        samples, length, _ = hidden.shape
        size = max(1, LESSON_TOKENS // length)
        parts += [(number, slice(start, start + size)) for start in range(0, samples, size)]
    while True:
        for index in torch.randperm(len(parts), generator=random).tolist():
            yield parts[index]


def _of_samples(call: Call, samples: slice, *, count: int) -> Call:
    """The call for some of a batch's ``count`` samples: what is told of each sample apart, of these alone."""

    def some(value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim > 1 and len(value) == count:
            return value[samples]
        return tuple(some(one) for one in value) if isinstance(value, tuple) else value

    return replace(
        call,
        arguments=tuple(some(value) for value in call.arguments),
        keywords={name: some(value) for name, value in call.keywords.items()},
    )
