"""Progress on stderr, while that is a terminal; elsewhere nothing is drawn."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID


class Bars:
    """One bar for each name that is shown, gone when the work is over. ``in_bytes`` adds sizes, rate and time left."""

    def __init__(self, *, in_bytes: bool) -> None:
        self._progress = _make_progress(in_bytes=in_bytes) if sys.stderr.isatty() else None
        self._rows: dict[str, TaskID] = {}

    @property
    def drawn(self) -> bool:
        """Whether anybody sees them."""
        return self._progress is not None

    def show(self, name: str, *, stage: str, done: int, total: int) -> None:
        """Set ``name``'s bar to ``done`` of ``total``."""
        if self._progress is None:
            return
        if name not in self._rows:
            # What was there before this run counts as done, and not into the rate.
            self._rows[name] = self._progress.add_task(name, total=total, completed=done, stage=stage)
        self._progress.update(self._rows[name], total=total, completed=done, stage=stage)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()


def _make_progress(*, in_bytes: bool) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns: list[ProgressColumn] = [
        TextColumn("{task.fields[stage]}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
    ]
    if in_bytes:
        columns += [DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(compact=True)]
    else:
        columns = [TextColumn("{task.description}"), *columns, TimeElapsedColumn()]
    return Progress(*columns, console=Console(stderr=True, highlight=False), transient=True, expand=True)
