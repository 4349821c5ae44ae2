"""Pruning without data: which weights become zero, in every grid and pattern, and what is made of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelpress.domain.method import Method, Strategy
from modelpress.domain.recipe import Override
from modelpress.domain.scheme import known_scheme
from modelpress.domain.sparsity import Sparsity
from modelpress.errors import BadSource, QualityGate, Unsupported
from modelpress.quality.verification import verify
from modelpress.tensors import piece, pruned_rows
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.grid import Grid
from modelpress.tensors.plan import Plan
from modelpress.tensors.pruned_rows import prune, zeros_of
from tests.unit.gguf_models import tiny_file
from tests.unit.tensors.models import CONFIG, Tensors, contents, encode, layers, plan_of, weight, write_model
from tests.unit.tensors.test_sources import FP8, float8_layers

HALF = Sparsity(ratio=0.5)
PAIRS = Sparsity(ratio=0.5, pattern="2:4")
MAGNITUDE: dict[str, Any] = {"strategy": Strategy.SPARSITY, "method": Method.MAGNITUDE}


def one_row(numbers: list[int], sparsity: Sparsity, grid: Grid = Grid.BF16) -> list[int]:
    row = np.array([numbers], dtype=f"<u{grid.size_bytes}")
    assert prune(row, grid=grid, sparsity=sparsity) is None
    return [int(number) for number in row[0]]


@pytest.mark.parametrize(("ratio", "zeros"), [(0.0, 0), (0.05, 1), (0.35, 4), (0.5, 5), (0.9, 9), (0.04, 0)])
def test_a_half_of_a_weight_counts_as_one(ratio: float, zeros: int) -> None:
    assert zeros_of(Sparsity(ratio=ratio), 10) == zeros


def test_the_smallest_of_a_row_become_zero_whatever_their_sign() -> None:
    assert one_row([0xBF80, 0x3F00, 0x4000, 0xBE80], HALF) == [0xBF80, 0, 0x4000, 0]


def test_of_equal_magnitudes_the_earlier_becomes_zero() -> None:
    assert one_row([0x3F80, 0xBF80, 0x3F80, 0xBF80], HALF) == [0, 0, 0x3F80, 0xBF80]
    assert one_row([0x3F80, 0xBF80, 0x3F80, 0xBF80], PAIRS) == [0, 0, 0x3F80, 0xBF80]


def test_two_of_four_are_the_smaller_of_each_four_neighbours() -> None:
    assert one_row([0x4000, 0x4001, 0xC002, 0x4003, 4, 3, 0x8002, 1], PAIRS) == [0, 0, 0xC002, 0x4003, 4, 3, 0, 0]


@st.composite
def matrices(draw: st.DrawFn) -> tuple[Grid, NDArray[np.float32]]:
    """Numbers of few sizes, so that many are equal, and of all signs."""
    shape = draw(st.integers(1, 4)), 4 * draw(st.integers(1, 9))
    values = draw(st.lists(st.integers(-6, 6), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    return draw(st.sampled_from(Grid)), np.array(values, dtype=np.float32).reshape(shape) / np.float32(8)


@given(matrices(), st.sampled_from([0.0, 0.1, 0.35, 0.5, 0.75, 0.9]), st.sampled_from(["unstructured", "2:4"]))
def test_pruning_is_what_sorting_says(matrix: tuple[Grid, NDArray[np.float32]], ratio: float, pattern: Any) -> None:
    grid, values = matrix
    sparsity = Sparsity(ratio=ratio, pattern=pattern)
    bits = np.frombuffer(encode(values, grid), dtype=f"<u{grid.size_bytes}").reshape(values.shape).copy()
    expected = bits.copy()
    runs = expected.reshape(-1, 4) if pattern == "2:4" else expected
    sizes = np.abs(values).reshape(runs.shape)
    count = 2 if pattern == "2:4" else zeros_of(sparsity, values.shape[1])
    np.put_along_axis(runs, np.argsort(sizes, axis=1, kind="stable")[:, :count], 0, axis=1)
    assert prune(bits, grid=grid, sparsity=sparsity) is None
    assert np.array_equal(bits, expected)


def test_a_row_wider_than_a_short_key_is_pruned_as_well() -> None:
    numbers = np.full((1, (1 << 16) + 8), 0x3F80, dtype="<u2")
    numbers[0, 5] = 0x3F00
    prune(numbers, grid=Grid.BF16, sparsity=Sparsity(ratio=0.5))
    assert np.count_nonzero(numbers) == (1 << 15) + 4
    assert np.array_equal(np.flatnonzero(numbers == 0)[[0, -1]], [0, (1 << 15) + 3])


def written(source: Path, destination: Path, scheme: str = "DENSE", **wishes: Any) -> tuple[Plan, dict[str, bytes]]:
    plan = plan_of(source, scheme, **MAGNITUDE, **wishes)
    compress(plan, LocalFolder(source), destination, report=lambda progress: None)
    verify(plan, destination)
    return plan, contents(destination)


def stored(plan: Plan, directory: Path, name: str) -> bytes:
    shard = next(shard for shard in plan.shards if name in shard.offsets)
    size = next(s.size_bytes for step in shard.steps for s in step.outputs if s.name == name)
    start = shard.offsets[name]
    return (directory / shard.name).read_bytes()[start : start + size]


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("sparsity", [Sparsity(ratio=0.3), PAIRS])
def test_a_pruned_output_has_its_zeros_and_all_else_as_it_was(tmp_path: Path, dtype: str, sparsity: Sparsity) -> None:
    tensors = layers(2, dtype=dtype)
    source = write_model(tmp_path / "source", tensors, files={"tokenizer.json": b"{}"})
    plan, files = written(source, tmp_path / "out", sparsity=sparsity)
    assert plan.is_dense
    assert "quantization_config" not in json.loads(files["config.json"])
    for name, (_, shape, before) in tensors.items():
        after = stored(plan, tmp_path / "out", name)
        if "_proj" not in name:
            assert after == before
            continue
        numbers = [np.frombuffer(data, dtype=f"<u{Grid(dtype).size_bytes}").reshape(shape) for data in (before, after)]
        pruned = numbers[1] == 0
        assert (pruned.sum(axis=1) == (32 if sparsity is PAIRS else 19)).all()
        assert np.array_equal(numbers[1][~pruned], numbers[0][~pruned])


def test_it_is_told_that_a_dense_output_does_not_shrink_and_what_would(tmp_path: Path) -> None:
    source = write_model(tmp_path, layers(1))
    notes = plan_of(source, "DENSE", sparsity=HALF, **MAGNITUDE).notes
    assert "2 linear weights are pruned: the smallest 50 % of each row become zero." in notes
    assert any("as large as the source" in note and "W4A16C16" in note for note in notes)
    assert not any("as large" in note for note in plan_of(source, "W4A16C16", sparsity=HALF, **MAGNITUDE).notes)


@pytest.mark.parametrize("scheme", ["W4A16C16", "W8A16C16", "INT8-PTQ", "WFP8AFP8C16", "WNVFP4A16C16", "WMXFP4A16C16"])
def test_a_scheme_rounds_the_pruned_weight_as_if_it_had_been_pruned_before(tmp_path: Path, scheme: str) -> None:
    tensors = layers(2)
    source = write_model(tmp_path / "source", tensors)
    _, files = written(source, tmp_path / "at once", scheme, sparsity=HALF)
    for name in tensors:
        if "_proj" in name:
            dtype, shape, data = tensors[name]
            bits = np.frombuffer(data, dtype="<u2").reshape(shape).copy()
            prune(bits, grid=Grid.BF16, sparsity=HALF)
            tensors[name] = dtype, shape, bits.tobytes()
    pruned = write_model(tmp_path / "pruned", tensors)
    plan = plan_of(pruned, scheme)
    compress(plan, LocalFolder(pruned), tmp_path / "after", report=lambda progress: None)
    assert contents(tmp_path / "after")["model.safetensors"] == files["model.safetensors"]


def test_what_is_kept_or_overridden_is_not_or_otherwise_written(tmp_path: Path) -> None:
    tensors = layers(1)
    source = write_model(tmp_path / "source", tensors)
    override = Override(targets=("up_proj",), scheme=known_scheme("W8A16C16"))
    plan, files = written(source, tmp_path / "out", sparsity=HALF, overrides=(override,))
    entry = json.loads(files["config.json"])["quantization_config"]
    assert entry["ignore"] == ["lm_head", "model.layers.0.self_attn.q_proj"]
    assert entry["config_groups"]["group_0"]["targets"] == ["Linear"]
    plan, files = written(source, tmp_path / "kept", sparsity=HALF, ignore=("q_proj",))
    name = "model.layers.0.self_attn.q_proj.weight"
    assert stored(plan, tmp_path / "kept", name) == tensors[name][2]


def test_the_bytes_are_the_same_in_any_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_model(tmp_path / "source", layers(2))
    _, whole = written(source, tmp_path / "whole", sparsity=HALF)
    monkeypatch.setattr(piece, "PIECE_BYTES", 700)
    monkeypatch.setattr(pruned_rows, "_BATCH", 100)
    _, pieces = written(source, tmp_path / "pieces", sparsity=HALF)
    assert whole == pieces


def test_a_number_that_is_none_is_refused_with_its_row(tmp_path: Path) -> None:
    tensors: Tensors = layers(1)
    name = "model.layers.0.mlp.up_proj.weight"
    dtype, shape, data = tensors[name]
    tensors[name] = dtype, shape, data[: 2 * 64 * 7] + b"\x80\x7f" + data[2 * 64 * 7 + 2 :]
    source = write_model(tmp_path / "source", tensors)
    with pytest.raises(BadSource, match=r"up_proj.weight' holds a NaN or an infinity in row 7$"):
        written(source, tmp_path / "out", sparsity=HALF)


def test_a_width_that_four_does_not_divide_is_refused_with_its_tensor(tmp_path: Path) -> None:
    source = write_model(tmp_path, {"model.layers.0.mlp.up_proj.weight": weight(8, 30)}, config=CONFIG)
    with pytest.raises(Unsupported, match=r"up_proj.weight' has 30 columns, which groups of four do not divide"):
        plan_of(source, "DENSE", sparsity=PAIRS, **MAGNITUDE)


def test_a_zero_that_is_missing_is_found(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source", layers(1))
    plan, files = written(source, tmp_path / "out", sparsity=HALF)
    start = plan.shards[0].offsets["model.layers.0.mlp.up_proj.weight"]
    data = bytearray(files["model.safetensors"])
    data[start : start + 128] = b"\x01" * 128
    (tmp_path / "out" / "model.safetensors").write_bytes(data)
    with pytest.raises(QualityGate, match=r"a row of '.*up_proj.weight' has 0 zeros, planned were 32"):
        verify(plan, tmp_path / "out")


def test_another_ratio_is_another_plan(tmp_path: Path) -> None:
    source = write_model(tmp_path, layers(1))
    ratios = (HALF, PAIRS, Sparsity(ratio=0.4))
    assert len({plan_of(source, "DENSE", sparsity=ratio, **MAGNITUDE).digest for ratio in ratios}) == 3


@pytest.mark.parametrize("form", ["gguf", "fp8"])
def test_sources_in_other_forms_are_pruned_as_the_bf16_they_stand_for(tmp_path: Path, form: str) -> None:
    source = tmp_path / "source"
    if form == "fp8":
        write_model(source, float8_layers(16, 64), config=FP8)
    else:
        source.mkdir()
        (source / "model.gguf").write_bytes(tiny_file("llama"))
    plan, files = written(source, tmp_path / "out", sparsity=Sparsity(ratio=0.25))
    assert "quantization_config" not in json.loads(files["config.json"])
    pruned = [step for shard in plan.shards for step in shard.steps if step.source.name.endswith("_proj.weight")]
    assert pruned
    for step in pruned:
        data = stored(plan, tmp_path / "out", step.source.name)
        numbers = np.frombuffer(data, dtype="<u2").reshape(step.source.shape)
        assert ((numbers == 0).sum(axis=1) >= zeros_of(Sparsity(ratio=0.25), numbers.shape[1])).all()
