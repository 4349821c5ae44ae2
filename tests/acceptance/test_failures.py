"""Tasks that cannot succeed: they fail with a class and a sentence, leave nothing behind, and others go on."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.checkpoint import file_hashes, last_weight, write_checkpoint, write_sparse_checkpoint
from tests.acceptance.conftest import SLOW, MakeServer, Sample
from tests.acceptance.server import Server, end_process

pytestmark = pytest.mark.slow

#: On the way to failing: what an attempt has open must be closed, and the database told.
SPARE_BYTES = 20_000_000


def assert_failed(server: Server, task_id: str, reason: str) -> str:
    """The task failed for ``reason``, and nothing of its output is there; the sentence."""
    detail = server.await_status(task_id, "failed", "succeeded")
    assert detail["status"] == "failed"
    sentence = str(detail["failedReason"])
    assert sentence.startswith(f"{reason}: "), sentence
    assert detail["events"][-1]["message"] == sentence
    server.await_no_staging(task_id)
    assert not server.produced()
    return sentence


def assert_next_succeeds(server: Server, sample: Sample) -> None:
    task_id = server.create_task(server.register(sample.directory, name="next"), weight=sample.weight)
    detail = server.await_status(task_id, "succeeded", "failed")
    assert detail["status"] == "succeeded", detail
    assert file_hashes(server.output(detail)) == sample.hashes


def test_an_attempt_that_dies_each_time_before_it_finishes_a_shard_fails_as_worker_lost(
    server: Server, tmp_path: Path, small: Sample
) -> None:
    write_sparse_checkpoint(tmp_path / "model", size_bytes=8_000_000_000)  # one shard, of half a minute
    task_id = server.create_task(server.register(tmp_path / "model", name="sparse"))
    for _ in range(3):
        attempt = server.attempt_pid()
        server.await_staged_bytes(task_id, 1)
        end_process(attempt)
        server.processes.await_gone(attempt)
    assert "3 attempts in a row" in assert_failed(server, task_id, "WorkerLost")
    assert_next_succeeds(server, small)


def remove_directory(model: Path) -> None:
    shutil.rmtree(model)


def remove_a_shard(model: Path) -> None:
    next(model.glob("*.safetensors")).unlink()


def cut_a_shard_short(model: Path) -> None:
    shard = max(model.glob("*.safetensors"))
    content = shard.read_bytes()
    shard.unlink()  # it is a hard link
    shard.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("harm", [remove_directory, remove_a_shard, cut_a_shard_short])
def test_a_source_that_was_harmed_after_the_task_was_created_fails_as_bad_source(
    harm: Callable[[Path], None], make_server: MakeServer, small: Sample
) -> None:
    server = make_server(arguments=["--no-worker"])
    model = server.register(small.directory, name="small")
    task_id = server.create_task(model)
    harm(model.directory)
    with server.extra_worker():
        assert_failed(server, task_id, "BadSource")
        assert_next_succeeds(server, small)


def test_a_nan_fails_as_bad_source_that_names_the_tensor(server: Server, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model", shards=3, rows=32, nan_in=2)
    task_id = server.create_task(server.register(tmp_path / "model", name="nan"))
    assert last_weight(3) in assert_failed(server, task_id, "BadSource")


def test_a_model_that_cannot_fit_is_refused_with_both_numbers_before_a_byte_is_written(
    server: Server, tmp_path: Path, small: Sample
) -> None:
    free_bytes = shutil.disk_usage(tmp_path).free
    write_sparse_checkpoint(tmp_path / "model", size_bytes=6 * free_bytes)
    task_id = server.create_task(server.register(tmp_path / "model", name="sparse"), weight="W8A16C16")
    assert "bytes more" in assert_failed(server, task_id, "DiskFull")
    assert_next_succeeds(server, small)


@pytest.fixture
def cramped(make_server: MakeServer, tmp_path: Path, large: Sample) -> Iterator[tuple[Server, Callable[[], Any]]]:
    """A server whose disk becomes full by the callable: a real one where that may be mounted, else a limit on files."""
    outputs = tmp_path / "data" / "outputs"
    if os.geteuid() != 0:
        # EFBIG in the place of ENOSPC: no file of the worker may grow beyond half a shard of the output.
        limit = str(large.output_bytes // 16 // 2 // 1024)
        wrapped = make_server(environment=SLOW, wrapper=("sh", "-c", f'ulimit -f {limit}; exec "$@"', "sh"))
        yield wrapped, lambda: None
        return
    outputs.mkdir(parents=True)
    size = large.output_bytes + SPARE_BYTES
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", outputs], check=True)
    try:
        server = make_server(environment=SLOW)
        yield server, lambda: (outputs / "ballast").write_bytes(bytes(large.output_bytes // 2))
        server.stop()
    finally:
        subprocess.run(["umount", outputs], check=True)


def test_a_disk_that_fills_up_on_the_way_fails_as_disk_full(
    cramped: tuple[Server, Callable[[], Any]], large: Sample, small: Sample
) -> None:
    server, fill = cramped
    task_id = server.create_task(server.register(large.directory, name="large"), weight=large.weight)
    server.await_staged_bytes(task_id, 1)
    fill()
    assert "no space for" in assert_failed(server, task_id, "DiskFull")
    assert_next_succeeds(server, small)
