"""config.json and generation_config.json, made from what a GGUF file says of its model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelpress.tensors.folder import Folder
from modelpress.tensors.gguf.architecture import (
    ROPE_FACTORS,
    ROPE_LONG,
    ROPE_SHORT,
    Architecture,
    is_tied,
)
from modelpress.tensors.gguf.header import Gguf
from modelpress.tensors.gguf.rows import read_values
from modelpress.tensors.gguf.sizes import Sizes, decimal

#: The bounds of Llama 3.1's rule for stretching positions, which no model was published without.
_LLAMA3_LOW, _LLAMA3_HIGH, _LLAMA3_CONTEXT = 1.0, 4.0, 8192
#: A tensor of factors has one for each two dimensions of a head.
_MOST_FACTORS = 4096


def model_config(
    folder: Folder, gguf: Gguf, *, architecture: Architecture, sizes: Sizes, ids: Mapping[str, int]
) -> dict[str, Any]:
    """The content of config.json; ``ids`` are the tokens with a role, by transformers' names.

    Raises: BadSource if a setting is one that transformers' model has not, or not as the file has it.
    """
    family = gguf.field("general.architecture", str)
    own = _OWN.get(architecture.model_type, _of_llama)
    config = {
        "architectures": [architecture.class_name],
        "model_type": architecture.model_type,
        "attention_dropout": 0.0,
        "head_dim": sizes.head_width,
        "hidden_size": sizes.hidden,
        "intermediate_size": sizes.intermediate,
        "max_position_embeddings": sizes.context,
        "num_attention_heads": sizes.heads,
        "num_hidden_layers": sizes.layers,
        "num_key_value_heads": sizes.key_heads,
        "rms_norm_eps": sizes.epsilon,
        "rope_scaling": _rope_scaling(folder, gguf, family=family, architecture=architecture, sizes=sizes),
        "rope_theta": sizes.rope_base,
        "tie_word_embeddings": is_tied(gguf),
        # The name every version of transformers reads; newer ones write "dtype".
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": sizes.vocabulary,
        **own(gguf, sizes),
        # Said even where there is none: transformers would take another model's ids.
        **{key: ids.get(key) for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
    }
    if sizes.rotated != sizes.head_width and "partial_rotary_factor" not in config:
        raise gguf.refuse(f"{sizes.rotated} rotated dimensions in heads of {sizes.head_width}")
    return config


def generation_config(gguf: Gguf, ids: Mapping[str, int]) -> dict[str, Any]:
    """The content of generation_config.json: where text ends, at the end of a turn too."""
    ends = [ids["eos_token_id"]] if "eos_token_id" in ids else []
    for key in ("tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"):
        end = gguf.optional(key, int)
        if end is not None and end not in ends:
            ends.append(end)
    return {**ids, "eos_token_id": ends if len(ends) > 1 else ends[0]} if ends else dict(ids)


def _of_llama(gguf: Gguf, sizes: Sizes) -> dict[str, Any]:
    return {"attention_bias": "blk.0.attn_q.bias" in gguf.tensors, "hidden_act": "silu", "mlp_bias": False}


def _of_mixtral(gguf: Gguf, sizes: Sizes) -> dict[str, Any]:
    return {
        "hidden_act": "silu",
        "num_experts_per_tok": sizes.experts_used,
        "num_local_experts": sizes.experts,
        "sliding_window": None,
    }


def _of_qwen2(gguf: Gguf, sizes: Sizes) -> dict[str, Any]:
    return {"hidden_act": "silu", "use_sliding_window": False}


def _of_qwen3(gguf: Gguf, sizes: Sizes) -> dict[str, Any]:
    return {"attention_bias": False, **_of_qwen2(gguf, sizes)}


def _experts(sizes: Sizes) -> dict[str, Any]:
    return {
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "moe_intermediate_size": sizes.expert_width,
        "num_experts": sizes.experts,
        "num_experts_per_tok": sizes.experts_used,
    }


def _of_qwen2_moe(gguf: Gguf, sizes: Sizes) -> dict[str, Any]:
    return {
        **_of_qwen2(gguf, sizes),
        **_experts(sizes),
        # As llama.cpp runs the two: the file does not say it.
        "norm_topk_prob": False,
        "shared_expert_intermediate_size": sizes.shared_width,
    }


def _of_qwen3_moe(gguf: Gguf, sizes: Sizes) -> dict[str, Any]:
    return {**_of_qwen3(gguf, sizes), **_experts(sizes), "norm_topk_prob": True}


def _of_gemma2(gguf: Gguf, sizes: Sizes) -> dict[str, Any]:
    return {
        "attention_bias": False,
        "attn_logit_softcapping": _cap(gguf, "gemma2.attn_logit_softcapping", 50.0),
        "final_logit_softcapping": _cap(gguf, "gemma2.final_logit_softcapping", 30.0),
        "hidden_activation": "gelu_pytorch_tanh",
        # The largest of the family divides by the width of a head in the hidden state, not by that of its own heads.
        "query_pre_attn_scalar": sizes.hidden // sizes.heads if sizes.layers == 46 else sizes.head_width,
        "sliding_window": gguf.optional("gemma2.attention.sliding_window", int) or 4096,
    }


def _of_gemma3(gguf: Gguf, sizes: Sizes) -> dict[str, Any]:
    return {
        "attention_bias": False,
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": sizes.hidden // sizes.heads if sizes.layers == 62 else sizes.head_width,
        # Of the layers that look at a window; every sixth looks at everything. The file does not say it.
        "rope_local_base_freq": 10000.0,
        "sliding_window": gguf.field("gemma3.attention.sliding_window", int),
        "sliding_window_pattern": 6,
    }


def _of_phi3(gguf: Gguf, sizes: Sizes) -> dict[str, Any]:
    return {
        "embd_pdrop": 0.0,
        "hidden_act": "silu",
        "original_max_position_embeddings": gguf.optional("phi3.rope.scaling.original_context_length", int)
        or sizes.context,
        "partial_rotary_factor": sizes.rotated / sizes.head_width,
        "resid_pdrop": 0.0,
        "sliding_window": gguf.optional("phi3.attention.sliding_window", int) or None,
    }


_OWN: Mapping[str, Callable[[Gguf, Sizes], dict[str, Any]]] = {
    "llama": _of_llama,
    "mixtral": _of_mixtral,
    "qwen2": _of_qwen2,
    "qwen3": _of_qwen3,
    "qwen2_moe": _of_qwen2_moe,
    "qwen3_moe": _of_qwen3_moe,
    "gemma2": _of_gemma2,
    "gemma3_text": _of_gemma3,
    "phi3": _of_phi3,
}


def _cap(gguf: Gguf, key: str, usual: float) -> float:
    stated = gguf.optional(key, float)
    if stated is not None and not 0 < stated < math.inf:
        raise gguf.refuse(f"{key} is {stated}, not a positive number")
    return usual if stated is None else decimal(stated)


def _rope_scaling(
    folder: Folder, gguf: Gguf, *, family: str, architecture: Architecture, sizes: Sizes
) -> dict[str, Any] | None:
    """How positions are stretched, in transformers' words; None if they are not."""
    if ROPE_FACTORS in gguf.tensors and ROPE_FACTORS in architecture.settings:
        return _of_llama3(gguf, _factors(folder, gguf, name=ROPE_FACTORS, sizes=sizes), sizes=sizes)
    if ROPE_LONG in gguf.tensors and ROPE_LONG in architecture.settings:
        return {
            "type": "longrope",
            "long_factor": [decimal(value) for value in _factors(folder, gguf, name=ROPE_LONG, sizes=sizes)],
            "short_factor": [decimal(value) for value in _factors(folder, gguf, name=ROPE_SHORT, sizes=sizes)],
        }
    kind = gguf.optional(f"{family}.rope.scaling.type", str)
    if kind is None or kind == "none":
        before = gguf.optional(f"{family}.rope.scale_linear", float)  # as files of 2023 have it
        return None if before in {None, 1.0} else {"rope_type": "linear", "type": "linear", "factor": decimal(before)}
    factor = decimal(gguf.field(f"{family}.rope.scaling.factor", float))
    if not 0 < factor < math.inf:
        raise gguf.refuse(f"{family}.rope.scaling.factor is {factor}, not a positive number")
    if kind == "linear":
        return {"rope_type": "linear", "type": "linear", "factor": factor}
    if kind == "yarn":
        context = gguf.field(f"{family}.rope.scaling.original_context_length", int)
        return {"rope_type": "yarn", "type": "yarn", "factor": factor, "original_max_position_embeddings": context}
    raise gguf.refuse(f"{family}.rope.scaling.type is {kind[:100]!r}; none, linear and yarn are read")


def _factors(folder: Folder, gguf: Gguf, *, name: str, sizes: Sizes) -> NDArray[np.float32]:
    tensor = gguf.tensors.get(name)
    if tensor is None or tensor.value_count != sizes.rotated // 2 or tensor.value_count > _MOST_FACTORS:
        found = "there is none" if tensor is None else f"it has {tensor.value_count}"
        raise gguf.refuse(f"tensor {name!r} with {sizes.rotated // 2} factors is needed, {found}")
    values = read_values(folder, gguf, name=name).reshape(-1)
    if not (np.isfinite(values) & (values > 0)).all():
        raise gguf.refuse(f"tensor {name!r} has a factor that is not a positive number")
    return values


def _of_llama3(gguf: Gguf, factors: NDArray[np.float32], *, sizes: Sizes) -> dict[str, Any]:
    """The rule whose factors these are: slow turns are stretched wholly, fast ones not, those between in part.

    Source: transformers, modeling_rope_utils (_compute_llama3_parameters), and llama.cpp, convert_hf_to_gguf.py.
    """
    factor = decimal(factors.max())
    turns = sizes.rope_base ** (-np.arange(0, sizes.rotated, 2) / sizes.rotated)
    length = 2 * np.pi / turns
    smooth = (_LLAMA3_CONTEXT / length - _LLAMA3_LOW) / (_LLAMA3_HIGH - _LLAMA3_LOW)
    expected = np.where(
        length > _LLAMA3_CONTEXT / _LLAMA3_LOW,
        factor,
        np.where(length < _LLAMA3_CONTEXT / _LLAMA3_HIGH, 1.0, 1 / ((1 - smooth) / factor + smooth)),
    )
    if not np.allclose(factors, expected, rtol=1e-4):
        raise gguf.refuse(f"the factors in tensor {ROPE_FACTORS!r} are not those of Llama 3's rule, the one known")
    return {
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": _LLAMA3_LOW,
        "high_freq_factor": _LLAMA3_HIGH,
        "original_max_position_embeddings": _LLAMA3_CONTEXT,
    }
