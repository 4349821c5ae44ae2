"""The remaining time is what is left at the rate of this attempt alone."""

from __future__ import annotations

from modelpress.domain.task import Progress
from modelpress.worker.pace import Pace


def _progress(done: int, *, total: int = 1000) -> Progress:
    return Progress(stage="compressing", percent=0, bytes_done=done, bytes_total=total, shards_done=0)


def test_nothing_is_told_before_anything_was_measured() -> None:
    pace = Pace()
    assert pace.seconds_left(_progress(0), now=5.0) is None
    pace.begin(_progress(400), now=10.0)
    assert pace.seconds_left(_progress(400), now=11.0) is None
    assert pace.seconds_left(_progress(500), now=10.0) is None


def test_what_was_taken_over_does_not_make_it_faster() -> None:
    pace = Pace()
    pace.begin(_progress(400), now=10.0)
    assert pace.seconds_left(_progress(500), now=12.0) == 10  # 50 bytes a second, 500 left


def test_it_is_rounded_up_and_zero_only_at_the_end() -> None:
    pace = Pace()
    pace.begin(_progress(0), now=0.0)
    assert pace.seconds_left(_progress(999), now=1.0) == 1
    assert pace.seconds_left(_progress(1000), now=1.0) == 0


def test_an_attempt_that_stands_still_promises_less_and_less() -> None:
    pace = Pace()
    pace.begin(_progress(0), now=0.0)
    assert [pace.seconds_left(_progress(500), now=now) for now in (10.0, 20.0, 40.0)] == [10, 20, 40]
