"""A model's small files in a directory of their own, for libraries that read tokenizers from a path alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from modelpress.errors import BadSource
from modelpress.tensors.checkpoint import CONFIG, Checkpoint

#: What tokenizers keep their files in: JSON, merges, SentencePiece's and tiktoken's models, chat templates.
_ENDINGS = (".json", ".txt", ".model", ".tiktoken", ".jinja")
#: The largest tokenizers' files have some 40 MB.
_MOST_BYTES = 256 << 20


@contextmanager
def tokenizer_folder(checkpoint: Checkpoint) -> Iterator[Path]:
    """A directory with the checkpoint's config and all that may be of its tokenizer; gone when the context ends.

    So a tokenizer is had of whatever the checkpoint was read from: a bucket, or a GGUF file that keeps it in its
    metadata. And nothing is read but by way of the checkpoint's folder, which follows no link out of its bucket.

    Raises: BadSource if a file is too large, or cannot be read.
    """
    with TemporaryDirectory(prefix="modelpress-tokenizer-") as made:
        target = Path(made)
        for side_file in checkpoint.side_files:
            if side_file.name.endswith(_ENDINGS):
                if side_file.size_bytes > _MOST_BYTES:
                    raise BadSource(f"{side_file.name} has {side_file.size_bytes} bytes, more than {_MOST_BYTES}")
                content = bytearray(side_file.size_bytes)
                checkpoint.folder.read_into(side_file.name, 0, memoryview(content))
                (target / side_file.name).write_bytes(content)
        for document in checkpoint.documents:
            (target / document.name).write_bytes(document.content)
        (target / CONFIG).write_text(json.dumps(checkpoint.config), encoding="utf-8")
        yield target
