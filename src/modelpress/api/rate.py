"""How many requests an access key may send: the generic cell rate algorithm (ITU-T I.371), one number a key.

Own code, since it is these lines: the library that was looked at starts a thread to forget old keys, and cannot be
given a clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from modelpress.errors import RequestLimitExceeded


class RateLimit:
    """Lets a key send ``per_second`` requests a second on average, and as many at once; 0 means any number.

    Each process counts for itself. Only keys whose signature was right are counted, so nobody can use up another's.
    """

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        # A whole second's requests may come at once, one at least.
        self._ahead = max(1.0, self._interval)
        self._clock = clock
        self._free_at: dict[str, float] = {}

    def admit(self, access_key: str) -> None:
        """Count one request.

        Raises: RequestLimitExceeded, which counts nothing, with the whole seconds after which one will be admitted.
        """
        if not self._interval:
            return
        now = self._clock()
        free_at = max(self._free_at.get(access_key, now), now) + self._interval
        if free_at - now > self._ahead + 1e-9:
            raise RequestLimitExceeded(
                per_second=1 / self._interval, retry_after_seconds=math.ceil(free_at - now - self._ahead)
            )
        self._free_at[access_key] = free_at
