"""The base install: the control plane and the worker import, and the command answers, where torch and Ray are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FORBIDDEN = ("torch", "transformers", "ray", "compressed_tensors")

MODULES = (
    "modelpress.api.server",
    "modelpress.client.client",
    "modelpress.cli.main",
    "modelpress.conformance.checks",
    "modelpress.service.services",
    "modelpress.worker.supervisor",
    "modelpress.worker.courier",
    "modelpress.worker.attempt",
    "modelpress.worker.press",
)

#: Placed on the path as sitecustomize.py: an import of one of these fails, whether it is installed or not.
GUARD = f"""
import sys

class Guard:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FORBIDDEN!r}:
            raise AssertionError(f"{{name}} is imported")

sys.meta_path.insert(0, Guard())
"""


@pytest.fixture
def guarded(tmp_path: Path) -> dict[str, str]:
    """An environment in whose interpreters none of FORBIDDEN can be imported."""
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_the_guard_guards(guarded: dict[str, str]) -> None:
    assert "torch is imported" in run(guarded, "-c", "import torch").stderr


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_without_the_calibrated_engines_libraries(module: str, guarded: dict[str, str]) -> None:
    code = f"import sys, {module}; print(sorted(set({FORBIDDEN!r}) & set(sys.modules)))"
    ended = run(guarded, "-c", code)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == "[]"


def test_the_command_shows_its_help_without_them(guarded: dict[str, str]) -> None:
    ended = run(guarded, "-m", "modelpress.cli.main", "--help")
    assert ended.returncode == 0, ended.stderr
    assert "serve" in ended.stdout
