"""The plan: every output file's every byte but the weights, known before any weight is read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from modelpress import __version__
from modelpress.domain.recipe import Recipe
from modelpress.errors import AlreadyCompressed, Unsupported
from modelpress.tensors.checkpoint import Checkpoint, SideFile, SourceTensor
from modelpress.tensors.document import Document, config_document, index_document, report_document
from modelpress.tensors.formats import format_of
from modelpress.tensors.formats.config_entry import config_entry
from modelpress.tensors.formats.layout import Weight
from modelpress.tensors.grid import Grid
from modelpress.tensors.shard import PlannedShard, Step, plan_shards
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.target import NAMED_IN_CONFIG, Part, check_architecture, module_of, part_of
from modelpress.tensors.treatment import Assignment, Treatment, assign

#: A row is rounded whole, so memory is bounded by rows; real ones have under 1 MB.
LARGEST_ROW_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What compressing one checkpoint by one recipe will write. Sizes are of all files, in bytes."""

    recipe: Recipe
    shards: tuple[PlannedShard, ...]
    side_files: tuple[SideFile, ...]
    #: config.json, modelpress.json, and the index of several shards.
    documents: tuple[Document, ...]
    #: The entry that config.json carries for loaders.
    quantization_config: Mapping[str, Any]
    #: Columns that share a scale; None for one scale an output row.
    group_size: int | None
    source_bytes: int
    output_bytes: int
    #: What was decided and why, in plain sentences.
    notes: tuple[str, ...]
    #: Of source, recipe and version; two plans of one digest write the same bytes.
    digest: str

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
    parts = _parts(checkpoint)
    assignment = assign(recipe, _input_widths(checkpoint, parts))
    runs = [
        [_step(tensor, assignment.treatments.get(tensor.spec.name)) for tensor in tensors]
        for _, tensors in groupby(checkpoint.tensors, key=lambda tensor: tensor.file)
    ]
    shards = plan_shards(runs)
    entry = config_entry(_modules(assignment), ignore=_ignored(parts))
    notes = (*assignment.notes, *_notes(checkpoint, recipe, parts))
    documents = (
        config_document(checkpoint.config, entry),
        report_document(recipe, group_size=assignment.group_size, notes=notes),
        *([index_document(shards)] if len(shards) > 1 else []),
    )
    return Plan(
        recipe=recipe,
        shards=shards,
        side_files=checkpoint.side_files,
        documents=documents,
        quantization_config=entry,
        group_size=assignment.group_size,
        source_bytes=checkpoint.size_bytes,
        output_bytes=sum(shard.size_bytes for shard in shards)
        + sum(side_file.size_bytes for side_file in checkpoint.side_files)
        + sum(len(document.content) for document in documents),
        notes=notes,
        digest=_digest(checkpoint, recipe),
    )


def _parts(checkpoint: Checkpoint) -> dict[str, Part]:
    """What every tensor is, by name."""
    check_architecture(checkpoint.architecture)
    parts = {tensor.spec.name: part_of(tensor.spec) for tensor in checkpoint.tensors}
    if Part.LINEAR not in parts.values():
        raise Unsupported(
            f"the model has no linear weights to compress among its {len(parts)} tensors",
            hint="linear weights are tensors of two dimensions whose names end in .weight",
        )
    return parts


def _input_widths(checkpoint: Checkpoint, parts: Mapping[str, Part]) -> dict[str, int]:
    """Columns of every weight to be compressed, by name."""
    widths = {}
    for tensor in checkpoint.tensors:
        if parts[tensor.spec.name] is Part.LINEAR:
            _check_target(tensor.spec)
            widths[tensor.spec.name] = tensor.spec.shape[1]
    return widths


def _check_target(spec: TensorSpec) -> None:
    if spec.dtype not in set(Grid):
        raise Unsupported(f"weight {spec.name!r} is {spec.dtype}; weights of {', '.join(Grid)} can be compressed")
    row_bytes = spec.size_bytes // spec.shape[0]
    if row_bytes > LARGEST_ROW_BYTES:
        raise Unsupported(
            f"a row of weight {spec.name!r} has {row_bytes} bytes; at most {LARGEST_ROW_BYTES} are supported"
        )


def _step(tensor: SourceTensor, treatment: Treatment | None) -> Step:
    if treatment is None:
        return Step(source=tensor.spec, rows=tensor.rows)
    rows, columns = tensor.spec.shape
    weight = Weight(module=module_of(tensor.spec.name), rows=rows, columns=columns, grid=Grid(tensor.spec.dtype))
    rounding, layout = format_of(treatment.scheme).lay_out(weight, treatment)
    return Step(source=tensor.spec, rows=tensor.rows, rounding=rounding, layout=layout)


def _modules(assignment: Assignment) -> dict[Treatment, list[str]]:
    """The modules of each treatment."""
    modules: dict[Treatment, list[str]] = {}
    for name, treatment in assignment.treatments.items():
        modules.setdefault(treatment, []).append(module_of(name))
    return modules


def _ignored(parts: Mapping[str, Part]) -> list[str]:
    # lm_head by name even where it is not stored: tied to the embedding, it is still a module that loaders build.
    named = (module_of(name) for name, part in parts.items() if part in NAMED_IN_CONFIG)
    return list(dict.fromkeys(("lm_head", *named)))


def _notes(checkpoint: Checkpoint, recipe: Recipe, parts: Mapping[str, Part]) -> Iterator[str]:
    counts = Counter(parts.values())
    kept = ", ".join(
        f"{part} ({counts[part]})" for part in Part if counts[part] and part not in {Part.LINEAR, Part.OTHER}
    )
    yield f"{counts[Part.LINEAR]} linear weights are compressed" + (f"; left as they are: {kept}." if kept else ".")
    experts = [name for name, part in parts.items() if part is Part.EXPERTS]
    if experts:
        yield f"Experts fused into tensors of three dimensions are not compressed: {len(experts)}, first {experts[0]}."
    if recipe.scheme.activation_bits < 16 and any("experts" in name.split(".") for name in parts):
        yield "transformers 5.17 fails to load experts with 8-bit activations, whoever compressed them."
    if "auto_map" in checkpoint.config:
        yield "The model brings its own code (auto_map): it was not run, and neither it nor the entry is carried over."
    if checkpoint.left_out:
        yield f"Not carried over: {', '.join(checkpoint.left_out)}."


def _digest(checkpoint: Checkpoint, recipe: Recipe) -> str:
    facts = {
        "version": __version__,
        "recipe": recipe.as_json(),
        "config": checkpoint.config,
        "tensors": [(t.spec.name, t.spec.dtype, t.spec.shape, repr(t.rows)) for t in checkpoint.tensors],
        "fingerprints": checkpoint.fingerprints,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
