"""SmoothQuant's scales, against their definition in float64."""

from __future__ import annotations

import pytest
import torch

from modelpress.calibrate.architecture import Fold
from modelpress.calibrate.smoothquant import choose_scales
from tests.calibrate.layers import inputs, statistics, weight

COLUMNS = 32
PLAIN = Fold(source="norm", readers=("reader",), width=COLUMNS)


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.8, 1.0])
def test_scales_are_as_defined(strength: float) -> None:
    rows, seen = weight(12, COLUMNS, seed=1), inputs(100, COLUMNS, seed=1).double()
    scales = choose_scales(list(rows.split(5)), statistics(100, COLUMNS, seed=1), strength=strength, fold=PLAIN)
    expected = seen.square().mean(0).sqrt() ** strength / rows.double().abs().amax(0) ** (1 - strength)
    torch.testing.assert_close(scales.double(), expected, rtol=1e-5, atol=0)


def test_half_makes_inputs_and_weights_equally_large() -> None:
    rows, seen = weight(12, COLUMNS, seed=2), inputs(100, COLUMNS, seed=2)
    scales = choose_scales([rows], statistics(100, COLUMNS, seed=2), strength=0.5, fold=PLAIN)
    torch.testing.assert_close((seen / scales).square().mean(0).sqrt(), (rows * scales).abs().amax(0))


def test_heads_that_share_values_have_one_scale() -> None:
    fold = Fold(source="v", readers=("o",), width=8, repeats=2)
    rows, known = weight(12, COLUMNS, seed=3), statistics(100, COLUMNS, seed=3)
    scales = choose_scales([rows], known, strength=0.5, fold=fold).reshape(2, 2, 8)
    assert torch.equal(scales[:, 0], scales[:, 1])
    sizes = (known.gram.diagonal() / 100).reshape(2, 2, 8).mean(1).sqrt()
    torch.testing.assert_close(scales[:, 0], (sizes / rows.abs().amax(0).reshape(2, 2, 8).amax(1)).sqrt())


def test_columns_of_nothing_keep_their_scale() -> None:
    rows, known = weight(12, COLUMNS, seed=4), statistics(100, COLUMNS, seed=4, dead=(5,))
    rows[:, 6] = 0
    assert choose_scales([rows], known, strength=0.5, fold=PLAIN)[[5, 6]].tolist() == [1, 1]
