"""What llama.cpp must know of a model to run it: config.json in the words of a GGUF file."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpress.errors import BadSource, Unsupported
from modelpress.tensors.gguf.sizes import Sizes
from modelpress.tensors.gguf_output import encoding

#: Numbers of the header have 32 bits; no real size comes near.
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rope:
    """How positions are turned: the base, and the rule that stretches them, by config.json's name of it."""

    base: float
    kind: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """The metadata of a family of models, tensors that are settings there, and what is to be told."""

    metadata: Mapping[str, bytes]
    #: Factors by which turns are slower, by the tensor's name.
    factors: Mapping[str, NDArray[np.float32]]
    notes: tuple[str, ...]


def read_sizes(config: Mapping[str, Any], *, vocabulary: int) -> Sizes:
    """The sizes that config.json gives; ``vocabulary`` is the embedding's rows.

    Raises: BadSource if one is missing or no size, or they do not fit together.
    """
    hidden, heads = _whole(config, "hidden_size"), _whole(config, "num_attention_heads")
    width = _whole(config, "head_dim", hidden // heads if hidden % heads == 0 else None)
    rotated = width * _number(config, "partial_rotary_factor", 1.0)
    sizes = Sizes(
        layers=_whole(config, "num_hidden_layers"),
        hidden=hidden,
        intermediate=_whole(config, "intermediate_size", 0),
        heads=heads,
        key_heads=_whole(config, "num_key_value_heads", heads),
        head_width=width,
        vocabulary=vocabulary,
        context=_whole(config, "max_position_embeddings"),
        rotated=int(rotated),
        rope_base=read_rope(config).base,
        epsilon=_number(config, "rms_norm_eps", 1e-6),
        experts=_whole(config, "num_experts", _whole(config, "num_local_experts", 0)),
        experts_used=_whole(config, "num_experts_per_tok", 0),
        expert_width=_whole(config, "moe_intermediate_size", 0),
        shared_width=_whole(config, "shared_expert_intermediate_size", 0),
    )
    if sizes.heads % sizes.key_heads or sizes.head_width % 2:
        raise BadSource(
            f"config.json has {heads} heads of {width} and {sizes.key_heads} key heads, which do not fit together"
        )
    if sizes.rotated != rotated or sizes.rotated % 2 or not 0 < sizes.rotated <= width:
        raise BadSource(f"config.json has {rotated} rotated dimensions in heads of {width}")
    return sizes


def read_rope(config: Mapping[str, Any]) -> Rope:
    """The positions' settings, in the words of transformers 4 or 5; of layers of several kinds, those that see all."""
    parameters = _object(config.get("rope_parameters"))
    parameters = _object(parameters.get("full_attention")) or parameters
    settings = _object(config.get("rope_scaling")) or parameters
    base = config.get("rope_theta", parameters.get("rope_theta", 10000.0))
    kind = settings.get("rope_type", settings.get("type", "default"))
    return Rope(base=_number({"rope_theta": base}, "rope_theta"), kind=str(kind), settings=settings)


def make_parameters(family: str, config: Mapping[str, Any], sizes: Sizes) -> Parameters:
    """The metadata under ``family``.

    Raises: Unsupported if the model does what llama.cpp does not do for the family; BadSource for odd numbers.
    """
    stretched, factors = _stretching(config, sizes)
    own = _OWN.get(family, _nothing)(config, sizes)
    entries = {
        "block_count": encoding.u32(sizes.layers),
        "context_length": encoding.u32(sizes.context),
        "embedding_length": encoding.u32(sizes.hidden),
        "feed_forward_length": encoding.u32(sizes.intermediate),
        "attention.head_count": encoding.u32(sizes.heads),
        "attention.head_count_kv": encoding.u32(sizes.key_heads),
        "attention.key_length": encoding.u32(sizes.head_width),
        "attention.value_length": encoding.u32(sizes.head_width),
        "attention.layer_norm_rms_epsilon": encoding.f32(sizes.epsilon),
        "rope.dimension_count": encoding.u32(sizes.rotated),
        "rope.freq_base": encoding.f32(sizes.rope_base),
        "vocab_size": encoding.u32(sizes.vocabulary),
        **_experts(sizes),
        **stretched,
        **own,
    }
    return Parameters(
        metadata={f"{family}.{key}": value for key, value in entries.items()},
        factors=factors,
        notes=tuple(_notes(family, config)),
    )


def _notes(family: str, config: Mapping[str, Any]) -> list[str]:
    window = config.get("sliding_window") if config.get("use_sliding_window", family == "llama") else None
    if type(window) is int and window and family in {"llama", "qwen2", "qwen3", "qwen2moe", "qwen3moe"}:
        return [f"llama.cpp runs it without its sliding window of {window} tokens."]
    return []


def _experts(sizes: Sizes) -> dict[str, bytes]:
    if not sizes.experts:
        return {}
    entries = {
        "expert_count": sizes.experts,
        "expert_used_count": sizes.experts_used,
        "expert_feed_forward_length": sizes.expert_width,
        "expert_shared_feed_forward_length": sizes.shared_width,
    }
    return {key: encoding.u32(value) for key, value in entries.items() if value}


def _nothing(config: Mapping[str, Any], sizes: Sizes) -> dict[str, bytes]:
    return {}


def _qwen_experts(config: Mapping[str, Any], *, normalised: bool) -> None:
    """Nothing, if the experts are chosen and weighed as llama.cpp does it."""
    if bool(config.get("norm_topk_prob", False)) is not normalised:
        raise Unsupported(f"llama.cpp runs such models with norm_topk_prob {normalised}, config.json has the other")
    if config.get("mlp_only_layers") or config.get("decoder_sparse_step", 1) != 1:
        raise Unsupported("some of its layers have no experts, which llama.cpp does not expect of such models")


def _of_qwen2moe(config: Mapping[str, Any], sizes: Sizes) -> dict[str, bytes]:
    _qwen_experts(config, normalised=False)
    return {}


def _of_qwen3moe(config: Mapping[str, Any], sizes: Sizes) -> dict[str, bytes]:
    _qwen_experts(config, normalised=True)
    return {}


def _check_scalar(config: Mapping[str, Any], sizes: Sizes, *, largest: int) -> None:
    """Nothing, if attention is divided by what llama.cpp divides it by; in the largest of a family it is another."""
    expected = sizes.hidden // sizes.heads if sizes.layers == largest else sizes.head_width
    found = config.get("query_pre_attn_scalar", sizes.head_width)
    if found != expected:
        raise Unsupported(f"query_pre_attn_scalar is {found!r}; llama.cpp runs such models with {expected}")


def _of_gemma2(config: Mapping[str, Any], sizes: Sizes) -> dict[str, bytes]:
    _check_scalar(config, sizes, largest=46)
    return {
        "attn_logit_softcapping": encoding.f32(_number(config, "attn_logit_softcapping", 50.0)),
        "final_logit_softcapping": encoding.f32(_number(config, "final_logit_softcapping", 30.0)),
        "attention.sliding_window": encoding.u32(_whole(config, "sliding_window", 4096)),
    }


def _of_gemma3(config: Mapping[str, Any], sizes: Sizes) -> dict[str, bytes]:
    _check_scalar(config, sizes, largest=62)
    kinds = config.get("layer_types")
    by_sixes = ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(sizes.layers)]
    if config.get("sliding_window_pattern", 6) != 6 or (kinds is not None and kinds != by_sixes):
        raise Unsupported("not every sixth of its layers sees all; llama.cpp runs such models as if it were so")
    if config.get("attn_logit_softcapping") or config.get("final_logit_softcapping"):
        raise Unsupported("its logits are capped, which llama.cpp does not do for such models")
    return {"attention.sliding_window": encoding.u32(_whole(config, "sliding_window", 4096))}


def _of_phi3(config: Mapping[str, Any], sizes: Sizes) -> dict[str, bytes]:
    entries = {"attention.sliding_window": encoding.u32(_whole(config, "sliding_window", sizes.context))}
    original = _whole(config, "original_max_position_embeddings", sizes.context)
    entries["rope.scaling.original_context_length"] = encoding.u32(original)
    if read_rope(config).kind in {"longrope", "su"} and sizes.context > original > 1:
        scale = math.sqrt(1 + math.log(sizes.context / original) / math.log(original))
        entries["rope.scaling.attn_factor"] = encoding.f32(scale)
    return entries


_OWN: Mapping[str, Callable[[Mapping[str, Any], Sizes], dict[str, bytes]]] = MappingProxyType(
    {
        "qwen2moe": _of_qwen2moe,
        "qwen3moe": _of_qwen3moe,
        "gemma2": _of_gemma2,
        "gemma3": _of_gemma3,
        "phi3": _of_phi3,
    }
)


def _stretching(config: Mapping[str, Any], sizes: Sizes) -> tuple[dict[str, bytes], dict[str, NDArray[np.float32]]]:
    """The entries and the tensors that say how positions are stretched.

    Source: transformers, modeling_rope_utils; llama.cpp, convert_hf_to_gguf.py.
    """
    rope = read_rope(config)
    if rope.kind in {"default", "None", "none"}:
        return {}, {}
    if rope.kind == "llama3":
        return {}, {"rope_freqs.weight": _llama3_factors(rope, sizes)}
    if rope.kind in {"longrope", "su"}:
        names = {"rope_factors_long.weight": "long_factor", "rope_factors_short.weight": "short_factor"}
        return {}, {name: _given_factors(rope, key, sizes) for name, key in names.items()}
    if rope.kind not in {"linear", "yarn"}:
        raise Unsupported(f"its positions are stretched by the rule {rope.kind[:50]!r}, which llama.cpp has not")
    entries = {
        "rope.scaling.type": encoding.text(rope.kind),
        "rope.scaling.factor": encoding.f32(_number(rope.settings, "factor")),
    }
    if rope.kind == "yarn":
        original = _whole(rope.settings, "original_max_position_embeddings", sizes.context)
        entries["rope.scaling.original_context_length"] = encoding.u32(original)
    return entries, {}


def _llama3_factors(rope: Rope, sizes: Sizes) -> NDArray[np.float32]:
    """Slow turns are stretched wholly, fast ones not, those between in part."""
    factor, context = _number(rope.settings, "factor"), _whole(rope.settings, "original_max_position_embeddings")
    low, high = _number(rope.settings, "low_freq_factor"), _number(rope.settings, "high_freq_factor")
    if high <= low:
        raise BadSource(f"config.json has low_freq_factor {low} and high_freq_factor {high}")
    length = 2 * np.pi * sizes.rope_base ** (np.arange(0, sizes.rotated, 2) / sizes.rotated)
    smooth = (context / length - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    factors = np.where(length > context / low, factor, np.where(length < context / high, 1.0, between))
    return factors.astype(np.float32)


def _given_factors(rope: Rope, key: str, sizes: Sizes) -> NDArray[np.float32]:
    factors = rope.settings.get(key)
    sound = isinstance(factors, list) and len(factors) == sizes.rotated // 2
    if not sound or not all(isinstance(f, int | float) and 0 < f < math.inf for f in factors or ()):
        raise BadSource(f"config.json has a {key} that is not {sizes.rotated // 2} positive numbers")
    return np.array(factors, np.float32)


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _whole(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    value = config.get(key)
    value = default if value is None else value
    if type(value) is not int or not 0 <= value <= _LARGEST or (value == 0 and default != 0):
        raise BadSource(f"config.json has {value!r:.100} for {key}, where a size is needed")
    return value


def _number(config: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = config.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
        raise BadSource(f"config.json has {value!r:.100} for {key}, where a positive number is needed")
    return float(value)
