"""Load from outside: wrk replays prepared requests over kept connections."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.api.server import Running

_SCRIPT = Path(__file__).with_name("replay.lua")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What wrk measured."""

    rate: float
    #: What the server's process used of a processor for one request: what else the machine does hardly changes it.
    processor_us: float
    p50_us: float
    p99_us: float
    max_us: float
    refused: int
    broken: int


def require_wrk() -> None:
    """Nothing, if wrk is there.

    Raises: SystemExit saying how to get it.
    """
    if shutil.which("wrk") is None:
        raise SystemExit("wrk, which makes the load, is not installed\nhint: apt-get install wrk, or brew install wrk")


@contextmanager
def request_file(requests: Sequence[bytes]) -> Iterator[Path]:
    """A file of these requests as replay.lua reads it."""
    with tempfile.NamedTemporaryFile(prefix="bench-", suffix=".requests") as file:
        for request in requests:
            file.write(f"{len(request)}\n".encode() + request)
        file.flush()
        yield Path(file.name)


def replay(file: Path, server: Running, *, connections: int, seconds: int) -> Load:
    """Send the requests of ``file`` in turn, each connection its next one as soon as it is answered."""
    counts = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    command = ["wrk", *counts, "-s", str(_SCRIPT), f"http://{server.host}", "--", str(file)]
    before = server.processor_seconds
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    used = server.processor_seconds - before
    told = json.loads(ran.stdout.splitlines()[-1])
    return Load(
        rate=told["requests"] / (told["microseconds"] / 1e6),
        processor_us=used / max(1, told["requests"]) * 1e6,
        p50_us=told["p50_us"],
        p99_us=told["p99_us"],
        max_us=told["max_us"],
        refused=told["refused"],
        broken=told["broken"],
    )
