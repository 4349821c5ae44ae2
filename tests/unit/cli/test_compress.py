"""``modelpress compress``: no server, one rename at the end, and what is finished is never done twice."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from modelpress.domain.scheme import SCHEMES
from modelpress.domain.task import Progress
from modelpress.domain.wish import Wish, make_recipe
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.staging import MANIFEST
from modelpress.worker.press import press
from tests.unit.cli.conftest import Cli, plain

NOTES = "Groups of 128 columns share a scale.\n14 linear weights are compressed; left as they are: embedding (1).\n"
#: Larger than the first output shard of the small checkpoint, smaller than the second.
FIRST_SHARD_FITS_BYTES = 150_000


def digests(directory: Path) -> dict[str, str]:
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in directory.iterdir()}


@contextmanager
def largest_file(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_directory_becomes_a_smaller_one_and_a_table_says_how_much(cli: Cli, tiny_model: Path) -> None:
    outcome = cli("compress", tiny_model, "out", "--weight", "wint4")
    assert (outcome.code, outcome.err) == (0, NOTES)
    assert outcome.plain == (
        "scheme       W4A16C16\n"
        "method       rtn\n"
        "group size   128\n"
        "time         (time)\n"
        "before       2.01 MB\n"
        "after        553 kB\n"
        "ratio        27.6%\n"
        "peak memory  (size)\n"
        "kernel       (kernel)\n"
        "path         out\n"
    )
    assert sorted(digests(Path("out"))) == [
        "config.json",
        "model-00001-of-00003.safetensors",
        "model-00002-of-00003.safetensors",
        "model-00003-of-00003.safetensors",
        "model.safetensors.index.json",
        "modelpress.json",
    ]
    assert os.listdir() == ["out"]


def test_json_is_one_object_with_the_same_facts(cli: Cli, tiny_model: Path) -> None:
    Path("out").mkdir()
    outcome = cli("compress", tiny_model, "out", "--weight", "INT8-PTQ", "--json")
    result = json.loads(outcome.out)
    source_bytes, output_bytes = (sum(file.stat().st_size for file in d.iterdir()) for d in (tiny_model, Path("out")))
    assert outcome.code == 0
    assert result.pop("seconds") > 0
    assert result.pop("peakMemoryBytes") > source_bytes
    assert result.pop("kernel")
    assert result == {
        "scheme": "INT8-PTQ",
        "method": "rtn",
        "sourceBytes": source_bytes,
        "outputBytes": output_bytes,
        "ratio": round(output_bytes / source_bytes, 4),
        "shardsReused": 0,
        "path": "out",
        "notes": [
            "Each output row has one scale.",
            "14 linear weights are compressed; left as they are: embedding (1).",
        ],
    }


def test_a_group_size_may_be_asked_for(cli: Cli, tiny_model: Path) -> None:
    asked = cli("compress", tiny_model, "asked", "--weight", "W4A16", "--group-size", "32", "--json")
    channel = cli("compress", tiny_model, "channel", "--weight", "W4A16", "--group-size", "channel", "--json")
    assert json.loads(asked.out)["groupSize"] == 32
    assert "groupSize" not in json.loads(channel.out)


def test_work_that_was_killed_is_gone_on_with_and_ends_in_the_same_bytes(cli: Cli, tiny_model: Path) -> None:
    cli("compress", tiny_model, "whole", "--weight", "W4A16C16")

    def die_after_one_shard(progress: Progress) -> None:
        if progress.shards_done:
            raise KeyboardInterrupt

    recipe = make_recipe(Wish(strategy="Quantization", weight="W4A16C16"))
    with pytest.raises(KeyboardInterrupt):
        press(LocalFolder(tiny_model), recipe, Path(".out.partial"), report=die_after_one_shard)

    whole = len(list(Path(".out.partial").glob("*.safetensors")))
    outcome = cli("compress", tiny_model, "out", "--weight", "W4A16C16", "--json")
    assert (outcome.code, outcome.err) == (0, NOTES + f"resuming: {whole} of 3 shards are there\n")
    assert json.loads(outcome.out)["shardsReused"] == whole >= 1
    assert digests(Path("out")) == digests(Path("whole"))


def test_a_full_disk_keeps_the_finished_shards_and_says_where(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    with largest_file(FIRST_SHARD_FITS_BYTES):
        outcome = cli("compress", tiny_model, "out", "--weight", "W4A16C16")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        f"{NOTES}1 of 3 shards are finished and kept in {tmp_path}/.out.partial\n"
        "the same command goes on from there\n"
        f"error: no space for {tmp_path}/.out.partial/model-00002-of-00003.safetensors, which needs 205672 bytes\n"
    )
    again = cli("compress", tiny_model, "out", "--weight", "W4A16C16")
    assert (again.code, again.err) == (0, NOTES + "resuming: 1 of 3 shards are there\n")


def test_nothing_is_left_of_work_that_finished_no_shard(cli: Cli, tiny_model: Path) -> None:
    with largest_file(1000):
        assert cli("compress", tiny_model, "out", "--weight", "W4A16C16").code == 1
    assert os.listdir() == []


def test_a_destination_that_is_taken_is_refused_and_not_touched(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    Path("out").mkdir()
    Path("out/precious").touch()
    outcome = cli("compress", tiny_model, "out", "--weight", "W4A16C16")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        f"error: {tmp_path}/out exists already\nhint: give a new directory, or remove this one first\n"
    )
    assert (os.listdir(), os.listdir("out")) == (["out"], ["precious"])


def test_a_staging_directory_with_somebodys_files_is_not_touched(cli: Cli, tiny_model: Path) -> None:
    Path(".out.partial").mkdir()
    Path(".out.partial/precious").touch()
    outcome = cli("compress", tiny_model, "out", "--weight", "W4A16C16")
    assert outcome.code == 1
    assert "is not empty" in outcome.err
    assert os.listdir(".out.partial") == ["precious"]


def test_two_at_once_do_not_share_a_staging_directory(cli: Cli, tiny_model: Path, tmp_path: Path) -> None:
    Path(".out.partial").mkdir()
    descriptor = os.open(".out.partial", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    outcome = cli("compress", tiny_model, "out", "--weight", "W4A16C16")
    os.close(descriptor)
    assert outcome.code == 1
    assert outcome.err == (
        f"{NOTES}error: another process is working in {tmp_path}/.out.partial\n"
        "hint: wait for it, or give another directory\n"
    )


def test_a_directory_that_is_no_model_is_refused_before_anything_is_written(cli: Cli, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    outcome = cli("compress", empty, "out", "--weight", "W4A16C16")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == (
        "error: not a model directory: it has no config.json\n"
        "hint: give the directory that holds config.json, or a GGUF file\n"
    )
    assert os.listdir() == ["empty"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--weight", "W3"], f"'--weight': 'W3' is none of {', '.join(scheme.name for scheme in SCHEMES)}"),
        (
            ["--weight", "W4A16", "--group-size", "0"],
            "'--group-size': '0' is neither a number of columns nor 'channel'",
        ),
    ],
)
def test_wrong_usage_is_exit_2_and_names_what_is_right(
    cli: Cli, tiny_model: Path, arguments: list[str], complaint: str
) -> None:
    outcome = cli("compress", tiny_model, "out", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.splitlines()[-1] == f"Error: Invalid value for {complaint}"
    assert os.listdir() == []


def test_a_terminal_gets_a_bar_on_stderr_while_stdout_stays_data(tiny_model: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "modelpress.cli.main", "compress", str(tiny_model), "out", "--weight", "W4A16"]
    with open(ours, "rb", buffering=0) as terminal:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=os.environ | {"COLUMNS": "80"})
        os.close(theirs)
        drawn = b""
        try:
            while piece := terminal.read(65536):
                drawn += piece
        except OSError:
            pass  # Linux ends a terminal whose other side is closed with an error
        out, _ = process.communicate()
    assert process.returncode == 0
    assert "100%" in drawn.decode()
    assert plain(out.decode()).splitlines()[0] == "scheme       W4A16C16"


def test_a_run_killed_before_its_last_step_is_finished_by_the_same_command_and_by_no_other(
    cli: Cli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(directory: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("modelpress.tensors.staging.seal", die)
        assert cli("compress", tiny_model, "out", "--weight", "W4A16C16").code == 130
    before = digests(Path("out"))
    assert MANIFEST in before
    other = cli("compress", tiny_model, "out", "--weight", "W8A16C16")
    assert (other.code, digests(Path("out"))) == (1, before)
    assert "exists already" in other.err
    same = cli("compress", tiny_model, "out", "--weight", "W4A16C16")
    assert same.code == 0
    assert "was finished before, but for its last step" in same.err
    del before[MANIFEST]
    assert digests(Path("out")) == before
    assert os.listdir() == ["out"]


def test_a_disk_that_is_too_small_from_the_start_is_left_as_it_was(
    cli: Cli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = shutil.disk_usage(tiny_model)
    monkeypatch.setattr("shutil.disk_usage", lambda path: used._replace(free=1000))
    outcome = cli("compress", tiny_model, "out", "--weight", "W4A16C16")
    assert outcome.code == 1
    assert "bytes more, and 1000 are free" in outcome.err
    assert not os.listdir()


def test_names_that_a_terminal_would_obey_are_written_out(cli: Cli, tiny_model: Path) -> None:
    evil = "o\x1b[2J\rut"
    Path(evil).mkdir()
    (Path(evil) / "file").touch()
    outcome = cli("compress", tiny_model, evil, "--weight", "W4A16C16")
    assert outcome.code == 1
    assert "o\\u001b[2J\\u000dut exists already\n" in outcome.err
    assert "\x1b" not in outcome.err
