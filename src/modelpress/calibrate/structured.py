"""Structured pruning: which neurons of a feed-forward part and which whole blocks go, and how what stays makes it good.

A neuron is one column of ``down_proj`` with the rows of ``gate_proj`` and ``up_proj`` that feed it. What a set of
neurons is worth is what the part's output loses without it *after* the others' columns were fitted anew, which is a
problem of least squares: Optimal Brain Surgeon on columns (Hassibi and Stork 1993), as in OSSCAR (Meng et al. 2024) and
SlimGPT (Ling et al. 2024). A score of each neuron alone, by its column and how active it is, keeps two of a kind.
"""

from __future__ import annotations

import torch
from torch import Tensor

#: Neurons are removed in about so many steps; what is left is weighed anew after each.
_STEPS = 32


def choose_neurons(gram: Tensor, down_weight: Tensor, keep: int, *, dampening: float) -> Tensor:
    """The ``keep`` neurons without whose fellows the output loses least, in rising order.

    In each step those go that cost least by themselves: |w_j|² / (G⁻¹)_jj, w_j being a column that was fitted to what
    went before. G⁻¹ and the columns are brought up to date by block elimination, which never inverts anew.

    Shapes: gram [columns, columns], the sum of x xᵀ over tokens; down_weight [hidden, columns] -> int64 [keep].
    """
    columns = gram.shape[0]
    inverse = _inverse(_damped(gram, dampening))
    weight = down_weight.float()
    left = torch.arange(columns, device=gram.device)
    at_once = max(1, -(-(columns - keep) // _STEPS))
    while len(left) > keep:
        costs = weight.square().sum(dim=0) / inverse.diagonal()
        order = torch.sort(costs, stable=True).indices
        count = min(at_once, len(left) - keep)
        gone, stay = order[:count], order[count:].sort().values
        weight, inverse = _without(weight, inverse, gone=gone, stay=stay)
        left = left[stay]
    return left


def _without(weight: Tensor, inverse: Tensor, *, gone: Tensor, stay: Tensor) -> tuple[Tensor, Tensor]:
    """Columns fitted anew, and the inverse of the Gram matrix of those that stay."""
    between = inverse[gone][:, stay]
    factor = torch.linalg.cholesky(inverse[gone][:, gone])
    solved = torch.cholesky_solve(between, factor)
    return weight[:, stay] - weight[:, gone] @ solved, inverse[stay][:, stay] - between.T @ solved


def repair(down_weight: Tensor, gram: Tensor, kept: Tensor, *, dampening: float) -> Tensor:
    """The columns ``kept``, fitted so that the output of all of them is met as nearly as can be.

    Least squares: the W' that makes the sum of |W x - W' x_S|² + λ |W_S - W'|² smallest, which is
    W D[:, S] D[S, S]⁻¹ for D = G + λ I.

    Shapes: down_weight [hidden, columns], gram [columns, columns], kept [n] -> float32 [hidden, n].
    """
    damped = _damped(gram, dampening)
    factor = torch.linalg.cholesky(damped[kept][:, kept])
    return torch.cholesky_solve(damped[kept] @ down_weight.float().T, factor).T.contiguous()


def lost(down_weight: Tensor, gram: Tensor, kept: Tensor, repaired: Tensor) -> float:
    """The part of the output's squared size, over the tokens of ``gram``, that differs with the repaired columns."""
    difference = down_weight.float().clone()
    difference[:, kept] -= repaired
    before = (down_weight.float() @ gram * down_weight.float()).sum()
    return float((difference @ gram * difference).sum() / before.clamp(min=torch.finfo(torch.float32).tiny))


def choose_blocks(distances: Tensor, drop: int) -> Tensor:
    """The blocks that stay when the ``drop`` that change their input least go, in rising order.

    The first and the last never go: one turns embeddings into what the others read, the other what they wrote into what
    the head reads. Source: ShortGPT (Men et al., arXiv 2403.03853), which says so of single blocks.

    Shapes: distances [blocks], see :func:`cosine_distance` -> int64 [blocks - drop].
    """
    guarded = distances.clone()
    guarded[[0, -1]] = torch.inf
    order = torch.sort(guarded, stable=True).indices
    return order[drop:].sort().values


def cosine_distance(before: Tensor, after: Tensor) -> float:
    """1 minus the mean cosine of the angle between a token's hidden states before and after a block.

    Shapes: [tokens, hidden] both.
    """
    return 1 - float(torch.nn.functional.cosine_similarity(before.float(), after.float(), dim=-1).mean())


def _damped(gram: Tensor, dampening: float) -> Tensor:
    """``gram`` with ``dampening`` times its mean diagonal, and at least something, added to the diagonal."""
    least = torch.finfo(torch.float32).tiny ** 0.5
    damped = gram.float().clone()
    damped.diagonal().add_(max(dampening * float(damped.diagonal().mean()), least))
    return damped


def _inverse(matrix: Tensor) -> Tensor:
    return torch.cholesky_inverse(torch.linalg.cholesky(matrix))
