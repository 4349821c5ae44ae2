"""How far a compressed model's predictions are from its source's: perplexity, divergence, and how often both agree.

The one file of this room that imports torch; transformers only where a model is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from modelpress.errors import BadSource

#: Token ids [1, length] to logits [1, length, vocabulary].
Predictor = Callable[[Tensor], Tensor]

#: Positions whose probabilities are in memory at once: 100 MB in float32 at a vocabulary of 100,000, for each model.
_POSITIONS = 256

#: The 0.975 quantile of the normal distribution, and Student's for 1, 2 and 3 degrees of freedom.
_NORMAL = 1.959963984540054
_STUDENT = (12.706204736, 4.302652730, 3.182446305)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over tokens, and the 95 % interval that the spread between windows gives it (Student's)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """One output against its source, over the same tokens.

    Units: ``divergence`` is the mean of KL(source‖output) in nats a token; ``agreement`` the share of tokens at which
    both find the same token the likeliest; ``rise`` the output's perplexity over the source's. Its interval says much
    more than that of the perplexities themselves, which hold how differently hard the windows are.
    """

    windows: int
    tokens: int
    source_perplexity: Estimate
    perplexity: Estimate
    rise: Estimate
    divergence: Estimate
    agreement: Estimate


def load(directory: Path, *, device: torch.device, dtype: torch.dtype = torch.bfloat16) -> Predictor:
    """The model in ``directory``, dense or in compressed-tensors' format, as a predictor on ``device``.

    No code of the directory is run, and no network asked. In bf16, as servers compute, rounding alone makes a model of
    135 million weights diverge from itself in float32 by 0.002 nats a token, and agree with it on 98 % of tokens.
    Raises: BadSource if transformers cannot load it.
    """
    from transformers import AutoModelForCausalLM

    try:
        model = AutoModelForCausalLM.from_pretrained(
            directory, dtype=dtype, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as exc:
        raise BadSource(f"{directory}: transformers cannot load it: {exc}") from exc
    model = model.eval().to(device)

    def predict(tokens: Tensor) -> Tensor:
        logits: Tensor = model(tokens.to(device), use_cache=False).logits
        return logits

    return predict


def compare(source: Predictor, outputs: Sequence[Predictor], windows: Iterable[Tensor]) -> list[Divergence]:
    """Each output against the source, which computes once for all of them.

    One window is in memory at a time; each is predicted alone, from its second token on.

    Shapes: a window is int64 [length], length at least 2, the same for all.
    Raises: ValueError without two windows, which no interval can be had from.
    """
    kept: list[Tensor] = []
    length = 0
    for window in windows:
        length = len(window)
        tokens = window.reshape(1, -1)
        with torch.inference_mode():
            true = source(tokens)[0, :-1]
            found = [_figures(true, output(tokens)[0, :-1], window[1:]) for output in outputs]
        kept.append(torch.stack(found))
    if len(kept) < 2:
        raise ValueError(f"{len(kept)} windows: at least two are needed")
    table = torch.stack(kept)
    return [_summary(table[:, number], tokens=len(kept) * (length - 1)) for number in range(len(outputs))]


def _figures(true: Tensor, found: Tensor, targets: Tensor) -> Tensor:
    """Means over a window's tokens, float64 [4]: both models' nats for the next token, KL, agreement."""
    sums = torch.zeros(4, dtype=torch.float64)
    for start in range(0, len(targets), _POSITIONS):
        piece = slice(start, start + _POSITIONS)
        log_p, log_q = (logits[piece].float().log_softmax(dim=-1) for logits in (true, found))
        index = targets[piece].to(log_p.device).reshape(-1, 1)
        sums[0] -= log_p.gather(1, index).double().sum().cpu()
        sums[1] -= log_q.gather(1, index).double().sum().cpu()
        agreed = log_p.argmax(dim=-1) == log_q.argmax(dim=-1)
        sums[3] += agreed.double().sum().cpu()
        log_q.sub_(log_p).neg_().mul_(log_p.exp_())  # p (log p - log q): no tensor more than the two that are there
        sums[2] += log_q.sum(dim=-1).double().sum().cpu()
    return sums / len(targets)


def _summary(figures: Tensor, *, tokens: int) -> Divergence:
    """Shapes: figures float64 [windows, 4]."""
    true, found, divergence, agreement = figures.unbind(dim=1)
    return Divergence(
        windows=len(figures),
        tokens=tokens,
        source_perplexity=_exponential(estimate(true)),
        perplexity=_exponential(estimate(found)),
        rise=_exponential(estimate(found - true)),
        divergence=estimate(divergence),
        agreement=estimate(agreement),
    )


def estimate(values: Tensor) -> Estimate:
    """The mean of float64 [windows] and its interval, at least two windows being given."""
    degrees = len(values) - 1
    mean = float(values.mean())
    reach = _student(degrees) * float(values.std()) / math.sqrt(len(values))
    return Estimate(value=mean, low=mean - reach, high=mean + reach)


def _student(degrees: int) -> float:
    """The 0.975 quantile of Student's distribution.

    Bound: within 0.001 of the true one.
    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5; below 4 degrees the tables' values.
    """
    if degrees <= len(_STUDENT):
        return _STUDENT[degrees - 1]
    z, n = _NORMAL, degrees
    return (
        z
        + (z**3 + z) / (4 * n)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * n**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * n**4)
    )


def _exponential(mean: Estimate) -> Estimate:
    return Estimate(value=math.exp(mean.value), low=math.exp(mean.low), high=math.exp(mean.high))
