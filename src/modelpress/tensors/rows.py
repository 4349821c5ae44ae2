"""Rows: what a step reads, as it lies on a grid, however the source keeps it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.folder import Folder
from modelpress.tensors.header import StoredTensor


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


class Rows(Protocol):
    """Equal runs of bytes of one tensor, read a few at a time. For a weight, the rows of its matrix."""

    @property
    def count(self) -> int:
        """How many there are."""

    @property
    def row_bytes(self) -> int:
        """Bytes of each, as read."""

    @property
    def stored_bytes(self) -> int:
        """Bytes of the source that reading all of them takes: what progress counts."""

    @property
    def finest(self) -> Rows:
        """The same bytes in the smallest runs they can be read in: for tensors that are copied as they are."""

    def read(self, folder: Folder, *, start: int, buffer: NDArray[np.uint8], bench: Workbench) -> None:
        """Fill ``buffer``, of a whole number of rows, from row ``start`` on.

        Raises: BadSource if the source ends early, or cannot be read.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRows:
    """Bytes that lie in the file as they are wanted: ``count`` rows from ``offset`` on."""

    file: str
    offset: int
    count: int
    row_bytes: int

    @property
    def stored_bytes(self) -> int:
        """See :class:`Rows`."""
        return self.count * self.row_bytes

    @property
    def finest(self) -> Rows:
        """See :class:`Rows`."""
        return StoredRows(file=self.file, offset=self.offset, count=self.stored_bytes, row_bytes=1)

    def read(self, folder: Folder, *, start: int, buffer: NDArray[np.uint8], bench: Workbench) -> None:
        """See :class:`Rows`."""
        folder.read_into(self.file, self.offset + start * self.row_bytes, buffer.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransposedRows:
    """Rows of a matrix that is stored column after column: the columns lie ``stride_bytes`` apart from ``offset`` on.

    Reading some rows takes a run of each column, so bytes are read once, and memory is the piece and its transpose.
    """

    file: str
    offset: int
    count: int
    columns: int
    number_bytes: int
    stride_bytes: int

    @property
    def row_bytes(self) -> int:
        """See :class:`Rows`."""
        return self.columns * self.number_bytes

    @property
    def stored_bytes(self) -> int:
        """See :class:`Rows`."""
        return self.count * self.row_bytes

    @property
    def finest(self) -> Rows:
        """See :class:`Rows`."""
        return self

    def read(self, folder: Folder, *, start: int, buffer: NDArray[np.uint8], bench: Workbench) -> None:
        """See :class:`Rows`."""
        runs = bench.buffer("runs", len(buffer))
        run_bytes = len(buffer) // self.columns
        offset = self.offset + start * self.number_bytes
        folder.read_runs(self.file, offset, runs.data, run_bytes=run_bytes, stride_bytes=self.stride_bytes)
        number = f"u{self.number_bytes}"
        columns_first = runs.view(number).reshape(self.columns, -1)
        np.copyto(buffer.view(number).reshape(-1, self.columns), columns_first.T)


def stored_rows(tensor: StoredTensor) -> StoredRows:
    """The rows of a tensor as it is stored; the innermost dimension is the row."""
    size = tensor.spec.size_bytes
    count = 1
    for extent in tensor.spec.shape[:-1]:
        count *= extent
    return StoredRows(file=tensor.file, offset=tensor.offset, count=count, row_bytes=size // count if count else 0)
