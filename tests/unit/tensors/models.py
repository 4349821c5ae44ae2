"""Small model directories for the tests of the tensor core, written without its help."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import known_scheme
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.plan import Plan, make_plan
from tests.golden.synthetic import write_safetensors

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64}

#: name -> (dtype, shape, bytes)
Tensors = dict[str, tuple[str, tuple[int, ...], bytes]]


def weight(rows: int, columns: int, *, dtype: str = "BF16", seed: int = 0) -> tuple[str, tuple[int, ...], bytes]:
    """A matrix of small numbers."""
    numbers = np.random.default_rng(seed).standard_normal((rows, columns), dtype=np.float32) / np.float32(16)
    return dtype, (rows, columns), encode(numbers, dtype)


def encode(numbers: NDArray[np.float32], dtype: str) -> bytes:
    """Numbers as the bytes of a dtype; bf16 by cutting off, which is a number of the grid, if not the nearest."""
    if dtype == "F32":
        return numbers.astype("<f4").tobytes()
    if dtype == "F16":
        return numbers.astype("<f2").tobytes()
    return (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()


def layers(count: int = 2, *, columns: int = 64, dtype: str = "BF16") -> Tensors:
    """A decoder's tensors: an embedding, norms, and two linear weights a layer."""
    tensors: Tensors = {"model.embed_tokens.weight": weight(32, columns, dtype=dtype)}
    for i in range(count):
        prefix = f"model.layers.{i}."
        tensors[prefix + "input_layernorm.weight"] = (dtype, (columns,), encode(np.ones(columns, np.float32), dtype))
        tensors[prefix + "self_attn.q_proj.weight"] = weight(48, columns, dtype=dtype, seed=2 * i + 1)
        tensors[prefix + "mlp.up_proj.weight"] = weight(96, columns, dtype=dtype, seed=2 * i + 2)
    return tensors


def write_model(
    directory: Path, *shards: Tensors, config: Mapping[str, Any] = CONFIG, files: Mapping[str, bytes] | None = None
) -> Path:
    """A model directory of these shards; with an index where there are several."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(config))
    names = ["model.safetensors"]
    if len(shards) > 1:
        names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
        weight_map = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for name, shard in zip(names, shards, strict=True):
        write_safetensors(directory / name, shard)
    for name, content in (files or {}).items():
        (directory / name).write_bytes(content)
    return directory


def raw_file(header: object, data: bytes = b"", *, length: int | None = None) -> bytes:
    """A safetensors file with any header, true or not."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def plan_of(directory: Path, scheme: str = "W4A16C16", **wishes: Any) -> Plan:
    """The plan for a directory; ``wishes`` are a recipe's other fields."""
    return make_plan(open_checkpoint(LocalFolder(directory)), Recipe(scheme=known_scheme(scheme), **wishes))


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
