"""What the tensor core's benchmark holds us against does all that it says, and measures whole processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.core import copying
from benchmarks.core.process import Failed, measured
from benchmarks.core.source import MODELS, make
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.folder import LocalFolder


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [1, 1_000_003, 5_000_000])
def test_the_plain_copy_reads_all_and_writes_as_many_bytes_as_it_is_told(
    tmp_path: Path, threads: int, size: int
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * 3_333_333)
    output = tmp_path / "output"
    command = [sys.executable, "-I", "-S", copying.__file__, str(tmp_path), str(output), str(size), str(threads)]
    subprocess.run(command, check=True)
    assert output.stat().st_size == size


def test_synthetic_models_are_sound_checkpoints(tmp_path: Path) -> None:
    make(MODELS["tiny"], tmp_path / "tiny")
    checkpoint = open_checkpoint(LocalFolder(tmp_path / "tiny"))
    assert sum(tensor.spec.size_bytes for tensor in checkpoint.tensors) == MODELS["tiny"].size_bytes


def test_a_process_is_measured_with_its_memory_and_a_failing_one_is_told() -> None:
    run = measured([sys.executable, "-c", "print(len(b'x' * 100_000_000))"])
    assert run.printed == "100000000\n"
    assert run.largest_bytes > 100_000_000
    with pytest.raises(Failed, match="no good"):
        measured([sys.executable, "-c", "raise SystemExit('no good')"])
