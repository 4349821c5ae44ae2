"""Directories that would have something else read than a model's files: nothing else is opened, not even to look."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from modelpress.domain.task import Progress
from modelpress.errors import BadSource
from modelpress.tensors.checkpoint import CONFIG, INDEX, open_checkpoint
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder
from tests.unit.tensors.models import CONFIG as LLAMA
from tests.unit.tensors.models import contents, layers, plan_of, write_model

linux = pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="without Linux's handles a file is opened to be looked at")

SHARD = "model-00001-of-00002.safetensors"

#: What was opened for reading or writing, while somebody listens.
_opened: list[str] | None = None


def _listen(event: str, arguments: tuple[object, ...]) -> None:
    if event != "open" or _opened is None:
        return
    path, _, flags = arguments
    if isinstance(flags, int) and flags & getattr(os, "O_PATH", 0):
        return  # a mere handle: the file notices nothing
    if isinstance(path, str | bytes | os.PathLike):
        real = os.path.realpath(os.fsdecode(path))  # at once, while the descriptor that the path may name is open
        _opened.append(real)


sys.addaudithook(_listen)  # it cannot be taken away again


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """The real paths of all files opened meanwhile, whatever name led there."""
    global _opened
    found: list[str] = []
    _opened = found
    try:
        yield found
    finally:
        _opened = None


def model(bucket: Path) -> Path:
    return write_model(
        bucket / "model", layers(1), {"b." + k: v for k, v in layers(1).items()}, files={"tokenizer.json": b"{}"}
    )


def link_out(place: Path, outside: Path) -> None:
    place.replace(outside / "stolen")
    place.symlink_to(outside / "stolen")


def link_out_by_two(place: Path, outside: Path) -> None:
    """The first link stays in the bucket, so that its text alone looks well."""
    place.replace(outside / "stolen")
    (place.parent.parent / "inner").symlink_to(outside / "stolen")
    place.symlink_to("../inner")


def link_to_device(place: Path, outside: Path) -> None:
    place.unlink()
    place.symlink_to("/dev/zero")


def pipe(place: Path, outside: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def link_to_pipe(place: Path, outside: Path) -> None:
    place.unlink()
    os.mkfifo(outside / "pipe")
    place.symlink_to(outside / "pipe")


def directory(place: Path, outside: Path) -> None:
    place.unlink()
    place.mkdir()


def unix_socket(place: Path, outside: Path) -> None:
    place.unlink()
    here = os.getcwd()
    os.chdir(place.parent)  # the path of a socket may have 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(place.name)
    finally:
        os.chdir(here)


def loop(place: Path, outside: Path) -> None:
    place.unlink()
    place.symlink_to(place.name)


def link_to_nothing(place: Path, outside: Path) -> None:
    place.unlink()
    place.symlink_to(outside / "nothing")


TRICKS = [link_out, link_out_by_two, link_to_device, pipe, link_to_pipe, directory, unix_socket, loop, link_to_nothing]


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("name", [CONFIG, INDEX, SHARD])
def test_what_is_no_file_of_the_bucket_is_refused_and_nothing_outside_is_opened(
    trick: Callable[[Path, Path], None], name: str, tmp_path: Path
) -> None:
    bucket, outside = tmp_path / "bucket", tmp_path / "outside"
    outside.mkdir()
    source = model(bucket)
    trick(source / name, outside)
    with opened_files() as opened, pytest.raises(BadSource) as caught:
        open_checkpoint(LocalFolder(source, within=bucket))
    assert str(tmp_path) not in caught.value.message
    if hasattr(os, "O_PATH"):
        assert all(path.startswith(str(bucket)) for path in opened)


@pytest.mark.parametrize("trick", [link_out, link_out_by_two, loop])
def test_a_side_file_that_leads_elsewhere_is_refused_by_name(
    trick: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    source = model(tmp_path / "bucket")
    trick(source / "tokenizer.json", tmp_path / "outside")
    with pytest.raises(BadSource, match=r"tokenizer\.json (leads out|cannot be read)"):
        open_checkpoint(LocalFolder(source, within=tmp_path / "bucket"))


@pytest.mark.parametrize("trick", [pipe, link_to_device, link_to_pipe, unix_socket, directory, link_to_nothing])
def test_a_side_file_that_is_none_is_passed_over(trick: Callable[[Path, Path], None], tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    source = model(tmp_path / "bucket")
    trick(source / "tokenizer.json", tmp_path / "outside")
    assert not open_checkpoint(LocalFolder(source, within=tmp_path / "bucket")).side_files


@linux
def test_a_file_that_becomes_a_link_after_it_was_listed_is_refused(tmp_path: Path) -> None:
    source = model(tmp_path / "bucket")
    (tmp_path / "secret").write_bytes(b"secret")
    folder = LocalFolder(source, within=tmp_path / "bucket")
    plan = plan_of(source)
    (source / "tokenizer.json").unlink()
    (source / "tokenizer.json").symlink_to(tmp_path / "secret")
    with opened_files() as opened, pytest.raises(BadSource, match="leads out of its bucket"):
        compress(plan, folder, tmp_path / "out", report=ignore)
    assert str(tmp_path / "secret") not in opened
    assert not (tmp_path / "out" / "tokenizer.json").exists()


@linux
def test_a_file_removed_outside_the_bucket_while_a_link_leads_to_it_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "secret"
    outside.write_bytes(b"secret")
    descriptor = os.open(outside, os.O_RDONLY)
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "x").symlink_to(f"/proc/self/fd/{descriptor}")
    outside.unlink()
    with pytest.raises(BadSource, match="leads out of its bucket"):
        LocalFolder(tmp_path / "bucket", within=tmp_path / "bucket").size("x")
    os.close(descriptor)


def ignore(progress: Progress) -> None:
    """A report nobody reads."""


EVIL = {
    "modeling_evil.py": b"raise SystemExit",
    "tokenization_evil.py": b"raise SystemExit",
    "pytorch_model.bin": b"cos\nsystem\n(S'false'\ntR.",
    "training_args.pt": b"cos\nsystem\n(S'false'\ntR.",
    "optimizer.pkl": b"cos\nsystem\n(S'false'\ntR.",
    "flax_model.msgpack": b"x",
    "model.onnx": b"x",
    ".hidden": b"x",
    "left.partial": b"x",
}


@linux
def test_code_and_pickles_are_not_opened_from_first_look_to_last_byte(tmp_path: Path) -> None:
    config = {**LLAMA, "auto_map": {"AutoModelForCausalLM": "modeling_evil.Model"}}
    source = write_model(tmp_path / "source", layers(1), config=config, files={**EVIL, "tokenizer.json": b"{}"})
    (source / "below").mkdir()
    (source / "below" / "evil.py").write_bytes(b"raise SystemExit")
    os.mkfifo(source / "pipe.bin")
    with opened_files() as opened:
        compress(plan_of(source), LocalFolder(source), tmp_path / "out", report=ignore)
    read = {Path(path).name for path in opened if Path(path).is_relative_to(source)}
    assert read == {"config.json", "model.safetensors", "tokenizer.json"}
    made = contents(tmp_path / "out")
    assert not set(made) & set(EVIL)
    assert b"auto_map" not in made["config.json"]


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 300, "a/b", "\0"])
def test_a_name_that_can_be_no_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadSource):
        LocalFolder(tmp_path).size(name)


@pytest.mark.parametrize(
    "name", ["a\0b.safetensors", "x" * 70_000 + ".safetensors", "\ud800.safetensors", "~/x.safetensors", "C:x"]
)
def test_an_index_with_a_name_that_can_be_no_file_is_refused_in_a_short_sentence(name: str, tmp_path: Path) -> None:
    source = model(tmp_path)
    (source / INDEX).write_text(json.dumps({"weight_map": {"a.weight": name}}))
    with pytest.raises(BadSource) as caught:
        open_checkpoint(LocalFolder(source))
    assert len(caught.value.message) < 400
    assert caught.value.message.isprintable()


def test_names_of_files_reach_notes_only_as_a_terminal_can_bear_them(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source", layers(1), files={"a\x1b[2J\n.py": b"x"})
    with suppress(OSError):  # from a file system that wants names to be text
        (source / os.fsdecode(b"\xff.bin")).write_bytes(b"x")
    notes = plan_of(source).notes
    assert any("a\\u001b[2J\\u000a.py" in note for note in notes)
    assert all(note.isprintable() for note in notes)


def swap_content(path: Path) -> None:
    """Another file of the same size takes the name."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    new = path.with_name("new")
    new.write_bytes(content)
    os.utime(new, ns=(1, 1))
    new.replace(path)


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


@pytest.mark.parametrize("change", [swap_content, grow])
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_file_that_changes_between_plan_and_reading_makes_no_shard(
    change: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    source = write_model(tmp_path / "source", layers(1), files={"tokenizer.json": b"{}"})
    plan = plan_of(source)
    change(source / name)
    with pytest.raises(BadSource, match=f"{name} was changed while it was read"):
        compress(plan, LocalFolder(source), tmp_path / "out", report=ignore)
    assert name not in contents(tmp_path / "out")


def test_a_file_that_changes_while_it_is_read_makes_no_shard(tmp_path: Path) -> None:
    source = write_model(tmp_path / "source", layers(1))

    def change(progress: Progress) -> None:
        if progress.bytes_done:
            os.utime(source / "model.safetensors", ns=(1, 1))

    with pytest.raises(BadSource, match="was changed while it was read"):
        compress(plan_of(source), LocalFolder(source), tmp_path / "out", report=change)
    assert not list((tmp_path / "out").glob("*.safetensors"))
