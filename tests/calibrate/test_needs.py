"""What a run will need, told before it begins."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from modelpress.calibrate import needs as module
from modelpress.calibrate.needs import Sizes, fits_together, needs_of
from modelpress.errors import OutOfMemory

#: As a block of SmolLM2 has them, with 32 samples of 512 tokens.
SIZES = Sizes(
    layers=[(576, 576), (192, 576), (192, 576), (576, 576), (1536, 576), (1536, 576), (576, 1536)],
    block_bytes=2 * 3_540_096,
    embedding_bytes=2 * 2280 * 576,
    hidden_size=576,
    number_bytes=2,
    tokens=16384,
    batch_tokens=2048,
    blocks=30,
)
CPU = torch.device("cpu")


def test_what_smollm_takes_is_estimated_within_a_factor_of_two() -> None:
    # Measured: 580 to 630 MB at the peak.
    assert 600e6 < needs_of(SIZES).together_bytes < 1200e6


def test_a_run_that_fits_goes_together_and_one_that_does_not_goes_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = needs_of(SIZES)
    assert needs.apart_bytes < needs.together_bytes
    for there, together in ((needs.together_bytes, True), (needs.together_bytes - 1, False), (None, True)):
        monkeypatch.setattr(module, "available_bytes", lambda device, there=there: there)
        assert fits_together(needs, CPU) is together


def test_a_run_that_cannot_fit_is_refused_with_both_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = needs_of(SIZES)
    monkeypatch.setattr(module, "available_bytes", lambda device: needs.apart_bytes - 1)
    with pytest.raises(OutOfMemory, match=f"{needs.apart_bytes} bytes.*{needs.apart_bytes - 1} are free on cpu"):
        fits_together(needs, CPU)


def test_lessons_are_counted_in_memory_and_in_time() -> None:
    plain, learned = needs_of(SIZES), needs_of(replace(SIZES, lessons=200, lesson_tokens=1024))
    assert learned.apart_bytes > plain.apart_bytes + 12 * 3_538_944
    # 200 lessons of 1024 tokens, forward and twice backward, are 37.5 passes of all tokens more.
    assert learned.multiply_adds - plain.multiply_adds == 30 * 3 * 200 * 1024 * 3_538_944
