"""What is summed of a layer's inputs."""

from __future__ import annotations

import pytest
import torch

from modelpress.calibrate.statistics import InputStatistics


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_inputs_are_counted_and_stay_as_they_are(dtype: torch.dtype) -> None:
    inputs = torch.randn(2, 9, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    before, rows = inputs.clone(), inputs.double().reshape(-1, 6)
    found = InputStatistics(6, device=inputs.device)
    found.add(inputs)
    assert torch.equal(inputs, before)
    assert found.tokens == 18
    torch.testing.assert_close(found.gram.double(), rows.T @ rows, rtol=1e-5, atol=1e-5)


def test_divided_statistics_are_those_of_divided_inputs() -> None:
    inputs, divisors = torch.randn(18, 6, generator=torch.Generator().manual_seed(1)), torch.linspace(0.5, 2, 6)
    found, expected = (InputStatistics(6, device=inputs.device) for _ in range(2))
    found.add(inputs)
    expected.add(inputs / divisors)
    divided = found.divided_by(divisors)
    assert divided.tokens == 18
    torch.testing.assert_close(divided.gram, expected.gram, rtol=1e-4, atol=1e-5)
