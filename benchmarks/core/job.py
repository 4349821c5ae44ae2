"""What is measured: each scheme's command, the plain copy of as many bytes, and peers on the same model."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.core.place import MEMORY, ROOT, emptied, tell
from benchmarks.core.process import Failed, Run, measured
from benchmarks.core.source import source
from benchmarks.machine import versions_of

_COPYING = Path(__file__).with_name("copying.py")
_PEER = Path(__file__).with_name("peer.py")

#: Enough for the page cache of an output, and for what is to be read.
_FETCHED_BYTES = 5_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A scheme, and how ``modelpress compress`` is asked for it."""

    name: str
    options: tuple[str, ...]


def _job(name: str, *options: str) -> Job:
    return Job(name=" ".join((name, *options)), options=("--weight", name, *options))


JOBS = (
    *(_job(name) for name in ("W4A16C16", "W8A16C16", "INT8-PTQ")),
    _job("W4A16C16", "--asymmetric"),
    _job("W4A16C16", "--scale-search", "mse"),
    *(_job(name) for name in ("FP8", "FP8-BLOCK", "NVFP4", "MXFP4")),
    *(_job(name) for name in ("Q8_0", "Q4_0", "Q4_K_M")),
)


def versions() -> dict[str, str]:
    """For a report's head: numpy's, and the instructions of the kernel; asked in another process, see process.py."""
    asked = "from modelpress.tensors import kernel; print(kernel.INSTRUCTION_SET)"
    return {**versions_of("numpy", "typer"), "compiled kernel": measured([sys.executable, "-c", asked]).printed.strip()}


def offered() -> list[Job]:
    """Those that this version carries out, each tried on a tiny model, which also brings all files into memory."""
    wanted = os.environ.get("SCHEMES")
    tiny = source("tiny")
    assert tiny is not None
    found = []
    for job in JOBS:
        if wanted and job.name not in wanted.split(","):
            continue
        try:
            compress(job, tiny, emptied(ROOT / "out" / "tiny"))
        except Failed as failure:
            tell(f"{job.name} is left out: {str(failure).splitlines()[-1]}")
        else:
            found.append(job)
    return found


#: Put before a command, this leaves it one core, whatever threads it starts.
ONE_CORE = ("taskset", "--cpu-list", "0")


def compress(job: Job, model: Path, output: Path, *, one_core: bool = False) -> Run:
    """``modelpress compress``, the whole process, on all cores unless told."""
    command = [str(Path(sys.executable).with_name("modelpress")), "compress", str(model), str(output), *job.options]
    return measured([*ONE_CORE, *command, "--threads", "1"] if one_core else command)


def copy_seconds(
    model: Path | None, output: Path | None, *, output_bytes: int, threads: int, one_core: bool = False
) -> float:
    """The plain copy; ``None`` leaves out the reading, or the writing."""
    paths = ["-" if path is None else str(path) for path in (model, output)]
    command = [sys.executable, "-I", "-S", str(_COPYING), *paths, str(output_bytes), str(threads)]
    seconds: float = json.loads(measured([*(ONE_CORE if one_core else ()), *command]).printed)["seconds"]
    return seconds


def peer_compress(python: str, model: Path, output: Path) -> Run:
    """llm-compressor's ``model_free_ptq`` to 4 bits in groups of 128, the whole process, as its documents have it."""
    return measured([python, str(_PEER), str(model), str(output)], at=ROOT)


def output_bytes(output: Path) -> int:
    """Bytes of a file, or of all files of a directory."""
    return sum(file.stat().st_size for file in ([output] if output.is_file() else output.rglob("*")) if file.is_file())


def forget(model: Path) -> None:
    """Ask the system to drop the model's pages from memory; what lies below the system may still have them."""
    for path in model.glob("*.safetensors"):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def fetch_memory() -> None:
    """Have the machine's free memory at hand, before each run that is measured.

    A virtual machine's host takes away what is free for seconds; to get it back costs whoever asks first, ours or a
    copy, up to three times its own work.
    """
    if not MEMORY.is_dir():
        return
    file = MEMORY / "modelpress-bench-fetched"
    try:
        copy_seconds(None, file, output_bytes=_FETCHED_BYTES, threads=2)
    finally:
        file.unlink(missing_ok=True)
