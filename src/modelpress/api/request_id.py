"""Ids of requests: UUIDs of version 4 (RFC 9562), as Baidu's are."""

from __future__ import annotations

import os

_BYTES = 16
_VARIANTS = "89ab"
#: The system is asked for random bytes once for so many ids: each asking costs as much as the rest of an id.
_IDS_AT_ONCE = 256


class RequestIds:
    """Makes ids, in one thread."""

    def __init__(self) -> None:
        self._random = b""

    def new(self) -> str:
        """An id that was never given before."""
        if not self._random:
            self._random = os.urandom(_BYTES * _IDS_AT_ONCE)
        digits, self._random = self._random[:_BYTES].hex(), self._random[_BYTES:]
        variant = _VARIANTS[int(digits[16], 16) & 3]
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"
