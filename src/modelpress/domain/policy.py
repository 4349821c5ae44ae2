"""The four documented policies, and what each allows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Policy(StrEnum):
    """System policies of Qianfan, by their documented names."""

    FULL_CONTROL = "QianfanFullControlAccessPolicy"
    READ = "QianfanReadAccessPolicy"
    TUNING_FULL_CONTROL = "QianfanModelTuningFullControlAccessPolicy"
    TUNING_READ = "QianfanModelTuningReadAccessPolicy"


READERS = frozenset(Policy)
WRITERS = frozenset({Policy.FULL_CONTROL, Policy.TUNING_FULL_CONTROL})


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a request, after the signature was checked."""

    account_id: str
    access_key: str
    policies: frozenset[Policy]

    def may_read(self) -> bool:
        """Reads need any of the four policies."""
        return bool(self.policies & READERS)

    def may_write(self) -> bool:
        """Writes need one of the two full-control policies."""
        return bool(self.policies & WRITERS)
