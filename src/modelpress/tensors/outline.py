"""A plan for people: tensors whose names differ by numbers alone are one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from modelpress.tensors.plan import Plan
from modelpress.tensors.rounding.blocks import BlockRounding
from modelpress.tensors.shard import Step
from modelpress.tensors.spec import printable
from modelpress.tensors.target import Part
from modelpress.tensors.treatment import Treatment

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Tensors of one shape that the same becomes of."""

    #: Their name; a number that differs is ``*`` for all there are, else which: ``model.layers.0-3.mlp.up_proj``.
    name: str
    count: int
    dtype: str
    shape: tuple[int, ...]
    part: Part
    #: None: they stay as they are.
    treatment: Treatment | None
    #: What the numbers become: a dtype, or a block type of GGUF, whose schemes give some tensors more bits than others.
    output_dtype: str
    #: Of all of them together, before and after.
    source_bytes: int
    output_bytes: int


def outline(plan: Plan) -> list[Line]:
    """The lines of a plan, in the order in which the source has the first tensor of each."""
    treatments = plan.decision.assignment.treatments
    lines: dict[tuple[Words, str, tuple[int, ...], Treatment | None, str], list[tuple[Words, Step]]] = {}
    alike: dict[Words, list[set[str]]] = {}
    for shard in plan.shards:
        for step in shard.steps:
            words = tuple(step.source.name.removesuffix(".weight").split("."))
            pattern = tuple("*" if word.isdecimal() else word for word in words)
            for values, word in zip(alike.setdefault(pattern, [set() for _ in words]), words, strict=True):
                values.add(word)
            what = (pattern, step.source.dtype, step.source.shape, treatments.get(step.source.name), written_as(step))
            lines.setdefault(what, []).append((words, step))
    return [
        _line(plan, [step for _, step in members], name=_name([words for words, _ in members], alike[pattern]))
        for (pattern, *_), members in lines.items()
    ]


def _line(plan: Plan, steps: Sequence[Step], *, name: str) -> Line:
    first = steps[0].source
    return Line(
        name=printable(name),
        count=len(steps),
        dtype=first.dtype,
        shape=first.shape,
        part=plan.decision.parts[first.name],
        treatment=plan.decision.assignment.treatments.get(first.name),
        output_dtype=written_as(steps[0]),
        source_bytes=sum(step.rows.stored_bytes for step in steps),
        output_bytes=sum(step.output_bytes for step in steps),
    )


def written_as(step: Step) -> str:
    """The dtype of a tensor's numbers as they are written, or their block type."""
    return step.rounding.block_type.name if isinstance(step.rounding, BlockRounding) else step.outputs[0].dtype


def _name(names: Sequence[Words], alike: Sequence[set[str]]) -> str:
    """One name for all of these; ``alike`` has the words of all tensors whose names differ from them by numbers."""
    return ".".join(
        _word(set(words), all_there_are) for words, all_there_are in zip(zip(*names, strict=True), alike, strict=True)
    )


def _word(words: set[str], all_there_are: set[str]) -> str:
    if len(words) == 1:
        return next(iter(words))
    return "*" if words == all_there_are else ",".join(_runs(sorted(map(int, words))))


def _runs(values: Sequence[int]) -> Iterator[str]:
    """``0-3`` and ``7`` for 0, 1, 2, 3, 7."""
    start = values[0]
    for value, following in zip(values, [*values[1:], None], strict=True):
        if following != value + 1:
            yield str(start) if start == value else f"{start}-{value}"
            start = start if following is None else following
