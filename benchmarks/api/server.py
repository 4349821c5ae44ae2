"""Starting and ending processes that are measured or that measure beside this one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.api.seeding import Seeded

_READY = re.compile(r"ready at http://127\.0\.0\.1:(?P<port>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server that answers."""

    port: int
    pid: int

    @property
    def host(self) -> str:
        """What goes into the Host header."""
        return f"127.0.0.1:{self.port}"

    @property
    def processor_seconds(self) -> float:
        """Processor time that its process has used so far (proc_pid_stat(5): the 14th and 15th field)."""
        # The second field, a name in parentheses, may have spaces in it.
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def process(
    command: Sequence[str], *, quiet: bool = False, keep_output: bool = False, **environment: str
) -> Iterator[subprocess.Popen[str]]:
    """A process whose standard error is read here, or by nobody if it is to be quiet; ended when this ends."""
    child = subprocess.Popen(
        command,
        stdout=subprocess.PIPE if keep_output else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL if quiet else subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    try:
        yield child
    finally:
        if child.poll() is None:
            child.terminate()
            child.communicate()


@contextmanager
def running(seeded: Seeded, *, timed: bool = False) -> Iterator[Running]:
    """The server's process over a seeded database."""
    command = [sys.executable, "-m", "benchmarks.api.serving", "--data", seeded.data, *(["--timed"] if timed else [])]
    with process(command, MODELPRESS_DATABASE=seeded.url) as child:
        assert child.stderr is not None
        told = []
        for line in child.stderr:
            told.append(line)
            if found := _READY.search(line):
                yield Running(port=int(found["port"]), pid=child.pid)
                return
        raise SystemExit("the server did not start:\n" + "".join(told))
