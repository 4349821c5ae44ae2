"""The tests of the calibrated engine, in the environment that has torch."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TORCH_PYTHON = ROOT / ".cache" / "calibrate" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_calibrated_engine_passes_its_own_tests() -> None:
    """They lie in tests/calibrate; the fixtures of all other tests need packages that are not there."""
    command = [str(TORCH_PYTHON), "-m", "pytest", "-q", "--confcutdir=tests/calibrate", "tests/calibrate"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
