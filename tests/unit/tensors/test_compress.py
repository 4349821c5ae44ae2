"""Carrying out a plan: the same bytes whatever happens on the way, and nothing half-written left behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from modelpress.domain.task import Progress
from modelpress.errors import BadSource, DiskFull, InternalFailure, Unsupported
from modelpress.quality.verification import verify
from modelpress.tensors import grouping, kernel, piece
from modelpress.tensors import shard as shards
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.header import encode_header
from modelpress.tensors.kernel import twin, twin_floats
from modelpress.tensors.pack import unpack
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.staging import MANIFEST, seal
from tests.unit.tensors.models import Tensors, contents, encode, layers, plan_of, weight, write_model


class Stopped(Exception):
    """What a worker raises from its report to stop."""


def ignore(progress: Progress) -> None:
    """A report nobody reads."""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of several output shards, with side files, in pieces far smaller than its tensors."""
    monkeypatch.setattr(shards, "LARGEST_SHARD_BYTES", 9000)
    monkeypatch.setattr(piece, "PIECE_BYTES", 1000)
    files = {"tokenizer.json": b'{"a": 1}', "merges.txt": b"x" * 5000}
    return write_model(tmp_path / "source", layers(3), {"b." + k: v for k, v in layers(1).items()}, files=files)


def product(
    source: Path, destination: Path, *, scheme: str = "W4A16C16", threads: int | None = None
) -> dict[str, bytes]:
    """The files of a whole, verified, sealed run."""
    plan = plan_of(source, scheme)
    compress(plan, LocalFolder(source), destination, report=ignore, threads=threads)
    verify(plan, destination)
    seal(destination)
    return contents(destination)


def test_an_output_holds_product_files_alone_and_as_many_bytes_as_planned(source: Path, tmp_path: Path) -> None:
    plan = plan_of(source)
    assert len(plan.shards) > 2
    made = product(source, tmp_path / "out")
    assert set(made) == {
        *(shard.name for shard in plan.shards),
        "config.json",
        "model.safetensors.index.json",
        "modelpress.json",
        "tokenizer.json",
        "merges.txt",
    }
    assert sum(len(content) for content in made.values()) == plan.output_bytes
    assert made["merges.txt"] == b"x" * 5000
    assert plan.output_bytes < plan.source_bytes


@pytest.fixture
def blocks_may_be_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights narrower than a block are written as any others are."""
    monkeypatch.setattr(grouping, "refuse_cut_blocks", lambda *_arguments: None)


FLOATS = ["WFP8AFP8C16", "WFP8AFP8C16-BLOCK", "WNVFP4A16C16", "WMXFP4A16C16"]


@pytest.mark.usefixtures("blocks_may_be_cut")
@pytest.mark.parametrize("scheme", ["W4A16C16", "W8A16C16", "INT8-PTQ", *FLOATS])
def test_the_bytes_are_the_same_on_any_number_of_threads_and_with_either_kernel(
    source: Path, tmp_path: Path, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = product(source, tmp_path / "one", scheme=scheme, threads=1)
    assert product(source, tmp_path / "four", scheme=scheme, threads=4) == made
    assert product(source, tmp_path / "own", scheme=scheme) == made
    monkeypatch.setattr(kernel, "quantize", twin.quantize)
    for name in ("float8", "nvfp4", "mxfp4", "magnitude"):
        monkeypatch.setattr(kernel, name, getattr(twin_floats, name))
    assert product(source, tmp_path / "twin", scheme=scheme) == made


def test_pieces_of_any_size_give_the_same_bytes(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = product(source, tmp_path / "small")
    monkeypatch.setattr(piece, "PIECE_BYTES", 1 << 20)
    assert product(source, tmp_path / "large") == made


@pytest.mark.parametrize("scheme", ["W4A16C16", "W8A16C16", "INT8-PTQ"])
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
def test_safetensors_own_reader_finds_weights_within_half_a_scale(tmp_path: Path, scheme: str, dtype: str) -> None:
    numbers = np.random.default_rng(5).standard_normal((48, 64), dtype=np.float32).astype(np.float16).astype(np.float32)
    numbers = (numbers.view(np.uint32) & 0xFFFF0000).view(np.float32)  # of all three grids, so nothing is lost before
    tensors: Tensors = {
        "a.up_proj.weight": (dtype, (48, 64), encode(numbers, dtype)),
        "a.up_proj.bias": ("F32", (3,), np.array([1, 2, 3], np.float32).tobytes()),
    }
    source = write_model(tmp_path / "source", tensors)
    plan = plan_of(source, scheme)
    compress(plan, LocalFolder(source), tmp_path / "out", report=ignore)
    with safe_open(tmp_path / "out" / "model.safetensors", framework="np") as file:
        assert file.metadata() == {"format": "pt"}
        assert file.get_tensor("a.up_proj.bias").tolist() == [1, 2, 3]
        # numpy has no bfloat16, so the scales of that grid are read as bytes further down.
        scale_shape = file.get_slice("a.up_proj.weight_scale").get_shape()
        if scheme == "INT8-PTQ":
            values = file.get_tensor("a.up_proj.weight")
        else:
            assert file.get_tensor("a.up_proj.weight_shape").tolist() == [48, 64]
            words = file.get_tensor("a.up_proj.weight_packed")
            values = unpack(words.view(np.uint8), bits=4 if scheme == "W4A16C16" else 8, columns=64)
    scales = _scales(tmp_path / "out", dtype).reshape(scale_shape)
    assert scale_shape == [48, 1]
    assert (np.abs(values * scales - numbers) <= scales * 0.5001 + np.abs(numbers) * 2**-8).all()


def _scales(directory: Path, dtype: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    content = (directory / "model.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    start, end = json.loads(content[8 : 8 + length])["a.up_proj.weight_scale"]["data_offsets"]
    raw = np.frombuffer(content[8 + length + start : 8 + length + end], np.uint8)
    if dtype == "BF16":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return raw.view(np.float16 if dtype == "F16" else np.float32).astype(np.float32)


def test_a_run_that_was_stopped_goes_on_where_whole_shards_end_and_gives_the_same_bytes(
    source: Path, tmp_path: Path
) -> None:
    expected = product(source, tmp_path / "whole")
    plan, folder, out = plan_of(source), LocalFolder(source), tmp_path / "out"

    def stop_after_two(progress: Progress) -> None:
        if progress.shards_done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        compress(plan, folder, out, report=stop_after_two)
    # Others may have become whole before the stop was seen.
    whole = {path.name: path.stat().st_mtime_ns for path in out.iterdir() if path.name != MANIFEST}
    assert len(whole) >= 2
    assert whole.keys() <= {shard.name for shard in plan.shards}
    assert compress(plan, folder, out, report=ignore) == len(whole)
    assert {name: (out / name).stat().st_mtime_ns for name in whole} == whole
    seal(out)
    assert contents(out) == expected


def test_a_stop_within_a_shard_leaves_nothing_of_it(source: Path, tmp_path: Path) -> None:
    expected = product(source, tmp_path / "whole")

    def stop(progress: Progress) -> None:
        if progress.bytes_done > 3000:
            raise Stopped

    with pytest.raises(Stopped):
        compress(plan_of(source), LocalFolder(source), tmp_path / "out", report=stop, threads=3)
    left = contents(tmp_path / "out")
    assert left.pop(MANIFEST)
    assert left.items() <= expected.items()


def test_of_several_failures_the_first_in_the_order_of_the_source_is_told(tmp_path: Path) -> None:
    bad = np.full(96 * 64, 0x7FC0, np.uint16).tobytes()
    tensors = layers(3)
    names = [name for name in tensors if name.endswith("mlp.up_proj.weight")]
    source = write_model(tmp_path / "source", {**tensors, **dict.fromkeys(names, ("BF16", (96, 64), bad))})
    for attempt in range(20):
        with pytest.raises(BadSource, match=f"'{names[0]}' holds a NaN or an infinity in row 0"):
            compress(plan_of(source), LocalFolder(source), tmp_path / f"{attempt}", report=ignore, threads=4)


def test_what_a_killed_run_left_half_written_is_removed(source: Path, tmp_path: Path) -> None:
    expected = product(source, tmp_path / "whole")
    out = tmp_path / "out"
    plan = plan_of(source)
    with pytest.raises(Stopped):
        compress(plan, LocalFolder(source), out, report=raise_stopped)
    (out / f"{plan.shards[0].name}.0123abcd.partial").write_bytes(b"half")
    assert product(source, out) == expected


def raise_stopped(progress: Progress) -> None:
    raise Stopped


def test_a_finished_run_repeated_reuses_every_shard(source: Path, tmp_path: Path) -> None:
    plan = plan_of(source)
    assert compress(plan, LocalFolder(source), tmp_path / "out", report=ignore) == 0
    assert compress(plan, LocalFolder(source), tmp_path / "out", report=ignore) == len(plan.shards)


def test_another_recipe_starts_over(source: Path, tmp_path: Path) -> None:
    compress(plan_of(source, "W8A16C16"), LocalFolder(source), tmp_path / "out", report=ignore)
    (tmp_path / "out" / "folder").mkdir()
    assert product(source, tmp_path / "out") == product(source, tmp_path / "fresh")


def test_a_changed_source_starts_over(source: Path, tmp_path: Path) -> None:
    compress(plan_of(source), LocalFolder(source), tmp_path / "out", report=ignore)
    changed = {**layers(3), "model.layers.0.mlp.up_proj.weight": weight(96, 64, seed=99)}
    write_model(source, changed, {"b." + k: v for k, v in layers(1).items()})
    assert compress(plan_of(source), LocalFolder(source), tmp_path / "out", report=ignore) == 0
    seal(tmp_path / "out")
    assert contents(tmp_path / "out") == product(source, tmp_path / "fresh")


def test_a_manifest_that_cannot_be_read_starts_over(source: Path, tmp_path: Path) -> None:
    compress(plan_of(source), LocalFolder(source), tmp_path / "out", report=ignore)
    (tmp_path / "out" / MANIFEST).write_bytes(b"\xff{")
    assert compress(plan_of(source), LocalFolder(source), tmp_path / "out", report=ignore) == 0


def test_a_run_killed_while_it_wrote_its_manifest_is_begun_anew(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"{MANIFEST}.0123abcd.partial").write_bytes(b"{")
    assert product(source, tmp_path / "out") == product(source, tmp_path / "fresh")


def test_a_directory_of_somebody_elses_files_is_refused_and_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    with pytest.raises(Unsupported, match="is not empty"):
        compress(plan_of(source), LocalFolder(source), tmp_path / "out", report=ignore)
    assert contents(tmp_path / "out") == {"thesis.tex": b"years of work"}


def test_progress_grows_to_99_percent_and_counts_every_source_byte(source: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    plan = plan_of(source)
    compress(plan, LocalFolder(source), tmp_path / "out", report=seen.append)
    assert [p.percent for p in seen] == sorted(p.percent for p in seen)
    assert (seen[0].percent, seen[0].bytes_done, seen[0].shards_done) == (0, 0, 0)
    assert (seen[-1].percent, seen[-1].bytes_done) == (99, plan.tensor_bytes)
    assert seen[-1].shards_done == len(plan.shards)
    steps = [later.bytes_done - earlier.bytes_done for earlier, later in pairwise(seen)]
    assert 0 < max(steps) <= 1000


@pytest.mark.parametrize(("dtype", "bits"), [("BF16", 0x7FC0), ("BF16", 0x7F80), ("F16", 0xFC00), ("F32", 0x7F800001)])
def test_a_weight_that_is_not_finite_is_refused_by_name_and_leaves_no_shard(
    tmp_path: Path, dtype: str, bits: int
) -> None:
    tensors = layers(1, dtype=dtype)
    name = "model.layers.0.mlp.up_proj.weight"
    data = np.frombuffer(tensors[name][2], np.uint32 if dtype == "F32" else np.uint16).copy()
    data[64 * 70 + 5] = bits
    tensors[name] = (dtype, (96, 64), data.tobytes())
    source = write_model(tmp_path / "source", tensors)
    with pytest.raises(BadSource, match=f"'{name}' holds a NaN or an infinity in row 70"):
        compress(plan_of(source), LocalFolder(source), tmp_path / "out", report=ignore)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [MANIFEST]


def test_a_tensor_that_is_only_copied_may_hold_anything(tmp_path: Path) -> None:
    tensors = {**layers(1), "model.norm.weight": ("BF16", (64,), b"\xc0\x7f" * 64)}
    source = write_model(tmp_path / "source", tensors)
    product(source, tmp_path / "out")


def test_a_source_that_shrinks_under_way_is_refused_and_leaves_no_shard(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source", layers(1))
    plan = plan_of(source)
    os.truncate(source / "model.safetensors", 5000)
    with pytest.raises(BadSource, match=r"model\.safetensors ends at byte 5000"):
        compress(plan, LocalFolder(source), tmp_path / "out", report=ignore)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [MANIFEST]


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_a_full_disk_is_told_with_path_and_bytes_and_leaves_no_partial_file(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    plan, out = plan_of(source), tmp_path / "out"
    with pytest.raises(Stopped):
        compress(plan, LocalFolder(source), out, report=raise_stopped)

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(f"os.{call}", full)
        with pytest.raises(DiskFull) as caught:
            compress(plan, LocalFolder(source), out, report=ignore)
    assert str(out / plan.shards[0].name) in caught.value.message
    assert f"{plan.shards[0].size_bytes} bytes" in caught.value.message
    assert [path.name for path in out.iterdir()] == [MANIFEST]
    assert compress(plan, LocalFolder(source), out, report=ignore) == 0


def test_too_little_free_space_is_told_before_anything_is_read(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(source)
    used = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: used._replace(free=plan.output_bytes - 1))
    with pytest.raises(DiskFull, match=f"needs {plan.output_bytes} bytes more, and {plan.output_bytes - 1} are free"):
        compress(plan, LocalFolder(source), tmp_path / "out", report=raise_stopped)


def test_a_place_that_cannot_be_written_is_named(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    plan = plan_of(source)
    monkeypatch.setattr("os.pwrite", refused)
    with pytest.raises(InternalFailure, match="cannot be written: Read-only file system"):
        compress(plan, LocalFolder(source), tmp_path / "out", report=ignore)


def test_a_zero_sized_tensor_is_carried_over(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source", {**layers(1), "model.nothing.weight": ("BF16", (0, 4), b"")})
    product(source, tmp_path / "out")


PEAK_OF_COMPRESSING = """
import sys
from pathlib import Path
from tests.unit.tensors.models import plan_of
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder

def peak_kilobytes():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

source = Path(sys.argv[1])
plan = plan_of(source)
before = peak_kilobytes()
compress(plan, LocalFolder(source), Path(sys.argv[2]), report=lambda progress: None, threads=4)
print(peak_kilobytes() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux for a process's peak memory")
@pytest.mark.parametrize("name", ["a.up_proj.weight", "model.embed_tokens.weight"])
def test_memory_is_far_below_the_largest_tensor(tmp_path: Path, name: str) -> None:
    rows, columns = 100_000, 2048
    small = weight(8, columns)
    source = write_model(tmp_path / "source", {"b.up_proj.weight": small})
    header = encode_header(
        [
            (TensorSpec(name=name, dtype="BF16", shape=(rows, columns)), 0),
            (TensorSpec(name="b.up_proj.weight", dtype="BF16", shape=(8, columns)), rows * columns * 2),
        ]
    )
    (source / "model.safetensors").write_bytes(header)
    # 400 MB of zeros that take no space.
    os.truncate(source / "model.safetensors", len(header) + (rows + 8) * columns * 2)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), *sys.path])}
    command = [sys.executable, "-c", PEAK_OF_COMPRESSING, str(source), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert int(done.stdout) < 100_000
