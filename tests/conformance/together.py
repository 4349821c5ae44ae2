"""Several threads, or processes, that begin at the same moment."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

_PROLOGUE = "import sys\nfrom pathlib import Path\n"


def at_once(*actions: Callable[[], object]) -> list[BaseException | None]:
    """What each action raised, or None; each ran in a thread of its own."""
    together = Barrier(len(actions))

    def run(action: Callable[[], object]) -> None:
        together.wait()
        action()

    with ThreadPoolExecutor(len(actions)) as pool:
        outcomes = [pool.submit(run, action) for action in actions]
    return [outcome.exception() for outcome in outcomes]


def run_together(code: str, *arguments: str, processes: int) -> list[str]:
    """What each process that ran ``code`` printed. All have imported what ``code`` imports before any goes on.

    ``code``'s first line is its imports, the rest its work.
    """
    imports, work = code.split("\n", 1)
    program = f"{_PROLOGUE}{imports}\nprint('ready', flush=True)\nsys.stdin.readline()\n{work}"
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(processes)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            ready = process.stdout.readline()
            assert ready == "ready\n", process.communicate()[1]
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=60) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    for process, (_, errors) in zip(started, answers, strict=True):
        assert process.returncode == 0, errors
    return [output.strip() for output, _ in answers]
