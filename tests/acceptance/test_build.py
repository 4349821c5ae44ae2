"""The wheel: built as an installer builds it, from a copy of the sources."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KERNEL = "modelpress/tensors/kernel/modelpress_kernel."


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of what a wheel is made of, without anything built."""
    copy = tmp_path / "sources"
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.dylib"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(ROOT / name, copy)
    return copy


def build(sources: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """``pip wheel``, with the build tools of this environment."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "wheels", "."]
    plain = {name: value for name, value in os.environ.items() if name not in ("CC", "MODELPRESS_KERNEL")}
    return subprocess.run(
        command, cwd=sources, env={**plain, **environment}, capture_output=True, text=True, check=False
    )


def built(sources: Path) -> tuple[str, list[str]]:
    """The wheel's platform and its files."""
    (wheel,) = (sources / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return wheel.stem.split("-", 2)[2], archive.namelist()


def test_a_wheel_carries_the_kernel_the_migrations_and_the_examples(sources: Path) -> None:
    ended = build(sources)
    assert ended.returncode == 0, ended.stderr
    tag, names = built(sources)
    assert tag.startswith("py3-none-")
    assert tag != "py3-none-any"
    assert [name for name in names if name.startswith(KERNEL)]
    assert "modelpress/store/migrations/versions/0001_first_schema.py" in names
    assert {"modelpress/demo/examples/python.txt", "modelpress/demo/examples/node.txt"} <= set(names)


def test_a_wheel_without_the_kernel_fits_every_platform(sources: Path) -> None:
    ended = build(sources, MODELPRESS_KERNEL="none")
    assert ended.returncode == 0, ended.stderr
    tag, names = built(sources)
    assert tag == "py3-none-any"
    assert not [name for name in names if name.startswith(KERNEL)]


def test_a_compiler_that_fails_fails_the_build_with_its_command(sources: Path) -> None:
    ended = build(sources, CC="false")
    assert ended.returncode != 0
    assert "compiling the kernel failed: false" in ended.stderr + ended.stdout


def test_where_no_compiler_is_found_the_build_asks_for_ziglang(sources: Path, tmp_path: Path) -> None:
    ask = (
        "from hatch_build import KernelBuildHook as Hook; print(Hook('.', {}, None, None, '.', 'wheel').dependencies())"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    plain = {name: value for name, value in os.environ.items() if name not in ("CC", "MODELPRESS_KERNEL")}
    asked = {
        where: subprocess.run(
            [sys.executable, "-c", ask], cwd=sources, env={**plain, **path}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for where, path in {"without": {"PATH": str(empty)}, "named": {"PATH": str(empty), "CC": "/opt/cc"}}.items()
    }
    assert asked == {"without": "['ziglang']", "named": "[]"}
