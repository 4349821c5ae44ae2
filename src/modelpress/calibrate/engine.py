"""A calibrated run: block after block, from a plan and the samples to what the output gets in the source's place.

A block is read, the samples run through it while its numbers are chosen, what became of it is written, and it is let
go. So memory holds one block and what is in flight in it, and a run that is killed loses one block at most.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modelpress.calibrate.block_method import BlockMethod, BlockPass
from modelpress.calibrate.block_work import BlockWork
from modelpress.calibrate.decoder import Call, Decoder
from modelpress.calibrate.integers import IntegerFormat
from modelpress.calibrate.lockstep import Group, groups_of
from modelpress.calibrate.memory import give_back
from modelpress.calibrate.source import Source
from modelpress.calibrate.tensor_bytes import DTYPES
from modelpress.calibrate.work_folder import WorkFolder
from modelpress.domain.method import Method
from modelpress.tensors.checkpoint import Checkpoint
from modelpress.tensors.folder import Folder, PlannedFolder
from modelpress.tensors.plan import Plan
from modelpress.tensors.rounding.integers import IntegerRounding
from modelpress.tensors.structure import Structure

#: Tells what share of all is done, 0 to 1, and how many blocks are finished; may raise to stop.
Told = Callable[[float, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """Of each block the file with what the output gets of it, and what is told of it."""

    files: Sequence[Path]
    facts: Sequence[Mapping[str, Any]]


class Engine:
    """One run of a method over a checkpoint's blocks.

    ``batches``: int64 [samples, length] each, token ids without padding. ``further``: devices besides the decoder's
    own, which take their share of the batches. ``staying``: the decoder's blocks that the output has, in order, where
    ``structure`` says that not all do; the output numbers them anew.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        plan: Plan,
        batches: Sequence[Tensor],
        *,
        method: BlockMethod,
        decoder: Decoder,
        further: Sequence[torch.device] = (),
        together: bool = True,
        structure: Structure | None = None,
        staying: Sequence[int] | None = None,
    ) -> None:
        self._plan, self._method, self._batches, self._together = plan, method, batches, together
        self._decoder, self._further = decoder, further
        self._structure = structure
        self._staying = range(len(decoder.blocks)) if staying is None else staying
        self._checkpoint = checkpoint
        self._steps = {step.source.name: step for shard in plan.shards for step in shard.steps}
        self._groups: dict[tuple[str, ...], list[Group]] = {}

    def run(self, folder: Folder, staging: Path, *, told: Told, say: Callable[[str], None]) -> Finished:
        """Finish every block in the work folder below ``staging``.

        Raises: BadSource, Unsupported, DiskFull, OutOfMemory.
        """
        planned = PlannedFolder(folder, self._plan.fingerprints)
        source = Source(self._checkpoint, self._decoder, planned)
        hidden = self._decoder.hidden_size
        kept = WorkFolder(
            staging,
            shapes=[(len(batch), batch.shape[1], hidden) for batch in self._batches],
            dtype=self._decoder.dtype,
            blocks=len(self._staying),
        )
        first = kept.finished()
        with torch.no_grad():
            calls = self._begin(source, kept, anew=first is None)
            first = first or 0
            if first:
                say(f"{first} of {len(self._staying)} blocks were finished before")
            began = time.monotonic()
            for number in range(first, len(self._staying)):
                self._block(number, source, kept, calls, told)
                planned.check()
                say(self._progress(number, first=first, seconds=time.monotonic() - began))
        numbers = range(len(self._staying))
        return Finished(files=[kept.block(n) for n in numbers], facts=[kept.facts(n) for n in numbers])

    def _progress(self, number: int, *, first: int, seconds: float) -> str:
        """Told when block ``number`` is finished, ``seconds`` after this run began with block ``first``."""
        count, done = len(self._staying), number + 1 - first
        rate = done * sum(batch.numel() for batch in self._batches) / seconds
        left = seconds / done * (count - number - 1)
        return f"block {number + 1} of {count} is finished: {rate:.0f} tokens a second; about {left:.0f} s left"

    def _begin(self, source: Source, kept: WorkFolder, *, anew: bool) -> list[list[Call]]:
        """For each batch, each block's call; where the run is new, what goes into the first block is kept as well."""
        tokens, flat = torch.unique(torch.cat([batch.flatten() for batch in self._batches]), return_inverse=True)
        rows = source.embedding_rows(self._decoder, tokens.tolist())
        local = [
            part.reshape(batch.shape)
            for part, batch in zip(flat.split([b.numel() for b in self._batches]), self._batches, strict=True)
        ]
        by_shape: dict[torch.Size, list[Call]] = {}

        def embedded() -> Iterator[Tensor]:
            for batch in local:
                hidden, calls = self._decoder.embed(batch, rows)
                by_shape.setdefault(batch.shape, calls)
                yield hidden

        if anew:
            kept.start_over()
            kept.keep_hidden(0, embedded())
        else:
            shapes = {batch.shape: batch for batch in local}
            for shape, batch in shapes.items():
                by_shape[shape] = self._decoder.embed(batch, rows)[1]
        return [by_shape[batch.shape] for batch in local]

    def _block(
        self, number: int, source: Source, kept: WorkFolder, calls: Sequence[Sequence[Call]], told: Told
    ) -> None:
        decoder, count, of_decoder = self._decoder, len(self._staying), self._staying[number]

        def tick(share: float) -> None:
            told((number + share) / count, number)

        give_back()
        tick(0)
        name = decoder.names[of_decoder]
        with decoder.loaded(of_decoder, source.weights(name)) as block:
            work = self._work(number, block, source.names(name))
            work.copies = [deepcopy(block).to(device) for device in self._further]
            called = [call[of_decoder] for call in calls]
            batches = _Batches(partial(kept.hidden, number), called, device=decoder.device)
            work.untouched = _Untouched(kept, number, called, device=decoder.device)
            groups = self._groups_of(work, batches[0])
            outputs = self._method(work, BlockPass(batches=batches, groups=groups, together=self._together, tick=tick))
            if number + 1 < count:
                kept.keep_hidden(number + 1, outputs)
            kept.finish(
                number, work.outputs(), facts={"block": number, "name": name, **work.told, "layers": work.facts}
            )

    def _work(self, number: int, block: torch.nn.Module, names: Mapping[str, str]) -> BlockWork:
        planned = {parameter: self._planned_name(name, number) for parameter, name in names.items()}
        steps = {parameter: self._steps[name] for parameter, name in planned.items() if name in self._steps}
        return BlockWork(
            number=number,
            block=block,
            recipe=self._plan.recipe,
            steps=steps,
            formats={
                parameter.removesuffix(".weight"): _format_of(step.rounding)
                for parameter, step in steps.items()
                if isinstance(step.rounding, IntegerRounding)
            },
            pruned=frozenset(
                parameter.removesuffix(".weight") for parameter, name in planned.items() if name in self._pruned
            ),
        )

    @property
    def _pruned(self) -> Container[str]:
        """The output's tensors that single weights are pruned of."""
        one_by_one = self._plan.recipe.method in {Method.SPARSEGPT, Method.WANDA}
        return self._plan.decision.assignment.treatments if one_by_one else ()

    def _planned_name(self, name: str, number: int) -> str:
        """What the output calls a tensor of the block that it numbers so."""
        place = self._structure.place(name) if self._structure is not None else None
        return name if place is None or self._structure is None else self._structure.name(replace(place, block=number))

    def _groups_of(self, work: BlockWork, batch: tuple[Tensor, Call]) -> list[Group]:
        """The groups with a layer that is wanted; blocks of the same layers have the same."""
        layers = tuple(name for name, module in work.block.named_modules() if isinstance(module, torch.nn.Linear))
        if layers not in self._groups:
            hidden, call = batch
            self._groups[layers] = groups_of(work.block, hidden, call)
        return [group for group in self._groups[layers] if not work.wanted.isdisjoint(group.names)]


class _Batches:
    """What goes into a block, each batch read from the disk when it is asked for: the system keeps what fits."""

    def __init__(self, read: Callable[[int], Tensor], calls: Sequence[Call], *, device: torch.device) -> None:
        self._read, self._calls, self._device = read, calls, device

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[tuple[Tensor, Call]]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int, /) -> tuple[Tensor, Call]:
        return self._read(index).to(self._device), self._calls[index]


class _Untouched:
    """See :class:`modelpress.calibrate.block_work.Untouched`."""

    def __init__(self, kept: WorkFolder, number: int, calls: Sequence[Call], *, device: torch.device) -> None:
        self._kept, self._number, self._device = kept, number, device
        self.batches = _Batches(partial(kept.untouched, number), calls, device=device)

    def keep_outputs(self, outputs: Iterable[Tensor]) -> Sequence[Tensor]:
        self._kept.keep_untouched(self._number + 1, outputs)
        return _Outputs(partial(self._kept.untouched, self._number + 1), len(self.batches), device=self._device)


class _Outputs(Sequence[Tensor]):
    """What a block gave for each batch, read when it is asked for."""

    def __init__(self, read: Callable[[int], Tensor], count: int, *, device: torch.device) -> None:
        self._read, self._count, self._device = read, count, device

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        return self._read(index).to(self._device)


def _format_of(rounding: IntegerRounding) -> IntegerFormat:
    return IntegerFormat(
        bits=rounding.bits,
        group_size=None if rounding.group == rounding.columns else rounding.group,
        symmetric=rounding.symmetric,
        dtype=DTYPES[rounding.grid.value],
    )
