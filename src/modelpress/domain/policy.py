"""The four documented policies, and what each allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Policy(StrEnum):
    """System policies of Qianfan, by their documented names."""

    FULL_CONTROL = "QianfanFullControlAccessPolicy"
    READ = "QianfanReadAccessPolicy"
    TUNING_FULL_CONTROL = "QianfanModelTuningFullControlAccessPolicy"
    TUNING_READ = "QianfanModelTuningReadAccessPolicy"


#: How people may write them.
SHORT_NAMES: Mapping[str, Policy] = {
    "full": Policy.FULL_CONTROL,
    "read": Policy.READ,
    "tuning-full": Policy.TUNING_FULL_CONTROL,
    "tuning-read": Policy.TUNING_READ,
}

READERS = frozenset(Policy)
WRITERS = frozenset({Policy.FULL_CONTROL, Policy.TUNING_FULL_CONTROL})


def find_policy(name: str) -> Policy | None:
    """The policy of this documented or short name, in any letter case."""
    names = {policy.value.lower(): policy for policy in Policy} | dict(SHORT_NAMES)
    return names.get(name.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who makes a request, after the signature was checked."""

    account_id: str
    user_id: str
    access_key: str
    policies: frozenset[Policy]

    def may_read(self) -> bool:
        """Reads need any of the four policies."""
        return bool(self.policies & READERS)

    def may_write(self) -> bool:
        """Writes need one of the two full-control policies."""
        return bool(self.policies & WRITERS)
