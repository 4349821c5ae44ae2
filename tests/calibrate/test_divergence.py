"""Perplexity and divergence against their definitions in float64, and a real, tiny model loaded from its directory."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modelpress.domain.wish import Wish, make_recipe
from modelpress.errors import BadSource
from modelpress.quality.divergence import Predictor, compare, estimate, load
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.staging import seal
from modelpress.worker.press import press

CPU = torch.device("cpu")
VOCABULARY = 37


def predictor(seed: int, *, spread: float = 3.0) -> Predictor:
    """Random logits that depend on the token alone."""
    table = torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(seed)) * spread
    return lambda tokens: table[tokens]


def some_windows(count: int, length: int, *, seed: int = 0) -> Tensor:
    return torch.randint(VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))


def probabilities(predict: Predictor, tokens: list[int]) -> list[list[float]]:
    """Of the next token, after each but the last, in plain float64."""
    found = []
    for logits in predict(torch.tensor([tokens]))[0, :-1].double().tolist():
        largest = max(logits)
        powers = [math.exp(logit - largest) for logit in logits]
        found.append([power / math.fsum(powers) for power in powers])
    return found


@settings(max_examples=10)
@given(count=st.integers(2, 4), length=st.sampled_from([2, 7, 257, 300]), seed=st.integers(0, 100))
def test_perplexity_divergence_and_agreement_are_what_they_are_by_definition(
    count: int, length: int, seed: int
) -> None:
    source, output, windows = predictor(seed), predictor(seed + 1), some_windows(count, length, seed=seed)
    (found,) = compare(source, [output], windows)
    nats, divergences, agreed = [], [], []
    for tokens in windows.tolist():
        rows = zip(probabilities(source, tokens), probabilities(output, tokens), tokens[1:], strict=True)
        for p, q, target in rows:
            nats.append(-math.log(q[target]))
            divergences.append(math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
            agreed.append(p.index(max(p)) == q.index(max(q)))
    assert found.tokens == len(nats) == count * (length - 1)
    assert found.perplexity.value == pytest.approx(math.exp(math.fsum(nats) / len(nats)), rel=1e-5)
    assert found.divergence.value == pytest.approx(math.fsum(divergences) / len(nats), rel=1e-5)
    assert found.agreement.value == pytest.approx(sum(agreed) / len(nats))
    assert found.rise.value == pytest.approx(found.perplexity.value / found.source_perplexity.value)


def test_a_model_does_not_diverge_from_itself() -> None:
    (found,) = compare(predictor(1), [predictor(1)], some_windows(3, 9))
    assert found.divergence.value == found.divergence.high == 0
    assert found.rise.value == found.agreement.value == 1


def test_outputs_compared_together_are_what_they_are_alone() -> None:
    outputs, windows = [predictor(2), predictor(3)], some_windows(3, 20)
    together = compare(predictor(1), outputs, windows)
    assert together == [compare(predictor(1), [output], windows)[0] for output in outputs]


@pytest.mark.parametrize(("windows", "reach"), [(2, 12.706), (3, 4.303), (5, 2.776), (11, 2.228), (31, 2.042)])
def test_the_interval_is_students(windows: int, reach: float) -> None:
    values = torch.arange(windows, dtype=torch.float64)
    found = estimate(values)
    half = reach * math.sqrt(float(values.var()) / windows)
    assert found.value == pytest.approx((windows - 1) / 2)
    assert found.high - found.value == pytest.approx(half, rel=1e-3)
    assert found.value - found.low == pytest.approx(half, rel=1e-3)


def test_one_window_gives_no_interval() -> None:
    with pytest.raises(ValueError, match="1 windows: at least two"):
        compare(predictor(1), [predictor(2)], some_windows(1, 9))


def a_llama(directory: Path) -> Path:
    """A tiny one of random weights, in bf16."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    for weight in model.parameters():
        weight.data.mul_(8)  # so that predictions are no mere noise, which rounding would not move
    model.save_pretrained(directory)
    return directory


def test_a_directory_of_compressed_tensors_is_compared_with_its_source(tmp_path: Path) -> None:
    source = a_llama(tmp_path / "source")
    outputs = []
    for scheme in ("W8A16C16", "W4A16C16"):
        outputs.append(tmp_path / scheme)
        recipe = make_recipe(Wish(strategy="Quantization", weight=scheme))
        press(LocalFolder(source), recipe, outputs[-1], report=lambda _progress: None)
        seal(outputs[-1])
    windows = some_windows(3, 32)
    eight, four = compare(load(source, device=CPU), [load(output, device=CPU) for output in outputs], windows)
    assert 0 < eight.divergence.value < four.divergence.value / 4
    assert eight.agreement.value > four.agreement.value


def test_what_transformers_cannot_load_is_told_as_the_sources_fault(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(BadSource, match="transformers cannot load it"):
        load(tmp_path, device=CPU)
