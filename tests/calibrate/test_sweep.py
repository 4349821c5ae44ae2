"""The order of work: every column once, and groups where they can be found again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from modelpress.calibrate.sweep import BLOCK, blocks, panels


@given(group=st.integers(1, 300), groups=st.integers(1, 9), panel=st.integers(1, 40), told=st.booleans())
def test_panels_cover_all_columns_and_begin_where_groups_do(group: int, groups: int, panel: int, told: bool) -> None:
    columns = group * groups
    runs = [
        (block, part)
        for block in blocks(columns, group=group if told else None)
        for part in panels(block, group=group if told else None, panel=panel)
    ]
    assert [column for _, part in runs for column in range(columns)[part]] == list(range(columns))
    assert all(block.stop - block.start <= BLOCK and part.stop - part.start <= panel for block, part in runs)
    if told:
        starts = {part.start for _, part in runs}
        assert starts.issuperset(range(0, columns, group))
        # What a group's scales are found for has made up for all before: it begins a block, or ends in the same one.
        for block, part in runs:
            assert part.start % group or part.start == block.start or part.start + group <= block.stop
