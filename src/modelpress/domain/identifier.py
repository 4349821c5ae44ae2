"""Ids: a prefix that tells the kind, and 12 random characters of a-z0-9 (62 bits); they do not sort by time."""

from __future__ import annotations

import secrets
import string

_ALPHABET = string.ascii_lowercase + string.digits

TASK = "amva-"
MODEL = "amv-"
MODEL_SET = "am-"
ACCOUNT = "acc-"
USER = "usr-"
DELIVERY = "whd-"
EXPORT = "amx-"
TEMPLATE = "amt-"


def new_id(prefix: str) -> str:
    """A fresh id; a collision is refused by the store's unique index."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(12))
