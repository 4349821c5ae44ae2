"""Calibration: the text that a method looks at, of which it learns what the inputs of a layer are like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from modelpress.errors import InvalidRequest

DEFAULT_SAMPLES, MOST_SAMPLES = 128, 65_536
DEFAULT_LENGTH_TOKENS, LEAST_LENGTH_TOKENS, LARGEST_LENGTH_TOKENS = 512, 16, 131_072
#: Of a file of calibration text; more than any calibration reads.
LARGEST_OBJECT_BYTES = 2**30


class CalibrationSource(StrEnum):
    """Where calibration text is from."""

    DEFAULT = "default"  #: what modelpress brings along: English, code and Chinese
    SELF = "self"  #: the model writes it, from its start token on
    OBJECT = "object"  #: a file of a bucket, or of the machine that a command runs on


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Which calibration text, and how much of it."""

    source: CalibrationSource = CalibrationSource.DEFAULT
    #: Empty unless the source is an object; then empty means that ``object_path`` is a path of this machine.
    bucket: str = ""
    object_path: str = ""
    num_samples: int = DEFAULT_SAMPLES
    #: Tokens of a sample at most.
    max_length: int = DEFAULT_LENGTH_TOKENS
    #: The field of each JSON line; None where "text" or "messages" is found by itself.
    text_field: str | None = None

    @property
    def title(self) -> str:
        """For people, such as ``128 samples of at most 512 tokens of the built-in text``."""
        whence = {
            CalibrationSource.DEFAULT: "of the built-in text",
            CalibrationSource.SELF: "that the model writes itself",
            CalibrationSource.OBJECT: f"of {f'{self.bucket}/{self.object_path}' if self.bucket else self.object_path}",
        }
        return f"{self.num_samples} samples of at most {self.max_length} tokens {whence[self.source]}"

    def as_json(self) -> dict[str, Any]:
        """A plain object that :func:`calibration_from_json` turns back into an equal value."""
        said = {"bucket": self.bucket, "object_path": self.object_path, "text_field": self.text_field}
        return {
            "source": self.source.value,
            "num_samples": self.num_samples,
            "max_length": self.max_length,
            **{name: value for name, value in said.items() if value},
        }


def calibration_from_json(data: Mapping[str, Any]) -> Calibration:
    """The calibration that ``as_json`` described."""
    return Calibration(**{**data, "source": CalibrationSource(data["source"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationWish:
    """A request's ``calibration`` as it was written; None is what was left out."""

    source: str | None = None
    bucket: str | None = None
    object_path: str | None = None
    #: A file of this machine, which a command may name, and no request.
    file: str | None = None
    num_samples: int | None = None
    max_length: int | None = None
    text_field: str | None = None


def make_calibration(wish: CalibrationWish, *, field: str) -> Calibration:
    """The calibration that a wish means; a source that is not said is an object where one is named.

    Raises: InvalidRequest naming the field below ``field``.
    """
    source = _source(wish, field)
    if source is not CalibrationSource.OBJECT and wish.text_field:
        raise InvalidRequest(f"{field}.textField", f"the text of source {source.value} has no fields")
    return Calibration(
        source=source,
        bucket=wish.bucket or "",
        object_path=wish.object_path or wish.file or "",
        num_samples=_number(wish.num_samples, (DEFAULT_SAMPLES, 1, MOST_SAMPLES), f"{field}.numSamples"),
        max_length=_number(
            wish.max_length,
            (DEFAULT_LENGTH_TOKENS, LEAST_LENGTH_TOKENS, LARGEST_LENGTH_TOKENS),
            f"{field}.maxLength",
        ),
        text_field=wish.text_field or None,
    )


def _source(wish: CalibrationWish, field: str) -> CalibrationSource:
    named = bool(wish.bucket or wish.object_path or wish.file)
    sources = {source.value: source for source in CalibrationSource}
    usual = CalibrationSource.OBJECT if named else CalibrationSource.DEFAULT
    source = sources.get((wish.source or usual).strip().lower())
    if source is None:
        raise InvalidRequest(f"{field}.source", f"{wish.source!r} is none of {', '.join(sources)}")
    if named and source is not CalibrationSource.OBJECT:
        raise InvalidRequest(f"{field}.source", f"{source.value} contradicts an object that is named")
    if source is CalibrationSource.OBJECT and not wish.file:
        for name, value in (("bucket", wish.bucket), ("objectPath", wish.object_path)):
            if not value:
                raise InvalidRequest(f"{field}.{name}", "required when the source is an object")
    return source


def _number(wanted: int | None, bounds: tuple[int, int, int], field: str) -> int:
    usual, least, largest = bounds
    value = usual if wanted is None else wanted
    if not least <= value <= largest:
        # A number that is much too large may have thousands of digits.
        named = str(value) if abs(value) < 10**9 else "it"
        raise InvalidRequest(field, f"{named} is not between {least} and {largest}")
    return int(value)
