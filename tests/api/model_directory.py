"""Model directories for imports: a sound one of a few kB, and every kind that is not."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from tests.golden.synthetic import write_safetensors
from tests.unit.gguf_models import tiny_file

UP = "model.layers.0.mlp.up_proj.weight"
#: Two layers of four linear weights.
LAYERS = [
    f"model.layers.{layer}.{part}.weight"
    for layer in range(2)
    for part in ("self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj")
]
_ONE = 0x3F80  # of bf16
_NAN = 0x7FC0


def write_tiny(directory: Path, **config: Any) -> None:
    """A sound llama of one layer with one linear weight of 32 x 128."""
    write_directory(directory, {UP: ("BF16", (32, 128), _numbers(32 * 128))}, **config)


def write_directory(directory: Path, tensors: dict[str, tuple[str, tuple[int, ...], bytes]], **config: Any) -> None:
    """A model of an embedding, a norm and these tensors."""
    directory.mkdir(parents=True)
    stated = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", **config}
    (directory / "config.json").write_text(json.dumps(stated))
    base = {
        "model.embed_tokens.weight": ("BF16", (16, 128), _numbers(16 * 128)),
        "model.norm.weight": ("BF16", (128,), _numbers(128)),
    }
    write_safetensors(directory / "model.safetensors", base | tensors)


def write_all(bucket: Path) -> None:
    """Every kind of directory, below a bucket's root."""
    write_tiny(bucket / "tiny")
    write_tiny(bucket / "compressed", quantization_config={"quant_method": "gptq", "bits": 4})
    write_directory(bucket / "no-linear", {})
    write_directory(bucket / "layers", dict.fromkeys(LAYERS, ("BF16", (32, 128), _numbers(32 * 128))))
    (bucket / "gguf").mkdir()
    (bucket / "gguf" / "model.gguf").write_bytes(tiny_file("llama"))
    numbers = bytearray(_numbers(32 * 128))
    numbers[-2:] = struct.pack("<H", _NAN)
    write_directory(bucket / "nan", {UP: ("BF16", (32, 128), bytes(numbers))})
    _write_unsound(bucket)
    # A name that is no text: the message that quotes it must still be JSON.
    write_tiny(bucket / "odd-name")
    odd = bytes(bucket / "odd-name") + b"/\xff.safetensors"
    Path(bucket / "odd-name" / "model.safetensors").rename(odd.decode(errors="surrogateescape"))
    Path(odd.decode(errors="surrogateescape")).write_bytes(b"short")


def _write_unsound(bucket: Path) -> None:
    (bucket / "empty").mkdir()
    (bucket / "a-file").write_text("not a directory")
    write_tiny(bucket / "truncated")
    weights = bucket / "truncated" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    write_tiny(bucket / "lying")
    weights = bucket / "lying" / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", 2**62) + weights.read_bytes()[8:])
    write_tiny(bucket / "pickle")
    (bucket / "pickle" / "model.safetensors").unlink()
    (bucket / "pickle" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    write_tiny(bucket / "broken-config")
    (bucket / "broken-config" / "config.json").write_text("{")


def _numbers(count: int) -> bytes:
    """bf16 numbers of both signs between 1 and 2."""
    return struct.pack(f"<{count}H", *(_ONE | i % 128 | (i % 2) << 15 for i in range(count)))
