"""A Hugging Face directory as it will be written: shards, index, config.json and what is carried over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from modelpress.domain.scheme import DENSE, NVFP4
from modelpress.errors import Unsupported
from modelpress.tensors.checkpoint import Checkpoint, Document, SideFile, SourceTensor
from modelpress.tensors.decision import LARGEST_ROW_BYTES, Decision
from modelpress.tensors.document import config_document, index_document
from modelpress.tensors.formats import format_of
from modelpress.tensors.formats.config_entry import config_entry
from modelpress.tensors.formats.layout import Weight
from modelpress.tensors.fusion import fused_with
from modelpress.tensors.grid import Grid
from modelpress.tensors.shard import Peer, PlannedShard, Step, plan_shards
from modelpress.tensors.target import NAMED_IN_CONFIG, module_of
from modelpress.tensors.treatment import Treatment


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The files of a container; which container it is, is a matter of what made it."""

    shards: tuple[PlannedShard, ...]
    side_files: tuple[SideFile, ...]
    documents: tuple[Document, ...]
    #: The entry that config.json carries for loaders; empty where the container has no such file.
    quantization_config: Mapping[str, Any]


def directory_output(checkpoint: Checkpoint, decision: Decision) -> Output:
    """compressed-tensors in safetensors files that mirror the source's."""
    treatments, peers = decision.assignment.treatments, _peers(decision)
    runs = [
        [_step(tensor, treatments.get(tensor.spec.name), peers.get(tensor.spec.name, ())) for tensor in run]
        for _, run in groupby(decision.tensors, key=lambda tensor: tensor.file)
    ]
    shards = plan_shards(runs)
    entry = _entry(decision)
    documents = (
        config_document(checkpoint.config, entry),
        *([index_document(shards)] if len(shards) > 1 else []),
        *checkpoint.documents,
    )
    return Output(shards=shards, side_files=checkpoint.side_files, documents=documents, quantization_config=entry)


def _entry(decision: Decision) -> dict[str, Any]:
    rounded = {t: modules for t, modules in decision.assignment.modules.items() if t.scheme is not DENSE}
    return config_entry(rounded, ignore=_ignored(decision)) if rounded else {}


def _peers(decision: Decision) -> dict[str, tuple[Peer, ...]]:
    """For each weight that has a scale of all of it, by name, the weights whose scale that is too."""
    treatments = decision.assignment.treatments
    found = {
        module_of(tensor.spec.name): Peer(name=tensor.spec.name, rows=tensor.rows, grid=Grid(tensor.spec.dtype))
        for tensor in decision.tensors
        if tensor.spec.name in treatments and treatments[tensor.spec.name].scheme is NVFP4
    }
    sets = fused_with(found.keys())
    return {peer.name: tuple(found[one] for one in sets[module]) for module, peer in found.items()}


def _step(tensor: SourceTensor, treatment: Treatment | None, peers: tuple[Peer, ...]) -> Step:
    if treatment is None or treatment.scheme is DENSE:
        return Step(source=tensor.spec, rows=tensor.rows)
    rows, columns = tensor.spec.shape
    weight = Weight(module=module_of(tensor.spec.name), rows=rows, columns=columns, grid=Grid(tensor.spec.dtype))
    rounding, layout = format_of(treatment.scheme).lay_out(weight, treatment)
    piece_bytes = rounding.row_multiple * tensor.rows.row_bytes
    if piece_bytes > LARGEST_ROW_BYTES:
        raise Unsupported(
            f"{rounding.row_multiple} rows of weight {tensor.spec.name!r}, which are rounded together, have "
            f"{piece_bytes} bytes; at most {LARGEST_ROW_BYTES} are supported"
        )
    return Step(source=tensor.spec, rows=tensor.rows, rounding=rounding, layout=layout, peers=peers)


def _ignored(decision: Decision) -> list[str]:
    # lm_head by name even where it is not stored: tied to the embedding, it is still a module that loaders build.
    treatments = decision.assignment.treatments
    left = {*decision.assignment.kept, *(name for name, treatment in treatments.items() if treatment.scheme is DENSE)}
    parts = decision.parts.items()
    named = (module_of(name) for name, part in parts if part in NAMED_IN_CONFIG or name in left)
    return list(dict.fromkeys(("lm_head", *named)))
