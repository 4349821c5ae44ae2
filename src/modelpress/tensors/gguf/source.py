"""A model whose weights and all else lie in one GGUF file, as a checkpoint like any other.

The weights are read as bf16, whatever they are stored as: what was rounded to a few bits before holds no more than bf16
does, and bf16 is what such models were trained in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from modelpress.tensors.checkpoint import CONFIG, INDEX, REPORT, Checkpoint, Document, SourceTensor, other_files
from modelpress.tensors.document import json_document
from modelpress.tensors.folder import Folder
from modelpress.tensors.gguf.architecture import architecture_of, tensors_of
from modelpress.tensors.gguf.config import generation_config, model_config
from modelpress.tensors.gguf.header import Gguf, open_gguf
from modelpress.tensors.gguf.rows import GgufRows
from modelpress.tensors.gguf.sizes import read_sizes
from modelpress.tensors.gguf.tokenizer import read_vocabulary, tokenizer_files

_TOKENIZER = "tokenizer.json"
_GENERATION = "generation_config.json"


def open_gguf_checkpoint(folder: Folder, file: str) -> Checkpoint:
    """The model in the GGUF file ``file``, with config.json, tokenizer and generation settings made from its metadata.

    A tokenizer.json beside the file is carried over with its companions, and none is made; a config.json is not.

    Raises: BadSource if the file is not sound, its architecture or its tokenizer is not known, or it is no whole model.
    """
    gguf = open_gguf(folder, file)
    architecture = architecture_of(gguf)
    sizes = read_sizes(gguf, gguf.field("general.architecture", str))
    tensors = tensors_of(gguf, architecture, sizes)
    vocabulary = read_vocabulary(gguf, rows=sizes.vocabulary)
    ids = {f"{role}_id": token_id for role, token_id in vocabulary.ids.items() if role != "unk_token"}
    names = folder.names()
    made: dict[str, Any] = {_GENERATION: generation_config(gguf, ids)}
    if _TOKENIZER not in names:
        made |= tokenizer_files(gguf, vocabulary, context=sizes.context)
    side_files, left_out = other_files(folder, names, without={CONFIG, INDEX, REPORT, file, *made})
    read = (file, *(side_file.name for side_file in side_files))
    return Checkpoint(
        config=model_config(folder, gguf, architecture=architecture, sizes=sizes, ids=ids),
        architecture=architecture.class_name,
        tensors=tuple(SourceTensor(spec=spec, file=file, rows=rows) for spec, rows in tensors),
        shards=(file,),
        side_files=side_files,
        documents=tuple(_documents(made)),
        left_out=left_out,
        size_bytes=sum(folder.size(name) for name in read),
        fingerprints={name: folder.fingerprint(name) for name in read},
        notes=tuple(_notes(gguf, [rows for _, rows in tensors])),
        already_compressed=None,
        folder=folder,
    )


def _documents(made: dict[str, Any]) -> Iterator[Document]:
    return (json_document(name, content, indent=None if name == _TOKENIZER else 2) for name, content in made.items())


def _notes(gguf: Gguf, rows: Sequence[GgufRows]) -> Iterator[str]:
    yield f"{gguf.file} is read as bf16; config, generation settings and tokenizer are made from its metadata."
    rounded = Counter(each.block_type.name for each in rows if each.block_type.rounded)
    if rounded:
        kinds = ", ".join(f"{name} ({count})" for name, count in rounded.most_common())
        yield (
            f"{rounded.total()} of its {len(rows)} tensors were rounded before: {kinds}. "
            f"Compressing them again adds to that loss; the original model would lose less."
        )
