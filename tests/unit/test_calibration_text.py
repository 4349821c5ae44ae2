"""Windows of tokens, scripts of characters, the built-in text, and what is told of a calibration's coverage."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from pydoc_data import topics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpress.calibrate.coverage import Coverage, coverage_of
from modelpress.calibrate.default_text import default_parts
from modelpress.calibrate.script import _RUNS, Script, scripts_of, scripts_of_spans
from modelpress.calibrate.window import Tokens, Windows, spread

ROOT = Path(__file__).resolve().parents[2]


def tokens(*ids: int, script: Script = Script.LATIN) -> Tokens:
    return Tokens(ids=np.array(ids, dtype=np.int64), scripts=np.full(len(ids), script, dtype=np.uint8))


# --- windows ------------------------------------------------------------------------------------------------


@given(st.integers(0, 300))
def test_every_beginning_of_a_spread_order_lies_evenly(count: int) -> None:
    order = spread(count)
    assert sorted(order) == list(range(count))
    for taken in range(1, count):
        gaps = [after - before for before, after in pairwise(sorted([*order[:taken], count]))]
        assert max(gaps) <= 4 * count / taken


@given(
    pieces=st.lists(st.lists(st.integers(10, 99), min_size=1, max_size=12).map(lambda ids: tokens(*ids)), max_size=12),
    count=st.integers(1, 6),
    length=st.integers(3, 9),
    opening=st.sampled_from([(), (1,), (1, 2)]),
)
def test_windows_hold_the_pieces_one_after_the_other_each_window_with_its_opening(
    pieces: list[Tokens], count: int, length: int, opening: tuple[int, ...]
) -> None:
    windows = Windows(count=count, length=length, opening=Tokens.without_text(opening))
    placed = [windows.place(piece, separator=Tokens.without_text((0,))) for piece in pieces]
    taken = windows.taken()
    assert all(len(window) == length for window in taken[:-1])
    assert all(window.ids[: len(opening)].tolist() == list(opening) for window in taken)
    text = [token for window in taken for token in window.ids[len(opening) :].tolist() if token]
    expected = [token for piece, room in zip(pieces, placed, strict=True) for token in piece.ids[:room].tolist()]
    # A last window of a few tokens is left out where there are others.
    assert expected[: len(text)] == text
    assert len(expected) - len(text) < (length if len(taken) >= 1 else 1)
    assert windows.full == (len(taken) == count and len(taken[-1]) == length)
    if not windows.full:
        assert placed == [len(piece) for piece in pieces]


def test_a_piece_is_parted_from_the_one_before_it_but_not_from_an_opening() -> None:
    windows = Windows(count=3, length=5, opening=tokens(1))
    for piece in (tokens(7, 7), tokens(8), tokens(9, 9, 9, 9), tokens(5, 5, 5)):
        windows.place(piece, separator=tokens(0))
    assert [window.ids.tolist() for window in windows.taken()] == [[1, 7, 7, 0, 8], [1, 9, 9, 9, 9]]


# --- scripts ------------------------------------------------------------------------------------------------


def test_runs_of_letters_are_in_order_and_apart() -> None:
    ends = [(first, last) for first, last, _ in _RUNS]
    assert all(first <= last for first, last in ends)
    assert all(before[1] < after[0] for before, after in pairwise(ends))


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("aZéßÿ", Script.LATIN),
        ("中文龘㐀𠀀々", Script.HAN),
        ("ひらカター", Script.KANA),
        ("한국어", Script.HANGUL),
        ("Привет", Script.CYRILLIC),
        ("سلام", Script.ARABIC),
        ("αβγאבגहिन्दीไทย", Script.OTHER),
        (" \n,.。，「」１23×÷→😀#_", Script.SIGNS),
    ],
)
def test_characters_are_told_apart_by_script(text: str, script: Script) -> None:
    assert [Script(found) for found in scripts_of(text)] == [script] * len(text)


def test_a_token_is_of_the_script_of_its_first_letter_and_a_byte_of_a_character_of_that_character() -> None:
    spans = [(0, 3), (3, 4), (3, 4), (4, 4), (4, 5), (5, 5)]
    found = [Script(script) for script in scripts_of_spans(" ab中。", spans)]
    assert found == [Script.LATIN, Script.HAN, Script.HAN, Script.SIGNS, Script.SIGNS, Script.SIGNS]
    assert len(scripts_of_spans("", [])) == 0


@given(st.text(), st.data())
def test_spans_are_as_their_first_letter_one_by_one(text: str, data: st.DataObject) -> None:
    places = st.integers(0, len(text))
    spans = data.draw(st.lists(st.tuples(places, places).map(lambda ends: (min(ends), max(ends)))))
    single = scripts_of(text)
    expected = [
        next((int(single[at]) for at in range(start, max(end, start + 1)) if at < len(text) and single[at]), 0)
        for start, end in spans
    ]
    assert [int(script) for script, (start, _) in zip(scripts_of_spans(text, spans), spans, strict=True)] == expected


# --- the built-in text --------------------------------------------------------------------------------------


def test_the_built_in_text_leaves_out_what_results_are_judged_by() -> None:
    names = sorted(topics.topics)
    held_out = {topics.topics[name] for name in names[int(len(names) * 0.6) :]}
    parts = {part.name: part for part in default_parts()}
    assert not held_out & set(parts["English documentation"].documents)
    prose = "\n".join(parts["Chinese prose"].documents)
    judged = (ROOT / "benchmarks/calibrated/texts/chinese.txt").read_text(encoding="utf-8")
    sentences = [sentence for sentence in judged.replace("\n", "。").split("。") if len(sentence) > 4]
    assert not [sentence for sentence in sentences if sentence in prose]
    for document in parts["Python code"].documents:
        assert "WARRANT" not in document.upper()


def test_the_built_in_text_has_enough_of_each_kind() -> None:
    parts = {part.name: part for part in default_parts()}
    assert sum(part.percent for part in parts.values()) == 100
    assert sum(map(len, parts["English documentation"].documents)) > 150_000
    assert sum(map(len, parts["Python code"].documents)) > 150_000
    chinese = "".join(parts["Chinese prose"].documents)
    assert np.count_nonzero(scripts_of(chinese) == Script.HAN) > 10_000
    assert len(parts["Chinese prose"].documents) > 20


def test_a_python_without_documentation_or_sources_still_has_the_prose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    assert [part.name for part in default_parts()] == ["Chinese prose"]


# --- coverage -----------------------------------------------------------------------------------------------


def told(*windows: Tokens, wanted: int = 1, empty: int = 0) -> Coverage:
    return coverage_of(
        windows, title="data.jsonl", samples_wanted=wanted, vocabulary=100, documents=1, empty=empty, notes=("A note.",)
    )


def test_coverage_counts_tokens_by_script_and_tells_them_as_json() -> None:
    found = told(tokens(1, 2, 2), tokens(2, 3, script=Script.HAN), empty=2)
    assert (found.tokens, found.samples, found.distinct_tokens) == (5, 2, 3)
    assert found.as_json()["scripts"] == {
        **{script.name.lower(): 0 for script in Script},
        "latin": 3,
        "han": 2,
    }
    assert found.sentences()[-1] == "A note."
    assert "2 documents without text were left out." in found.sentences()


def test_little_text_and_text_of_one_kind_are_warned_of() -> None:
    few = " ".join(told(tokens(*range(10)), wanted=4).sentences())
    assert "enough for 1 of 4 samples" in few
    assert "10 tokens are few" in few
    assert "Nearly all of the text is of one kind (Latin script)" in few
    rare = " ".join(told(tokens(*[1] * 9200), tokens(*[2] * 800, script=Script.HAN)).sentences())
    assert "92 % are Latin script and 8 % are Chinese characters." in rare
    assert "Only 8 % are Chinese characters" in rare
    assert "few" not in rare
    good = " ".join(told(tokens(*[1] * 6000), tokens(*[2] * 4000, script=Script.HAN)).sentences())
    assert "Only" not in good
    assert "Nearly" not in good


def test_text_without_letters_has_no_languages_to_tell_of() -> None:
    assert not [said for said in told(tokens(1, 2, script=Script.SIGNS)).sentences() if "letters" in said]
