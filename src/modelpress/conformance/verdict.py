"""How a check ends, and how its function says so."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """How a check ended."""

    PASS = "PASS"
    FAIL = "FAIL"
    NA = "NA"


class Mismatch(Exception):
    """The server did otherwise than is written."""


class NotApplicable(Exception):
    """There is nothing to look at; the message says why."""


def ensure(holds: bool, otherwise: str) -> None:
    """Nothing, if it holds.

    Raises: Mismatch.
    """
    if not holds:
        raise Mismatch(otherwise)
