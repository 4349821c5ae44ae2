"""Several processes that do the same at the same moment."""

from __future__ import annotations

import subprocess
import sys

_PROLOGUE = "import sys\nfrom pathlib import Path\n"


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
