"""Checkpoints whose weights are kept otherwise than as matrices of plain numbers: FP8 in blocks, fused experts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from modelpress.errors import AlreadyCompressed, BadSource
from modelpress.quality.verification import verify
from modelpress.tensors import kernel, piece
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.kernel import float8_blocks
from modelpress.tensors.rows import Workbench
from tests.kernel import needs_c
from tests.unit.tensors.models import CONFIG, Tensors, contents, encode, layers, plan_of, weight, write_model

FP8 = {**CONFIG, "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [16, 32]}}


def float8_layers(rows: int, columns: int, *, scale_dtype: str = "F32", seed: int = 1) -> Tensors:
    """A model with one FP8 weight in blocks of 16 x 32, whose NaN codes are left out."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 256, (rows, columns), dtype=np.uint8)
    codes[codes & 127 == 127] = 0
    scales = random.random((-(-rows // 16), -(-columns // 32)), dtype=np.float32) + np.float32(0.01)
    return {
        "model.embed_tokens.weight": weight(8, columns),
        "model.layers.0.mlp.up_proj.weight": ("F8_E4M3", (rows, columns), codes.tobytes()),
        "model.layers.0.mlp.up_proj.weight_scale_inv": (scale_dtype, scales.shape, encode(scales, scale_dtype)),
    }


def plainly(tensors: Tensors) -> Tensors:
    """The same model in bf16, by arithmetic in float64 and one rounding to float32 and one to bf16."""
    name = "model.layers.0.mlp.up_proj.weight"
    _, (rows, columns), codes = tensors[name]
    dtype, shape, raw = tensors[name + "_scale_inv"]
    scales = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}[dtype]).reshape(shape)
    if dtype == "BF16":
        scales = (scales.astype(np.uint32) << 16).view(np.float32)
    wide = np.repeat(np.repeat(scales.astype(np.float64), 16, 0), 32, 1)[:rows, :columns]
    values = np.vectorize(e4m3)(np.frombuffer(codes, np.uint8)).reshape(rows, columns)
    return {
        "model.embed_tokens.weight": tensors["model.embed_tokens.weight"],
        name: ("BF16", (rows, columns), nearest_bf16((values * wide).astype(np.float32)).tobytes()),
    }


def e4m3(code: int) -> float:
    """What the byte stands for, by the definition of the format (OCP 8-bit floating point, revision 1.0)."""
    exponent, fraction = code >> 3 & 15, code & 7
    size = fraction / 8 * 2.0**-6 if exponent == 0 else (1 + fraction / 8) * 2.0 ** (exponent - 7)
    return -size if code & 128 else size


def nearest_bf16(numbers: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearer of the two neighbours, the even one of equally near ones."""
    below = numbers.view(np.uint32) & np.uint32(0xFFFF0000)
    above = below + np.uint32(0x10000)
    to_below = np.abs(numbers.astype(np.float64) - below.view(np.float32))
    to_above = np.abs(numbers.astype(np.float64) - above.view(np.float32))
    odd = (below >> 16 & 1).astype(bool)
    up = (to_above < to_below) | ((to_above == to_below) & odd)
    return (np.where(up, above, below) >> 16).astype("<u2")


def output_of(source: Path, destination: Path, scheme: str = "W4A16C16") -> dict[str, bytes]:
    plan = plan_of(source, scheme)
    compress(plan, LocalFolder(source), destination, report=lambda progress: None)
    verify(plan, destination)
    return contents(destination)


@pytest.mark.parametrize("scale_dtype", ["F32", "BF16", "F16"])
@pytest.mark.parametrize("rows", [16, 40, 64])
def test_weights_in_float8_blocks_are_compressed_as_the_bf16_they_stand_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scale_dtype: str, rows: int
) -> None:
    monkeypatch.setattr(piece, "PIECE_BYTES", 1000)
    tensors = float8_layers(rows, 96, scale_dtype=scale_dtype)
    stored = output_of(write_model(tmp_path / "fp8", tensors, config=FP8), tmp_path / "a")
    plain = output_of(write_model(tmp_path / "bf16", plainly(tensors), config=CONFIG), tmp_path / "b")
    assert stored["model.safetensors"] == plain["model.safetensors"]
    assert json.loads(stored["config.json"]) == json.loads(plain["config.json"])


def test_what_is_left_alone_of_a_float8_model_is_written_as_bf16(tmp_path: Path) -> None:
    tensors = float8_layers(16, 64)
    moved = {name.replace("layers.0.mlp.up_proj", "mtp.up_proj"): value for name, value in tensors.items()}
    write_model(tmp_path / "fp8", {**moved, **layers(1)}, config=FP8)
    written = output_of(tmp_path / "fp8", tmp_path / "out")
    expected = plainly(tensors)["model.layers.0.mlp.up_proj.weight"][2]
    assert expected in written["model.safetensors"]
    assert b"scale_inv" not in written["model.safetensors"]


def test_progress_of_a_float8_source_adds_up_to_its_stored_bytes(tmp_path: Path) -> None:
    plan = plan_of(write_model(tmp_path, float8_layers(40, 96), config=FP8))
    assert plan.tensor_bytes == 8 * 96 * 2 + 40 * 96 + 3 * 3 * 4
    assert any("1 weights are stored as FP8 in blocks of 16 x 32" in note for note in plan.notes)


def test_a_source_that_was_compressed_before_and_becomes_larger_is_told(tmp_path: Path) -> None:
    source = write_model(tmp_path / "fp8", float8_layers(256, 256), config=FP8)
    assert any("more than the source's" in note for note in plan_of(source, "W8A16C16").notes)
    assert not any("more than the source's" in note for note in plan_of(source, "W4A16C16").notes)


def changed(**tensors: Any) -> Tensors:
    base = float8_layers(16, 64)
    for name, value in tensors.items():
        base[f"model.layers.0.mlp.{name.replace('__', '.')}"] = value
    return {name: value for name, value in base.items() if value is not None}


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        (changed(up_proj__weight_scale_inv=None), "has no scales"),
        (
            changed(up_proj__weight_scale_inv=weight(2, 2, dtype="F32")),
            r"need floating-point .* of shape \(1, 2\)",
        ),
        (changed(up_proj__weight_scale_inv=("I32", (1, 2), bytes(8))), "are I32 of shape"),
        (changed(down_proj__weight_scale_inv=weight(1, 2, dtype="F32")), "no FP8 weight they belong to"),
    ],
)
def test_float8_scales_that_are_missing_or_do_not_fit_are_named(tmp_path: Path, tensors: Tensors, why: str) -> None:
    write_model(tmp_path, tensors, config=FP8)
    with pytest.raises(BadSource, match=why):
        open_checkpoint(LocalFolder(tmp_path))


@pytest.mark.parametrize("block", [[0, 128], [128, -1], [1.5, 2], [1 << 40, 128], ["128", 128]])
def test_an_impossible_block_is_refused(tmp_path: Path, block: list[Any]) -> None:
    config = {**CONFIG, "quantization_config": {"quant_method": "fp8", "weight_block_size": block}}
    write_model(tmp_path, float8_layers(16, 64), config=config)
    with pytest.raises(BadSource, match="impossible weight_block_size"):
        open_checkpoint(LocalFolder(tmp_path))


def test_float8_without_blocks_counts_as_compressed(tmp_path: Path) -> None:
    config = {**CONFIG, "quantization_config": {"quant_method": "fp8", "activation_scheme": "static"}}
    write_model(tmp_path, float8_layers(16, 64), config=config)
    with pytest.raises(AlreadyCompressed):
        plan_of(tmp_path)


@needs_c
@settings(max_examples=100, deadline=None)
@given(
    rows=st.integers(1, 4),
    columns=st.integers(1, 150),
    block=st.integers(1, 140),
    seed=st.integers(0, 2**32),
    special=st.sampled_from([1.0, 0.0, 1e38, 1e-44, float("inf"), float("nan")]),
)
def test_kernel_and_twin_widen_float8_to_the_same_bytes(
    rows: int, columns: int, block: int, seed: int, special: float
) -> None:
    random = np.random.default_rng(seed)
    source = random.integers(0, 256, (rows, columns), dtype=np.uint8)
    scales = random.standard_normal(-(-columns // block), dtype=np.float32) * np.float32(special)
    made = []
    for widen in (kernel.widen_float8, float8_blocks.by_numpy):
        target = np.empty(2 * rows * columns, np.uint8)
        with np.errstate(over="ignore", invalid="ignore"):
            widen(source, scales, block, target)
        made.append(target.tobytes())
    assert made[0] == made[1]


EXPERTS, INNER, HIDDEN = 3, 32, 64


def expert_layers(*, transposed: bool = False, dtype: str = "BF16") -> tuple[Tensors, Tensors]:
    """One layer of experts: fused, and apart."""
    random = np.random.default_rng(5)
    gate, up = (random.standard_normal((EXPERTS, INNER, HIDDEN), dtype=np.float32) for _ in range(2))
    down = random.standard_normal((EXPERTS, HIDDEN, INNER), dtype=np.float32)
    prefix = "model.layers.0.mlp.experts."
    fused: Tensors = dict(layers(1, dtype=dtype))
    for name, numbers in (("gate_up_proj", np.concatenate([gate, up], axis=1)), ("down_proj", down)):
        stored = np.ascontiguousarray(numbers.swapaxes(1, 2) if transposed else numbers)
        fused[prefix + name] = (dtype, stored.shape, encode(stored, dtype))
    separate: Tensors = dict(layers(1, dtype=dtype))
    for projection, experts in (("gate_proj", gate), ("up_proj", up)):
        for number, expert in enumerate(experts):
            separate[f"{prefix}{number}.{projection}.weight"] = (dtype, expert.shape, encode(expert, dtype))
    for number, expert in enumerate(down):
        separate[f"{prefix}{number}.down_proj.weight"] = (dtype, expert.shape, encode(expert, dtype))
    return fused, separate


def tensors_in(directory: Path) -> dict[str, bytes]:
    """Every tensor of an output, by the header that the output itself has."""
    raw = (directory / "model.safetensors").read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header.pop("__metadata__")
    spans = {name: entry["data_offsets"] for name, entry in header.items()}
    return {name: raw[8 + length + start : 8 + length + end] for name, (start, end) in spans.items()}


@pytest.mark.parametrize("dtype", ["BF16", "F32"])
@pytest.mark.parametrize("model_type", ["qwen3_5_moe", "llama4", "qwen3_vl_moe"])
def test_fused_experts_become_what_separate_ones_become(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model_type: str, dtype: str
) -> None:
    monkeypatch.setattr(piece, "PIECE_BYTES", 1000)
    fused, separate = expert_layers(transposed=model_type != "qwen3_5_moe", dtype=dtype)
    config = {**CONFIG, "text_config": {"model_type": model_type}}
    output_of(write_model(tmp_path / "fused", fused, config=config), tmp_path / "a")
    output_of(write_model(tmp_path / "separate", separate, config=config), tmp_path / "b")
    assert tensors_in(tmp_path / "a") == tensors_in(tmp_path / "b")
    ignored = json.loads((tmp_path / "a/config.json").read_text())["quantization_config"]["ignore"]
    assert not any("experts" in name for name in ignored)


@pytest.mark.parametrize(
    ("model_type", "change"),
    [
        ("gpt_oss", {}),
        ("qwen3_5_moe", {"model.layers.0.mlp.experts.down_proj": ("BF16", (3, 8, 4), bytes(192))}),
        ("qwen3_5_moe", {"model.layers.0.mlp.experts.gate_up_proj": ("BF16", (3, 7, 64), bytes(2688))}),
    ],
)
def test_experts_that_cannot_be_taken_apart_stay_and_are_told(tmp_path: Path, model_type: str, change: Tensors) -> None:
    fused, _ = expert_layers()
    write_model(tmp_path, {**fused, **change}, config={**CONFIG, "model_type": model_type})
    plan = plan_of(tmp_path)
    assert "model.layers.0.mlp.experts" in plan.quantization_config["ignore"]
    assert any("fused" in note and "model.layers.0.mlp.experts.gate_up_proj" in note for note in plan.notes)


def test_experts_that_the_recipe_leaves_alone_stay_fused(tmp_path: Path) -> None:
    fused, _ = expert_layers()
    write_model(tmp_path, fused, config={**CONFIG, "model_type": "qwen3_5_moe"})
    plan = plan_of(tmp_path, ignore=("experts.*",))
    names = {spec.name for shard in plan.shards for step in shard.steps for spec in step.outputs}
    assert {"model.layers.0.mlp.experts.gate_up_proj", "model.layers.0.mlp.experts.down_proj"} <= names
    assert "model.layers.0.mlp.experts" in plan.quantization_config["ignore"]


def test_transposed_rows_read_any_range(tmp_path: Path) -> None:
    fused, separate = expert_layers(transposed=True)
    folder = LocalFolder(write_model(tmp_path, fused, config={**CONFIG, "model_type": "llama4"}))
    plan = plan_of(tmp_path)
    name = "model.layers.0.mlp.experts.1.up_proj.weight"
    rows = next(step.rows for shard in plan.shards for step in shard.steps if step.source.name == name)
    for start, count in ((0, INNER), (3, 5), (INNER - 1, 1)):
        buffer = np.empty(count * rows.row_bytes, np.uint8)
        rows.read(folder, start=start, buffer=buffer, bench=Workbench())
        assert buffer.tobytes() == separate[name][2][start * rows.row_bytes :][: len(buffer)]
