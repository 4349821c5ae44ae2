"""A piece: some rows of a weight to round, or some bytes of a tensor to copy; what one thread does at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from modelpress.errors import BadSource
from modelpress.tensors.folder import Folder
from modelpress.tensors.quantize import quantize_rows
from modelpress.tensors.shard import PlannedShard, Step

#: Source bytes of a piece. Large enough that a call's cost vanishes, small enough for one a thread on any machine.
PIECE_BYTES = 8 * 1024 * 1024


class Target(Protocol):
    """Where results go."""

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Put all of ``data`` at ``offset``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """``count`` units of a step from ``start`` on: rows where weights are rounded, bytes where they are copied."""

    step: Step
    start: int
    count: int

    @property
    def source_bytes(self) -> int:
        """Bytes read."""
        return self.count * (self.step.rounding.source_row_bytes if self.step.rounding else 1)


class Workbench(threading.local):
    """Buffers of the thread, used again for each piece: fresh memory would cost a page fault every 4 kB."""

    def __init__(self) -> None:
        self._buffers: dict[str, NDArray[np.uint8]] = {}

    def buffer(self, name: str, size_bytes: int) -> NDArray[np.uint8]:
        """The thread's buffer of this name, cut to size; its content is what was left there."""
        kept = self._buffers.get(name)
        if kept is None or len(kept) < size_bytes:
            kept = self._buffers[name] = np.empty(size_bytes, dtype=np.uint8)
        return kept[:size_bytes]


def pieces_of(shard: PlannedShard) -> Iterator[Piece]:
    """The shard's pieces in the order of the source."""
    for step in shard.steps:
        if step.rounding is None:
            whole, most = step.source.spec.size_bytes, PIECE_BYTES
        else:
            whole, most = step.source.spec.shape[0], max(1, PIECE_BYTES // step.rounding.source_row_bytes)
        for start in range(0, whole, most):
            yield Piece(step=step, start=start, count=min(most, whole - start))


def carry_out(piece: Piece, shard: PlannedShard, folder: Folder, target: Target, bench: Workbench) -> None:
    """Read a piece, and write what becomes of it at its place in the shard.

    Raises: BadSource if the source ends early, or a weight to be rounded is NaN or infinite; DiskFull.
    """
    if piece.step.rounding is None:
        _copy(piece, shard, folder, target, bench)
    else:
        _round(piece, shard, folder, target, bench)


def _copy(piece: Piece, shard: PlannedShard, folder: Folder, target: Target, bench: Workbench) -> None:
    source = piece.step.source
    data = bench.buffer("source", piece.count).data
    folder.read_into(source.file, source.offset + piece.start, data)
    target.write_at(shard.offsets[source.spec.name] + piece.start, data)


def _round(piece: Piece, shard: PlannedShard, folder: Folder, target: Target, bench: Workbench) -> None:
    rounding, layout, source = piece.step.rounding, piece.step.layout, piece.step.source
    assert rounding is not None
    assert layout is not None
    data = bench.buffer("source", piece.source_bytes)
    scales = bench.buffer("scales", piece.count * rounding.scale_row_bytes)
    values = bench.buffer("values", piece.count * rounding.value_row_bytes)
    folder.read_into(source.file, source.offset + piece.start * rounding.source_row_bytes, data.data)
    row = quantize_rows(rounding, data, scales=scales, values=values)
    if row is not None:
        raise BadSource(f"weight {source.spec.name!r} holds a NaN or an infinity in row {piece.start + row}")
    target.write_at(shard.offsets[layout.values.name] + piece.start * rounding.value_row_bytes, values.data)
    target.write_at(shard.offsets[layout.scales.name] + piece.start * rounding.scale_row_bytes, scales.data)
    if piece.start == 0:
        for spec, content in layout.constants:
            target.write_at(shard.offsets[spec.name], content)
