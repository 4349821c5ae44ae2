"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

from modelpress.tensors.writer import PARTIAL, NewFile, remove_partials


def test_a_file_that_is_being_written_is_not_taken_for_one_left_behind(tmp_path: Path) -> None:
    left_behind = tmp_path / f"old.abc{PARTIAL}"
    left_behind.write_bytes(b"half")
    with NewFile(tmp_path / "new", size_bytes=4) as new:
        new.write_at(0, b"all!")
        remove_partials(tmp_path)
        assert not left_behind.exists()
        new.commit()
    assert (tmp_path / "new").read_bytes() == b"all!"
