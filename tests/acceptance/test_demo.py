"""``modelpress demo`` as people run it, on the real model."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import CACHE
from tests.acceptance.server import Processes

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("sample_wheel", "sdk_python")]


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """What the demonstration starts; nothing of it may be left."""
    mark = Processes(tmp_path / "mark")
    yield mark
    left = mark.kill_all()
    assert not left, f"processes were left behind: {left}"


def run_demo(data: Path, processes: Processes, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelpress.cli.main", "demo", "--json", "--port", "0"]
    return subprocess.run(
        [*command, "--cache", str(CACHE), "--data", str(data)],
        env=processes.full_environment(environment),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demonstration_succeeds_twice_whatever_the_environment_says(tmp_path: Path, processes: Processes) -> None:
    for _ in range(2):
        ended = run_demo(tmp_path / "data", processes, MODELPRESS_DATABASE="postgresql://nobody@127.0.0.1:1/none")
        assert ended.returncode == 0, ended.stderr
        details = json.loads(ended.stdout)
        assert [detail["config"]["weight"] for detail in details] == ["INT8-PTQ", "W8A16C16", "W4A16C16"]
        assert [detail["status"] for detail in details] == ["succeeded"] * 3
        assert not processes.alive()


@pytest.mark.parametrize(
    ("data", "message"),
    [("a-file/below", "cannot be written"), ("broken", "the database failed")],
)
def test_the_demonstration_fails_in_two_lines_where_its_server_cannot_start(
    data: str, message: str, tmp_path: Path, processes: Processes
) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "modelpress.db").write_bytes(b"no database " * 1000)
    ended = run_demo(tmp_path / data, processes)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith(("error: ", "hint: "))]
    assert len(said) == 2, ended.stderr
    assert message in said[0]
