"""How fast an attempt goes, and so how long it will take."""

from __future__ import annotations

import math

from modelpress.domain.task import Progress


class Pace:
    """Bytes a second of one attempt since its first progress; what it took over from an earlier one does not count.

    Times are those of any clock that only goes forward, in seconds.
    """

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None

    def begin(self, progress: Progress, *, now: float) -> None:
        """The first progress: what is done by now was there before."""
        self._began = (now, progress.bytes_done)

    def seconds_left(self, progress: Progress, *, now: float) -> int | None:
        """Whole seconds until all bytes are done, rounded up; None until anything was measured.

        Without new progress it grows with ``now``: a stalled attempt does not promise its old end.
        """
        if self._began is None:
            return None
        began_at, bytes_then = self._began
        done = progress.bytes_done - bytes_then
        if done <= 0 or now <= began_at:
            return None
        return math.ceil((progress.bytes_total - progress.bytes_done) * (now - began_at) / done)
