"""AWQ's choice of scales: by the outputs' error, never worse than none."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpress.calibrate.architecture import Fold
from modelpress.calibrate.awq import choose_scales, lost
from modelpress.calibrate.fold import tied
from modelpress.calibrate.integers import IntegerFormat
from modelpress.calibrate.statistics import InputStatistics
from tests.calibrate.layers import inputs, layer_error, statistics, weight

COLUMNS = 32
PLAIN = Fold(source="norm", readers=("reader",), width=COLUMNS)
SHARED = Fold(source="v", readers=("o",), width=8, repeats=2)


def format_of(bits: int = 4, group_size: int | None = 16, *, symmetric: bool = True) -> IntegerFormat:
    return IntegerFormat(bits=bits, group_size=group_size, symmetric=symmetric, dtype=torch.float32)


def test_the_loss_is_the_error_of_the_outputs_over_all_tokens() -> None:
    rows, seen = weight(12, COLUMNS, seed=1), inputs(200, COLUMNS, seed=1)
    known = statistics(200, COLUMNS, seed=1)
    scales = torch.linspace(0.5, 2, COLUMNS)
    format = format_of()
    scaled = rows * scales
    rounded = format.round_nearest(scaled, format.fit(scaled, known.gram.diagonal() / scales.square())).dense()
    expected = ((seen.double() / scales) @ rounded.double().T - seen.double() @ rows.double().T).square().sum()
    assert lost(rows, known.gram, scales=scales, format=format) == pytest.approx(float(expected), rel=1e-4)


@given(
    seed=st.integers(0, 1000),
    bits=st.sampled_from([2, 3, 4, 8]),
    group_size=st.sampled_from([8, 16, None]),
    symmetric=st.booleans(),
    fold=st.sampled_from([PLAIN, SHARED]),
)
@settings(max_examples=20)
def test_scaling_never_loses_more_than_rounding_alone(
    seed: int, bits: int, group_size: int | None, symmetric: bool, fold: Fold
) -> None:
    rows, known = weight(6, COLUMNS, seed=seed), statistics(64, COLUMNS, seed=seed)
    format = format_of(bits, group_size, symmetric=symmetric)
    scales = choose_scales([rows], known, format=format, fold=fold)
    alone = lost(rows, known.gram, scales=torch.ones(COLUMNS), format=format)
    assert lost(rows, known.gram, scales=scales, format=format) <= alone
    assert torch.equal(scales, tied(scales, fold, reduce="amax"))


def test_large_inputs_are_scaled_up_and_much_is_won() -> None:
    rows, known = weight(24, COLUMNS, seed=3), statistics(500, COLUMNS, seed=3)
    format = format_of(group_size=None)
    scales = choose_scales([rows], known, format=format, fold=PLAIN)
    plain = layer_error(rows, format.round_nearest(rows).dense(), known)
    assert lost(rows, known.gram, scales=scales, format=format) < 0.7 * plain
    sizes = known.gram.diagonal()
    assert scales[sizes.argmax()] == scales.amax() > 1 > scales.amin() == scales[sizes.argmin()]


def test_columns_that_are_never_used_are_left_as_they_are() -> None:
    rows, known = weight(6, COLUMNS, seed=4), statistics(64, COLUMNS, seed=4, dead=(3, 9))
    scales = choose_scales([rows], known, format=format_of(), fold=PLAIN)
    assert scales[[3, 9]].tolist() == [1, 1]
    nothing = InputStatistics(COLUMNS, device=rows.device)
    assert choose_scales([rows], nothing, format=format_of(), fold=PLAIN).tolist() == [1] * COLUMNS
