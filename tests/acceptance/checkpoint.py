"""Synthetic checkpoints: llama shapes in bf16, random or all zero, quick to write, large enough to be interrupted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_COLUMNS = 2048
_NAN = 0x7FC0  # of bf16


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One weight matrix in bf16."""

    name: str
    rows: int
    columns: int = _COLUMNS

    @property
    def size_bytes(self) -> int:
        """Bytes of data."""
        return self.rows * self.columns * 2


def write_checkpoint(directory: Path, *, shards: int, rows: int = 512, nan_in: int | None = None) -> None:
    """A model of ``shards`` files of 14 x ``rows`` x 2048 random weights; a NaN in shard ``nan_in``, if any."""
    directory.mkdir(parents=True)
    random = np.random.default_rng(20260101)
    weight_map: dict[str, str] = {}
    for shard in range(shards):
        weights = _layer(shard, rows)
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        weight_map |= {weight.name: name for weight in weights}
        numbers = random.integers(0, 1 << 16, size=sum(weight.size_bytes for weight in weights) // 2, dtype=np.uint16)
        # Any sign and fraction, but exponents 0b0111_10xx: between 2^-7 and 2^-4, as weights are.
        numbers &= 0x81FF
        numbers |= 0x3C00
        if shard == nan_in:
            numbers[-1] = _NAN
        with (directory / name).open("wb") as out:
            out.write(_header(weights))
            out.write(numbers.data)
    _write_json(directory / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})
    _write_config(directory, layers=shards)


def write_sparse_checkpoint(directory: Path, *, size_bytes: int) -> None:
    """A model of one matrix of about this size, all zeros, which takes no room on the disk."""
    directory.mkdir(parents=True)
    weight = Weight(name="model.layers.0.mlp.up_proj.weight", rows=size_bytes // (2 * _COLUMNS))
    with (directory / "model.safetensors").open("wb") as out:
        out.write(_header([weight]))
        out.truncate(out.tell() + weight.size_bytes)
    _write_config(directory, layers=1)


def file_hashes(directory: Path) -> dict[str, str]:
    """SHA-256 of every file below ``directory``, by its relative path."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def last_weight(shards: int) -> str:
    """The name of the tensor that lies last in the last shard."""
    return _layer(shards - 1, 1)[-1].name


def _layer(number: int, rows: int) -> list[Weight]:
    attention = [Weight(name=f"model.layers.{number}.self_attn.{part}_proj.weight", rows=rows) for part in "qkvo"]
    mlp = [Weight(name=f"model.layers.{number}.mlp.{part}_proj.weight", rows=5 * rows) for part in ("up", "gate")]
    return attention + mlp


def _header(weights: list[Weight]) -> bytes:
    entries = {}
    end = 0
    for weight in weights:
        place = [end, end + weight.size_bytes]
        entries[weight.name] = {"dtype": "BF16", "shape": [weight.rows, weight.columns], "data_offsets": place}
        end += weight.size_bytes
    text = json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text


def _write_config(directory: Path, *, layers: int) -> None:
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": layers}
    _write_json(directory / "config.json", config)


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")
