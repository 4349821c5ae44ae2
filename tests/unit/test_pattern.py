"""Patterns of module names: what they mean, what is refused, and that none of them takes long."""

from __future__ import annotations

import fnmatch
import time
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelpress.domain.pattern import LONGEST_PATTERN, check_patterns, matcher, near, unmatched
from modelpress.errors import InvalidRequest

DOWN = "model.layers.0.mlp.down_proj"


def fits(pattern: str, module: str) -> bool:
    return matcher(check_patterns([pattern], field="targets"))(module)


@pytest.mark.parametrize(
    "pattern",
    [
        *(
            "down_proj",
            "mlp.down_proj",
            "mlp.*",
            "*",
            "*proj",
            DOWN,
            "model.layers.0.*",
            "model.layers.*.mlp.down_proj",
        ),
        *("layers.?.mlp.*", "layers.[0-3].*", "layers.[!1-9].*", "d*n_proj", "[a-e]own_proj", "*.0.*", "0.mlp.*_proj"),
    ],
)
def test_a_pattern_fits_a_whole_name_or_what_follows_one_of_its_dots(pattern: str) -> None:
    assert fits(pattern, DOWN)


@pytest.mark.parametrize(
    "pattern",
    ["mlp", "proj", "own_proj", "model", "Down_proj", "down_proj.weight", "layers.[1-3].*", "layers.??.*", "mlp.?"],
)
def test_a_pattern_that_ends_early_or_begins_within_a_word_does_not_fit(pattern: str) -> None:
    assert not fits(pattern, DOWN)


_text = st.text(alphabet="ab.", max_size=12)
_globs = st.text(alphabet="ab.*?", min_size=1, max_size=8)


@given(_globs, _text)
@example("*a*", "ba.b")
@example("[a]*b", "aab")
def test_patterns_mean_what_globs_of_the_standard_library_mean(pattern: str, module: str) -> None:
    words = module.split(".")
    tails = [".".join(words[start:]) for start in range(len(words))]
    assert fits(pattern, module) == any(fnmatch.fnmatchcase(tail, pattern) for tail in tails)


@given(st.lists(_globs, max_size=4), _text)
def test_several_patterns_fit_where_one_of_them_does(patterns: list[str], module: str) -> None:
    together = matcher(check_patterns(patterns, field="targets"))
    assert together(module) == any(fits(pattern, module) for pattern in patterns)


@given(st.text(max_size=20))
def test_whatever_is_written_is_a_pattern_or_refused(text: str) -> None:
    with suppress(InvalidRequest):
        matcher(check_patterns([text], field="targets"))(DOWN)


def test_order_and_repetition_of_patterns_make_no_difference() -> None:
    wanted = check_patterns(["up_proj", " down_proj", "up_proj", "mlp.**"], field="targets")
    assert wanted == check_patterns(["mlp.*", "down_proj", "up_proj"], field="targets") == tuple(sorted(wanted))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a" * (LONGEST_PATTERN + 1), "201 characters"),
        ("down proj", "blanks"),
        ("down\tproj", "control"),
        ("layers.[0-3", "not closed"),
        ("layers.[]", "not closed or empty"),
        ("layers.[!]", "not closed or empty"),
        ("layers.[9-0].*", "backwards"),
    ],
)
def test_what_is_no_pattern_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        check_patterns([text], field="config.ignore")


@pytest.mark.parametrize(
    ("text", "glob"),
    [
        ("re:.*down_proj", "*down_proj"),
        ("re:^model\\.layers\\.\\d+\\.mlp\\.down_proj$", "model.layers.*.mlp.down_proj"),
        ("re:.*\\.(q|k)_proj", "*.*q*k*_proj"),
        ("re:(a+)+$", "*a*"),
    ],
)
def test_a_regular_expression_is_refused_and_a_glob_is_offered(text: str, glob: str) -> None:
    with pytest.raises(InvalidRequest, match="regular expression") as caught:
        check_patterns([text], field="targets")
    assert caught.value.hint is not None
    assert repr(glob) in caught.value.hint


@pytest.mark.parametrize(
    "pattern", ["*a" * 100, "*a*b" * 50, "*?" * 100, "*[a-b]" * 33 + "*", "*.a" * 66, "*" * 200, "a*" * 99 + "!"]
)
def test_no_pattern_holds_up_a_server(pattern: str) -> None:
    hostile = [".".join("a" * 500), "a" * 1000, "ab" * 500, "a" * 999 + "!", "aaaaaaaaa." * 100]
    began = time.process_time()
    for module in hostile:
        fits(pattern, module)
    assert time.process_time() - began < 1


def test_patterns_that_fit_nothing_are_found_with_what_is_near() -> None:
    modules = [DOWN, "model.layers.0.mlp.up_proj", "model.layers.0.self_attn.q_proj"]
    assert unmatched(["down_proj", "dwn_proj", "mlp.*"], modules) == ["dwn_proj"]
    assert near("mlp.dwn_proj", modules)[0] == "down_proj"
    assert near("zzz", modules) == []
