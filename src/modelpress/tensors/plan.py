"""The plan: every output file's every byte but the weights, known before any weight is read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from modelpress import __version__
from modelpress.domain.method import Method
from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import DENSE, FP8_BLOCK, INT8_PTQ, NVFP4
from modelpress.errors import AlreadyCompressed
from modelpress.tensors.checkpoint import Checkpoint, Document, SideFile
from modelpress.tensors.decision import Decision, decide
from modelpress.tensors.document import report_document
from modelpress.tensors.output import Output, directory_output
from modelpress.tensors.server_note import block_notes, split_notes
from modelpress.tensors.shard import PlannedShard
from modelpress.tensors.sparsity_note import sparsity_notes
from modelpress.tensors.spec import TensorSpec, printable
from modelpress.tensors.structure import Structure, narrowed, plan_structure
from modelpress.tensors.target import Part, module_of
from modelpress.tensors.treatment import Treatment


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What compressing one checkpoint by one recipe will write. Sizes are of all files, in bytes."""

    recipe: Recipe
    #: What was decided of each of the source's tensors.
    decision: Decision
    shards: tuple[PlannedShard, ...]
    side_files: tuple[SideFile, ...]
    #: config.json, modelpress.json, the index of several shards, and what is made of a source's other forms.
    documents: tuple[Document, ...]
    #: The entry that config.json carries for loaders.
    quantization_config: Mapping[str, Any]
    #: Columns that share a scale; None for one scale an output row.
    group_size: int | None
    source_bytes: int
    #: Of the tensors alone, as they are read: more than the source has where that was compressed in some way itself.
    plain_bytes: int
    output_bytes: int
    #: What was decided and why, in plain sentences.
    notes: tuple[str, ...]
    #: Of source, recipe and version; two plans of one digest write the same bytes.
    digest: str
    #: Of every file that is read, by name, when the plan was made.
    fingerprints: Mapping[str, str]

    @property
    def is_dense(self) -> bool:
        """Whether all numbers are stored as they were, so that the output is as large as the source."""
        return self.decision.assignment.is_dense

    @property
    def tensor_bytes(self) -> int:
        """Bytes of the source's tensors: what progress counts."""
        return sum(step.rows.stored_bytes for shard in self.shards for step in shard.steps)


def make_plan(checkpoint: Checkpoint, recipe: Recipe) -> Plan:
    """What is to be written, decided from names and shapes alone.

    Raises: AlreadyCompressed if it was quantized before; Unsupported if nothing can be compressed, or not as the
    recipe asks.
    """
    if checkpoint.already_compressed is not None:
        raise AlreadyCompressed(checkpoint.already_compressed, hint="compress the original, unquantized model instead")
    structure = structure_of(checkpoint, recipe)
    checkpoint = checkpoint if structure is None else narrowed(checkpoint, structure)
    made = _gguf(checkpoint, recipe) if recipe.scheme.output_format == "gguf" else _directory(checkpoint, recipe)
    notes = tuple(map(printable, (*checkpoint.notes, *made.notes)))
    output = made.output
    documents = (*output.documents, report_document(recipe, group_size=made.group_size, notes=notes))
    return Plan(
        recipe=recipe,
        decision=made.decision,
        shards=output.shards,
        side_files=output.side_files,
        documents=documents,
        quantization_config=output.quantization_config,
        group_size=made.group_size,
        source_bytes=checkpoint.size_bytes,
        plain_bytes=made.plain_bytes,
        output_bytes=sum(shard.size_bytes for shard in output.shards)
        + sum(side_file.size_bytes for side_file in output.side_files)
        + sum(len(document.content) for document in documents),
        notes=notes,
        digest=_digest(checkpoint, recipe),
        fingerprints=checkpoint.fingerprints,
    )


def structure_of(checkpoint: Checkpoint, recipe: Recipe) -> Structure | None:
    """What structured pruning leaves of a checkpoint's neurons and blocks; None for other methods.

    Raises: Unsupported if so much cannot go.
    """
    return plan_structure(checkpoint, recipe) if recipe.method is Method.STRUCTURED else None


def _server_notes(decision: Decision) -> Iterator[str]:
    assignment = decision.assignment
    treatments: dict[str, Treatment | None] = dict.fromkeys(map(module_of, assignment.kept))
    for treatment, modules in assignment.modules.items():
        treatments |= dict.fromkeys(modules, None if treatment.scheme is DENSE else treatment)
    shapes = {module_of(tensor.spec.name): tensor.spec.shape for tensor in decision.tensors if _is_weight(tensor.spec)}
    return chain(split_notes(treatments), block_notes(treatments, shapes))


def _is_weight(spec: TensorSpec) -> bool:
    return spec.name.endswith(".weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """The files of a container, and what the plan says of them."""

    output: Output
    decision: Decision
    group_size: int | None
    plain_bytes: int
    notes: tuple[str, ...]


def _directory(checkpoint: Checkpoint, recipe: Recipe) -> _Made:
    decision = decide(checkpoint, recipe)
    output = directory_output(checkpoint, decision)
    return _Made(
        output=output,
        decision=decision,
        group_size=decision.assignment.group_size,
        plain_bytes=sum(tensor.spec.size_bytes for tensor in decision.tensors),
        notes=(
            *decision.assignment.notes,
            *_server_notes(decision),
            *_notes(checkpoint, recipe, decision),
            *sparsity_notes(recipe, decision.assignment),
            *_size_note(output, checkpoint),
        ),
    )


def _gguf(checkpoint: Checkpoint, recipe: Recipe) -> _Made:
    # Here, so that a process that writes no such file does without its tables.
    from modelpress.tensors.gguf_output.output import gguf_output

    made = gguf_output(checkpoint, recipe)
    return _Made(
        output=made.output,
        decision=made.decision,
        group_size=made.decision.assignment.group_size,
        plain_bytes=made.plain_bytes,
        notes=made.notes,
    )


def _notes(checkpoint: Checkpoint, recipe: Recipe, decision: Decision) -> Iterator[str]:
    parts = decision.parts
    counts = Counter(parts.values())
    kept = ", ".join(
        f"{part} ({counts[part]})" for part in Part if counts[part] and part not in {Part.LINEAR, Part.OTHER}
    )
    rounded = sum(treatment.scheme is not DENSE for treatment in decision.assignment.treatments.values())
    if rounded:
        yield f"{rounded} linear weights are compressed" + (f"; left as they are: {kept}." if kept else ".")
    experts = [name for name, part in parts.items() if part is Part.EXPERTS]
    if experts:
        yield f"Experts fused into tensors of three dimensions are not compressed: {len(experts)}, first {experts[0]}."
    yield from _experts_notes(decision)
    if "auto_map" in checkpoint.config:
        yield "The model brings its own code (auto_map): it was not run, and neither it nor the entry is carried over."
    if checkpoint.left_out:
        yield f"Not carried over: {', '.join(checkpoint.left_out)}."


def _size_note(output: Output, checkpoint: Checkpoint) -> Iterator[str]:
    """Said where a source that was compressed in some way becomes larger."""
    made = sum(shard.size_bytes for shard in output.shards)
    stored = sum(tensor.rows.stored_bytes for tensor in checkpoint.tensors)
    if stored < sum(tensor.spec.size_bytes for tensor in checkpoint.tensors) and made >= stored:
        yield f"The output has {made} bytes of weights, more than the source's {stored}, which was compressed before."


def _experts_notes(decision: Decision) -> Iterator[str]:
    treatments = {t for name, t in decision.assignment.treatments.items() if "experts" in name.split(".")}
    for scheme in dict.fromkeys(treatment.scheme for treatment in treatments):
        if scheme in {INT8_PTQ, FP8_BLOCK, NVFP4}:
            yield f"transformers 5.17 does not load experts of {scheme.name} rightly, whoever compressed them."
    if any(not treatment.symmetric for treatment in treatments):
        yield "transformers 5.17 fails to load experts with zero points, whoever compressed them."


def _digest(checkpoint: Checkpoint, recipe: Recipe) -> str:
    facts = {
        "version": __version__,
        "recipe": recipe.as_json(),
        "config": checkpoint.config,
        "tensors": [(t.spec.name, t.spec.dtype, t.spec.shape, repr(t.rows)) for t in checkpoint.tensors],
        "fingerprints": checkpoint.fingerprints,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
