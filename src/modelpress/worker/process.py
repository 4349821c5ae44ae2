"""The process of an attempt, whatever it does: reads what to do from standard input, tells of it on a pipe.

It knows no database. Messages, one JSON object a line: ``{"progress": {…}}``, last ``{"done": {…}}`` or
``{"failed": "Class: sentence"}``. SIGTERM ends it at once, also inside native code, since every file it finishes
appears by one rename.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from modelpress.domain.task import Progress
from modelpress.errors import InternalFailure, OutOfMemory, TaskError
from modelpress.runners.parent import die_with_parent
from modelpress.storage.log import log_line

#: Progress is told at most this often, except when a shard was finished.
_TELL_SECONDS = 0.1


class Reporter:
    """Writes messages to the supervisor, progress not too often."""

    def __init__(self, descriptor: int) -> None:
        self._out = os.fdopen(descriptor, "w", buffering=1, encoding="utf-8")
        self._told_at = float("-inf")
        self._shards_told = -1

    def progress(self, progress: Progress) -> None:
        """Tell how far the work is."""
        now = time.monotonic()
        if progress.shards_done == self._shards_told and now - self._told_at < _TELL_SECONDS:
            return
        self._told_at, self._shards_told = now, progress.shards_done
        self.tell("progress", asdict(progress))

    def tell(self, kind: str, content: object) -> None:
        """One message."""
        self._out.write(json.dumps({kind: content}) + "\n")


def say(text: str) -> None:
    """One line of the task's log, which is this process's standard error."""
    with suppress(OSError):  # a full disk is told of where the work meets it
        os.write(2, log_line(text, now=datetime.now(UTC)))


def _fail(reporter: Reporter, exc: TaskError) -> None:
    say(f"failed: {exc.failed_reason()}")
    reporter.tell("failed", exc.failed_reason())


def run(work: Callable[[dict[str, Any], Reporter], None]) -> int:
    """Run one attempt by ``work``, which tells what is done; 0 then, 1 when it failed and said why."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True, help="number of the supervisor's process")
    parser.add_argument("--report", type=int, required=True, help="file descriptor for messages")
    arguments = parser.parse_args()
    die_with_parent(arguments.parent, by=signal.SIGKILL)
    reporter = Reporter(arguments.report)
    try:
        work(json.load(sys.stdin), reporter)
    except TaskError as exc:
        _fail(reporter, exc)
    except MemoryError:
        _fail(reporter, OutOfMemory("the work did not fit into memory"))
    except Exception:  # the outermost loop of the worker's process: the trace belongs in the task's log
        traceback.print_exc()
        _fail(reporter, InternalFailure("a bug of modelpress; the task's log has the trace"))
    else:
        return 0
    return 1
