"""The least that a page can cost: its query, prepared, on the driver, with nothing around it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence

from benchmarks.api.request import PAGE_ITEMS
from benchmarks.api.seeding import Seeded

#: What an item of the list shows. Written here by hand: it is what the product's own statement is held against.
_COLUMNS = (
    "id, name, description, status, source_model_id, strategy, scheme, output_model_id, stage, percent, eta_seconds,"
    " tags, created_at, finished_at"
)
_PAGE = {
    reverse: (
        f"SELECT {_COLUMNS} FROM task WHERE account_id = ?1 AND deleted_at IS NULL"
        f" AND seq {'<=' if reverse else '>='} (SELECT seq FROM task WHERE id = ?2 AND account_id = ?1)"
        f" ORDER BY seq{' DESC' if reverse else ''} LIMIT {PAGE_ITEMS + 1}"
    )
    for reverse in (False, True)
}


class BarePages:
    """Pages of a SQLite database's first account, read on the driver; each statement is prepared once by it."""

    def __init__(self, seeded: Seeded) -> None:
        self._account = seeded.accounts[0]
        self._connection = sqlite3.connect(seeded.file, isolation_level=None)
        # As the product opens it.
        self._connection.execute("PRAGMA mmap_size=1073741824")
        self._connection.execute("PRAGMA cache_size=-65536")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def read(self, marker: str, *, reverse: bool) -> int:
        """The number of rows of a page that begins with ``marker``."""
        return len(self._connection.execute(_PAGE[reverse], (self._account, marker)).fetchall())

    def timed(self, markers: Sequence[str], *, seconds: float) -> tuple[float, float]:
        """Microseconds of one page, by the clock and of the processor, each marker in turn for ``seconds``."""
        count = 0
        began, used = time.perf_counter(), time.thread_time()
        while (taken := time.perf_counter() - began) < seconds:
            for number, marker in enumerate(markers):
                assert self.read(marker, reverse=bool(number % 2)) == PAGE_ITEMS + 1
            count += len(markers)
        return taken / count * 1e6, (time.thread_time() - used) / count * 1e6
