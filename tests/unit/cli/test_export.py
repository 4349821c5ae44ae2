"""``modelpress model export`` against a real server and worker."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Cli, RunningServer


@pytest.mark.usefixtures("worker")
def test_export_wait_tells_where_it_lies_and_how_to_verify_it(cli: Cli, server: RunningServer, imported: str) -> None:
    outcome = cli("model", "export", imported, "--wait")
    assert outcome.code == 0, outcome.err
    shown = re.sub(r"[0-9a-f]{64}", "(sha256)", outcome.plain).replace(str(server.settings.data), "(data)")
    assert shown == (
        "export    amx-xxxxxxxxxxxx\n"
        "status    Done\n"
        "size      2.01 MB\n"
        "finished  YYYY-MM-DD hh:mm\n"
        "path      (data)/exports/acc-xxxxxxxxxxxx/amv-xxxxxxxxxxxx/amx-xxxxxxxxxxxx\n"
        "sha256    (sha256)  manifest.sha256\n"
        "verify    sha256sum -c manifest.sha256, in that directory\n"
    )
    assert re.search(r"^export amx-", outcome.err)
    path = next(line for line in outcome.out.splitlines() if line.startswith("path"))[10:]
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", "manifest.sha256"], cwd=path, check=True)


def test_export_alone_prints_the_id_and_asking_again_gives_the_same(
    cli: Cli, server: RunningServer, imported: str
) -> None:
    first = cli("model", "export", imported)
    assert (first.code, first.plain, first.err) == (0, "amx-xxxxxxxxxxxx\n", "")
    again = cli("model", "export", imported, "--json")
    assert json.loads(again.out) == {"exportId": first.out.strip()}


@pytest.mark.usefixtures("worker")
def test_export_fails_with_the_reason_when_the_export_does(cli: Cli, imported: str, server: RunningServer) -> None:
    model = next((server.settings.data / "local").glob("tiny-*"))
    (model / "linked").symlink_to("/etc/passwd")
    outcome = cli("model", "export", imported, "--wait", "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out)["status"] == "Fail"
    assert "BadSource: linked leads out of its bucket" in outcome.err


def test_a_bucket_that_is_not_written_to_is_refused_by_name(cli: Cli, imported: str) -> None:
    outcome = cli("model", "export", imported, "--bucket", "local", "--path", "x")
    assert (outcome.code, outcome.out) == (1, "")
    assert "nothing is exported into 'local'" in outcome.err


@pytest.mark.usefixtures("worker")
def test_what_was_exported_can_be_imported_in_place(cli: Cli, server: RunningServer, imported: str) -> None:
    told = json.loads(cli("model", "export", imported, "--wait", "--json").out)
    exported = server.settings.data / told["bucket"] / Path(told["objectPath"])
    outcome = cli("model", "import", exported, "--in-place", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["bucket"] == "exports"
