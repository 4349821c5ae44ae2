"""How things are printed, and how quickly there is something to print."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from modelpress.cli.output import print_table, size_text, time_text

HEAVY = {"numpy", "httpx", "sqlalchemy", "uvicorn", "starlette", "rich.console", "structlog"}


def test_the_command_line_imports_nothing_heavy_before_it_knows_what_to_do() -> None:
    code = "import modelpress.cli.main, sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "modelpress.cli.task" in loaded
    assert not HEAVY & set(loaded)


def test_a_narrow_terminal_folds_names_and_never_ids(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    print_table(["ID", "NAME"], [["amva-000000000000", "a name of several words"]], whole=("ID",))
    unstyled = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out)
    lines = [line.rstrip() for line in unstyled.splitlines()]
    assert lines == [
        "ID                 NAME",
        "amva-000000000000  a name of",
        "                   several",
        "                   words",
    ]


def test_a_pipe_gets_whole_lines_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_table(["ID", "NAME"], [["amva-000000000000", "a name of several words"]])
    assert "amva-000000000000  a name of several words" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("size_bytes", "text"), [(0, "0 B"), (999, "999 B"), (12345, "12.3 kB"), (257e6, "257 MB"), (1.88e9, "1.88 GB")]
)
def test_sizes_have_decimal_units(size_bytes: float, text: str) -> None:
    assert size_text(size_bytes) == text


def test_a_time_that_is_absent_is_no_text() -> None:
    assert time_text("") == ""
