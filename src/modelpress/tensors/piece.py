"""A piece: some rows of a weight to round, or some bytes of a tensor to copy; what one thread does at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from modelpress.errors import BadSource
from modelpress.tensors.folder import Folder
from modelpress.tensors.magnitude import Magnitude
from modelpress.tensors.rounding import Rounding
from modelpress.tensors.rounding.float4 import Nvfp4Rounding
from modelpress.tensors.rows import Rows, Workbench
from modelpress.tensors.shard import Peer, PlannedShard, Step

#: Source bytes of a piece. Large enough that threads seldom wait for one another (the interpreter, the file that both
#: write to): with 8 MiB two cores do 1.7 times the work of one, with 2 MiB 1.4 times. Small enough to stay in the last
#: level of cache between reading, rounding and writing, and to be many in a shard.
PIECE_BYTES = 8 * 1024 * 1024


class Target(Protocol):
    """Where results go."""

    def write_at(self, offset: int, data: bytes | memoryview) -> None:
        """Put all of ``data`` at ``offset``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """``count`` rows of a step from ``start`` on; of tensors that are copied, rows as fine as they come."""

    step: Step
    rows: Rows
    start: int
    count: int
    #: What the rounding must know first. Pieces that find it come before all that wait for it.
    magnitude: Magnitude | None = None
    #: The weight whose rows are measured for it: nothing is written then.
    measured: Peer | None = None

    @property
    def source_bytes(self) -> int:
        """Bytes read for the first time; those of all pieces of a step add up to its rows' ``stored_bytes``."""
        if self.measured is not None:
            return 0
        stored, rows = self.rows.stored_bytes, self.rows.count
        return stored * (self.start + self.count) // rows - stored * self.start // rows


def pieces_of(shard: PlannedShard, magnitudes: dict[tuple[Peer, ...], Magnitude] | None = None) -> Iterator[Piece]:
    """The shard's pieces in the order of the source; ``magnitudes`` keeps those that earlier shards' pieces find."""
    known = {} if magnitudes is None else magnitudes
    for step in shard.steps:
        if step.peers and step.peers not in known:
            yield from _measuring(step, known)
        rows, multiple = step.rows.finest, 1
        if step.rounding is not None:
            rows, multiple = step.rows, step.rounding.row_multiple
        for start, count in _spans(rows, multiple):
            yield Piece(step=step, rows=rows, start=start, count=count, magnitude=known.get(step.peers))


def _measuring(step: Step, known: dict[tuple[Peer, ...], Magnitude]) -> Iterator[Piece]:
    """Pieces that read the step's peers: rounding reads them again at once, then from the system's memory."""
    spans = [(peer, *span) for peer in step.peers for span in _spans(peer.rows, 1)]
    magnitude = known[step.peers] = Magnitude(parts=len(spans))
    for peer, start, count in spans:
        yield Piece(step=step, rows=peer.rows, start=start, count=count, magnitude=magnitude, measured=peer)


def _spans(rows: Rows, multiple: int) -> Iterator[tuple[int, int]]:
    """First row and number of rows of each piece."""
    most = max(1, PIECE_BYTES // max(1, rows.row_bytes * multiple)) * multiple
    for start in range(0, rows.count, most):
        yield start, min(most, rows.count - start)


def carry_out(piece: Piece, shard: PlannedShard, folder: Folder, target: Target, bench: Workbench) -> None:
    """Read a piece, and write what becomes of it at its place in the shard.

    Raises: BadSource if the source ends early, or a weight to be rounded is NaN or infinite; DiskFull.
    """
    if piece.measured is not None:
        assert piece.magnitude is not None
        piece.magnitude.measure(piece.measured, folder, bench, start=piece.start, count=piece.count)
        return
    data = bench.buffer("source", piece.count * piece.rows.row_bytes)
    piece.rows.read(folder, start=piece.start, buffer=data, bench=bench)
    if piece.step.rounding is None:
        target.write_at(shard.offsets[piece.step.source.name] + piece.start * piece.rows.row_bytes, data.data)
    else:
        _round(piece, shard, target, bench)


def _round(piece: Piece, shard: PlannedShard, target: Target, bench: Workbench) -> None:
    rounding, layout = _rounding(piece), piece.step.layout
    assert layout is not None
    before, after = rounding.output_bytes(piece.start), rounding.output_bytes(piece.start + piece.count)
    sizes = [end - start for start, end in zip(before, after, strict=True)]
    outputs = [bench.buffer(f"output {number}", size) for number, size in enumerate(sizes)]
    row = rounding.round_rows(bench.buffer("source", piece.count * piece.rows.row_bytes), outputs)
    if row is not None:
        raise BadSource(f"weight {piece.step.source.name!r} holds a NaN or an infinity in row {piece.start + row}")
    for spec, offset, output in zip(layout.rounded, before, outputs, strict=True):
        target.write_at(shard.offsets[spec.name] + offset, output.data)
    if piece.start == 0:
        for spec, content in layout.constants:
            target.write_at(shard.offsets[spec.name], content)


def _rounding(piece: Piece) -> Rounding:
    rounding = piece.step.rounding
    assert rounding is not None
    if piece.magnitude is None:
        return rounding
    assert isinstance(rounding, Nvfp4Rounding)
    return rounding.bind(piece.magnitude.get())
