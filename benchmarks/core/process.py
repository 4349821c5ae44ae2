"""A whole process measured, from exec to exit.

The process that measures must itself stay small (no numpy): the system counts a child's largest size from before its
exec, when it still was its parent's.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process took."""

    seconds: float
    processor_seconds: float
    largest_bytes: int
    printed: str


class Failed(Exception):
    """A process ended with another status than 0; the message is the end of what it wrote."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text[-2000:].strip() or f"status {status}")


def measured(command: Sequence[str], *, at: Path | None = None, environment: Mapping[str, str] | None = None) -> Run:
    """Run ``command``, in the directory ``at``, with more variables if any are given, and wait for its end.

    Raises: Failed.
    """
    variables = {**os.environ, "NO_COLOR": "1", "TQDM_DISABLE": "1", **(environment or {})}
    began = time.perf_counter()
    with subprocess.Popen(
        command, cwd=at, env=variables, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        assert child.stdout is not None
        printed = child.stdout.read().decode(errors="replace")
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise Failed(child.returncode, printed)
    return Run(
        seconds=seconds,
        processor_seconds=usage.ru_utime + usage.ru_stime,
        largest_bytes=usage.ru_maxrss * 1024,
        printed=printed,
    )
