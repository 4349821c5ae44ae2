"""Small checkpoints whose bytes follow from SHAKE-256 alone, so that every machine makes the same ones.

Needs the standard library only: the environment of make_golden.py and that of the tests both import this file.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: dtype -> (bits of a number, bits of its fraction, exponent of 2^0)
_LAYOUT = {"BF16": (16, 7, 127), "F16": (16, 10, 15), "F32": (32, 23, 127)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One synthetic checkpoint."""

    name: str
    dtype: str
    config: dict[str, Any]
    files: int = 1
    #: Whether some rows hold what rounding may stumble over; a model with such rows computes nothing sensible.
    hard_rows: bool = True


def _llama(**changes: Any) -> dict[str, Any]:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 64,
        "hidden_size": 256,
        "intermediate_size": 384,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "max_position_embeddings": 128,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return {**config, **changes}


MODELS = (
    Model(name="llama-bf16-128", dtype="BF16", config=_llama()),
    Model(
        name="qwen2-f16-64",
        dtype="F16",
        config=_llama(
            architectures=["Qwen2ForCausalLM"],
            model_type="qwen2",
            hidden_size=192,
            intermediate_size=320,
            tie_word_embeddings=False,
        ),
    ),
    Model(
        name="qwen3-moe-f32-32",
        dtype="F32",
        files=2,
        config=_llama(
            architectures=["Qwen3MoeForCausalLM"],
            model_type="qwen3_moe",
            hidden_size=96,
            intermediate_size=160,
            moe_intermediate_size=160,
            num_experts=4,
            num_experts_per_tok=2,
            head_dim=24,
            tie_word_embeddings=False,
        ),
    ),
    Model(
        name="mixtral-bf16-128",
        dtype="BF16",
        config=_llama(
            architectures=["MixtralForCausalLM"],
            model_type="mixtral",
            hidden_size=128,
            intermediate_size=256,
            num_local_experts=2,
            num_experts_per_tok=1,
            tie_word_embeddings=False,
        ),
    ),
    # 84 columns of 4 bits are ten and a half words: the padding shows.
    Model(
        name="llama-bf16-channel",
        dtype="BF16",
        files=2,
        config=_llama(hidden_size=72, intermediate_size=84, tie_word_embeddings=False),
    ),
    Model(name="llama-f16-channel", dtype="F16", config=_llama(hidden_size=72, intermediate_size=84)),
    Model(name="llama-f32-128", dtype="F32", config=_llama()),
)


def shapes_of(model: Model) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of the model, in the order of its layers."""
    config = model.config
    hidden = config["hidden_size"]
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        yield prefix + "input_layernorm.weight", (hidden,)
        yield prefix + "post_attention_layernorm.weight", (hidden,)
        for name, shape in (*_attention(config), *_feed_forward(config)):
            yield prefix + name, shape
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], hidden)


def _attention(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, heads, kv_heads = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
    width = config.get("head_dim", hidden // heads)
    for name, rows in (("q_proj", heads * width), ("k_proj", kv_heads * width), ("v_proj", kv_heads * width)):
        yield f"self_attn.{name}.weight", (rows, hidden)
        if config["model_type"] == "qwen2":
            yield f"self_attn.{name}.bias", (rows,)
    yield "self_attn.o_proj.weight", (hidden, heads * width)
    if config["model_type"] == "qwen3_moe":
        yield "self_attn.q_norm.weight", (width,)
        yield "self_attn.k_norm.weight", (width,)


def _feed_forward(config: dict[str, Any]) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    if config["model_type"] == "mixtral":
        yield "block_sparse_moe.gate.weight", (config["num_local_experts"], hidden)
        for expert in range(config["num_local_experts"]):
            prefix = f"block_sparse_moe.experts.{expert}."
            yield from ((prefix + "w1.weight", (inner, hidden)), (prefix + "w2.weight", (hidden, inner)))
            yield prefix + "w3.weight", (inner, hidden)
        return
    prefixes = ["mlp."]
    if config["model_type"] == "qwen3_moe":
        yield "mlp.gate.weight", (config["num_experts"], hidden)
        prefixes = [f"mlp.experts.{expert}." for expert in range(config["num_experts"])]
    for prefix in prefixes:
        yield prefix + "gate_proj.weight", (inner, hidden)
        yield prefix + "up_proj.weight", (inner, hidden)
        yield prefix + "down_proj.weight", (hidden, inner)


def write_model(model: Model, directory: Path) -> None:
    """The checkpoint as a Hugging Face directory."""
    directory.mkdir(parents=True, exist_ok=True)
    dtype = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[model.dtype]
    (directory / "config.json").write_text(json.dumps({**model.config, "torch_dtype": dtype}, indent=2))
    tensors = {name: (shape, tensor_bytes(model, name, shape)) for name, shape in shapes_of(model)}
    names = list(tensors)
    share = -(-len(names) // model.files)
    weight_map = {}
    for number in range(model.files):
        file = "model.safetensors"
        if model.files > 1:
            file = f"model-{number + 1:05}-of-{model.files:05}.safetensors"
        part = names[number * share : (number + 1) * share]
        weight_map.update(dict.fromkeys(part, file))
        write_safetensors(directory / file, {name: (model.dtype, *tensors[name]) for name in part})
    if model.files > 1:
        index = {"metadata": {}, "weight_map": weight_map}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def write_safetensors(path: Path, tensors: dict[str, tuple[str, tuple[int, ...], bytes]]) -> None:
    """A safetensors file of (dtype, shape, bytes), written independently of the code under test."""
    header: dict[str, Any] = {}
    end = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def tensor_bytes(model: Model, name: str, shape: tuple[int, ...]) -> bytes:
    """The tensor's bytes: every sign and fraction, sizes from 2^-9 to 2^-3; and in matrices, the hard rows."""
    bits, fraction, bias = _LAYOUT[model.dtype]
    count = math.prod(shape)
    code = f"<{count}{'H' if bits == 16 else 'I'}"
    stream = hashlib.shake_256(f"{model.name}/{name}".encode())
    raw = struct.unpack(code, stream.digest(count * bits // 8))
    exponents = hashlib.shake_256(f"{model.name}/{name}/exponent".encode()).digest(count)
    keep = 1 << bits - 1 | (1 << fraction) - 1
    numbers = [r & keep | (bias - 9 + e % 7) << fraction for r, e in zip(raw, exponents, strict=True)]
    if model.hard_rows and len(shape) == 2:
        for row, make in enumerate(_HARD_ROWS):
            if row < shape[0]:
                columns = shape[1]
                numbers[row * columns : (row + 1) * columns] = [
                    make(numbers[row * columns + i], i, bits, fraction, bias) for i in range(columns)
                ]
    return struct.pack(code, *numbers)


def _zero(number: int, i: int, bits: int, fraction: int, bias: int) -> int:
    return (i % 2) << bits - 1


def _tiny(number: int, i: int, bits: int, fraction: int, bias: int) -> int:
    """Subnormals of all sizes, so that scales are subnormal too, or round to zero."""
    return number & (1 << bits - 1 | (1 << 1 + i // 32 % fraction) - 1)


def _huge(number: int, i: int, bits: int, fraction: int, bias: int) -> int:
    """The largest finite number in places, with large ones around it."""
    largest = (2 * bias << fraction) | (1 << fraction) - 1
    return number & 1 << bits - 1 | (largest if i % 5 == 0 else largest - (number & (1 << fraction + 1) - 1))


def _ties(number: int, i: int, bits: int, fraction: int, bias: int) -> int:
    """7.5 or 127.5, and then halves and integers below: quotients that lie between two integers."""
    halves = 15 if i % 32 == 0 else i % 16
    if (i // 32) % 2:
        halves = 255 if i % 32 == 0 else number % 255
    if halves == 0:
        return 0
    size = halves.bit_length() - 1
    sign = (number >> bits - 1 << bits - 1) if i % 32 else 0
    return sign | (bias - 1 + size) << fraction | (halves << fraction - size) & (1 << fraction) - 1


def _one(number: int, i: int, bits: int, fraction: int, bias: int) -> int:
    """Everything zero but one weight of a group."""
    return number if i % 32 == 7 else 0


_HARD_ROWS = (_zero, _tiny, _huge, _ties, _one)
