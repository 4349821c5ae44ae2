"""The tensors of tiny models of many architectures: names and shapes as their published checkpoints have them.

Needs the standard library only, as synthetic.py does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Tensors = Iterator[tuple[str, tuple[int, ...]]]

#: model_type -> where its layers lie, and where embedding and norm do.
_PREFIXES = {"qwen2_5_vl": "model.language_model.", "gemma3": "language_model.model."}

#: model_type -> norms of a layer, besides those of queries and keys.
_NORMS = {
    "gemma3": ("input", "post_attention", "pre_feedforward", "post_feedforward"),
    "gemma3_text": ("input", "post_attention", "pre_feedforward", "post_feedforward"),
    "olmo2": ("post_attention", "post_feedforward"),
    "glm4": ("input", "post_attention", "post_self_attn", "post_mlp"),
}
_HEAD_NORMS = frozenset({"qwen3", "qwen3_moe", "gemma3", "gemma3_text", "glm4_moe"})
_BIASED = frozenset({"qwen2", "qwen2_5_vl", "glm4", "glm4_moe"})


def tensors_of(config: dict[str, Any]) -> Tensors:
    """Every tensor of the model, in the order of its layers."""
    kind = config["model_type"]
    text = config.get("text_config", config)
    hidden, vocabulary = text["hidden_size"], text["vocab_size"]
    prefix = _PREFIXES.get(kind, "model.")
    yield prefix + "embed_tokens.weight", (vocabulary, hidden)
    for layer in range(text["num_hidden_layers"]):
        for norm in _NORMS.get(kind, ("input", "post_attention")):
            yield f"{prefix}layers.{layer}.{norm}_layernorm.weight", (hidden,)
        attention = _mla if "kv_lora_rank" in text else _attention
        for name, shape in (*attention(kind, text), *_feed_forward(kind, text, layer)):
            yield f"{prefix}layers.{layer}.{name}", shape
    yield prefix + "norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (vocabulary, hidden)
    yield from _TOWERS.get(kind, _no_tower)(hidden)


def _attention(kind: str, config: dict[str, Any]) -> Tensors:
    hidden, heads, kv_heads = config["hidden_size"], config["num_attention_heads"], config["num_key_value_heads"]
    width = config.get("head_dim", hidden // heads)
    if kind == "phi3":
        yield "self_attn.qkv_proj.weight", ((heads + 2 * kv_heads) * width, hidden)
    else:
        for name, rows in (("q_proj", heads * width), ("k_proj", kv_heads * width), ("v_proj", kv_heads * width)):
            yield f"self_attn.{name}.weight", (rows, hidden)
            if kind in _BIASED:
                yield f"self_attn.{name}.bias", (rows,)
    yield "self_attn.o_proj.weight", (hidden, heads * width)
    if kind in _HEAD_NORMS:
        yield "self_attn.q_norm.weight", (width,)
        yield "self_attn.k_norm.weight", (width,)
    if kind == "olmo2":
        yield "self_attn.q_norm.weight", (heads * width,)
        yield "self_attn.k_norm.weight", (kv_heads * width,)


def _mla(kind: str, config: dict[str, Any]) -> Tensors:
    """Attention with compressed keys and values, as DeepSeek's."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    q_rank, kv_rank, rope = config["q_lora_rank"], config["kv_lora_rank"], config["qk_rope_head_dim"]
    nope, value = config["qk_nope_head_dim"], config["v_head_dim"]
    yield "self_attn.q_a_proj.weight", (q_rank, hidden)
    yield "self_attn.q_a_layernorm.weight", (q_rank,)
    yield "self_attn.q_b_proj.weight", (heads * (nope + rope), q_rank)
    yield "self_attn.kv_a_proj_with_mqa.weight", (kv_rank + rope, hidden)
    yield "self_attn.kv_a_layernorm.weight", (kv_rank,)
    yield "self_attn.kv_b_proj.weight", (heads * (nope + value), kv_rank)
    yield "self_attn.o_proj.weight", (hidden, heads * value)


def _feed_forward(kind: str, config: dict[str, Any], layer: int) -> Tensors:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    if kind in {"phi3", "glm4"}:
        yield "mlp.gate_up_proj.weight", (2 * inner, hidden)
        yield "mlp.down_proj.weight", (hidden, inner)
    elif kind == "mixtral":
        yield "block_sparse_moe.gate.weight", (config["num_local_experts"], hidden)
        for expert in range(config["num_local_experts"]):
            prefix = f"block_sparse_moe.experts.{expert}."
            yield from ((prefix + "w1.weight", (inner, hidden)), (prefix + "w2.weight", (hidden, inner)))
            yield prefix + "w3.weight", (inner, hidden)
    elif kind in {"qwen3_5_moe", "llama4_text"}:
        yield from _fused_experts(kind, config)
    elif kind in {"qwen3_moe", "deepseek_v3", "glm4_moe"} and layer >= config.get("first_k_dense_replace", 0):
        yield from _experts(config)
    else:
        yield from _gated("mlp.", hidden, inner)


def _experts(config: dict[str, Any]) -> Tensors:
    hidden, inner = config["hidden_size"], config["moe_intermediate_size"]
    count = config.get("num_experts") or config["n_routed_experts"]
    yield "mlp.gate.weight", (count, hidden)
    for expert in range(count):
        yield from _gated(f"mlp.experts.{expert}.", hidden, inner)
    if "n_shared_experts" in config:
        yield "mlp.gate.e_score_correction_bias", (count,)
        yield from _gated("mlp.shared_experts.", hidden, config["n_shared_experts"] * inner)


def _fused_experts(kind: str, config: dict[str, Any]) -> Tensors:
    """Experts in tensors of three dimensions: outputs before inputs, and in Llama 4 the other way round."""
    hidden, inner = config["hidden_size"], config["moe_intermediate_size"]
    count = config["num_experts"]
    if kind == "llama4_text":
        yield "feed_forward.router.weight", (count, hidden)
        yield "feed_forward.experts.gate_up_proj", (count, hidden, 2 * inner)
        yield "feed_forward.experts.down_proj", (count, inner, hidden)
        yield from _gated("feed_forward.shared_expert.", hidden, inner)
        return
    yield "mlp.gate.weight", (count, hidden)
    yield "mlp.experts.gate_up_proj", (count, 2 * inner, hidden)
    yield "mlp.experts.down_proj", (count, hidden, inner)
    yield from _gated("mlp.shared_expert.", hidden, inner)
    yield "mlp.shared_expert_gate.weight", (1, hidden)


def _gated(prefix: str, hidden: int, inner: int) -> Tensors:
    yield prefix + "gate_proj.weight", (inner, hidden)
    yield prefix + "up_proj.weight", (inner, hidden)
    yield prefix + "down_proj.weight", (hidden, inner)


def _no_tower(hidden: int) -> Tensors:
    yield from ()


def _qwen_tower(hidden: int) -> Tensors:
    yield "model.visual.patch_embed.proj.weight", (32, 3, 2, 4, 4)
    yield "model.visual.blocks.0.attn.qkv.weight", (96, 32)
    yield "model.visual.blocks.0.attn.qkv.bias", (96,)
    yield "model.visual.blocks.0.attn.proj.weight", (32, 32)
    yield from ((f"model.visual.blocks.0.{name}", shape) for name, shape in _gated("mlp.", 32, 64))
    yield "model.visual.merger.mlp.0.weight", (128, 128)
    yield "model.visual.merger.mlp.2.weight", (hidden, 128)


def _siglip_tower(hidden: int) -> Tensors:
    prefix = "vision_tower.vision_model."
    yield prefix + "embeddings.patch_embedding.weight", (32, 3, 4, 4)
    yield prefix + "embeddings.position_embedding.weight", (16, 32)
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        yield f"{prefix}encoder.layers.0.self_attn.{name}.weight", (32, 32)
    yield prefix + "encoder.layers.0.mlp.fc1.weight", (64, 32)
    yield prefix + "encoder.layers.0.mlp.fc2.weight", (32, 64)
    yield "multi_modal_projector.mm_input_projection_weight", (32, hidden)


_TOWERS: dict[str, Callable[[int], Tensors]] = {"qwen2_5_vl": _qwen_tower, "gemma3": _siglip_tower}
