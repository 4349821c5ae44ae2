"""Integers and scales: the tensor core's where nothing is known of the inputs, never worse where something is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modelpress.calibrate.integers import IntegerFormat, RoundedWeight
from modelpress.tensors.grid import Grid
from modelpress.tensors.kernel import twin
from modelpress.tensors.pack import unpack
from modelpress.tensors.rounding.integers import IntegerRounding
from tests.calibrate import layers

GRIDS = {torch.bfloat16: Grid.BF16, torch.float16: Grid.F16, torch.float32: Grid.F32}

formats = st.builds(
    IntegerFormat,
    bits=st.integers(2, 8),
    group_size=st.sampled_from([None, 1, 16, 32, 40]),
    symmetric=st.booleans(),
    dtype=st.sampled_from(list(GRIDS)),
)


def by_the_core(weight: Tensor, form: IntegerFormat) -> tuple[Tensor, Tensor, Tensor | None]:
    """Integers, scales and zero points as tensors/ has them without calibration."""
    rows, columns = weight.shape
    rounding = IntegerRounding(
        grid=GRIDS[form.dtype],
        bits=form.bits,
        columns=columns,
        group=form.group(columns),
        packed=True,
        symmetric=form.symmetric,
    )
    outputs = [np.zeros(size, dtype=np.uint8) for size in rounding.output_bytes(rows)]
    source = weight.to(form.dtype).view(torch.uint8).numpy().reshape(-1)
    zeros = None if form.symmetric else outputs[2]
    assert twin.quantize(rounding, source, values=outputs[0], scales=outputs[1], zeros=zeros) == -1
    integers = unpack(outputs[0].reshape(rows, -1), bits=form.bits, columns=columns)
    scales = torch.from_numpy(outputs[1]).view(form.dtype).reshape(rows, -1)
    if zeros is None:
        return torch.from_numpy(integers), scales, None
    streams = zeros.view(np.uint32).reshape(-1, rounding.groups).T
    points = unpack(np.ascontiguousarray(streams).view(np.uint8), bits=form.bits, columns=rows)
    return torch.from_numpy(integers), scales, torch.from_numpy(np.ascontiguousarray(points.T))


def squares(weight: Tensor, rounded: RoundedWeight, importance: Tensor) -> Tensor:
    """The weighed squared error of each group, [rows, groups], of values that nothing was rounded in."""
    rows, groups = rounded.scales.shape
    levels = rounded.integers.reshape(rows, groups, -1).double()
    if rounded.zeros is not None:
        levels -= rounded.zeros[:, :, None]
    lost = levels * rounded.scales.double()[:, :, None] - weight.reshape(rows, groups, -1).double()
    return (lost**2 * importance.double().reshape(groups, -1)).sum(dim=2)


@settings(deadline=None)
@given(form=formats, rows=st.integers(1, 9), groups=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_without_importance_weights_become_what_the_tensor_core_makes_of_them(
    form: IntegerFormat, rows: int, groups: int, seed: int
) -> None:
    weight = layers.weight(rows, groups * (form.group_size or 48), seed=seed, dtype=form.dtype)
    weight[seed % rows] = 0
    rounded = form.round_nearest(weight)
    integers, scales, zeros = by_the_core(weight, form)
    assert torch.equal(rounded.integers, integers)
    assert torch.equal(rounded.scales, scales)
    assert (rounded.zeros is None) == (zeros is None)
    if rounded.zeros is not None:
        assert torch.equal(rounded.zeros, zeros)


@settings(deadline=None)
@given(form=formats, rows=st.integers(1, 9), groups=st.integers(1, 3), seed=st.integers(0, 2**31))
def test_a_search_never_loses_more_than_the_largest_numbers_scales_in_any_group(
    form: IntegerFormat, rows: int, groups: int, seed: int
) -> None:
    weight = layers.weight(rows, groups * (form.group_size or 48), seed=seed, dtype=form.dtype)
    importance = torch.rand(weight.shape[1], generator=torch.Generator().manual_seed(seed)) + 0.01

    def lost(scales_importance: Tensor | None) -> Tensor:
        scales = form.fit(weight, scales_importance)
        plain = dataclasses.replace(form, dtype=torch.float32)  # quotients that are not rounded, as the search has them
        rounded = plain.round_nearest(weight, scales)
        return squares(weight, rounded, importance)

    assert (lost(importance) <= lost(None) * (1 + 1e-5) + 1e-12).all()


def test_a_search_gains_where_a_group_has_one_large_number_that_does_not_matter() -> None:
    form = IntegerFormat(bits=4, group_size=64, symmetric=True, dtype=torch.bfloat16)
    weight = layers.weight(4, 64, seed=3, dtype=torch.bfloat16)
    weight[:, 5] = 0.5
    importance = torch.ones(64)
    importance[5] = 1e-3
    plain, searched = (
        squares(weight, form.round_nearest(weight, form.fit(weight, how)), importance) for how in (None, importance)
    )
    assert (searched < plain / 3).all()


def test_a_weight_is_what_a_server_computes_with() -> None:
    rounded = RoundedWeight(
        integers=torch.tensor([[7, -8, 3, 1]], dtype=torch.int8),
        scales=torch.tensor([[0.1, 0.3]], dtype=torch.bfloat16),
        zeros=torch.tensor([[-8, 2]], dtype=torch.int8),
    )
    tenth, three = (float(torch.tensor(x, dtype=torch.bfloat16)) for x in (0.1, 0.3))
    expected = torch.tensor([[15 * tenth, 0.0, three, -three]]).to(torch.bfloat16)
    assert torch.equal(rounded.dense(), expected)


def test_a_weight_of_several_layers_comes_apart_by_rows() -> None:
    form = IntegerFormat(bits=4, group_size=32, symmetric=False, dtype=torch.bfloat16)
    weight = layers.weight(12, 64, seed=1, dtype=torch.bfloat16)
    parts = form.round_nearest(weight).split([4, 2, 6])
    for part, alone in zip(parts, weight.split([4, 2, 6]), strict=True):
        assert torch.equal(part.dense(), form.round_nearest(alone).dense())


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_integers_of_so_many_bits_have_their_ends(bits: int) -> None:
    form = IntegerFormat(bits=bits, group_size=None, symmetric=True, dtype=torch.float32)
    assert (form.lowest, form.highest) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
