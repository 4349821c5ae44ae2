"""Tiny models with random weights, one of each architecture, as transformers builds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from modelpress.calibrate.architecture import stored_names
from modelpress.calibrate.experts import separate

_SIZES = {
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
#: Heads that together are wider than the hidden states, where the architecture says how wide a head is.
_HEAD = {"head_dim": 12}
_EXPERTS = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 20}

#: By model_type, what its config says besides the sizes.
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {"attention_bias": True, "mlp_bias": True},
    "mistral": _HEAD,
    "qwen2": {},
    "qwen2_moe": {**_EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen3": _HEAD,
    "qwen3_moe": {**_HEAD, **_EXPERTS, "mlp_only_layers": [0]},
    "mixtral": {"num_local_experts": 3, "num_experts_per_tok": 2},
    "smollm3": {},
    "gemma": _HEAD,
    "gemma2": _HEAD,
    "gemma3_text": _HEAD,
    "phi3": {},
}


def tiny_model(model_type: str, *, sizes: dict[str, Any] | None = None) -> Any:
    """A causal language model in float64 of random weights, norms and biases among them, the same at every call."""
    from transformers import AutoConfig, AutoModelForCausalLM

    facts = {**_SIZES, **CONFIGS.get(model_type, {}), **(sizes or {})}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **facts), dtype=torch.float64).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            middle = 1.0 if "norm" in name and not name.endswith("bias") else 0.0
            parameter.copy_(middle + 0.3 * torch.randn(parameter.shape, dtype=torch.float64))
    return model.requires_grad_(False)


def stored_tensors(model: nn.Module, folder: Path) -> dict[str, Tensor]:
    """The tensors of the checkpoint that transformers writes for the model, by the names they have in it."""
    from safetensors.torch import load_file

    model.save_pretrained(folder)
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def with_experts_apart(model: nn.Module, folder: Path) -> None:
    """Takes the model's fused experts apart, with the weights of its own checkpoint."""
    stored = stored_tensors(model, folder)
    separate(model)
    names = stored_names({name for name, _ in model.named_parameters()}, stored=stored)
    for name, parameter in list(model.named_parameters()):
        if parameter.is_meta:
            owner, _, last = name.rpartition(".")
            setattr(model.get_submodule(owner), last, nn.Parameter(stored[names[name]], requires_grad=False))
