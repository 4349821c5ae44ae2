"""Calibration documents: plain texts and conversations, and what records of a data set are taken for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Where a record's text is looked for when no field was named, in this order.
KNOWN_FIELDS = ("messages", "conversations", "text", "content")
#: Fields that are a question and its answer. Qianfan's data sets have ``prompt`` and ``response``.
KNOWN_PAIRS = (("prompt", "response"), ("prompt", "completion"), ("instruction", "output"))
#: What data sets call those who speak, and what chat templates do.
_ROLES = {"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"}
_NAMED_FIELDS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What one side says."""

    role: str
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text, or a conversation that the model's chat template makes one of."""

    text: str = ""
    messages: tuple[Message, ...] = ()
    #: Where it lies in its file, as errors name it.
    place: str = ""

    @property
    def empty(self) -> bool:
        """Whether nothing is said in it."""
        return not self.text.strip() and not any(message.content.strip() for message in self.messages)


class BadRecord(ValueError):
    """Why a record is no document: a clause to follow its place; ``hint`` says what would be one."""

    def __init__(self, why: str, *, hint: str) -> None:
        super().__init__(why)
        self.hint = hint


def document(record: Any, *, text_field: str | None, place: str) -> Document:
    """The document that a record, a parsed value of JSON, holds.

    A string is a text; a list of turns (``role`` and ``content``, ``from`` and ``value``, ``prompt`` and ``response``)
    a conversation; an object has either in ``text_field`` or, where that is None, in the first known field that it has.

    Raises: BadRecord.
    """
    value = _of_object(record, text_field=text_field) if isinstance(record, dict) else record
    if isinstance(value, str):
        return Document(text=_without_halves(value), place=place)
    if isinstance(value, list):
        return Document(messages=tuple(_messages(value)), place=place)
    raise BadRecord(f"is {_kind(value)}, not an object with text", hint='{"text": "…"} on each line is understood')


def _of_object(record: Mapping[str, Any], *, text_field: str | None) -> Any:
    if text_field is not None:
        if text_field not in record:
            raise BadRecord(
                f"has no field {text_field[:100]!r}: it has {_names(record)}",
                hint="calibration.textField names the field that holds the text",
            )
        value = record[text_field]
        if not isinstance(value, str | list):
            raise BadRecord(
                f"has {_kind(value)} in the field {text_field[:100]!r}",
                hint="the field may hold a string, or a list of messages with role and content",
            )
        return value
    for name in KNOWN_FIELDS:
        if isinstance(record.get(name), str | list):
            return record[name]
    if any(question in record and answer in record for question, answer in KNOWN_PAIRS):
        return [record]
    raise BadRecord(
        f"has no text in any known field ({', '.join(KNOWN_FIELDS)}): it has {_names(record)}",
        hint="calibration.textField names the field that holds the text",
    )


def _messages(turns: Sequence[Any]) -> list[Message]:
    messages: list[Message] = []
    for number, turn in enumerate(turns, 1):
        found = _of_turn(turn) if isinstance(turn, dict) else None
        if found is None:
            raise BadRecord(
                f"has a message {number} that is no object with role and content",
                hint='[{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}] is understood',
            )
        messages += found
    return messages


def _of_turn(turn: Mapping[str, Any]) -> list[Message] | None:
    for role, content in (("role", "content"), ("from", "value")):
        said = _said(turn.get(content))
        if isinstance(turn.get(role), str) and said is not None:
            return [Message(role=_ROLES.get(turn[role], turn[role]), content=said)]
    for question, answer in KNOWN_PAIRS:
        asked, answered = _said(turn.get(question)), _said(turn.get(answer))
        if asked is not None and answered is not None:
            more = _said(turn.get("input")) if question == "instruction" else None
            asked = f"{asked}\n{more}" if more else asked
            return [Message(role="user", content=asked), Message(role="assistant", content=answered)]
    return None


def _said(content: Any) -> str | None:
    """A message's words: a string, the texts of its parts, or the best of the answers that Qianfan's data sets list."""
    if isinstance(content, str):
        return _without_halves(content)
    if not isinstance(content, list):
        return None
    if content and isinstance(content[0], str | list):
        return _said(content[0])
    parts = [part.get("text") for part in content if isinstance(part, dict)]
    return _without_halves("\n".join(part for part in parts if isinstance(part, str)))


def _without_halves(text: str) -> str:
    """``text`` with a mark for each half of a character, which JSON can write and no tokenizer takes."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _names(record: Mapping[str, Any]) -> str:
    names = [repr(name[:40]) for name in list(record)[:_NAMED_FIELDS]]
    more = len(record) - len(names)
    return (", ".join(names) or "none") + (f" and {more} more" if more else "")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    known = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}
    return known.get(type(value), "an object")
