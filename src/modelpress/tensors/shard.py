"""Output shards: which source tensors each holds as what, and where in the file every byte goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelpress.errors import Unsupported
from modelpress.tensors.checkpoint import SINGLE
from modelpress.tensors.formats.layout import Layout
from modelpress.tensors.grid import Grid
from modelpress.tensors.header import encode_header
from modelpress.tensors.rounding import Rounding
from modelpress.tensors.rows import Rows
from modelpress.tensors.spec import TensorSpec

#: Output shards are split here: small enough to be redone after a kill, large enough to be few.
LARGEST_SHARD_BYTES = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A weight whose largest magnitude has a part in the scale of another, or of itself."""

    name: str
    rows: Rows
    grid: Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One source tensor and what it becomes: ``rounding`` and ``layout`` for a weight, neither for a copy."""

    source: TensorSpec
    rows: Rows
    rounding: Rounding | None = None
    layout: Layout | None = None
    #: The weights whose largest magnitude the rounding must know before its first row, itself among them.
    peers: tuple[Peer, ...] = ()

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors written."""
        return (self.source,) if self.layout is None else self.layout.specs

    @property
    def output_bytes(self) -> int:
        """Bytes of data written."""
        return sum(spec.size_bytes for spec in self.outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedShard:
    """One output file: its header as bytes, and where in the file each tensor's data begins."""

    name: str
    steps: tuple[Step, ...]
    header: bytes
    offsets: Mapping[str, int]
    size_bytes: int


def plan_shards(runs: Sequence[Sequence[Step]]) -> tuple[PlannedShard, ...]:
    """Shards for the steps of each source file: one for a file, or as many as LARGEST_SHARD_BYTES asks for.

    Raises: Unsupported if two tensors would be written under one name, as where experts are there fused and apart.
    """
    _check_names(runs)
    split = [part for run in runs for part in _split(run)]
    if len(split) == 1:
        return (_planned(SINGLE, split[0]),)
    return tuple(
        _planned(f"model-{i:05}-of-{len(split):05}.safetensors", part) for i, part in enumerate(split, start=1)
    )


def _check_names(runs: Sequence[Sequence[Step]]) -> None:
    named = Counter(spec.name for run in runs for step in run for spec in step.outputs)
    twice = next((name for name, count in named.items() if count > 1), None)
    if twice is not None:
        raise Unsupported(f"two tensors of the output would have the name {twice!r}")


def _split(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """Parts of at most LARGEST_SHARD_BYTES of output; a tensor larger than that is a part of its own."""
    part: list[Step] = []
    size = 0
    for step in steps:
        if part and size + step.output_bytes > LARGEST_SHARD_BYTES:
            yield tuple(part)
            part, size = [], 0
        part.append(step)
        size += step.output_bytes
    if part:
        yield tuple(part)


def _planned(name: str, steps: tuple[Step, ...]) -> PlannedShard:
    # Wide elements first keeps each tensor aligned to its own elements, without holes, which the format forbids.
    specs = sorted((spec for step in steps for spec in step.outputs), key=lambda spec: -spec.alignment_bytes)
    placed, end = [], 0
    for spec in specs:
        placed.append((spec, end))
        end += spec.size_bytes
    header = encode_header(placed)
    return PlannedShard(
        name=name,
        steps=steps,
        header=header,
        offsets={spec.name: len(header) + offset for spec, offset in placed},
        size_bytes=len(header) + end,
    )
