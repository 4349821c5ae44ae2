"""Experts one by one: transformers multiplies all of a layer at once, calibration must see what each is given."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_FUSED = {"gate_up_proj", "down_proj"}


class Expert(nn.Module):
    """One expert's linear layers, under the names that checkpoints give them."""

    def __init__(self, *, hidden: int, inner: int, activation: nn.Module) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(hidden, inner, bias=False)
        self.up_proj = nn.Linear(hidden, inner, bias=False)
        self.down_proj = nn.Linear(inner, hidden, bias=False)
        self._activation = activation

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Shapes: [tokens, hidden] -> [tokens, hidden]."""
        return self.down_proj(self._activation(self.gate_proj(hidden_states)) * self.up_proj(hidden_states))


class SeparateExperts(nn.ModuleList):
    """Stands for a module of fused experts: the same function, one expert after the other in their numbers' order."""

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """Shapes: hidden_states [tokens, hidden], top_k_… [tokens, chosen] -> [tokens, hidden]."""
        output = torch.zeros_like(hidden_states)
        for number in sorted(set(top_k_index.flatten().tolist())):
            # Where a router marks tokens it drops, it names an expert that there is not.
            if number < len(self):
                token, choice = torch.where(top_k_index == number)
                result = self[number](hidden_states[token]) * top_k_weights[token, choice, None]
                output.index_add_(0, token, result.to(output.dtype))
        return output


def separate(module: nn.Module) -> None:
    """Put :class:`SeparateExperts` in the place of every module of fused experts below ``module``, weights on meta.

    A fused module is known by its parameters: gate_up_proj [experts, 2 * inner, hidden] and down_proj
    [experts, hidden, inner], and no others. Those with biases or columns in turns are left: nothing loads them apart.
    """
    for name, child in list(module.named_modules()):
        if {key for key, _ in child.named_parameters(recurse=False)} == _FUSED and hasattr(child, "act_fn"):
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, _apart(child))


def _apart(fused: nn.Module) -> SeparateExperts:
    count, hidden, inner = fused.down_proj.shape
    with torch.device("meta"):
        return SeparateExperts(Expert(hidden=hidden, inner=inner, activation=fused.act_fn) for _ in range(count))
