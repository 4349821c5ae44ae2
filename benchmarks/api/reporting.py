"""A worker that only reports: it claims tasks as the real one does, and tells progress once a second for each.

    python -m benchmarks.api.reporting --data DIRECTORY --tasks 1000

Nothing is compressed, and the slots are its own; leases, attempts and the writes are the product's. It says on standard
error when all are claimed, and at its end, on SIGTERM, prints what it did as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from types import FrameType

from benchmarks.api.figures import percentile
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
        self._late: list[float] = []
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
        """Report until told to leave; each report is due at its own moment, however late the one before was."""
        began, busy = time.perf_counter(), time.process_time()
        number = 0
        while not self._leaving:
            second, index = divmod(number, len(tasks))
            due = began + second + index / len(tasks)
            if (ahead := due - time.perf_counter()) > 0:
                time.sleep(ahead)
            started = time.perf_counter()
            self._work.report(tasks[index], _progress(second), fruitful=second % 60 == 59)
            ended = time.perf_counter()
            self._taken.append((ended - started) * 1e6)
            self._late.append((started - due) * 1e6)
            number += 1
        self._busy_seconds = time.process_time() - busy

    def told(self) -> dict[str, float]:
        """What was done; times in microseconds."""
        return {
            "reports": len(self._taken),
            "processor_us": self._busy_seconds / len(self._taken) * 1e6,
            "report_p50_us": percentile(self._taken, 50),
            "report_p99_us": percentile(self._taken, 99),
            "late_p50_us": percentile(self._late, 50),
            "late_p99_us": percentile(self._late, 99),
            "late_max_us": max(self._late),
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
