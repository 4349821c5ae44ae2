"""An export's process: the same bytes after any kill, a manifest that coreutils verify, nothing believed unread."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelpress.domain.export import MANIFEST, Exported
from modelpress.domain.task import Progress
from modelpress.errors import BadSource, DiskFull, InternalFailure
from modelpress.worker import export as module
from modelpress.worker.export import export, list_files, manifest_line
from tests.acceptance.checkpoint import file_hashes
from tests.conformance.together import at_once

FOLDER = "files"


class _Killed(BaseException):
    """The process ends here."""


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of a few hundred bytes are many pieces and some marks."""
    monkeypatch.setattr(module, "_PIECE_BYTES", 64)
    monkeypatch.setattr(module, "_MARK_BYTES", 192)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A model of several files, some below it."""
    model = tmp_path / "bucket" / "model"
    (model / "onnx" / "deep").mkdir(parents=True)
    for name, size in (
        ("config.json", 40),
        ("model-00001-of-00002.safetensors", 1000),
        ("model-00002-of-00002.safetensors", 777),
        ("empty", 0),
        ("onnx/model.onnx", 500),
        ("onnx/deep/even", 192),
    ):
        (model / name).write_bytes(hashlib.sha256(name.encode()).digest() * 40)
        os.truncate(model / name, size)
    return model


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """An export's place in staging; the bucket's root is there."""
    (tmp_path / "exports").mkdir()
    return tmp_path / "exports" / ".staging" / "amx-1"


def _run(source: Path, staging: Path, report: Callable[[Progress], None] = lambda progress: None) -> Exported:
    return export(source, staging, within=source.parent, folder=FOLDER, report=report)


def _check(source: Path, staging: Path, exported: Exported) -> None:
    """The folder holds the model's files and a manifest of them all; nothing else."""
    folder = staging / FOLDER
    expected = {name: digest for name, digest in file_hashes(source).items() if name != MANIFEST}
    found = file_hashes(folder)
    assert found.pop(MANIFEST) == exported.manifest_sha256
    assert found == expected
    assert hashlib.md5((folder / MANIFEST).read_bytes()).hexdigest() == exported.manifest_md5
    assert exported.size_bytes == sum((folder / name).stat().st_size for name in found)
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", MANIFEST], cwd=folder, check=True)


def test_a_directory_is_copied_with_all_below_it_and_coreutils_verify_it(source: Path, staging: Path) -> None:
    told: list[Progress] = []
    exported = _run(source, staging, told.append)
    _check(source, staging, exported)
    assert [progress.bytes_done for progress in told] == sorted(progress.bytes_done for progress in told)
    assert (told[-1].bytes_done, told[-1].bytes_total) == (exported.size_bytes, exported.size_bytes)
    assert all(progress.percent <= 99 for progress in told)
    lines = (staging / FOLDER / MANIFEST).read_text().splitlines()
    assert lines == sorted(lines, key=lambda line: line[66:])


def test_killed_at_every_single_moment_it_ends_in_the_same_bytes(source: Path, staging: Path) -> None:
    undisturbed = _run(source, staging)
    shutil.rmtree(staging)
    killed = 0

    def attempt(survive: int) -> Exported | None:
        """One run that dies when it tells for the ``survive``-th time."""
        times = 0

        def report(progress: Progress) -> None:
            nonlocal times
            times += 1
            if times > survive:
                raise _Killed

        try:
            return _run(source, staging, report)
        except _Killed:
            return None

    while (exported := attempt(survive=1 + killed)) is None:
        killed += 1
        assert not (staging / FOLDER / MANIFEST).exists()
    assert killed > 20
    assert exported == undisturbed
    _check(source, staging, exported)


def test_what_is_finished_is_not_copied_again(source: Path, staging: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _run(source, staging)
    monkeypatch.setattr(module, "_write_at", lambda *_: pytest.fail("it was copied again"))
    assert _run(source, staging) == first


def test_a_broken_off_file_goes_on_from_its_last_mark(
    source: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    big = "model-00001-of-00002.safetensors"

    def die(progress: Progress) -> None:
        if progress.bytes_done >= 40 + 500:
            raise _Killed

    with pytest.raises(_Killed):
        _run(source, staging, die)
    written: list[int] = []
    write = module._write_at

    def note(descriptor: int, data: memoryview, offset: int) -> None:
        written.append(offset)
        write(descriptor, data, offset)

    monkeypatch.setattr(module, "_write_at", note)
    _check(source, staging, _run(source, staging))
    assert written[0] == 384, f"{big} was marked at 192 and 384"


def _finished(staging: Path) -> Path:
    return staging / FOLDER / "config.json"


def _broken_off(staging: Path) -> Path:
    return next(staging.glob("partial-*"))


@pytest.mark.parametrize("which", [_finished, _broken_off])
@pytest.mark.parametrize("harm", ["changed", "cut short", "removed"])
def test_what_an_earlier_attempt_left_is_not_believed_unread(
    source: Path, staging: Path, which: Callable[[Path], Path], harm: str
) -> None:
    def die(progress: Progress) -> None:
        if progress.bytes_done >= 40 + 500:
            raise _Killed

    with pytest.raises(_Killed):
        _run(source, staging, die)
    victim = which(staging)
    if harm == "changed":
        content = bytearray(victim.read_bytes())
        content[7] ^= 1
        victim.write_bytes(content)
    elif harm == "cut short":
        os.truncate(victim, 7)
    else:
        victim.unlink()
    _check(source, staging, _run(source, staging))


@pytest.mark.parametrize("cut", [1, 30, 200])
def test_a_torn_journal_costs_work_and_nothing_else(source: Path, staging: Path, cut: int) -> None:
    first = _run(source, staging)
    journal = staging / "journal"
    os.truncate(journal, journal.stat().st_size - cut)
    assert _run(source, staging) == first
    _check(source, staging, first)


def test_another_content_of_the_source_starts_over(source: Path, staging: Path) -> None:
    _run(source, staging)
    (source / "config.json").write_text("another")
    (source / "empty").unlink()
    _check(source, staging, _run(source, staging))


def test_a_source_that_changes_meanwhile_is_a_bad_source(source: Path, staging: Path) -> None:
    def change(progress: Progress) -> None:
        if progress.stage == "copy":
            os.utime(source / "config.json", ns=(1, 1))

    with pytest.raises(BadSource, match=r"config\.json was changed"):
        _run(source, staging, change)


def test_attempts_at_the_same_time_work_one_after_another(source: Path, staging: Path) -> None:
    inside = 0

    def attempt() -> None:
        def report(progress: Progress) -> None:
            nonlocal inside
            inside += 1
            assert inside == 1
            inside -= 1

        _check(source, staging, _run(source, staging, report))

    assert at_once(*[attempt] * 4) == [None] * 4


# --- what is a model's file ----------------------------------------------------------------------------------


def test_dot_names_and_the_sources_own_manifest_are_left_out(source: Path, staging: Path) -> None:
    for name in (".gitattributes", ".git/objects/pack", MANIFEST):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("not exported as it is")
    _run(source, staging)
    found = file_hashes(staging / FOLDER)
    assert not [name for name in found if name.startswith(".")]
    assert "not exported" not in (staging / FOLDER / MANIFEST).read_text()


def test_a_link_to_a_file_of_the_bucket_becomes_the_file(source: Path, staging: Path) -> None:
    (source.parent / "blob").write_text("content")
    (source / "linked").symlink_to("../blob")
    _run(source, staging)
    copied = staging / FOLDER / "linked"
    assert not copied.is_symlink()
    assert copied.read_text() == "content"


@pytest.mark.parametrize("kind", ["link out", "link to a directory", "broken link", "pipe"])
def test_what_is_no_file_of_the_bucket_is_a_bad_source_that_is_named(source: Path, staging: Path, kind: str) -> None:
    (source.parent.parent / "outside").write_text("secret")
    odd = source / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"link out": "../../outside", "link to a directory": "onnx", "broken link": "gone"}[kind])
    with pytest.raises(BadSource, match="odd"):
        _run(source, staging)


def test_a_source_that_is_gone_is_a_bad_source(source: Path, staging: Path) -> None:
    shutil.rmtree(source)
    with pytest.raises(BadSource):
        _run(source, staging)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(st.characters(blacklist_characters="/\0", blacklist_categories=["Cs"]), min_size=1, max_size=40))
def test_the_manifest_is_read_by_coreutils_whatever_a_file_is_called(tmp_path: Path, name: str) -> None:
    if name.startswith(".") or len(name.encode()) > 255:
        return
    folder = tmp_path / "odd"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / name).write_text("content")
    assert [file.path for file in list_files(folder, within=folder)] == [name]
    (folder / MANIFEST).write_bytes(manifest_line(name, hashlib.sha256(b"content").hexdigest()))
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", MANIFEST], cwd=folder, check=True)


# --- disks ---------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full_is_told_as_such_and_the_next_attempt_goes_on(
    source: Path, staging: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_at", full)
        with pytest.raises(DiskFull):
            _run(source, staging)
    _check(source, staging, _run(source, staging))


def test_a_file_that_the_system_does_not_let_grow_is_told_as_a_full_disk(source: Path, staging: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (900, hard))  # smaller than one of the files
    try:
        with pytest.raises(DiskFull, match="amx-1"):
            _run(source, staging)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    _check(source, staging, _run(source, staging))


def test_a_model_that_cannot_fit_is_refused_before_a_byte_is_copied(source: Path, staging: Path) -> None:
    with (source / "sparse").open("wb") as file:
        file.truncate(shutil.disk_usage(staging.parent.parent).free + 10**10)
    with pytest.raises(DiskFull, match="bytes more"):
        _run(source, staging)
    assert not list(staging.glob("partial-*"))


def test_a_bucket_whose_root_is_gone_is_not_made_anew(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InternalFailure):
        _run(source, tmp_path / "absent" / ".staging" / "amx-1")
    assert not (tmp_path / "absent").exists()
