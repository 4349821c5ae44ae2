"""Carries out a plan: one pass over the source, in pieces, each written at its place in its shard.

The plan fixes every byte's place, so pieces need no order: threads take them as they come, memory holds one piece a
thread, and the bytes are the same for any number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from modelpress.domain.task import Progress
from modelpress.tensors.checkpoint import SideFile
from modelpress.tensors.crew import Crew
from modelpress.tensors.folder import Folder, PlannedFolder
from modelpress.tensors.piece import PIECE_BYTES, Piece
from modelpress.tensors.plan import Plan
from modelpress.tensors.shard import PlannedShard
from modelpress.tensors.staging import check_space, missing_shards, prepare
from modelpress.tensors.writer import NewFile, sync_directory, write_file


def compress(
    plan: Plan, folder: Folder, destination: Path, *, report: Callable[[Progress], None], threads: int | None = None
) -> int:
    """Write ``plan``'s output into the staging directory ``destination``; the number of shards that were there.

    ``destination`` keeps a manifest by which a later call knows its own work; :func:`modelpress.tensors.staging.seal`
    takes it away after publishing. ``report`` is called in the calling thread after each piece, and may raise to stop:
    the exception comes through, whole shards stay, nothing half-written does.

    Bound:  memory is one piece and its result a thread (8 MiB, or one row if that is larger), whatever the model.
    Raises: BadSource for a source that lies or holds NaN or infinity; DiskFull; Unsupported if ``destination`` holds
            files that are not modelpress's own.
    """
    prepare(destination, plan.digest)
    missing = missing_shards(destination, plan.shards)
    check_space(destination, _needed_bytes(plan, missing))
    source = PlannedFolder(folder, plan.fingerprints)
    count = threads or os.cpu_count() or 1
    counter = _Counter(plan, missing, report)
    counter.tell()
    with closing(Crew(missing, source, destination, threads=count).run()) as crew:
        for done in crew:
            counter.add(done)
    for side_file in plan.side_files:
        _copy_side_file(side_file, source, destination)
    for document in plan.documents:
        write_file(destination / document.name, document.content)
    sync_directory(destination)
    return len(plan.shards) - len(missing)


class _Counter:
    """Counts what is done, and tells."""

    def __init__(self, plan: Plan, missing: Sequence[PlannedShard], report: Callable[[Progress], None]) -> None:
        self._report = report
        self._total = plan.tensor_bytes
        self._done = self._total - sum(step.rows.stored_bytes for shard in missing for step in shard.steps)
        self._shards_done = len(plan.shards) - len(missing)

    def add(self, done: Piece | PlannedShard) -> None:
        if isinstance(done, Piece):
            self._done += done.source_bytes
        else:
            self._shards_done += 1
        self.tell()

    def tell(self) -> None:
        self._report(
            Progress(
                stage="compressing",
                percent=99 * self._done // max(1, self._total),
                bytes_done=self._done,
                bytes_total=self._total,
                shards_done=self._shards_done,
            )
        )


def _copy_side_file(side_file: SideFile, folder: PlannedFolder, destination: Path) -> None:
    with NewFile(destination / side_file.name, size_bytes=side_file.size_bytes) as new:
        for start in range(0, side_file.size_bytes, PIECE_BYTES):
            buffer = memoryview(bytearray(min(PIECE_BYTES, side_file.size_bytes - start)))
            folder.read_into(side_file.name, start, buffer)
            new.write_at(start, buffer)
        folder.check()
        new.commit()


def _needed_bytes(plan: Plan, missing: Sequence[PlannedShard]) -> int:
    there = sum(shard.size_bytes for shard in plan.shards) - sum(shard.size_bytes for shard in missing)
    return plan.output_bytes - there
