"""A worker that only reports: it claims tasks as the real one does, and tells progress once a second for each.

    python -m benchmarks.api.reporting --data DIRECTORY --tasks 1000

Nothing is compressed, and the slots are its own; leases, attempts and the writes are the product's. It says on standard
error when all are claimed, and at its end, on SIGTERM, prints what it did as one line of JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import signal
import sys
import time
from types import FrameType
from typing import Any

from modelpress.domain.task import Progress, Task
from modelpress.service.services import open_services
from modelpress.service.work import WorkService
from modelpress.settings import load_settings

CLAIMED = "all tasks are claimed"
_TOTAL_BYTES = 14_000_000_000
_SECONDS_A_TASK = 3_600


class Reporter:
    """Reports each task once a second, one after the other, evenly over the second."""

    def __init__(self, work: WorkService) -> None:
        self._work = work
        self._leaving = False
        self._taken: list[float] = []
        #: On the system's monotonic clock, which all processes share.
        self._ended: list[float] = []
        self._busy_seconds = 0.0

    def leave(self, _number: int, _frame: FrameType | None) -> None:
        """End after the report that is being made."""
        self._leaving = True

    def claim(self, count: int) -> list[Task]:
        """This many running tasks."""
        tasks: list[Task] = []
        while len(tasks) < count:
            assignment = self._work.claim("benchmark")
            if assignment is None:
                raise SystemExit(f"only {len(tasks)} of {count} tasks wait")
            tasks.append(assignment.task)
        return tasks

    def run(self, tasks: list[Task]) -> None:
        """Report until told to leave. A round that took longer than its second is not made up for."""
        busy = time.process_time()
        round_began = time.perf_counter()
        for second in itertools.count():
            for index, task in enumerate(tasks):
                self._report(task, second, due=round_began + index / len(tasks))
                if self._leaving:
                    self._busy_seconds = time.process_time() - busy
                    return
            round_began = max(round_began + 1, time.perf_counter())

    def _report(self, task: Task, second: int, *, due: float) -> None:
        if (ahead := due - time.perf_counter()) > 0:
            time.sleep(ahead)
        started = time.perf_counter()
        self._work.report(task, _progress(second), fruitful=second % 60 == 59)
        self._taken.append((time.perf_counter() - started) * 1e6)
        self._ended.append(time.monotonic())

    def told(self) -> dict[str, Any]:
        """What was done: when each report was made, how long it took, and what it used of a processor."""
        return {
            "ended": self._ended,
            "taken_us": self._taken,
            "processor_us": self._busy_seconds / len(self._taken) * 1e6,
        }


def _progress(second: int) -> Progress:
    done = min(second, _SECONDS_A_TASK) * _TOTAL_BYTES // _SECONDS_A_TASK
    return Progress(
        stage="quantizing",
        percent=done * 100 // _TOTAL_BYTES,
        bytes_done=done,
        bytes_total=_TOTAL_BYTES,
        shards_done=second // 60,
    )


def main() -> None:
    """Claim, then report until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--tasks", required=True, type=int)
    asked = parser.parse_args()
    settings = load_settings(flags={"data": asked.data, "lease_seconds": 300})
    with open_services(settings) as services:
        reporter = Reporter(services.work)
        signal.signal(signal.SIGTERM, reporter.leave)
        tasks = reporter.claim(asked.tasks)
        print(CLAIMED, file=sys.stderr, flush=True)
        reporter.run(tasks)
    print(json.dumps(reporter.told()), flush=True)


if __name__ == "__main__":
    main()
