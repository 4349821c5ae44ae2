"""Ids of requests."""

from __future__ import annotations

import uuid

from modelpress.api.request_id import RequestIds


def test_ids_are_random_uuids_of_version_4_and_none_comes_twice() -> None:
    ids = RequestIds()
    made = [ids.new() for _ in range(2000)]
    assert len(set(made)) == len(made)
    for text in made:
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (4, uuid.RFC_4122, text)
    # Every bit but the six that are fixed is now this and now that.
    ones = [sum(uuid.UUID(text).int >> bit & 1 for text in made) for bit in range(128)]
    assert sum(700 < count < 1300 for count in ones) == 122
