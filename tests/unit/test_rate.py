"""How many requests a key may send."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpress.api.rate import RateLimit
from modelpress.errors import RequestLimitExceeded


class _Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_second_of_requests_may_come_at_once_and_then_one_an_interval() -> None:
    clock = _Clock()
    limit = RateLimit(4, clock=clock)
    for _ in range(4):
        limit.admit("key")
    with pytest.raises(RequestLimitExceeded) as caught:
        limit.admit("key")
    assert caught.value.retry_after_seconds == 1
    clock.now += 0.25
    limit.admit("key")
    with pytest.raises(RequestLimitExceeded):
        limit.admit("key")


def test_a_key_does_not_use_up_another_ones_share() -> None:
    limit = RateLimit(1, clock=_Clock())
    limit.admit("one")
    limit.admit("other")
    with pytest.raises(RequestLimitExceeded):
        limit.admit("one")


def test_less_than_one_a_second_admits_one_and_tells_how_long_to_wait() -> None:
    limit = RateLimit(0.1, clock=_Clock())
    limit.admit("key")
    with pytest.raises(RequestLimitExceeded, match=r"0\.1 requests a second") as caught:
        limit.admit("key")
    assert caught.value.retry_after_seconds == 10


def test_no_limit_admits_everything() -> None:
    limit = RateLimit(0)
    for _ in range(1000):
        limit.admit("key")


@given(
    per_second=st.floats(0.1, 1000),
    pauses=st.lists(st.floats(0, 5), max_size=200),
)
def test_over_any_stretch_no_more_are_admitted_than_the_rate_and_one_burst_allow(
    per_second: float, pauses: list[float]
) -> None:
    clock = _Clock()
    limit = RateLimit(per_second, clock=clock)
    admitted = []
    for pause in pauses:
        clock.now += pause
        with suppress(RequestLimitExceeded):
            limit.admit("key")
            admitted.append(clock.now)
    burst = max(per_second, 1)
    for number, begin in enumerate(admitted):
        for count, end in enumerate(admitted[number:], 1):
            assert count <= (end - begin) * per_second + burst + 1e-6
