"""A run that dies at any moment is gone on with by the same command, and ends in the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelpress.tensors.staging import MANIFEST
from tests.unit.tensors.models import Tensors, contents, weight, write_model

pytestmark = pytest.mark.slow

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
SHARDS, KILLS = 6, 5


@pytest.fixture
def fast_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, if there is one: each run waits for the disk several times."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    directory = Path(tempfile.mkdtemp(dir=memory))
    yield directory
    shutil.rmtree(directory)


def test_a_kill_before_every_call_and_within_every_write_is_gone_on_from(fast_disk: Path) -> None:
    command = [sys.executable, "-m", "tests.unit.tensors.killed_run", str(fast_disk)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    kills, _, rest = done.stdout.partition(" ")
    # Two shards and five other files, each opened, written, synced and renamed.
    assert int(kills) > 80, done.stdout
    assert rest == "kills, 2 shards\n"


def start(source: Path, target: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "modelpress.cli.main", "compress", str(source), str(target)]
    return subprocess.Popen(
        [*command, "--weight", "W8A16C16", "--threads", "1"],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def written_bytes(directory: Path) -> int:
    total = 0
    for entry in directory.iterdir() if directory.is_dir() else ():
        try:
            total += entry.stat().st_size
        except FileNotFoundError:
            continue  # it got its name
    return total


def test_a_process_killed_at_random_places_ends_in_the_bytes_of_an_undisturbed_one(tmp_path: Path) -> None:
    shards: list[Tensors] = [{f"l{i}.up_proj.weight": weight(4096, 1024, seed=i)} for i in range(SHARDS)]
    source = write_model(tmp_path / "source", *shards)
    assert start(source, tmp_path / "whole").wait() == 0
    expected = contents(tmp_path / "whole")
    total = sum(map(len, expected.values()))
    seed = 7
    chance = random.Random(seed)
    (tmp_path / "place").mkdir()
    target, staging = tmp_path / "place" / "out", tmp_path / "place" / ".out.partial"
    killed = []
    for number in range(KILLS):
        # At a place within each part of the output in turn, so that every run gets further than the one before.
        place = int(total * (number + chance.random()) / KILLS)
        process = start(source, target)
        while process.poll() is None and written_bytes(staging) < place:
            pass
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            killed.append(place)
        story = f"seed {seed}, killed at {killed} of {total} bytes"
        for name, content in contents(staging).items() if staging.is_dir() else ():
            assert not name.endswith(".safetensors") or content == expected[name], story
    # The last place may be reached after all is done.
    assert len(killed) >= KILLS - 1, story
    if not target.exists() or (target / MANIFEST).exists():
        assert start(source, target).wait() == 0, story
    assert contents(target) == expected, story
    assert [path.name for path in target.parent.iterdir()] == ["out"], story
