"""Progress on stderr, while that is a terminal; elsewhere nothing is drawn."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID


class Bars:
    """One bar for each name that is shown, with bytes, rate and time left; gone when the work is over.

    ``named`` shows the names, where there may be several.
    """

    def __init__(self, *, named: bool = False) -> None:
        self._progress = _make_progress(named=named) if sys.stderr.isatty() else None
        self._rows: dict[str, TaskID] = {}

    @property
    def drawn(self) -> bool:
        """Whether anybody sees them."""
        return self._progress is not None

    def show(self, name: str, *, stage: str, done: int, total: int) -> None:
        """Set ``name``'s bar to ``done`` of ``total`` bytes; a total of 0 is one that is not known."""
        if self._progress is None:
            return
        known = total or None
        if name not in self._rows:
            # What was there before this run counts as done, and not into the rate.
            self._rows[name] = self._progress.add_task(name, total=known, completed=done, stage=stage)
        self._progress.update(self._rows[name], total=known, completed=done, stage=stage)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()


def _make_progress(*, named: bool) -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns: list[ProgressColumn] = [
        *([TextColumn("{task.description}")] if named else []),
        TextColumn("{task.fields[stage]}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    ]
    return Progress(*columns, console=Console(stderr=True, highlight=False), transient=True, expand=True)
