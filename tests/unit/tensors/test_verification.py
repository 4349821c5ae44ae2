"""Verification finds what is not as planned; each test damages a good output in one way."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelpress.errors import QualityGate
from modelpress.quality.verification import verify
from modelpress.tensors import shard as shards
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.plan import Plan
from tests.unit.tensors.models import layers, plan_of, write_model


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Plan, Path]:
    """A good output of several shards."""
    monkeypatch.setattr(shards, "LARGEST_SHARD_BYTES", 9000)
    source = write_model(tmp_path / "source", layers(2), files={"tokenizer.json": b"{}"})
    plan = plan_of(source)
    compress(plan, LocalFolder(source), tmp_path / "out", report=lambda progress: None)
    verify(plan, tmp_path / "out")
    return plan, tmp_path / "out"


def put(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def rewrite(path: Path, change: Callable[[Any], object]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    path.write_text(json.dumps(value, indent=2))


def test_a_missing_shard_is_found(output: tuple[Plan, Path]) -> None:
    plan, directory = output
    (directory / plan.shards[1].name).unlink()
    with pytest.raises(QualityGate, match="cannot be read back"):
        verify(plan, directory)


def test_a_shard_of_another_size_is_found(output: tuple[Plan, Path]) -> None:
    plan, directory = output
    with (directory / plan.shards[0].name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(QualityGate, match=f"has {plan.shards[0].size_bytes + 1} bytes"):
        verify(plan, directory)


def test_a_damaged_header_is_found(output: tuple[Plan, Path]) -> None:
    plan, directory = output
    put(directory / plan.shards[0].name, 0, b"\xff")
    with pytest.raises(QualityGate):
        verify(plan, directory)


@pytest.mark.parametrize(("old", "new"), [(b'"I32"', b'"U32"'), (b"q_proj", b"x_proj")])
def test_another_dtype_or_name_is_found(output: tuple[Plan, Path], old: bytes, new: bytes) -> None:
    plan, directory = output
    shard = next(shard for shard in plan.shards if old in shard.header)
    put(directory / shard.name, 0, shard.header.replace(old, new))
    with pytest.raises(QualityGate):
        verify(plan, directory)


@pytest.mark.parametrize("scale", [0x0000, 0x7F80, 0x7FC0, 0x8000, 0xBF80])
def test_a_scale_that_is_zero_infinite_nan_or_negative_is_found(output: tuple[Plan, Path], scale: int) -> None:
    plan, directory = output
    shard, name = next(
        (shard, step.layout.scales.name) for shard in plan.shards for step in shard.steps if step.layout is not None
    )
    put(directory / shard.name, shard.offsets[name] + 2, scale.to_bytes(2, "little"))
    with pytest.raises(QualityGate, match="not a positive finite number"):
        verify(plan, directory)


def test_a_changed_index_is_found(output: tuple[Plan, Path]) -> None:
    plan, directory = output
    path = directory / "model.safetensors.index.json"
    path.write_bytes(path.read_bytes().replace(b"q_proj.weight_packed", b"k_proj.weight_packed"))
    with pytest.raises(QualityGate, match=r"model\.safetensors\.index\.json is not what was planned"):
        verify(plan, directory)


def test_a_config_without_its_entry_is_found(output: tuple[Plan, Path]) -> None:
    plan, directory = output
    rewrite(directory / "config.json", lambda config: config.pop("quantization_config"))
    with pytest.raises(QualityGate, match=r"config\.json has \d+ bytes"):
        verify(plan, directory)


def test_a_missing_side_file_is_found(output: tuple[Plan, Path]) -> None:
    plan, directory = output
    (directory / "tokenizer.json").unlink()
    with pytest.raises(QualityGate, match=r"tokenizer\.json"):
        verify(plan, directory)


def test_an_output_that_is_not_smaller_is_refused_with_both_sizes(output: tuple[Plan, Path]) -> None:
    plan, directory = output
    with pytest.raises(QualityGate, match=f"has {plan.output_bytes} bytes, not fewer than the source's 100"):
        verify(replace(plan, source_bytes=100, plain_bytes=90), directory)
