"""GPTQ: what the paper defines, in float64 on small matrices, and better than rounding to the nearest."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modelpress.calibrate.curvature import curvature
from modelpress.calibrate.gptq import ColumnOrder, round_weight
from modelpress.calibrate.integers import IntegerFormat, RoundedWeight, Scales
from modelpress.calibrate.statistics import InputStatistics
from modelpress.errors import InternalFailure
from tests.calibrate import layers

ORDERS: list[ColumnOrder] = ["natural", "importance"]


def farthest_decision(weight: Tensor, hessian: Tensor, rounded: RoundedWeight, *, bits: int, order: list[int]) -> float:
    """How far, in steps, an integer is at most from what the definition rounds there, all before it being as they are.

    Column by column in this order, the rest updated by the inverse of what is left of H, in float64.
    """
    left, hessian, farthest = weight.double().clone(), hessian.double(), 0.0
    for number, column in enumerate(order):
        rest = order[number:]
        inverse = torch.linalg.inv(hessian[rest][:, rest])
        scale = rounded.scales[:, 0].double()
        wanted = (left[:, column] / scale).clamp(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        integers = rounded.integers[:, column].double()
        farthest = max(farthest, float((wanted - integers).abs().max()))
        error = (left[:, column] - integers * scale) / inverse[0, 0]
        left[:, rest] -= error[:, None] * inverse[0]
    return farthest


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("rows", "columns", "bits"), [(5, 12, 4), (3, 150, 3), (8, 40, 8)])
def test_each_integer_is_the_nearest_to_what_the_papers_definition_has_there(
    order: ColumnOrder, rows: int, columns: int, bits: int
) -> None:
    form = IntegerFormat(bits=bits, group_size=None, symmetric=True, dtype=torch.float32)
    weight = layers.weight(rows, columns, seed=columns)
    known = layers.statistics(4 * columns, columns, seed=columns)
    rounded = round_weight(weight, known, format=form, order=order, damping=0.01)
    hessian = known.gram + 0.01 * known.gram.diagonal().mean() * torch.eye(columns)
    sequence = list(range(columns))
    if order == "importance":
        sequence = known.gram.diagonal().argsort(descending=True).tolist()
    assert farthest_decision(weight, hessian, rounded, bits=bits, order=sequence) < 0.502


@pytest.mark.parametrize("columns", [1, 70, 601])
def test_the_factor_is_that_of_the_inverse(columns: int) -> None:
    gram = layers.statistics(4 * columns + 9, columns, seed=1).gram
    known = curvature(gram, damping=0.02, most_important_first=True)
    assert known.order is not None
    mean = gram.diagonal().mean()
    hessian = gram.double() / mean + 0.02 * torch.eye(columns)
    inverse = torch.linalg.inv(hessian[known.order][:, known.order])
    assert torch.equal(known.factor.triu(), known.factor)
    factor = known.factor.double()
    torch.testing.assert_close(factor.T @ factor, inverse, rtol=1e-3, atol=1e-4 * float(inverse.abs().max()))


@settings(deadline=None, max_examples=25)
@given(
    rows=st.integers(1, 20),
    group=st.sampled_from([8, 24, 64, 130]),
    groups=st.integers(1, 3),
    bits=st.sampled_from([3, 4, 8]),
    symmetric=st.booleans(),
    order=st.sampled_from(ORDERS),
    seed=st.integers(0, 1000),
)
def test_layers_lose_less_than_by_rounding_to_the_nearest(
    rows: int, group: int, groups: int, bits: int, symmetric: bool, order: ColumnOrder, seed: int
) -> None:
    form = IntegerFormat(bits=bits, group_size=group, symmetric=symmetric, dtype=torch.bfloat16)
    weight = layers.weight(rows, group * groups, seed=seed, dtype=torch.bfloat16)
    known = layers.statistics(3 * group * groups, group * groups, seed=seed)
    rounded = round_weight(weight, known, format=form, order=order)
    plain = form.round_nearest(weight)
    lost, plainly = (layers.layer_error(weight, one.dense(), known) for one in (rounded, plain))
    assert lost < plainly * (0.8 if bits < 8 else 1.05)


@pytest.mark.parametrize("order", ORDERS)
def test_fewer_tokens_than_columns_are_enough(order: ColumnOrder) -> None:
    form = IntegerFormat(bits=4, group_size=64, symmetric=True, dtype=torch.bfloat16)
    weight = layers.weight(16, 192, seed=5, dtype=torch.bfloat16)
    known = layers.statistics(40, 192, seed=5)
    for damping in (0.01, 0.0):
        rounded = round_weight(weight, known, format=form, order=order, damping=damping)
        assert layers.layer_error(weight, rounded.dense(), known) < 0.2 * layers.layer_error(
            weight, form.round_nearest(weight).dense(), known
        )


@pytest.mark.parametrize("order", ORDERS)
def test_columns_that_no_input_reaches_are_rounded_to_the_nearest(order: ColumnOrder) -> None:
    form = IntegerFormat(bits=4, group_size=None, symmetric=True, dtype=torch.bfloat16)
    weight = layers.weight(16, 64, seed=6, dtype=torch.bfloat16)
    rounded = round_weight(weight, layers.statistics(200, 64, seed=6, dead=(3, 40)), format=form, order=order)
    scales = Scales(scale=rounded.scales.float().T.contiguous(), zero=None)
    nearest = form.place(weight, scale=scales.scale.T, zero=None)
    assert torch.equal(rounded.integers[:, [3, 40]].float(), nearest[:, [3, 40]])


def test_without_any_input_weights_are_rounded_to_the_nearest() -> None:
    form = IntegerFormat(bits=8, group_size=None, symmetric=True, dtype=torch.float32)
    weight = layers.weight(16, 64, seed=6)
    rounded = round_weight(weight, InputStatistics(64, device=weight.device), format=form)
    assert (weight - rounded.dense()).abs().max() <= rounded.scales.max() / 2 + 1e-6


def test_inputs_that_are_not_finite_are_told_with_numbers() -> None:
    known = layers.statistics(100, 32, seed=1)
    known.gram[3, 4] = known.gram[4, 3] = float("nan")
    form = IntegerFormat(bits=4, group_size=None, symmetric=True, dtype=torch.bfloat16)
    with pytest.raises(InternalFailure, match="32 columns"):
        round_weight(layers.weight(4, 32, seed=1), known, format=form)


@pytest.mark.parametrize("order", ORDERS)
def test_layers_given_as_one_are_rounded_as_each_alone(order: ColumnOrder) -> None:
    form = IntegerFormat(bits=4, group_size=32, symmetric=False, dtype=torch.bfloat16)
    weight = layers.weight(48, 96, seed=2, dtype=torch.bfloat16)
    known = layers.statistics(400, 96, seed=2)
    together = round_weight(weight, known, format=form, order=order).split([16, 32])
    alone = [round_weight(part, known, format=form, order=order) for part in weight.split([16, 32])]
    for one, other in zip(together, alone, strict=True):
        # A product of other shapes may add in another order.
        assert (one.integers == other.integers).float().mean() > 0.99


@pytest.mark.parametrize("rows", [1, 40])
def test_the_same_twice_gives_the_same_bytes_and_leaves_the_weight_as_it_was(rows: int) -> None:
    form = IntegerFormat(bits=4, group_size=64, symmetric=True, dtype=torch.bfloat16)
    weight = layers.weight(rows, 192, seed=9, dtype=torch.bfloat16)
    before, known = weight.clone(), layers.statistics(400, 192, seed=9)
    first, second = (round_weight(weight, known, format=form) for _ in range(2))
    assert torch.equal(first.integers, second.integers)
    assert torch.equal(first.scales, second.scales)
    assert torch.equal(weight, before)
