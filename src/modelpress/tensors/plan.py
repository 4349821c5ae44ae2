"""The plan: every output file's every byte but the weights, known before any weight is read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from modelpress import __version__
from modelpress.domain.recipe import Recipe
from modelpress.errors import Unsupported
from modelpress.tensors.checkpoint import CONFIG, INDEX, REPORT, SINGLE, Checkpoint, SideFile
from modelpress.tensors.formats import Format, format_of
from modelpress.tensors.formats.config_entry import config_entry
from modelpress.tensors.formats.layout import Layout
from modelpress.tensors.grid import Grid
from modelpress.tensors.grouping import Grouping, choose_grouping
from modelpress.tensors.header import StoredTensor, encode_header
from modelpress.tensors.rounding import Rounding
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.target import NAMED_IN_CONFIG, Architecture, architecture_named, kept_kind, module_of

#: Output shards are split here: small enough to be redone after a kill, large enough to be few.
LARGEST_SHARD_BYTES = 1_000_000_000
#: A row is rounded whole, so memory is bounded by rows; real ones have under 1 MB.
LARGEST_ROW_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One source tensor and what it becomes: ``rounding`` and ``layout`` for a weight, neither for a copy."""

    source: StoredTensor
    rounding: Rounding | None = None
    layout: Layout | None = None

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors written."""
        return (self.source.spec,) if self.layout is None else self.layout.specs

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A small output file whose content the plan knows."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What compressing one checkpoint by one recipe will write. Sizes are of all files, in bytes."""

    recipe: Recipe
    shards: tuple[PlannedShard, ...]
    side_files: tuple[SideFile, ...]
    #: Index (of several shards), config.json and modelpress.json.
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
        return sum(step.source.spec.size_bytes for shard in self.shards for step in shard.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sorted:
    """The source's tensors, told apart."""

    targets: dict[str, StoredTensor]
    kept: dict[str, str]


def make_plan(checkpoint: Checkpoint, recipe: Recipe) -> Plan:
    """What is to be written, decided from names and shapes alone.

    Raises: Unsupported if nothing can be compressed, or not as the recipe asks.
    """
    found = _sort(checkpoint, architecture_named(checkpoint.architecture))
    grouping = choose_grouping(recipe, {name: tensor.spec.shape[1] for name, tensor in found.targets.items()})
    layout_format = format_of(recipe.scheme)
    shards = _shards(checkpoint, found, recipe=recipe, grouping=grouping, layout_format=layout_format)
    notes = (*grouping.notes, *_notes(checkpoint, found, recipe))
    entry = config_entry(
        recipe.scheme, format_name=layout_format.NAME, group_size=grouping.size, ignore=_ignored(found)
    )
    documents = _documents(checkpoint, recipe, shards, entry=entry, group_size=grouping.size, notes=notes)
    return Plan(
        recipe=recipe,
        shards=shards,
        side_files=checkpoint.side_files,
        documents=documents,
        quantization_config=entry,
        group_size=grouping.size,
        source_bytes=checkpoint.size_bytes,
        output_bytes=sum(shard.size_bytes for shard in shards)
        + sum(side.size_bytes for side in checkpoint.side_files)
        + sum(len(document.content) for document in documents),
        notes=notes,
        digest=_digest(checkpoint, recipe),
    )


def _sort(checkpoint: Checkpoint, architecture: Architecture) -> _Sorted:
    targets, kept = {}, {}
    for tensor in checkpoint.tensors:
        kind = kept_kind(tensor.spec, architecture)
        if kind is None:
            _check_target(tensor.spec)
            targets[tensor.spec.name] = tensor
        elif kind:
            kept[tensor.spec.name] = kind
    if not targets:
        raise Unsupported(
            f"the model has no linear weights to compress among its {len(checkpoint.tensors)} tensors",
            hint="linear weights are tensors of two dimensions whose names end in .weight",
        )
    return _Sorted(targets=targets, kept=kept)


def _check_target(spec: TensorSpec) -> None:
    if spec.dtype not in set(Grid):
        raise Unsupported(f"weight {spec.name!r} is {spec.dtype}; weights of {', '.join(Grid)} can be compressed")
    row_bytes = spec.size_bytes // spec.shape[0]
    if row_bytes > LARGEST_ROW_BYTES:
        raise Unsupported(
            f"a row of weight {spec.name!r} has {row_bytes} bytes; at most {LARGEST_ROW_BYTES} are supported"
        )


def _shards(
    checkpoint: Checkpoint, found: _Sorted, *, recipe: Recipe, grouping: Grouping, layout_format: Format
) -> tuple[PlannedShard, ...]:
    runs = []
    for _, tensors in groupby(checkpoint.tensors, key=lambda tensor: tensor.file):
        steps = [
            _step(tensor, recipe=recipe, grouping=grouping, layout_format=layout_format)
            if tensor.spec.name in found.targets
            else Step(source=tensor)
            for tensor in tensors
        ]
        runs += list(_split(steps))
    names = (
        [SINGLE] if len(runs) == 1 else [f"model-{i:05}-of-{len(runs):05}.safetensors" for i in range(1, len(runs) + 1)]
    )
    return tuple(_planned_shard(name, steps) for name, steps in zip(names, runs, strict=True))


def _step(tensor: StoredTensor, *, recipe: Recipe, grouping: Grouping, layout_format: Format) -> Step:
    rows, columns = tensor.spec.shape
    rounding = Rounding(
        grid=Grid(tensor.spec.dtype),
        bits=recipe.scheme.weight_bits,
        columns=columns,
        group=grouping.size or columns,
        packed=layout_format.PACKED,
    )
    layout = layout_format.lay_out(module_of(tensor.spec.name), rows=rows, rounding=rounding)
    return Step(source=tensor, rounding=rounding, layout=layout)


def _split(steps: Sequence[Step]) -> Iterator[tuple[Step, ...]]:
    """Runs of at most LARGEST_SHARD_BYTES of output; a tensor larger than that is a run of its own."""
    run: list[Step] = []
    size = 0
    for step in steps:
        if run and size + step.output_bytes > LARGEST_SHARD_BYTES:
            yield tuple(run)
            run, size = [], 0
        run.append(step)
        size += step.output_bytes
    if run:
        yield tuple(run)


def _planned_shard(name: str, steps: tuple[Step, ...]) -> PlannedShard:
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


def _ignored(found: _Sorted) -> list[str]:
    # lm_head by name even where it is not stored: tied to the embedding, it is still a module that loaders build.
    named = (module_of(name) for name, kind in found.kept.items() if kind in NAMED_IN_CONFIG)
    return list(dict.fromkeys(("lm_head", *named)))


def _notes(checkpoint: Checkpoint, found: _Sorted, recipe: Recipe) -> Iterator[str]:
    kinds = Counter(found.kept.values())
    kept = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    yield f"{len(found.targets)} linear weights are compressed" + (f"; left as they are: {kept}." if kept else ".")
    experts = [name for name, kind in found.kept.items() if kind == "fused experts"]
    if experts:
        yield f"Experts fused into tensors of three dimensions are not compressed: {len(experts)}, first {experts[0]}."
    if recipe.scheme.activation_bits < 16 and any("experts" in name.split(".") for name in found.targets):
        yield "transformers 5.17 fails to load experts with 8-bit activations, whoever compressed them."
    if "auto_map" in checkpoint.config:
        yield "The model brings its own code (auto_map): it was not run, and neither it nor the entry is carried over."
    if checkpoint.left_out:
        yield f"Not carried over: {', '.join(checkpoint.left_out)}."


def _documents(
    checkpoint: Checkpoint,
    recipe: Recipe,
    shards: Sequence[PlannedShard],
    *,
    entry: Mapping[str, Any],
    group_size: int | None,
    notes: Sequence[str],
) -> tuple[Document, ...]:
    config = {key: value for key, value in checkpoint.config.items() if key != "auto_map"}
    report = {
        "modelpress": __version__,
        "recipe": recipe.as_json(),
        "group_size": group_size,
        "notes": list(notes),
    }
    documents = [_document(CONFIG, {**config, "quantization_config": entry}), _document(REPORT, report)]
    if len(shards) > 1:
        weight_map = {spec.name: shard.name for shard in shards for step in shard.steps for spec in step.outputs}
        total = sum(step.output_bytes for shard in shards for step in shard.steps)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        documents.insert(0, _document(INDEX, index))
    return tuple(documents)


def _document(name: str, value: Mapping[str, Any]) -> Document:
    return Document(name=name, content=json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n")


def _digest(checkpoint: Checkpoint, recipe: Recipe) -> str:
    facts = {
        "version": __version__,
        "recipe": recipe.as_json(),
        "config": checkpoint.config,
        "tensors": [(t.spec.name, t.spec.dtype, t.spec.shape, t.file, t.offset) for t in checkpoint.tensors],
        "fingerprints": checkpoint.fingerprints,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
