"""Calibration samples: token sequences that go through the model, and what they are made of."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from modelpress.calibrate.coverage import Coverage, coverage_of
from modelpress.calibrate.default_text import Part, default_parts
from modelpress.calibrate.document import Document
from modelpress.calibrate.text_file import read_documents
from modelpress.calibrate.tokenizer import Tokenizer
from modelpress.calibrate.tokenizer_files import tokenizer_folder
from modelpress.calibrate.window import Tokens, Windows
from modelpress.domain.calibration import Calibration, CalibrationSource
from modelpress.errors import BadCalibration, BadSource
from modelpress.tensors.checkpoint import Checkpoint
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.json_object import NotAnObject, parse_object

#: More bytes than any usual text has for a token, so that what is read of a file is enough.
_BYTES_A_TOKEN = 8
#: Nor is more than this read, however many samples are asked for: as text and as tokens it is in memory.
_MOST_BYTES = 256 << 20
#: Built-in text is mixed in pieces of a whole window if there are so many, else in smaller ones.
_LEAST_PIECES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Token ids, int64 [length] each, none padded; and what is told of them."""

    ids: tuple[NDArray[np.int64], ...]
    coverage: Coverage

    @property
    def digest(self) -> str:
        """SHA-256 of the tokens: a run goes on from another one's blocks only if both have the same."""
        told = hashlib.sha256()
        for sample in self.ids:
            told.update(len(sample).to_bytes(8, "little"))
            told.update(sample.astype("<i8").tobytes())
        return told.hexdigest()


def batches(ids: Sequence[NDArray[np.int64]], *, tokens_per_batch: int) -> list[torch.Tensor]:
    """The samples as int64 tensors [samples, length], longest first; a batch has samples of one length, so no padding.

    Bound: a batch has at most ``tokens_per_batch`` tokens, or one sample.
    """
    by_length: dict[int, list[NDArray[np.int64]]] = defaultdict(list)
    for sample in ids:
        by_length[len(sample)].append(sample)
    made = []
    for length in sorted(by_length, reverse=True):
        alike = by_length[length]
        step = max(1, tokens_per_batch // length)
        made += [torch.from_numpy(np.stack(alike[at : at + step])) for at in range(0, len(alike), step)]
    return made


def samples_of(checkpoint: Checkpoint, calibration: Calibration, *, file: Path | None = None) -> Samples:
    """The samples that ``calibration`` asks for, for the model that ``checkpoint`` is; see :func:`load_samples`."""
    weights = checkpoint.folder.path if isinstance(checkpoint.folder, LocalFolder) else None
    with tokenizer_folder(checkpoint) as folder:
        return load_samples(folder, calibration, file=file, weights=weights)


def load_samples(
    folder: Path, calibration: Calibration, *, file: Path | None = None, weights: Path | None = None
) -> Samples:
    """The samples that ``calibration`` asks for, for the model whose config and tokenizer are in ``folder``.

    ``file`` is the text, where the source is an object; ``weights`` the directory of a model that writes it itself,
    where that is another one. There may be fewer samples than were asked for, which the coverage says. The same model,
    text and version give the same samples.

    Raises: BadCalibration for the text's fault; BadSource, Unsupported for the tokenizer's; OutOfMemory if the model is
            to write the text and is too large.
    """
    tokenizer = Tokenizer(folder)
    rows, positions = _sizes(folder)
    notes: list[str] = []
    length = calibration.max_length
    if positions is not None and length > positions:
        notes.append(f"A sample has {positions} tokens, not {length}: the model has no more positions.")
        length = positions
    windows = Windows(count=calibration.num_samples, length=length, opening=tokenizer.opening)
    if windows.room <= 0:
        raise BadCalibration(f"a sample of {length} tokens has no room for text", hint="raise calibration.maxLength")
    if calibration.source is CalibrationSource.DEFAULT:
        told = _fill_with_parts(windows, default_parts(), tokenizer=tokenizer, count=calibration.num_samples)
    elif calibration.source is CalibrationSource.SELF:
        from modelpress.calibrate.self_text import written_by

        written = written_by(weights or folder, tokenizer, count=calibration.num_samples, length=length)
        told = _fill_with_documents(windows, written, tokenizer=tokenizer)
        told.title = "text that the model wrote"
    else:
        assert file is not None, "an object of a bucket is brought here before"
        told = _fill_with_file(windows, file, calibration=calibration, tokenizer=tokenizer)
    taken = windows.taken()
    return _samples(taken, told, tokenizer=tokenizer, rows=rows, wanted=calibration.num_samples, notes=notes)


@dataclass(slots=True, kw_only=True)
class _Told:
    """What is told of the text that was taken."""

    title: str = ""
    documents: int = 0
    truncated: int = 0
    empty: int = 0
    notes: tuple[str, ...] = ()


def _samples(
    taken: Sequence[Tokens], told: _Told, *, tokenizer: Tokenizer, rows: int | None, wanted: int, notes: Sequence[str]
) -> Samples:
    if not taken:
        raise BadCalibration(f"no token came of {told.title}", hint="give text that the model's tokenizer knows")
    largest = max(int(window.ids.max()) for window in taken)
    if rows is not None and largest >= rows:
        raise BadSource(f"the tokenizer makes token {largest}, but the model's vocabulary has {rows}")
    coverage = coverage_of(
        taken,
        title=told.title,
        samples_wanted=wanted,
        vocabulary=tokenizer.vocabulary,
        documents=told.documents,
        truncated=told.truncated,
        empty=told.empty,
        notes=(*told.notes, *notes),
    )
    return Samples(ids=tuple(window.ids for window in taken), coverage=coverage)


# --- a file -------------------------------------------------------------------------------------------------


def _fill_with_file(windows: Windows, file: Path, *, calibration: Calibration, tokenizer: Tokenizer) -> _Told:
    found = read_documents(
        file,
        text_field=calibration.text_field,
        passages=calibration.num_samples,
        passage_bytes=max(1, min(calibration.max_length * _BYTES_A_TOKEN, _MOST_BYTES // calibration.num_samples)),
    )
    told = _fill_with_documents(windows, found.documents, tokenizer=tokenizer)
    told.title = file.name
    told.empty = found.empty
    if not tokenizer.has_template and any(document.messages for document in found.documents):
        told.notes = (
            "The model has no chat template: messages of conversations were taken as text, one after the other.",
        )
    return told


def _fill_with_documents(windows: Windows, documents: Iterable[Document], *, tokenizer: Tokenizer) -> _Told:
    """First a piece of each document, its beginning; then, if that is not enough, a second one of each, and so on."""
    waiting: list[tuple[Tokens, list[Tokens]]] = []
    left: list[int] = []
    for document in documents:
        if windows.full:
            break
        tokens = tokenizer.encode(document)
        if len(tokens):
            # Conversations end as their template says.
            separator = tokenizer.opening if document.messages else tokenizer.separator
            first, *others = tokens.pieces(windows.room)
            left.append(len(tokens) - windows.place(first, separator=separator))
            waiting.append((separator, others))
    for rank in range(max((len(pieces) for _, pieces in waiting), default=0)):
        for number, (separator, pieces) in enumerate(waiting):
            if rank < len(pieces):
                left[number] -= windows.place(pieces[rank], separator=separator)
    return _Told(documents=len(left), truncated=sum(tokens > 0 for tokens in left))


# --- the built-in text --------------------------------------------------------------------------------------


def _fill_with_parts(windows: Windows, parts: Sequence[Part], *, tokenizer: Tokenizer, count: int) -> _Told:
    """Piece by piece, always of the part that is furthest behind its share; until but one part is used up.

    A tokenizer that knows Chinese makes few tokens of the prose. It is read again then: nothing new is learned of it,
    but it weighs as much as is meant.
    """
    pieces_a_window = -(-_LEAST_PIECES // count)
    length = max(1, windows.room // pieces_a_window)
    pieces = [_joined(part, tokenizer).pieces(length) for part in parts]
    shares = [part.percent / sum(part.percent for part in parts) for part in parts]
    # For each part, how many tokens of all there are when it is used up.
    used_up = sorted(sum(map(len, those)) / share for those, share in zip(pieces, shares, strict=True))
    most = used_up[-2:][0]
    placed = [0] * len(parts)
    turns = [0] * len(parts)
    while not windows.full and sum(placed) < most:
        behind = max(range(len(parts)), key=lambda part: shares[part] * (sum(placed) + length) - placed[part])
        turn = turns[behind]
        placed[behind] += windows.place(pieces[behind][turn % len(pieces[behind])], separator=tokenizer.separator)
        turns[behind] += 1
    again = [
        f"{part.name} was read {turn / len(those):.1f} times over, to have its share."
        for part, turn, those in zip(parts, turns, pieces, strict=True)
        if turn > len(those)
    ]
    names = ", ".join(f"{part.name} {share:.0%}" for part, share in zip(parts, shares, strict=True))
    return _Told(
        title=f"the built-in text ({names})",
        documents=sum(len(part.documents) for part in parts),
        notes=tuple(again),
    )


def _joined(part: Part, tokenizer: Tokenizer) -> Tokens:
    joined: list[Tokens] = []
    for text in part.documents:
        joined += [tokenizer.separator, tokenizer.encode(Document(text=text))]
    return Tokens.joined(joined[1:])


# --- the model ----------------------------------------------------------------------------------------------


def _sizes(folder: Path) -> tuple[int | None, int | None]:
    """How many tokens the model knows and how many positions it has, where its config tells."""
    try:
        config = parse_object((folder / "config.json").read_bytes())
    except (OSError, NotAnObject):
        return None, None
    inner = config.get("text_config")
    told = {**config, **(inner if isinstance(inner, dict) else {})}
    rows, positions = told.get("vocab_size"), told.get("max_position_embeddings")
    return (rows if isinstance(rows, int) else None, positions if isinstance(positions, int) else None)
