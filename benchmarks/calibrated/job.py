"""What is measured: each method of ours, and the peer's that does the same thing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from benchmarks.calibrated.place import AUTOROUND, LLMCOMPRESSOR, OUTPUTS, ROOT, interpreter, torch_interpreter
from benchmarks.calibrated.texts import LENGTH, SAMPLES
from benchmarks.core.job import fetch_memory, output_bytes
from benchmarks.core.place import emptied
from benchmarks.core.process import Run, measured

_FOUR_BITS = ("--weight", "W4A16C16", "--group-size", "64")
_EIGHT_BITS = ("--weight", "INT8-PTQ")
_HALF = ("--sparsity", "0.5")

#: What our command is told for what needs no data, by name.
BASELINES: Mapping[str, tuple[str, ...]] = {
    "RTN W4A16": (*_FOUR_BITS, "--method", "rtn"),
    "RTN W8A8": (*_EIGHT_BITS, "--method", "rtn"),
    "magnitude": (*_HALF, "--method", "magnitude"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method: how ours is asked for it, who else has it, and what both are held to."""

    name: str
    title: str
    options: tuple[str, ...]
    baseline: str
    #: The environment of the peer, its script, and what comes first on that script's command line.
    peer: str
    script: str
    arguments: tuple[str, ...]
    #: Ours over the peer's, at most: of perplexity in each domain, of seconds, of peak memory.
    most_perplexity: float
    most_seconds: float | None = None
    most_memory: float | None = None

    @property
    def timed(self) -> bool:
        """Whether it is measured in several rounds; the others take long, and nothing is claimed of their time."""
        return self.most_memory is not None


def _llmcompressor(name: str, title: str, options: tuple[str, ...], baseline: str, *, timed: bool = False) -> Method:
    return Method(
        name=name,
        title=title,
        options=options,
        baseline=baseline,
        peer=LLMCOMPRESSOR,
        script="peer_llmcompressor.py",
        arguments=(name,),
        most_perplexity=1.01,
        most_seconds=0.5 if timed else None,
        most_memory=0.6 if timed else None,
    )


METHODS = (
    _llmcompressor("gptq", "GPTQ W4A16", (*_FOUR_BITS, "--method", "gptq"), "RTN W4A16", timed=True),
    _llmcompressor("sparsegpt", "SparseGPT 50 %", (*_HALF, "--method", "sparsegpt"), "magnitude", timed=True),
    _llmcompressor("awq", "AWQ W4A16", (*_FOUR_BITS, "--method", "awq"), "RTN W4A16"),
    _llmcompressor(
        "w8a8", "SmoothQuant + GPTQ W8A8", (*_EIGHT_BITS, "--method", "smoothquant", "--smoothing", "0.8"), "RTN W8A8"
    ),
    _llmcompressor("wanda", "Wanda 50 %", (*_HALF, "--method", "wanda"), "magnitude"),
    Method(
        name="learned",
        title="learned rounding W4A16",
        options=(*_FOUR_BITS, "--method", "learned"),
        baseline="RTN W4A16",
        peer=AUTOROUND,
        script="peer_autoround.py",
        arguments=(),
        most_perplexity=1.0,
        most_seconds=1.0,
    ),
)

#: What both are called in tables.
PEERS = {LLMCOMPRESSOR: "llm-compressor", AUTOROUND: "AutoRound"}


def chosen() -> list[Method]:
    """All, or those that METHODS names."""
    wanted = os.environ.get("METHODS")
    return [method for method in METHODS if wanted is None or method.name in wanted.split(",")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run, what it wrote, and when."""

    run: Run
    output: Path
    output_bytes: int
    date: str


def compress(options: tuple[str, ...], source: Path, output: Path, *, device: str = "cpu") -> Measured:
    """``modelpress compress``, the whole process.

    Raises: Failed.
    """
    command = [torch_interpreter(), "-m", "modelpress.cli.main", "compress", str(source), str(output), *options]
    return _measured(command, output, device=device)


def calibrated_by(samples: Path) -> tuple[str, ...]:
    """The options that say: the samples that the peers get as tokens."""
    file = samples / "calibration.jsonl"
    return ("--calibration", str(file), "--samples", str(SAMPLES), "--length", str(LENGTH))


def compress_by_peer(method: Method, source: Path, samples: Path, *, device: str) -> Measured | None:
    """The peer's whole process; None where its environment is not there.

    With PEERS=kept, what an earlier run measured counts, if its output still lies there.
    Raises: Failed.
    """
    python = interpreter(method.peer)
    if python is None or os.environ.get("PEERS") == "none":
        return None
    output = OUTPUTS / device / f"{method.name}-peer"
    kept = output.with_suffix(".json")
    if os.environ.get("PEERS") == "kept" and output.is_dir() and kept.is_file():
        told = json.loads(kept.read_text(encoding="utf-8"))
        return Measured(**{**told, "run": Run(**told["run"]), "output": output})
    script = Path(__file__).with_name(method.script)
    tokens = samples / "samples.safetensors"
    found = _measured(
        [python, str(script), *method.arguments, str(source), str(tokens), str(output)], output, device=device
    )
    kept.write_text(json.dumps({**asdict(found), "output": str(output)}), encoding="utf-8")
    return found


def _measured(command: list[str], output: Path, *, device: str) -> Measured:
    """Run in a directory where peers may leave what they like."""
    emptied(output)
    fetch_memory()
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    run = measured(command, at=ROOT, environment={**hidden, "HF_HUB_OFFLINE": "1"})
    return Measured(
        run=Run(
            seconds=run.seconds,
            processor_seconds=run.processor_seconds,
            largest_bytes=run.largest_bytes,
            printed=run.printed[-2000:],
        ),
        output=output,
        output_bytes=output_bytes(output),
        date=datetime.now().astimezone().isoformat(timespec="minutes"),
    )
