"""Pruning: exactly as many zeros as asked for, what the papers define, and integers that keep the zeros."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modelpress.calibrate.gptq import round_weight
from modelpress.calibrate.integers import IntegerFormat
from modelpress.calibrate.pruning import prune, prune_by_magnitude, prune_by_wanda
from modelpress.calibrate.statistics import InputStatistics
from modelpress.calibrate.zeros import TOGETHER
from modelpress.domain.sparsity import Pattern, Sparsity
from modelpress.errors import Unsupported
from tests.calibrate import layers

TWO_OF_FOUR = Sparsity(pattern="2:4")
W4 = IntegerFormat(bits=4, group_size=32, symmetric=True, dtype=torch.bfloat16)

ratios = st.floats(0, 0.9)


def zeros(weight: Tensor) -> int:
    return int((weight == 0).sum())


def fours(weight: Tensor) -> Tensor:
    """Zeros of each four neighbours."""
    return (weight.reshape(len(weight), -1, 4) == 0).sum(dim=2)


def by_definition(weight: Tensor, hessian: Tensor, pruned: Tensor, *, block: int) -> tuple[Tensor, float]:
    """The weights that the paper's updates leave where ``pruned`` has its zeros, and how well those are chosen.

    Column by column, the rest updated by the inverse of what is left of H, in float64. The choice is the largest cost
    of a zero over the least of another entry in the same ``block`` of columns, at the time it is begun.
    """
    left, hessian, chosen = weight.double().clone(), hessian.double(), 0.0
    columns = weight.shape[1]
    diagonal = torch.stack([torch.linalg.inv(hessian[first:, first:])[0, 0] for first in range(columns)])
    for column in range(columns):
        if column % block == 0:
            these = slice(column, column + block)
            cost, gone = left[:, these] ** 2 / diagonal[these], pruned[:, these] == 0
            if block == TOGETHER:
                cost, gone = cost.reshape(1, -1), gone.reshape(1, -1)
            worst, best = cost.masked_fill(~gone, 0).amax(dim=1), cost.masked_fill(gone, torch.inf).amin(dim=1)
            chosen = max(chosen, float((worst / best).max()))
        inverse = torch.linalg.inv(hessian[column:, column:])
        error = left[:, column].masked_fill(pruned[:, column] != 0, 0) / inverse[0, 0]
        left[:, column:] -= error[:, None] * inverse[0]
    return left, chosen


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
@pytest.mark.parametrize(("rows", "columns"), [(6, 20), (3, 132)])
def test_sparsegpt_is_what_the_paper_defines(pattern: Pattern, rows: int, columns: int) -> None:
    weight, known = layers.weight(rows, columns, seed=4), layers.statistics(4 * columns, columns, seed=4)
    pruned = prune(weight, known, sparsity=Sparsity(pattern=pattern), damping=0.01)
    hessian = known.gram + 0.01 * known.gram.diagonal().mean() * torch.eye(columns)
    expected, chosen = by_definition(weight, hessian, pruned, block=4 if pattern == "2:4" else TOGETHER)
    assert chosen < 1.001
    torch.testing.assert_close(pruned, expected.float(), rtol=1e-3, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(ratio=ratios, parts=st.lists(st.integers(1, 9), min_size=1, max_size=3), columns=st.integers(1, 300))
def test_sparsegpt_meets_the_ratio_exactly_in_every_layer(ratio: float, parts: list[int], columns: int) -> None:
    weight, known = layers.weight(sum(parts), columns, seed=columns), layers.statistics(50, columns, seed=columns)
    pruned = prune(weight, known, sparsity=Sparsity(ratio=ratio), layers=parts)
    for rows, part in zip(parts, pruned.split(parts), strict=True):
        assert zeros(part) == round(ratio * rows * columns)


@settings(deadline=None, max_examples=25)
@given(ratio=ratios, rows=st.integers(1, 20), columns=st.integers(1, 70), seed=st.integers(0, 1000))
def test_wanda_and_magnitude_meet_the_ratio_exactly_in_every_row(
    ratio: float, rows: int, columns: int, seed: int
) -> None:
    weight, known = layers.weight(rows, columns, seed=seed), layers.statistics(90, columns, seed=seed)
    weight[:, : columns // 3] = 0.01  # equal numbers
    sparsity = Sparsity(ratio=ratio)
    for pruned in (prune_by_wanda(weight, known, sparsity=sparsity), prune_by_magnitude(weight, sparsity=sparsity)):
        assert ((pruned == 0).sum(dim=1) == round(ratio * columns)).all()
        assert torch.equal(pruned[pruned != 0], weight[pruned != 0])


@pytest.mark.parametrize("columns", [20, 256])
def test_two_of_four_neighbours_are_zero(columns: int) -> None:
    weight, known = layers.weight(7, columns, seed=4), layers.statistics(100, columns, seed=4)
    assert (fours(prune(weight, known, sparsity=TWO_OF_FOUR)) == 2).all()
    assert (fours(prune_by_wanda(weight, known, sparsity=TWO_OF_FOUR)) == 2).all()
    assert (fours(prune_by_magnitude(weight, sparsity=TWO_OF_FOUR)) == 2).all()


def test_of_equal_numbers_the_first_become_zero() -> None:
    weight = torch.full((2, 8), 0.5)
    for sparsity in (Sparsity(ratio=0.25), Sparsity(ratio=0.75)):
        count = round(sparsity.ratio * 8)
        expected = torch.tensor([0.0] * count + [0.5] * (8 - count)).expand(2, 8)
        assert torch.equal(prune_by_magnitude(weight, sparsity=sparsity), expected)
    assert torch.equal(
        prune_by_magnitude(weight, sparsity=TWO_OF_FOUR), torch.tensor([0.0, 0, 0.5, 0.5] * 2).expand(2, 8)
    )


def test_wanda_looks_at_the_inputs() -> None:
    weight, known = torch.tensor([[3.0, 2.0, 1.0, 4.0]]), InputStatistics(4, device=torch.device("cpu"))
    known.add(torch.diag(torch.tensor([1.0, 4.0, 10.0, 0.5])))  # 3, 8, 10 and 2 with the size of the inputs
    assert prune_by_wanda(weight, known, sparsity=Sparsity()).tolist() == [[0, 2, 1, 0]]


def test_columns_that_do_not_divide_by_four_are_refused_with_their_number() -> None:
    weight, known = layers.weight(2, 30, seed=1), layers.statistics(90, 30, seed=1)
    for attempt in (
        lambda: prune(weight, known, sparsity=TWO_OF_FOUR),
        lambda: prune_by_magnitude(weight, sparsity=TWO_OF_FOUR),
        lambda: round_weight(
            weight,
            known,
            format=IntegerFormat(bits=4, group_size=None, symmetric=True, dtype=torch.bfloat16),
            sparsity=TWO_OF_FOUR,
        ),
    ):
        with pytest.raises(Unsupported, match="30"):
            attempt()


@pytest.mark.parametrize("pattern", ["unstructured", "2:4"])
def test_sparsegpt_loses_less_than_wanda_and_wanda_less_than_magnitude(pattern: Pattern) -> None:
    weight, known = layers.weight(64, 256, seed=8), layers.statistics(2000, 256, seed=8)
    sparsity = Sparsity(pattern=pattern)
    sparsegpt, wanda, magnitude = (
        layers.layer_error(weight, pruned, known)
        for pruned in (
            prune(weight, known, sparsity=sparsity, damping=0.01),
            prune_by_wanda(weight, known, sparsity=sparsity),
            prune_by_magnitude(weight, sparsity=sparsity),
        )
    )
    assert sparsegpt < 0.9 * wanda
    assert wanda < 0.8 * magnitude


@settings(deadline=None, max_examples=20)
@given(ratio=ratios, rows=st.integers(1, 20), columns=st.sampled_from([32, 160, 288]), seed=st.integers(0, 100))
def test_zeros_stay_zeros_among_integers(ratio: float, rows: int, columns: int, seed: int) -> None:
    weight = layers.weight(rows, columns, seed=seed, dtype=torch.bfloat16)
    known = layers.statistics(100, columns, seed=seed)
    for order in ("natural", "importance"):
        rounded = round_weight(weight, known, format=W4, order=order, sparsity=Sparsity(ratio=ratio))
        assert zeros(rounded.dense()) >= round(ratio * rows * columns)


def test_two_of_four_integers_are_zero_and_the_rest_makes_up_for_both_losses() -> None:
    weight, known = layers.weight(64, 256, seed=8, dtype=torch.bfloat16), layers.statistics(2000, 256, seed=8)
    together = round_weight(weight, known, format=W4, sparsity=TWO_OF_FOUR).dense()
    assert (fours(together) >= 2).all()
    one_after_the_other = W4.round_nearest(prune(weight, known, sparsity=TWO_OF_FOUR)).dense()
    assert layers.layer_error(weight, together, known) < 0.9 * layers.layer_error(weight, one_after_the_other, known)


def test_two_of_four_are_integers_in_groups_that_four_does_not_divide() -> None:
    form = IntegerFormat(bits=4, group_size=10, symmetric=True, dtype=torch.bfloat16)
    weight, known = layers.weight(5, 260, seed=8, dtype=torch.bfloat16), layers.statistics(400, 260, seed=8)
    assert (fours(round_weight(weight, known, format=form, sparsity=TWO_OF_FOUR).dense()) >= 2).all()


def test_columns_that_no_input_reaches_make_up_for_nothing() -> None:
    weight, known = layers.weight(16, 64, seed=6), layers.statistics(200, 64, seed=6, dead=(3, 40))
    pruned = prune(weight, known, sparsity=Sparsity(ratio=0.2))[:, [3, 40]]
    assert torch.equal(pruned[pruned != 0], weight[:, [3, 40]][pruned != 0])
    assert zeros(prune_by_wanda(weight, known, sparsity=Sparsity(ratio=0.2))[:, [3, 40]]) == 32


def test_fewer_tokens_than_columns_are_enough() -> None:
    weight, known = layers.weight(16, 192, seed=5), layers.statistics(40, 192, seed=5)
    pruned = prune(weight, known, sparsity=Sparsity())
    magnitude = prune_by_magnitude(weight, sparsity=Sparsity())
    assert layers.layer_error(weight, pruned, known) < 0.1 * layers.layer_error(weight, magnitude, known)


@pytest.mark.parametrize("ratio", [0.0, 0.37, 0.9])
def test_the_ratio_is_exact_where_only_some_rows_tell_how_zeros_are_shared_out(
    ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelpress.calibrate.zeros._LOOKED_AT", 400)
    weight, known = layers.weight(51, 70, seed=3), layers.statistics(200, 70, seed=3)
    assert zeros(prune(weight, known, sparsity=Sparsity(ratio=ratio))) == round(ratio * weight.numel())


def test_columns_that_matter_little_take_more_of_the_zeros() -> None:
    weight, known = layers.weight(40, 64, seed=3), layers.statistics(500, 64, seed=3)
    known.gram[:32] /= 10
    known.gram[:, :32] /= 10
    pruned = prune(weight, known, sparsity=Sparsity())
    assert zeros(pruned[:, :32]) > 1.3 * zeros(pruned[:, 32:])
