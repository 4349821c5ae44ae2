"""The C kernel's loops and torch's: the same bytes, for each instruction set that the machine has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from modelpress.calibrate import native
from modelpress.calibrate.decision import Decision, Rounding, Zeroing, decide
from modelpress.calibrate.gptq import round_weight
from modelpress.calibrate.integers import IntegerFormat
from modelpress.calibrate.pruning import prune
from modelpress.domain.sparsity import Sparsity
from modelpress.tensors import kernel
from modelpress.tensors.kernel.library import Library
from modelpress.tensors.kernel.sweep import Sweeps
from tests.calibrate import layers
from tests.kernel import needs_c

pytestmark = needs_c

EVERY = [Sweeps(Library(instruction_set=name)) for name in Library().instruction_sets] if kernel.LIBRARY else []

formats = st.builds(
    IntegerFormat,
    bits=st.integers(2, 8),
    group_size=st.sampled_from([None, 1, 16, 40, 64]),
    symmetric=st.booleans(),
    dtype=st.sampled_from([torch.bfloat16, torch.float16, torch.float32]),
)


@contextmanager
def by(sweeps: Sweeps | None) -> Iterator[None]:
    """With this kernel, or by torch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "sweeps", sweeps)
        yield


def numbers(*shape: int, seed: int) -> Tensor:
    """As weights are, a few far larger or smaller, some rows wholly zero."""
    random = torch.Generator().manual_seed(seed)
    made = torch.randn(*shape, generator=random) * 0.05
    made *= torch.where(torch.rand(*shape, generator=random) < 0.05, 1e-4, 1.0)
    made[:, torch.rand(shape[1], generator=random) < 0.1] = 0
    return made


@settings(deadline=None, max_examples=60)
@given(form=formats, groups=st.integers(1, 3), rows=st.integers(1, 70), seed=st.integers(0, 1000))
def test_scales_are_the_same(form: IntegerFormat, groups: int, rows: int, seed: int) -> None:
    columns = numbers(groups * (form.group_size or 50), rows, seed=seed)
    importance = numbers(len(columns), 2, seed=seed)[:, 0].square()
    with by(None):
        expected = form.fit_columns(columns, importance)
    for sweeps in EVERY:
        with by(sweeps):
            found = form.fit_columns(columns, importance)
        assert torch.equal(found.scale, expected.scale)
        assert (found.zero is None) == (expected.zero is None)
        if found.zero is not None and expected.zero is not None:
            assert torch.equal(found.zero, expected.zero)


@settings(deadline=None, max_examples=60)
@given(
    form=st.none() | formats,
    zeros=st.sampled_from(["no", "mask", "2:4", "5:8"]),
    fours=st.integers(1, 16),
    rows=st.integers(1, 150),
    seed=st.integers(0, 1000),
)
def test_columns_become_the_same(form: IntegerFormat | None, zeros: str, fours: int, rows: int, seed: int) -> None:
    count = 8 * fours
    columns = numbers(count, rows, seed=seed)
    factor = (numbers(count, count, seed=seed + 1) + torch.eye(count)).triu()
    factor.diagonal().abs_().add_(0.1)
    decision = Decision()
    if form is not None:
        form = replace(form, group_size=None)
        groups = [index * 3 // count for index in range(count)]
        scales = [form.fit_columns(part.contiguous()) for part in (columns, columns * 1.5, columns / 2)]
        joined = replace(scales[0], scale=torch.cat([one.scale for one in scales]))
        if not form.symmetric:
            joined = replace(joined, zero=torch.cat([one.zero for one in scales]))
        decision = replace(decision, rounding=Rounding(format=form, scales=joined, groups=groups))
    if zeros == "mask":
        decision = replace(decision, zeroing=Zeroing(mask=numbers(count, rows, seed=seed + 2) > 0))
    elif zeros != "no":
        decision = replace(decision, zeroing=Zeroing(pattern=(int(zeros[0]), int(zeros[2]))))
    with by(None):
        expected_columns = columns.clone()
        expected = decide(expected_columns, factor, decision)
    for sweeps in EVERY:
        with by(sweeps):
            found_columns = columns.clone()
            found = decide(found_columns, factor, decision)
        assert torch.equal(found_columns, expected_columns)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("threads", [1, 3])
def test_whole_weights_are_the_same_on_any_number_of_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weight, known = layers.weight(300, 192, seed=1, dtype=torch.bfloat16), layers.statistics(500, 192, seed=1)
    form = IntegerFormat(bits=4, group_size=64, symmetric=True, dtype=torch.bfloat16)
    with by(None):
        expected = round_weight(weight, known, format=form).integers, prune(weight, known, sparsity=Sparsity())
    native._crew.cache_clear()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    found = round_weight(weight, known, format=form).integers, prune(weight, known, sparsity=Sparsity())
    native._crew.cache_clear()
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
