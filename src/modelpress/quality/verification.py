"""Whether a written directory is what its plan says, read back from the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from modelpress.errors import BadSource, QualityGate
from modelpress.quality.gguf_file import check_gguf
from modelpress.tensors.folder import Folder, LocalFolder, read_all
from modelpress.tensors.header import StoredTensor, read_header
from modelpress.tensors.plan import Plan
from modelpress.tensors.pruned_rows import PrunedRows
from modelpress.tensors.shard import PlannedShard

_PIECE_BYTES = 8 * 1024 * 1024
_ZEROS_PIECE_BYTES = 64 * 1024

#: Scales by their dtype: the integers that have their bits, the first that is too large for one, and the least.
#: Signed integers put negative numbers, which have the highest bit, below all others.
_POSITIVE = {
    "BF16": ("<i2", 0x7F80, 1),
    "F16": ("<i2", 0x7C00, 1),
    "F32": ("<i4", 0x7F800000, 1),
    "F8_E4M3": ("<i1", 0x7F, 1),
    "U8": ("<u1", 0xFF, 0),  # exponents plus 127; the last one means no number
}


def verify(plan: Plan, directory: Path) -> None:
    """Nothing, if ``directory`` holds what ``plan`` says: every tensor's name, dtype, shape and place, the index, the
    config's entry, side files; scales that are positive and finite; zeros where weights were pruned; and fewer bytes
    than the source has, unless numbers are stored as they were.

    Raises: QualityGate naming the first thing that is not so.
    """
    folder = LocalFolder(directory)
    try:
        check = check_gguf if plan.recipe.scheme.output_format == "gguf" else _check_shard
        for shard in plan.shards:
            check(folder, shard)
        for document in plan.documents:
            _check_size(folder, document.name, len(document.content))
            if read_all(folder, document.name, limit_bytes=len(document.content)) != document.content:
                raise QualityGate(f"{document.name} is not what was planned")
        for side_file in plan.side_files:
            _check_size(folder, side_file.name, side_file.size_bytes)
    except BadSource as exc:
        raise QualityGate(f"the output cannot be read back: {exc.message}") from exc
    if not plan.is_dense and plan.output_bytes >= max(plan.source_bytes, plan.plain_bytes):
        raise QualityGate(f"the output has {plan.output_bytes} bytes, not fewer than the source's {plan.source_bytes}")


def _check_shard(folder: Folder, shard: PlannedShard) -> None:
    _check_size(folder, shard.name, shard.size_bytes)
    found = {tensor.spec.name: tensor for tensor in read_header(folder, shard.name)}
    planned = {spec.name: spec for step in shard.steps for spec in step.outputs}
    if found.keys() != planned.keys():
        odd = sorted(found.keys() ^ planned.keys())
        raise QualityGate(f"{shard.name} and its plan differ in {len(odd)} tensors, first {odd[0]!r}")
    for name, spec in planned.items():
        if found[name].spec != spec or found[name].offset != shard.offsets[name]:
            raise QualityGate(f"tensor {name!r} is {found[name].spec} at {found[name].offset}, planned was {spec}")
    for step in shard.steps:
        if step.layout is not None:
            for spec in filter(None, (step.layout.scales, step.layout.overall_scale)):
                _check_scales(folder, found[spec.name])
        elif isinstance(step.rows, PrunedRows):
            _check_zeros(folder, found[step.source.name], step.rows)


def _check_scales(folder: Folder, scales: StoredTensor) -> None:
    number, beyond, least = _POSITIVE[scales.spec.dtype]
    for start in range(0, scales.spec.size_bytes, _PIECE_BYTES):
        buffer = bytearray(min(_PIECE_BYTES, scales.spec.size_bytes - start))
        folder.read_into(scales.file, scales.offset + start, memoryview(buffer))
        numbers = np.frombuffer(buffer, dtype=number)
        if not ((numbers >= least) & (numbers < beyond)).all():
            raise QualityGate(f"{scales.spec.name!r} holds a scale that is not a positive finite number")


def _check_zeros(folder: Folder, weight: StoredTensor, rows: PrunedRows) -> None:
    """That the weight's first rows have their zeros; reading all of them again would take as long as writing them."""
    count = min(rows.count, max(1, _ZEROS_PIECE_BYTES // rows.row_bytes))
    buffer = bytearray(count * rows.row_bytes)
    folder.read_into(weight.file, weight.offset, memoryview(buffer))
    numbers = np.frombuffer(buffer, dtype=f"<u{rows.grid.size_bytes}").reshape(count, -1)
    found = int((numbers.shape[1] - np.count_nonzero(numbers, axis=1)).min())
    if found < rows.zeros_of_row:
        raise QualityGate(f"a row of {rows.name!r} has {found} zeros, planned were {rows.zeros_of_row}")


def _check_size(folder: Folder, name: str, size_bytes: int) -> None:
    found = folder.size(name)
    if found != size_bytes:
        raise QualityGate(f"{name} has {found} bytes, planned were {size_bytes}")
