"""How things are printed, and how quickly there is something to print."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from modelpress.cli.command import COMMANDS
from modelpress.cli.output import print_table, size_text, time_text
from tests.unit.cli.conftest import Cli

_CLI = "modelpress.cli."
HEAVY = {"numpy", "httpx", "sqlalchemy", "uvicorn", "starlette", "rich.console", "structlog"}


def _loaded_by(code: str) -> set[str]:
    shown = f"{code}; import sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True).stdout.split())


def test_the_command_line_imports_nothing_heavy_before_it_knows_what_to_do() -> None:
    loaded = _loaded_by("import modelpress.cli.main")
    assert "modelpress.cli.command" in loaded
    assert not HEAVY & loaded
    assert not [name for name in loaded if name.startswith("modelpress.cli.") and name.removeprefix(_CLI) in COMMANDS]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_made_without_the_others_and_without_what_only_its_work_needs(name: str) -> None:
    loaded = _loaded_by(f"from modelpress.cli.command import Commands; Commands(name='m').commands[{name!r}]")
    others = {f"{_CLI}{module}" for module, _ in COMMANDS.values()} - {f"{_CLI}{COMMANDS[name][0]}"}
    assert not (HEAVY | others) & loaded


def test_the_list_of_commands_shows_all_of_them_with_their_first_sentence(cli: Cli) -> None:
    shown = cli("--help").out
    for name in COMMANDS:
        assert re.search(rf"^  {name} +[A-Z][a-z]", shown, re.MULTILINE), name


def test_a_misspelt_command_is_answered_with_its_likely_name(cli: Cli) -> None:
    done = cli("tsk", "list")
    assert done.code == 2
    assert "Did you mean 'task'?" in done.err


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
