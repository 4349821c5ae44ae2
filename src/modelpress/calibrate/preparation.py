"""From a plan and its recipe's calibration to a run that is ready to begin, or an early refusal."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from modelpress.calibrate.block_method import BlockMethod
from modelpress.calibrate.decoder import Decoder
from modelpress.calibrate.engine import Engine, Told
from modelpress.calibrate.learned_method import LESSON_TOKENS, steps_of
from modelpress.calibrate.methods import METHODS
from modelpress.calibrate.needs import Needs, Sizes, fits_together, matrix_rate, needs_of
from modelpress.calibrate.report import calibration_entry, sentences
from modelpress.calibrate.samples import Samples, batches, samples_of
from modelpress.calibrate.source import Source
from modelpress.calibrate.structured_method import measure_distance, staying_blocks
from modelpress.calibrate.tensor_bytes import DTYPES
from modelpress.domain.method import Method
from modelpress.domain.recipe import Recipe
from modelpress.errors import Unsupported
from modelpress.tensors.assembly import Assembly, assemble
from modelpress.tensors.checkpoint import REPORT, Checkpoint
from modelpress.tensors.document import report_document
from modelpress.tensors.folder import Folder
from modelpress.tensors.plan import Plan, structure_of
from modelpress.tensors.staging import MEASURED, check_space
from modelpress.tensors.structure import Structure

#: The share of a run that measuring all blocks takes, where some are to go.
_MEASURING = 0.3
#: Tokens of a batch: enough for matrix products at full speed, few beside what a block's forward holds of them.
BATCH_TOKENS = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A run that is ready to begin. ``plan`` has the digest that its samples give it."""

    plan: Plan
    checkpoint: Checkpoint
    samples: Samples
    batches: tuple[Tensor, ...]
    decoder: Decoder
    needs: Needs
    together: bool

    @property
    def blocks(self) -> int:
        """How many are finished in all: the output's, and before them, where some are to go, each that is measured."""
        structure = structure_of(self.checkpoint, self.plan.recipe)
        if structure is None or structure.kept_blocks == structure.blocks:
            return len(self.decoder.blocks)
        return structure.blocks + structure.kept_blocks

    @property
    def disk_bytes(self) -> int:
        """What a run has on the disk at most: of its blocks and, beside them, of hidden states or of the output."""
        blocks = tuple(f"{name}." for name in self.decoder.names)
        steps = (step for shard in self.plan.shards for step in shard.steps)
        of_blocks = sum(step.output_bytes for step in steps if step.source.name.startswith(blocks))
        # What goes into a block and what comes out, and of learned rounding, the same of the source's.
        states = (4 if self.plan.recipe.method is Method.LEARNED else 2) * self.needs.states_bytes
        return of_blocks + max(states, self.plan.output_bytes)

    def run(self, folder: Folder, staging: Path, *, told: Told, say: Callable[[str], None]) -> Assembly:
        """Calibrate every block, or those that an earlier run left; then what the output is written from.

        Raises: TaskError; DiskFull at once where it would be met later.
        """
        there = sum(file.stat().st_size for file in staging.rglob("*") if file.is_file())
        check_space(staging, self.disk_bytes - there)
        for sentence in self.samples.coverage.sentences():
            say(f"note: {sentence}")
        say(self._expectation())
        structure = structure_of(self.checkpoint, self.plan.recipe)
        staying = None
        if structure is not None and structure.kept_blocks < structure.blocks:
            staying = self._staying(structure, folder, staging, told=part_of(told, 0, _MEASURING), say=say)
            told = part_of(told, _MEASURING, 1, after=structure.blocks)
        engine = self._engine(METHODS[self.plan.recipe.method], structure=structure, staying=staying)
        finished = engine.run(folder, staging, told=told, say=say)
        return assemble(self._told(finished.facts, staying), folder, finished.files)

    def _staying(
        self, structure: Structure, folder: Folder, staging: Path, *, told: Told, say: Callable[[str], None]
    ) -> list[int]:
        """The blocks that stay, by how far each turns the samples' hidden states: one pass more through all of them."""
        say(f"which {structure.kept_blocks} of {structure.blocks} blocks stay is measured first")
        measured = self._engine(measure_distance).run(folder, staging / MEASURED, told=told, say=say)
        return staying_blocks(measured.facts, structure)

    def _engine(
        self, method: BlockMethod, *, structure: Structure | None = None, staying: Sequence[int] | None = None
    ) -> Engine:
        return Engine(
            self.checkpoint,
            self.plan,
            self.batches,
            method=method,
            decoder=self.decoder,
            further=_further(self.decoder.device),
            together=self.together,
            structure=structure,
            staying=staying,
        )

    def _expectation(self) -> str:
        rate = matrix_rate(self.decoder.dtype, self.decoder.device)
        way = "all samples together" if self.together else "batch after batch, twice, as they do not fit together"
        held = self.needs.together_bytes if self.together else self.needs.apart_bytes
        return (
            f"calibration: {len(self.decoder.blocks)} blocks on {self.decoder.device}, {way}; at most about "
            f"{held / 1e9:.1f} GB of memory and {self.disk_bytes / 1e9:.1f} GB of disk; "
            f"matrix products alone take {self.needs.multiply_adds / rate:.0f} s"
        )

    def _told(self, blocks: Sequence[Mapping[str, Any]], staying: Sequence[int] | None) -> Plan:
        """The plan, with a report that tells what calibration did."""
        plan = self.plan
        left = () if staying is None else (f"Of the source's blocks, these stay: {', '.join(map(str, staying))}.",)
        notes = (*plan.notes, *left, *self.samples.coverage.sentences(), *sentences(blocks))
        report = report_document(
            plan.recipe,
            group_size=plan.group_size,
            notes=notes,
            calibration=calibration_entry(self.samples.coverage, blocks),
        )
        documents = tuple(report if document.name == REPORT else document for document in plan.documents)
        grown = sum(len(d.content) for d in documents) - sum(len(d.content) for d in plan.documents)
        return replace(plan, documents=documents, notes=notes, output_bytes=plan.output_bytes + grown)


def part_of(told: Told, start: float, end: float, *, after: int = 0) -> Told:
    """What tells of a part of the run: it goes from ``start`` to ``end``, ``after`` so many blocks."""
    return lambda share, blocks: told(start + (end - start) * share, after + blocks)


def prepare_calibration(
    plan: Plan, checkpoint: Checkpoint, *, file: Path | None, threads: int | None = None
) -> Calibration:
    """The run that ``plan``'s recipe means; ``file`` is its calibration text where that is an object.

    Raises: BadCalibration, BadSource, Unsupported, OutOfMemory.
    """
    recipe = plan.recipe
    assert recipe.calibration is not None, recipe
    if recipe.method not in METHODS:
        raise Unsupported(f"method {recipe.method.value} is not carried out by this version")
    torch.set_num_threads(threads or os.cpu_count() or 1)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    decoder = Decoder(checkpoint.config, dtype=_dtype_of(checkpoint, device), device=device)
    Source(checkpoint, decoder, checkpoint.folder)  # refuses what the decoder cannot be filled from
    samples = samples_of(checkpoint, recipe.calibration, file=file)
    made = tuple(batches(samples.ids, tokens_per_batch=BATCH_TOKENS))
    needs = needs_of(_sizes(decoder, made, recipe))
    return Calibration(
        plan=replace(plan, digest=_digest(plan, samples, device)),
        checkpoint=checkpoint,
        samples=samples,
        batches=made,
        decoder=decoder,
        needs=needs,
        together=fits_together(needs, device),
    )


def _further(first: torch.device) -> list[torch.device]:
    """All GPUs but the first, where that is one."""
    count = torch.cuda.device_count() if first.type == "cuda" else 0
    return [torch.device("cuda", number) for number in range(1, count)]


def _digest(plan: Plan, samples: Samples, device: torch.device) -> str:
    """Blocks of another text, another torch or another kind of device are not gone on from."""
    facts = (plan.digest, samples.digest, torch.__version__, device.type)
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _dtype_of(checkpoint: Checkpoint, device: torch.device) -> torch.dtype:
    """What the forward is computed in: the dtype of most of the model. Processors have no fast float16."""
    sizes: dict[str, int] = {}
    for tensor in checkpoint.tensors:
        if tensor.spec.dtype in DTYPES:
            sizes[tensor.spec.dtype] = sizes.get(tensor.spec.dtype, 0) + tensor.spec.size_bytes
    if not sizes:
        raise Unsupported(f"none of the model's tensors is of {', '.join(DTYPES)}")
    dtype = DTYPES[max(sizes, key=lambda name: sizes[name])]
    return torch.float32 if dtype is torch.float16 and device.type == "cpu" else dtype


def _sizes(decoder: Decoder, made: tuple[Tensor, ...], recipe: Recipe) -> Sizes:
    by_block = [decoder.shapes_of(name) for name in decoder.names]
    largest = max(by_block, key=lambda shapes: sum(torch.Size(shape).numel() for shape in shapes.values()))
    number_bytes = decoder.dtype.itemsize
    tokens = torch.cat([batch.flatten() for batch in made])
    return Sizes(
        layers=[(shape[0], shape[1]) for shape in largest.values() if len(shape) == 2],
        block_bytes=number_bytes * sum(torch.Size(shape).numel() for shape in largest.values()),
        embedding_bytes=number_bytes * len(tokens.unique()) * decoder.hidden_size,
        hidden_size=decoder.hidden_size,
        number_bytes=number_bytes,
        tokens=len(tokens),
        batch_tokens=max(batch.numel() for batch in made),
        blocks=len(decoder.blocks),
        lessons=steps_of(recipe) if recipe.method is Method.LEARNED else 0,
        lesson_tokens=LESSON_TOKENS,
    )
