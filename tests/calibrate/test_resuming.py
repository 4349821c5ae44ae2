"""Calibrated runs that end early: the next one goes on at their block and writes what an undisturbed one does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from modelpress.domain.recipe import Recipe
from modelpress.domain.task import Progress
from modelpress.domain.tuning import Tuning
from modelpress.errors import BadSource
from modelpress.tensors.staging import seal
from tests.calibrate.whole_run import RECIPES, run, write_source, write_text

BLOCKS = 4


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source that no test changes."""
    return write_source(tmp_path_factory.mktemp("llama") / "source")


class Stopped(Exception):
    """What a report raises where a task is stopped."""


def at_call(number: int) -> Callable[[Progress], None]:
    """A report that stops at its call of this number, from 0."""
    calls = count()

    def report(progress: Progress) -> None:
        if next(calls) == number:
            raise Stopped

    return report


def stopping(when: Callable[[Progress], bool]) -> Callable[[Progress], None]:
    """A report that stops where ``when`` says yes."""

    def report(progress: Progress) -> None:
        if when(progress):
            raise Stopped

    return report


def at_block(number: int) -> Callable[[Progress], None]:
    """A report that stops within the block of this number."""
    return stopping(lambda p: p.shards_done == number and p.percent > 95 * number // BLOCKS)


def stop(source: Path, out: Path, recipe: Recipe, report: Callable[[Progress], None]) -> list[int]:
    """A run that ends early; the blocks that it finished."""
    said: list[str] = []
    with pytest.raises(Stopped):
        run(source, out, recipe, report=report, say=said.append)
    return finished(said)


def finished(said: list[str]) -> list[int]:
    """The blocks that were finished, by what was said; those of a measurement before too, in order."""
    return [int(line.split()[1]) for line in said if line.startswith("block ") and "is finished" in line]


def files_of(out: Path) -> dict[str, bytes]:
    """The output as it is published, without what was kept to make it."""
    seal(out)
    assert not [path for path in out.iterdir() if not path.is_file()]
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_that_is_stopped_goes_on_at_its_block_to_the_same_bytes(name: str, llama: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    said: list[str] = []
    run(llama, tmp_path / "whole", RECIPES[name], report=told.append, say=said.append)
    blocks = finished(said)
    calls = len([progress for progress in told if progress.stage.startswith("calibrating")])
    done: list[int] = []
    for number in (calls // 3, calls // 4, calls // 6):
        done += stop(llama, tmp_path / "out", RECIPES[name], at_call(number))
    said.clear()
    run(llama, tmp_path / "out", RECIPES[name], say=said.append)
    assert done
    assert done + finished(said) == blocks
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


def test_a_run_stopped_in_any_block_or_after_the_last_does_no_block_twice(llama: Path, tmp_path: Path) -> None:
    run(llama, tmp_path / "whole", RECIPES["gptq"])
    expected = files_of(tmp_path / "whole")
    for number in range(BLOCKS):
        out = tmp_path / f"block-{number}"
        assert stop(llama, out, RECIPES["gptq"], at_block(number)) == list(range(1, number + 1))
        said: list[str] = []
        run(llama, out, RECIPES["gptq"], say=said.append)
        assert finished(said) == list(range(number + 1, BLOCKS + 1))
        assert files_of(out) == expected
    stop(llama, tmp_path / "late", RECIPES["gptq"], stopping(lambda p: p.stage == "verify"))
    run(llama, tmp_path / "late", RECIPES["gptq"], say=said.append)
    assert len(finished(said)) == 1
    assert files_of(tmp_path / "late") == expected


def test_blocks_of_other_samples_or_another_recipe_are_not_gone_on_from(llama: Path, tmp_path: Path) -> None:
    text = write_text(tmp_path / "other.txt", seed=1)
    recipe = RECIPES["gptq"]
    others = {"samples": (recipe, text), "recipe": (replace(recipe, tuning=Tuning(dampening=0.1)), None)}
    for name, (other, its_text) in others.items():
        run(llama, tmp_path / "whole" / name, other, text=its_text)
        assert stop(llama, tmp_path / name, recipe, at_block(2)) == [1, 2]
        said: list[str] = []
        run(llama, tmp_path / name, other, text=its_text, say=said.append)
        assert finished(said) == [1, 2, 3, 4]
        assert files_of(tmp_path / name) == files_of(tmp_path / "whole" / name)


def test_blocks_of_a_source_that_changed_since_are_not_gone_on_from(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    assert stop(source, tmp_path / "out", RECIPES["gptq"], at_block(2)) == [1, 2]
    shutil.rmtree(source)
    write_source(source, attention_bias=False)
    said: list[str] = []
    run(source, tmp_path / "out", RECIPES["gptq"], say=said.append)
    assert finished(said) == [1, 2, 3, 4]


def test_a_source_that_changes_while_it_is_calibrated_is_refused(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")

    def change(progress: Progress) -> None:
        if progress.shards_done == 1:
            os.utime(source / "model.safetensors", ns=(1, 1))

    with pytest.raises(BadSource, match=r"model\.safetensors"):
        run(source, tmp_path / "out", RECIPES["gptq"], report=change)


def test_blocks_that_were_lost_are_calibrated_again(llama: Path, tmp_path: Path) -> None:
    run(llama, tmp_path / "whole", RECIPES["gptq"])
    stop(llama, tmp_path / "out", RECIPES["gptq"], at_block(2))
    (tmp_path / "out" / ".calibrated" / "hidden-00002.bin").unlink()
    said: list[str] = []
    run(llama, tmp_path / "out", RECIPES["gptq"], say=said.append)
    assert finished(said) == [1, 2, 3, 4]
    assert files_of(tmp_path / "out") == files_of(tmp_path / "whole")


@pytest.fixture
def fast_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory, if there is one: each run waits for the disk many times."""
    memory = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(dir=memory if os.access(memory, os.W_OK) else tmp_path))
    yield directory
    shutil.rmtree(directory)


def test_a_kill_at_a_disk_call_costs_one_block_at_most_and_no_byte(fast_disk: Path) -> None:
    # Every so many calls here; `python -m tests.calibrate.killed_run DIRECTORY` takes all, and minutes.
    command = [sys.executable, "-m", "tests.calibrate.killed_run", str(fast_disk), "41"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split()[0]) > 3
