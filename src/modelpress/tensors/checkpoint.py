"""A model directory, known from headers alone: Hugging Face's, or one that holds a GGUF file."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from modelpress.errors import BadSource
from modelpress.tensors.already_compressed import why_compressed
from modelpress.tensors.float8_source import Float8Rows, decoded, float8_block
from modelpress.tensors.folder import Folder, read_all
from modelpress.tensors.header import MOST_TENSORS, StoredTensor, read_header
from modelpress.tensors.json_object import NotAnObject, parse_object
from modelpress.tensors.rows import Rows, stored_rows
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.writer import PARTIAL

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
#: What modelpress itself puts beside its output; that of an earlier run is not carried over.
REPORT = "modelpress.json"

#: Real ones have a few kB; a config is parsed wholly into memory.
LARGEST_CONFIG_BYTES = 10_000_000
#: The index of a model with a million tensors has about 100 MB.
LARGEST_INDEX_BYTES = 200_000_000
MOST_SHARDS = 10_000
#: Of all shards together: a million tensors have about 150 MB.
LARGEST_HEADERS_BYTES = 300_000_000

#: Formats that run code when they are loaded.
_PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
#: The same weights in other clothes: not read, and not carried over.
_OTHER_WEIGHTS = (
    *_PICKLES,
    ".safetensors",
    ".safetensors.index.json",
    ".bin.index.json",
    ".gguf",
    ".h5",
    ".msgpack",
    ".onnx",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFile:
    """A file carried over as it is: tokenizer, generation settings, chat template, licence, …"""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A small file that is made, and its content."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTensor:
    """A tensor of a model: what it is once it is read, the file that keeps it, and how its rows are read."""

    spec: TensorSpec
    file: str
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model before its data is read. ``size_bytes`` counts config, index, weights and side files."""

    config: Mapping[str, Any]
    architecture: str
    #: In the order of files, then of their bytes.
    tensors: tuple[SourceTensor, ...]
    shards: tuple[str, ...]
    side_files: tuple[SideFile, ...]
    #: What side files would hold, where the source keeps it in another form.
    documents: tuple[Document, ...]
    #: Files that are neither read nor carried over: remote code, pickles, weights in other formats.
    left_out: tuple[str, ...]
    size_bytes: int
    #: Of every file that is read, by name.
    fingerprints: Mapping[str, str]
    #: What is to be known of how it is read, in plain sentences.
    notes: tuple[str, ...]
    #: What tells that it was quantized before; such a checkpoint is sound, but no plan is made of it.
    already_compressed: str | None
    #: Where it was read from: a side file is read by those who need its content.
    folder: Folder = field(compare=False, repr=False)


def open_checkpoint(folder: Folder) -> Checkpoint:
    """What ``folder`` holds, every header checked and no weight read.

    Raises: BadSource saying why it is not a sound model directory.
    """
    names = folder.names()
    gguf = _gguf_file(names)
    if gguf is not None:
        # Here, so that a process that reads no such file does without its tables.
        from modelpress.tensors.gguf.source import open_gguf_checkpoint

        return open_gguf_checkpoint(folder, gguf)
    config = _read_config(folder, names)
    shards, index = _weight_files(folder, names)
    stored = _read_headers(folder, shards)
    _check_once(stored)
    if index is not None:
        _check_index(index, stored)
    tensors, notes = _as_read(stored, config)
    side_files, left_out = other_files(folder, names, without={CONFIG, INDEX, REPORT, *shards})
    read = (CONFIG, *shards, *(side.name for side in side_files), *(() if index is None else (INDEX,)))
    return Checkpoint(
        config=config,
        architecture=_architecture(config),
        tensors=tensors,
        shards=shards,
        side_files=side_files,
        documents=(),
        left_out=left_out,
        size_bytes=sum(folder.size(name) for name in read),
        fingerprints={name: folder.fingerprint(name) for name in read},
        notes=notes,
        already_compressed=why_compressed(config, (tensor.spec for tensor in tensors)),
        folder=folder,
    )


def _as_read(
    stored: tuple[StoredTensor, ...], config: Mapping[str, Any]
) -> tuple[tuple[SourceTensor, ...], tuple[str, ...]]:
    """The tensors as reading gives them, and notes about it."""
    block = float8_block(config)
    if block is None:
        return tuple(SourceTensor(spec=t.spec, file=t.file, rows=stored_rows(t)) for t in stored), ()
    tensors = tuple(SourceTensor(spec=spec, file=file, rows=rows) for spec, file, rows in decoded(stored, block))
    count = sum(isinstance(tensor.rows, Float8Rows) for tensor in tensors)
    return tensors, (f"{count} weights are stored as FP8 in blocks of {block[0]} x {block[1]} and read as bf16.",)


def _gguf_file(names: list[str]) -> str | None:
    """The GGUF file to read; None where there is none, or the model is there in its own files."""
    found = [name for name in names if name.endswith(".gguf")]
    if not found or any(name.endswith((".safetensors", INDEX, *_PICKLES)) for name in names):
        return None
    if len(found) > 1:
        raise BadSource(
            f"it has {len(found)} GGUF files, first {found[0]!r}",
            hint="give the one file itself; a model that was split into several is not read",
        )
    return found[0]


def _read_config(folder: Folder, names: list[str]) -> Mapping[str, Any]:
    if CONFIG not in names:
        if "adapter_config.json" in names:
            raise BadSource(
                "this is an adapter, not a model: it has no config.json", hint="merge it into its base model"
            )
        raise BadSource(
            "not a model directory: it has no config.json",
            hint="give the directory that holds config.json, or a GGUF file",
        )
    return _read_object(folder, CONFIG, limit_bytes=LARGEST_CONFIG_BYTES)


def _read_object(folder: Folder, name: str, *, limit_bytes: int) -> dict[str, Any]:
    try:
        return parse_object(read_all(folder, name, limit_bytes=limit_bytes))
    except NotAnObject as exc:
        raise BadSource(f"{name} is {exc}") from exc


def _architecture(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""


def _weight_files(folder: Folder, names: list[str]) -> tuple[tuple[str, ...], dict[str, str] | None]:
    """The shards by name, and the index if they come with one; what transformers prefers is preferred."""
    if SINGLE in names:
        return (SINGLE,), None
    if INDEX in names:
        index = _read_index(folder, names)
        return tuple(sorted(set(index.values()))), index
    found = [name for name in names if name.endswith(".safetensors")]
    if len(found) == 1:
        return (found[0],), None
    if found:
        raise BadSource(f"it has {len(found)} safetensors files, but neither {SINGLE} nor {INDEX}")
    pickles = [name for name in names if name.endswith(_PICKLES)]
    if pickles:
        raise BadSource(
            f"its weights are pickles ({', '.join(pickles[:3])}), which run code when loaded; they are never opened",
            hint="convert the model to safetensors first, for example with save_pretrained of transformers",
        )
    raise BadSource(
        "not a model directory: it has no safetensors file", hint=f"weights are looked for in {SINGLE} or {INDEX}"
    )


def _read_index(folder: Folder, names: list[str]) -> dict[str, str]:
    weight_map = _read_object(folder, INDEX, limit_bytes=LARGEST_INDEX_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or not all(isinstance(v, str) for v in weight_map.values()):
        raise BadSource(f"{INDEX} has no weight_map from tensors to files")
    files, there = set(weight_map.values()), set(names)
    if len(files) > MOST_SHARDS:
        raise BadSource(f"{INDEX} names {len(files)} files, more than the {MOST_SHARDS} that are accepted")
    for file in sorted(files):
        if "/" in file or "\\" in file or file in {"", ".", ".."}:
            raise BadSource(f"{INDEX} names the file {file[:200]!r}, which is not in the model directory itself")
        if not file.endswith(".safetensors"):
            raise BadSource(f"{INDEX} names {file[:200]!r}, which is not a safetensors file")
        if file not in there:
            raise BadSource(f"{INDEX} names {file[:200]!r}, which is missing", hint="the download may be incomplete")
    return weight_map


def _read_headers(folder: Folder, shards: tuple[str, ...]) -> tuple[StoredTensor, ...]:
    """The tensors of all shards, under the limits for one: ten thousand shards are no way around them."""
    tensors: list[StoredTensor] = []
    header_bytes = 0
    for shard in shards:
        found = read_header(folder, shard)
        tensors += found
        # A sound file has nothing but its header and its tensors.
        header_bytes += folder.size(shard) - sum(tensor.spec.size_bytes for tensor in found)
        if len(tensors) > MOST_TENSORS or header_bytes > LARGEST_HEADERS_BYTES:
            raise BadSource(
                f"its shards have headers of {header_bytes} bytes with {len(tensors)} tensors, up to {shard}; "
                f"{LARGEST_HEADERS_BYTES} bytes and {MOST_TENSORS} tensors are accepted"
            )
    return tuple(tensors)


def _check_once(tensors: tuple[StoredTensor, ...]) -> None:
    files: dict[str, str] = {}
    for tensor in tensors:
        first = files.setdefault(tensor.spec.name, tensor.file)
        if first != tensor.file:
            raise BadSource(f"tensor {tensor.spec.name!r} is in both {first} and {tensor.file}")


def _check_index(index: Mapping[str, str], tensors: tuple[StoredTensor, ...]) -> None:
    files = {tensor.spec.name: tensor.file for tensor in tensors}
    for name, file in index.items():
        if files.get(name) != file:
            found = f"but it is in {files[name]}" if name in files else "which does not have it"
            raise BadSource(f"{INDEX} says that tensor {name[:200]!r} is in {file}, {found}")


def other_files(
    folder: Folder, names: list[str], *, without: Collection[str]
) -> tuple[tuple[SideFile, ...], tuple[str, ...]]:
    """Of the files that are not ``without``: those carried over as they are, and those left out."""
    carried, left_out = [], []
    for name in names:
        if name in without or name.startswith("."):
            continue
        # What has the ending of our own unfinished files would be cleared away with them.
        if name.endswith((".py", PARTIAL, *_OTHER_WEIGHTS)):
            left_out.append(name)
        else:
            carried.append(SideFile(name=name, size_bytes=folder.size(name)))
    return tuple(carried), tuple(left_out)
