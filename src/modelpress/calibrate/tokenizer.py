"""The model's own tokenizer, out of its directory alone: no network, no code of the model's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from modelpress.calibrate.document import Document
from modelpress.calibrate.script import scripts_of, scripts_of_spans
from modelpress.calibrate.window import Tokens
from modelpress.errors import BadCalibration, BadSource, Unsupported

#: A directory that has one of these has a tokenizer.
_FILES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")
#: Offsets of tokens are Python objects, a hundred bytes a token: a long text is taken in parts.
_CHARACTERS_AT_ONCE = 1 << 16
#: For templates that tell the model what day it is: samples must not change overnight.
_DAY = datetime(2025, 1, 1, tzinfo=UTC)
_WITHOUT = "method rtn needs no text, and so no tokenizer"


class Tokenizer:
    """Makes tokens of documents, as the model was taught to read them."""

    def __init__(self, folder: Path) -> None:
        """Load it.

        Raises: Unsupported if the directory has none, or one that needs code of its own; BadSource if it is broken.
        """
        self._folder = folder
        self._tokenizer = _loaded(folder)
        self.vocabulary: int = len(self._tokenizer)
        #: What the tokenizer puts before every text, such as a <bos>.
        self.opening = Tokens.without_text(self._opening())
        end = self._tokenizer.eos_token_id
        #: What parts a text from the one before it.
        self.separator = self.opening if len(self.opening) or end is None else Tokens.without_text((end,))
        #: Whether conversations are written as the model knows them.
        self.has_template: bool = bool(self._tokenizer.chat_template)

    def encode(self, document: Document) -> Tokens:
        """Its tokens, without the opening. Raises: BadCalibration if the chat template refuses the conversation."""
        text = self._written(document) if document.messages else document.text
        tokens = Tokens.joined([self._encoded(part) for part in _parts(text)])
        # Chat templates write the opening themselves.
        length = len(self.opening)
        again = length and np.array_equal(tokens.ids[:length], self.opening.ids)
        return tokens.part(length, len(tokens)) if again else tokens

    def decode(self, ids: list[int]) -> str:
        """The text of tokens, without the special ones."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _opening(self) -> list[int]:
        bare = list(self._tokenizer("a", add_special_tokens=False)["input_ids"])
        whole = list(self._tokenizer("a")["input_ids"])
        starts = range(len(whole) - len(bare) + 1)
        return whole[: next((at for at in starts if whole[at : at + len(bare)] == bare), 0)]

    def _encoded(self, text: str) -> Tokens:
        told = self._tokenizer.is_fast
        made = self._tokenizer(
            text, add_special_tokens=False, return_attention_mask=False, return_offsets_mapping=told, verbose=False
        )
        ids = np.array(made["input_ids"], dtype=np.int64)
        if told:
            return Tokens(ids=ids, scripts=scripts_of_spans(text, made["offset_mapping"]))
        # Only tokenizers in Rust tell which characters a token is of: about as far in the text as it is in the tokens.
        of_characters = scripts_of(text)
        places = np.arange(len(ids)) * len(of_characters) // max(1, len(ids))
        return Tokens(ids=ids, scripts=of_characters[places])

    def _written(self, document: Document) -> str:
        if not self.has_template:
            return "\n\n".join(message.content for message in document.messages)
        messages = [{"role": message.role, "content": message.content} for message in document.messages]
        try:
            text: str = self._tokenizer.apply_chat_template(messages, tokenize=False, strftime_now=_DAY.strftime)
        # A template is a program of the model's: besides its own errors it may raise any of Python's.
        except Exception as exc:
            roles = ", ".join(message.role[:20] for message in document.messages[:6])
            raise BadCalibration(
                f"calibration data, {document.place}: the model's chat template refuses the conversation ({exc})",
                hint=f"its messages are of: {roles}",
            ) from exc
        return text


def _loaded(folder: Path) -> Any:
    if not any((folder / name).is_file() for name in _FILES):
        if any(folder.glob("*.gguf")):
            raise Unsupported("calibration needs a tokenizer directory, and the source is a GGUF file", hint=_WITHOUT)
        raise Unsupported("calibration needs a tokenizer, and the source has no tokenizer.json", hint=_WITHOUT)
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except ImportError as exc:
        raise Unsupported(
            f"the source's tokenizer needs a package that is not installed: {exc}", hint=_WITHOUT
        ) from exc
    # A stranger's files: what transformers meets in them it raises as it comes, and tokenizers knows only Exception.
    except Exception as exc:
        if "trust_remote_code" in str(exc):
            why = "the source's tokenizer needs code that comes with the model, which is not run"
            raise Unsupported(why, hint=_WITHOUT) from exc
        raise BadSource(f"the source's tokenizer cannot be read ({type(exc).__name__}: {str(exc)[:300]})") from exc


def _parts(text: str) -> Iterator[str]:
    """``text`` in parts that end with a line, if it has lines."""
    start = 0
    while start < len(text):
        end = start + _CHARACTERS_AT_ONCE
        line_end = text.rfind("\n", start, end) + 1 if end < len(text) else 0
        end = line_end if line_end > start else end
        yield text[start:end]
        start = end
