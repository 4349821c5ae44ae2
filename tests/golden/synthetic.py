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

from tests.golden.architectures import tensors_of

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
    #: Whether one of them holds the largest numbers there are. All others vanish beside them where a whole tensor
    #: shares a scale, so that NVFP4 needs models without.
    huge_row: bool = True
    #: Whether experts fused into one tensor are stored with inputs before outputs.
    transposed: bool = False
    #: Whether linear weights are stored in eight bits, with a scale for each square of 128, as DeepSeek does.
    block_scales: bool = False


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


_MOE = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 64}
_DEEPSEEK: dict[str, Any] = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "hidden_size": 160,
    "intermediate_size": 192,
    "moe_intermediate_size": 96,
    "n_routed_experts": 2,
    "n_shared_experts": 1,
    "num_experts_per_tok": 1,
    "first_k_dense_replace": 1,
    "q_lora_rank": 64,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "tie_word_embeddings": False,
}
_GEMMA: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "num_hidden_layers": 1}


def _gemma3(**changes: Any) -> dict[str, Any]:
    return _llama(architectures=["Gemma3ForCausalLM"], model_type="gemma3_text", **{**_GEMMA, **changes})


#: The end of a name is the group size that the rule of grouped schemes gives.
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
    Model(
        name="mistral-f16-128",
        dtype="F16",
        huge_row=False,
        config=_llama(
            architectures=["MistralForCausalLM"],
            model_type="mistral",
            hidden_size=128,
            intermediate_size=384,
            num_hidden_layers=1,
            sliding_window=64,
            tie_word_embeddings=False,
        ),
    ),
    Model(
        name="qwen3-bf16-32",
        dtype="BF16",
        huge_row=False,
        config=_llama(
            architectures=["Qwen3ForCausalLM"],
            model_type="qwen3",
            hidden_size=160,
            intermediate_size=288,
            num_hidden_layers=1,
            head_dim=40,
        ),
    ),
    Model(name="gemma3-bf16-128", dtype="BF16", huge_row=False, config=_gemma3()),
    Model(
        name="phi3-f16-64",
        dtype="F16",
        huge_row=False,
        config=_llama(
            architectures=["Phi3ForCausalLM"],
            model_type="phi3",
            hidden_size=192,
            intermediate_size=320,
            num_hidden_layers=1,
            pad_token_id=0,
            tie_word_embeddings=False,
        ),
    ),
    # Two files: what the compressed weights of one layer share does not lie in one.
    Model(name="deepseek-v3-bf16-32", dtype="BF16", huge_row=False, files=2, config=_llama(**_DEEPSEEK)),
    Model(
        name="deepseek-v3-fp8-32",
        dtype="BF16",
        huge_row=False,
        files=2,
        block_scales=True,
        config=_llama(
            **_DEEPSEEK,
            quantization_config={
                "quant_method": "fp8",
                "fmt": "e4m3",
                "activation_scheme": "dynamic",
                "weight_block_size": [128, 128],
            },
        ),
    ),
    Model(
        name="glm4-f32-64",
        dtype="F32",
        huge_row=False,
        config=_llama(
            architectures=["Glm4ForCausalLM"],
            model_type="glm4",
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=1,
            head_dim=16,
            tie_word_embeddings=False,
        ),
    ),
    Model(
        name="olmo2-f32-128",
        dtype="F32",
        config=_llama(
            architectures=["Olmo2ForCausalLM"],
            model_type="olmo2",
            hidden_size=128,
            intermediate_size=128,
            num_hidden_layers=1,
            tie_word_embeddings=False,
        ),
    ),
    Model(
        name="qwen2.5-vl-bf16-128",
        dtype="BF16",
        config=_llama(
            architectures=["Qwen2_5_VLForConditionalGeneration"],
            model_type="qwen2_5_vl",
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=1,
            tie_word_embeddings=False,
            vision_config={"model_type": "qwen2_5_vl", "hidden_size": 32, "depth": 1},
        ),
    ),
    Model(
        name="gemma3-vision-f16-128",
        dtype="F16",
        config={
            "architectures": ["Gemma3ForConditionalGeneration"],
            "model_type": "gemma3",
            "tie_word_embeddings": True,
            "text_config": _gemma3(),
            "vision_config": {"model_type": "siglip_vision_model", "hidden_size": 32},
        },
    ),
    Model(
        name="qwen3.5-moe-bf16-64",
        dtype="BF16",
        huge_row=False,
        config=_llama(
            architectures=["Qwen3_5MoeForCausalLM"],
            model_type="qwen3_5_moe",
            hidden_size=128,
            num_hidden_layers=1,
            tie_word_embeddings=False,
            **_MOE,
        ),
    ),
    Model(
        name="llama4-bf16-64",
        dtype="BF16",
        huge_row=False,
        transposed=True,
        config=_llama(
            architectures=["Llama4ForCausalLM"],
            model_type="llama4_text",
            hidden_size=128,
            num_hidden_layers=1,
            tie_word_embeddings=False,
            **_MOE,
        ),
    ),
)


def shapes_of(model: Model) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of the model, in the order of its layers."""
    return tensors_of(model.config)


def write_model(model: Model, directory: Path) -> None:
    """The checkpoint as a Hugging Face directory."""
    directory.mkdir(parents=True, exist_ok=True)
    dtype = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}[model.dtype]
    (directory / "config.json").write_text(json.dumps({**model.config, "torch_dtype": dtype}, indent=2))
    tensors = {}
    for name, shape in shapes_of(model):
        if model.block_scales and name.endswith("_proj.weight"):
            tensors.update(_in_blocks(model, name, shape))
        else:
            tensors[name] = (model.dtype, shape, tensor_bytes(model, name, shape))
    names = list(tensors)
    share = -(-len(names) // model.files)
    weight_map = {}
    for number in range(model.files):
        file = "model.safetensors"
        if model.files > 1:
            file = f"model-{number + 1:05}-of-{model.files:05}.safetensors"
        part = names[number * share : (number + 1) * share]
        weight_map.update(dict.fromkeys(part, file))
        write_safetensors(directory / file, {name: tensors[name] for name in part})
    if model.files > 1:
        index = {"metadata": {}, "weight_map": weight_map}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def _in_blocks(model: Model, name: str, shape: tuple[int, ...]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """A weight of every number that FP8 has, and a scale from 2^-9 to 2^-3 for each square of 128 by 128."""
    # 0x7F and 0xFF are not numbers.
    numbers = bytes(
        byte if byte & 0x7F != 0x7F else byte - 1 for byte in _stream(f"{model.name}/{name}", math.prod(shape))
    )
    blocks = (-(-shape[0] // 128), -(-shape[1] // 128))
    scale = name + "_scale_inv"
    plain = Model(name=model.name, dtype="F32", config={}, hard_rows=False)
    scales = bytearray(tensor_bytes(plain, scale, blocks))
    scales[3::4] = bytes(byte & 0x7F for byte in scales[3::4])
    return {name: ("F8_E4M3", shape, numbers), scale: ("F32", blocks, bytes(scales))}


def _stream(seed: str, count: int) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(count)


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
    if model.hard_rows and len(shape) in {2, 3}:
        columns = shape[-1]
        for row, make in enumerate(_HARD_ROWS):
            if row < shape[-2] and (model.huge_row or make is not _huge):
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


def _halfway(number: int, i: int, bits: int, fraction: int, bias: int) -> int:
    """Quarters up to 6, of which 6 is there: what lies between two numbers of FP4, and those numbers, exactly."""
    quarters = 24 if i % 16 == 0 else number % 25
    if quarters == 0:
        return 0
    size = quarters.bit_length() - 1
    sign = number >> bits - 1 << bits - 1
    return sign | (bias - 2 + size) << fraction | (quarters << fraction - size) & (1 << fraction) - 1


_HARD_ROWS = (_zero, _tiny, _huge, _ties, _one, _halfway)
