"""Files of calibration text: what is understood, what is taken of a large one, and what is said of a bad one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpress.calibrate import text_file
from modelpress.calibrate.document import Message, document
from modelpress.calibrate.text_file import FileText, read_documents
from modelpress.errors import BadCalibration

Write = Callable[[str, bytes], Path]
PLENTY = 1 << 20


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def read(path: Path, *, field: str | None = None, passages: int = 4, passage_bytes: int = PLENTY) -> FileText:
    return read_documents(path, text_field=field, passages=passages, passage_bytes=passage_bytes)


def lines(*records: Any) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def texts(found: FileText) -> list[str]:
    return [one.text for one in found.documents]


def refused(path: Path, *, field: str | None = None, passages: int = 4, passage_bytes: int = PLENTY) -> BadCalibration:
    with pytest.raises(BadCalibration) as caught:
        read(path, field=field, passages=passages, passage_bytes=passage_bytes)
    assert path.name in caught.value.message
    return caught.value


# --- forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data.jsonl", "data.ndjson", "data.json", "data.txt", "data"])
def test_json_lines_are_known_by_their_first_line_whatever_the_name(write: Write, name: str) -> None:
    found = read(write(name, b"\n" + lines({"text": "one"}, {"text": "二"}) + b"\n"))
    assert sorted(texts(found)) == ["one", "二"]
    assert found.records == 2


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_list_is_taken_whether_on_one_line_or_on_many(write: Write, indent: int | None) -> None:
    listed = json.dumps([{"text": "one"}, {"messages": [{"role": "user", "content": "two"}]}], indent=indent)
    found = read(write("data.json", listed.encode()))
    assert {one.text or one.messages[0].content for one in found.documents} == {"one", "two"}


def test_plain_text_is_one_document_without_its_byte_order_mark(write: Write) -> None:
    assert texts(read(write("book.txt", b"\xef\xbb\xbfOnce upon a time\n[1] a note\n"))) == [
        "Once upon a time\n[1] a note\n"
    ]


def test_a_plain_text_may_begin_with_a_bracket_and_lie_on_one_line(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_file, "MOST_LINE_BYTES", 100)
    assert texts(read(write("book.txt", b"[1] " + b"word " * 100))) == ["[1] " + "word " * 100]


def test_documents_without_text_are_counted_and_left_out(write: Write) -> None:
    found = read(write("data.jsonl", lines({"text": "  \n"}, {"text": "one"}, {"messages": []})))
    assert (texts(found), found.empty, found.records) == (["one"], 2, 3)


# --- how much -----------------------------------------------------------------------------------------------


def test_of_many_lines_just_enough_are_taken_from_everywhere_and_always_the_same(write: Write) -> None:
    path = write("data.jsonl", lines(*({"text": f"{number:04}"} for number in range(4000))))
    found = read(path, passages=100, passage_bytes=17)  # of which a line has 17
    numbers = sorted(int(text) for text in texts(found))
    assert len(numbers) == 100
    assert found.records == 4000
    assert all(15 <= sum(start <= number < start + 1000 for number in numbers) <= 35 for start in range(0, 4000, 1000))
    assert texts(read(path, passages=100, passage_bytes=17)) == texts(found)
    # What is wanted more of begins with what is taken of less.
    assert texts(read(path, passages=200, passage_bytes=17))[:100] == texts(found)


def test_of_a_long_plain_text_passages_at_even_distances_are_taken_from_the_beginning_of_a_line(write: Write) -> None:
    path = write("book.txt", "".join(f"行 {number:05}\n" for number in range(10_000)).encode())
    found = read(path, passages=5, passage_bytes=300)
    starts = [int(text.splitlines()[0].removeprefix("行 ")) for text in texts(found)]
    assert starts == pytest.approx([1000, 3000, 5000, 7000, 9000], abs=20)
    assert all(text.startswith("行 ") and len(text.encode()) <= 300 for text in texts(found))


@given(text=st.text(min_size=1), count=st.integers(1, 5), size=st.integers(8, 40))
def test_passages_are_parts_of_the_text_whatever_its_characters(
    tmp_path_factory: pytest.TempPathFactory, text: str, count: int, size: int
) -> None:
    path = tmp_path_factory.mktemp("plain") / "book.txt"
    path.write_text(text, encoding="utf-8", newline="")
    try:
        found = read(path, passages=count, passage_bytes=size)
    except BadCalibration:
        # Without text, or in another encoding by its first bytes, or JSON by its first line.
        return
    assert all(one.text in text or text.startswith(("{", "[", '"', "\ufeff")) for one in found.documents)


# --- what is wrong ------------------------------------------------------------------------------------------


def test_a_bad_line_is_told_by_its_number_and_column(write: Write) -> None:
    error = refused(write("data.jsonl", lines({"text": "one"}) + b'{"text": two}\n' + b"neither\n"))
    assert error.message == "calibration data data.jsonl: line 2 is not JSON (Expecting value at column 10)"
    assert error.failed_reason().startswith("BadCalibration: ")


def test_bytes_that_are_not_utf8_are_told_with_their_line(write: Write) -> None:
    assert "line 2 is not UTF-8 (byte 0xff" in refused(write("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n')).message
    assert "line 3 is not UTF-8 (byte 0xb9" in refused(write("a.txt", b"a\n\nb\xb9\xfa\n")).message
    far = b"line\n" * 1000 + b"\xff" * 3000 + b"\nline" * 1000
    assert "line 1001 is not UTF-8" in refused(write("b.txt", far), passages=1, passage_bytes=3000).message


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (gzip.compress(b'{"text": "a"}'), "compressed by gzip"),
        (b"PAR1\x15\x04", "a Parquet file"),
        ("text".encode("utf-16"), "text in UTF-16"),
        (b"", "empty"),
        (b" \n\n", "empty"),
    ],
)
def test_what_is_no_text_is_called_by_its_name(write: Write, content: bytes, what: str) -> None:
    assert f"is {what}" in refused(write("data.jsonl", content)).message


def test_a_wrong_field_is_told_with_those_that_there_are(write: Write) -> None:
    path = write("data.jsonl", lines({"id": 1, "body": "text", "n": 3}))
    assert "line 1 has no field 'txt': it has 'id', 'body', 'n'" in refused(path, field="txt").message
    assert "line 1 has a number in the field 'n'" in refused(path, field="n").message
    error = refused(path)
    assert "line 1 has no text in any known field (messages, conversations, text, content)" in error.message
    assert "textField" in str(error.hint)
    assert texts(read(path, field="body")) == ["text"]


def test_lines_and_lists_that_are_too_long_are_refused_with_their_numbers(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_file, "MOST_LINE_BYTES", 1 << 20)
    monkeypatch.setattr(text_file, "MOST_LIST_BYTES", 1 << 10)
    long = lines({"text": "a"}, {"text": "b" * (1 << 20)})
    assert "line 2 is longer than 1 MiB" in refused(write("data.jsonl", long)).message
    listed = json.dumps([{"text": "b" * (1 << 10)}]).encode()
    assert "a JSON list of 1038 bytes, more than 1024" in refused(write("data.json", listed)).message


def test_a_file_that_is_not_there_or_has_no_text_is_refused(write: Write, tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refused(tmp_path / "none.jsonl").message
    assert "no text in any of 2 records" in refused(write("data.jsonl", lines({"text": ""}, {"text": " "}))).message


def test_brackets_without_end_are_no_crash(write: Write) -> None:
    assert "line 1 is not JSON" in refused(write("data.jsonl", b"[" * 500_000)).message
    assert "is not JSON" in refused(write("data.json", b"[\n" + b"[" * 500_000)).message


# --- records ------------------------------------------------------------------------------------------------

FIELDS = st.sampled_from(["text", "messages", "role", "content", "prompt", "response", "x"])
RECORDS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(FIELDS, inner),
    max_leaves=8,
)
ASKED = (Message(role="user", content="why?"), Message(role="assistant", content="because"))


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [{"role": "user", "content": "why?"}, {"role": "assistant", "content": "because"}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "why?"}]},
                {"from": "gpt", "value": "because"},
            ]
        },
        {"conversations": [{"from": "human", "value": "why?"}, {"from": "gpt", "value": "because"}]},
        [{"prompt": "why?", "response": [["because", "so"]]}],
        {"prompt": "why?", "response": "because"},
        {"instruction": "why?", "input": "", "output": "because", "text": None},
    ],
)
def test_conversations_in_the_forms_of_known_data_sets_are_understood(record: Any) -> None:
    assert document(record, text_field=None, place="line 1").messages == ASKED


def test_halves_of_characters_become_marks() -> None:
    assert document({"text": "a\ud800b"}, text_field=None, place="line 1").text == "a?b"


@given(record=RECORDS)
def test_any_json_is_a_document_or_refused_with_the_line(tmp_path_factory: pytest.TempPathFactory, record: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "data.jsonl"
    path.write_bytes(lines(record))
    try:
        found = read(path)
    except BadCalibration as exc:
        refusal = exc
    else:
        assert [one.empty for one in found.documents] == [False]
        return
    assert refusal.hint
    assert "line 1" in refusal.message or "no text" in refusal.message


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip), min_size=1, max_size=20)
)
def test_every_text_that_is_written_as_a_line_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, written: list[str]
) -> None:
    path = tmp_path_factory.mktemp("json") / "data.jsonl"
    path.write_bytes(lines(*({"text": text} for text in written)))
    assert sorted(texts(read(path))) == sorted(written)
