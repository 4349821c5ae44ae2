"""The local runner: one attempt is one process in a group of its own; it tells of itself in JSON lines on a pipe.

stdout and stderr stay free for logs and go to a file. The environment is cut down to what the work needs, so that no
secret of the server reaches a process that reads untrusted files.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PASSED_ON = (
    *("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "MODELPRESS_KERNEL", "TZ"),
    # Which accelerators calibration may use, and where their libraries are.
    *("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A process to be started: a module of ours, what it is to do, and the file that its output goes to."""

    module: str
    spec: Mapping[str, Any]
    log: Path


class LocalProcess:
    """A running attempt."""

    def __init__(self, program: Program) -> None:
        """Start it with ``--parent PID --report FD`` and its ``spec`` as JSON on its standard input."""
        program.log.parent.mkdir(parents=True, exist_ok=True)
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        with program.log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", program.module, "--parent", str(os.getpid()), "--report", str(writing)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(writing,),
                start_new_session=True,
                env={name: os.environ[name] for name in _PASSED_ON if name in os.environ},
            )
        os.close(writing)
        self._reading = reading
        self._unread = b""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(program.spec).encode())
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it died at once; poll() tells

    @property
    def pid(self) -> int:
        """The process's number, which is also its group's."""
        return self._process.pid

    def messages(self) -> list[dict[str, Any]]:
        """What it has told since the last call; does not wait."""
        while True:
            try:
                piece = os.read(self._reading, 65536)
            except BlockingIOError:
                break
            if not piece:
                break
            self._unread += piece
        *lines, self._unread = self._unread.split(b"\n")
        return [json.loads(line) for line in lines]

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and all it started."""
        with suppress(ProcessLookupError):  # gone already
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it now, and wait until it is gone."""
        self.signal_group(signal.SIGKILL)
        self._process.wait()

    def close(self) -> None:
        """Free the pipe of a process that has ended."""
        os.close(self._reading)
