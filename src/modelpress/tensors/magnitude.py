"""The largest magnitude in a set of weights, where it must be known before the first row of one of them is rounded."""

from __future__ import annotations

import threading

import numpy as np

from modelpress.errors import BadSource
from modelpress.tensors import kernel
from modelpress.tensors.folder import Folder
from modelpress.tensors.rows import Workbench
from modelpress.tensors.shard import Peer


class Magnitude:
    """Found part by part, by whichever threads; those that need it wait for the last of ``parts``."""

    def __init__(self, *, parts: int) -> None:
        self._left = parts
        self._largest = 0.0
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._known = threading.Event()
        if not parts:
            self._known.set()

    def measure(self, peer: Peer, folder: Folder, bench: Workbench, *, start: int, count: int) -> None:
        """Read some of a weight's rows, which are one part.

        Raises: BadSource if the source ends early, or one of the rows holds a NaN or an infinity.
        """
        try:
            self._add(_largest(peer, folder, bench, start=start, count=count))
        except BaseException as exc:
            # Those that wait must not wait for ever, whatever it was.
            self._error = exc
            self._known.set()
            raise

    def _add(self, largest: float) -> None:
        with self._lock:
            self._largest = max(self._largest, largest)
            self._left -= 1
            if self._left == 0:
                self._known.set()

    def get(self) -> float:
        """The magnitude, when all parts were measured. Raises: BadSource if one could not be."""
        self._known.wait()
        if self._error is not None:
            raise self._error
        return self._largest


def _largest(peer: Peer, folder: Folder, bench: Workbench, *, start: int, count: int) -> float:
    data = bench.buffer("source", count * peer.rows.row_bytes)
    peer.rows.read(folder, start=start, buffer=data, bench=bench)
    largest = kernel.magnitude(peer.grid, data)
    if largest == np.inf:
        finite = [kernel.magnitude(peer.grid, row) < np.inf for row in data.reshape(count, -1)]
        raise BadSource(f"weight {peer.name!r} holds a NaN or an infinity in row {start + finite.index(False)}")
    return largest
