"""Folding scales: what each kind of source becomes, and what is told of its rounding."""

from __future__ import annotations

import torch

from modelpress.calibrate.architecture import Fold
from modelpress.calibrate.fold import divide, multiply_columns, rows_of, tied

NORM = Fold(source="norm", readers=("reader",), width=64)
GEMMA_NORM = Fold(source="norm", readers=("reader",), width=64, norm_offset=1.0)
#: Values of two heads of width 4 in the last rows of a fused layer, each read by two query heads.
FUSED = Fold(source="qkv", readers=("o",), first_row=24, width=4, repeats=2)


def scales_of(columns: int) -> torch.Tensor:
    return torch.exp(torch.randn(columns, generator=torch.Generator().manual_seed(1)))


def test_a_norm_rounded_to_bf16_tells_by_what_it_was_divided_exactly() -> None:
    weight = torch.rand(64, generator=torch.Generator().manual_seed(2)).bfloat16()
    for fold in (NORM, GEMMA_NORM):
        divided = divide(weight, bias=None, fold=fold, scales=scales_of(64))
        assert divided.weight.dtype is torch.bfloat16
        again = (divided.weight.float() + fold.norm_offset) * divided.scales
        torch.testing.assert_close(again, weight.float() + fold.norm_offset, rtol=1e-6, atol=0)
        # What is left of 1 + w after a division by much has few of the digits that w is kept with.
        torch.testing.assert_close(divided.scales, scales_of(64), rtol=2**-5, atol=0)


def test_a_norms_channel_of_weight_zero_stays_zero_and_its_bias_is_divided() -> None:
    weight, bias, scales = torch.zeros(64), torch.ones(64), scales_of(64)
    divided = divide(weight, bias=bias, fold=NORM, scales=scales)
    assert divided.bias is not None
    torch.testing.assert_close(divided.scales, scales)
    torch.testing.assert_close(divided.bias, 1 / scales)
    assert not divided.weight.any()
    assert not divide(weight - 1, bias=None, fold=GEMMA_NORM, scales=scales).weight.add(1).any()


def test_a_layer_that_is_rounded_already_keeps_its_integers() -> None:
    generator = torch.Generator().manual_seed(3)
    integers = torch.randint(-8, 8, (32, 64), generator=generator)
    steps = torch.rand(32, 1, generator=generator).add(0.1).bfloat16()
    asked = tied(scales_of(16), FUSED, reduce="amax")
    divided = divide(steps, bias=None, fold=FUSED, scales=asked)
    assert torch.equal(divided.weight[:24], steps[:24]), "queries and keys are not read by the output layer"
    reader = torch.randn(8, 16, generator=generator)
    rows = rows_of(FUSED, columns=16)
    before = reader @ (integers * steps.float())[rows]
    after = multiply_columns(reader, divided.scales) @ (integers * divided.weight.float())[rows]
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-4)


def test_groups_of_a_row_are_each_within_half_a_step_of_what_was_asked() -> None:
    steps = torch.rand(8, 16, generator=torch.Generator().manual_seed(4)).add(0.1).bfloat16()
    fold = Fold(source="up", readers=("down",), width=8)
    divided = divide(steps, bias=None, fold=fold, scales=scales_of(8))
    again = divided.weight.float() * divided.scales[:, None]
    torch.testing.assert_close(again, steps.float(), rtol=2**-7, atol=0)
    torch.testing.assert_close(again.sum(1), steps.float().sum(1), rtol=1e-5, atol=0)


def test_rows_that_nothing_reads_keep_their_bias() -> None:
    bias = torch.ones(32)
    divided = divide(torch.ones(32, 4), bias=bias, fold=FUSED, scales=torch.full((16,), 2.0))
    assert divided.bias is not None
    assert torch.equal(divided.bias, torch.tensor([1.0] * 24 + [0.5] * 8))
