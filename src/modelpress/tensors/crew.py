"""A crew: threads that carry out the pieces of shards, and one more that brings what they wrote to the disk.

The next shard's pieces are carried out while the one before is being synced, and most of a shard was written out before
its end is reached: what nobody works on meanwhile is the disk's last few megabytes alone. Piece by piece through a pool
of futures, with a sync at the end of each shard, both cores waited there.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from modelpress.tensors.folder import PlannedFolder
from modelpress.tensors.magnitude import Magnitude
from modelpress.tensors.piece import Piece, carry_out, pieces_of
from modelpress.tensors.rows import Workbench
from modelpress.tensors.shard import Peer, PlannedShard
from modelpress.tensors.writer import NewFile

#: Pieces after which the disk is given what they wrote: large enough to be written in one go, small beside a shard.
_PIECES_A_FLUSH = 4
#: Shards whose sync may still be under way when another is begun: a kill costs no more than these.
_MOST_UNSYNCED = 2


@dataclass(slots=True, kw_only=True)
class _Begun:
    """A shard that is being written: ``left`` of its pieces are not carried out, ``last`` is the last one's number."""

    shard: PlannedShard
    file: NewFile
    left: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    """What ended a thread, and the number of the piece it was at."""

    number: int
    error: BaseException


class Crew:
    """Writes ``shards`` into ``destination`` on ``threads`` threads; the same bytes for any number of them."""

    def __init__(
        self, shards: Sequence[PlannedShard], folder: PlannedFolder, destination: Path, *, threads: int
    ) -> None:
        self._shards = shards
        self._folder = folder
        self._destination = destination
        self._bench = Workbench()
        self._magnitudes: dict[tuple[Peer, ...], Magnitude] = {}
        self._drawn = 0
        self._pieces = self._draw()
        self._drawing, self._counting = threading.Lock(), threading.Lock()
        self._open: set[NewFile] = set()
        self._syncs: deque[Future[None]] = deque()
        self._done: SimpleQueue[Piece | PlannedShard | _Failure] = SimpleQueue()
        self._stopped = False
        self._threads = threads
        self._workers = ThreadPoolExecutor(max_workers=threads, thread_name_prefix="compress")
        self._syncer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sync")

    def run(self) -> Generator[Piece | PlannedShard]:
        """Each piece when it was carried out, and each shard when it is whole and durable.

        Closed early, it waits for the pieces and the syncs under way: whole shards stay, of others nothing does.

        Raises: BadSource, DiskFull, InternalFailure: of several, that of the first piece in the order of the source.
        """
        try:
            for _ in range(self._threads):
                self._workers.submit(self._work)
            finished = 0
            while finished < len(self._shards):
                done = self._done.get()
                if isinstance(done, _Failure):
                    yield from self._end(done)
                else:
                    finished += isinstance(done, PlannedShard)
                    yield done
        finally:
            self._stop()

    def _end(self, failure: _Failure) -> Generator[Piece | PlannedShard]:
        """What was still carried out, then the failure."""
        self._stop()
        while not self._done.empty():
            done = self._done.get()
            if not isinstance(done, _Failure):
                yield done
            elif done.number < failure.number:
                failure = done
        raise failure.error

    def _stop(self) -> None:
        """Wait for the threads, and remove what is half-written: no file may be closed while a thread writes to it."""
        self._stopped = True
        self._workers.shutdown()
        self._syncer.shutdown()
        while self._open:
            self._open.pop().close()

    def _draw(self) -> Iterator[tuple[Piece, _Begun]]:
        """The pieces in the order of the source; a shard's file is begun when its first piece is drawn."""
        for shard in self._shards:
            if len(self._syncs) == _MOST_UNSYNCED:
                self._syncs.popleft().result()
            file = NewFile(self._destination / shard.name, size_bytes=shard.size_bytes)
            self._open.add(file)
            file.write_at(0, shard.header)
            pieces = list(pieces_of(shard, self._magnitudes))
            begun = _Begun(shard=shard, file=file, left=len(pieces), last=self._drawn + len(pieces))
            if not pieces:
                self._syncs.append(self._syncer.submit(self._finish, begun))
            for piece in pieces:
                yield piece, begun

    def _work(self) -> None:
        number = 0
        try:
            while not self._stopped:
                with self._drawing:
                    self._drawn += 1
                    number = self._drawn
                    drawn = next(self._pieces, None)
                if drawn is None:
                    return
                piece, begun = drawn
                carry_out(piece, begun.shard, self._folder, begun.file, self._bench)
                self._done.put(piece)
                self._count(begun)
        except BaseException as exc:
            self._fail(number, exc)

    def _count(self, begun: _Begun) -> None:
        with self._counting:
            begun.left -= 1
            left = begun.left
        if left == 0:
            self._syncs.append(self._syncer.submit(self._finish, begun))
        elif left % _PIECES_A_FLUSH == 0:
            self._syncer.submit(begun.file.flush)

    def _finish(self, begun: _Begun) -> None:
        try:
            self._folder.check()
            begun.file.commit()
            self._open.discard(begun.file)
            begun.file.close()
        except BaseException as exc:
            self._fail(begun.last, exc)
            raise
        self._done.put(begun.shard)

    def _fail(self, number: int, error: BaseException) -> None:
        self._stopped = True
        self._done.put(_Failure(number=number, error=error))
