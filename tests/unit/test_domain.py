"""Values of the domain: states, recipes, pages, policies, ids."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpress.domain.identifier import ACCOUNT, MODEL, MODEL_SET, TASK, new_id
from modelpress.domain.page import make_page_request
from modelpress.domain.policy import Caller, Policy
from modelpress.domain.recipe import GroupSize, Recipe, recipe_from_json
from modelpress.domain.scheme import INT8_PTQ, SCHEMES, W4A16C16, W8A16C16, Scheme, find_scheme
from modelpress.domain.task import FINAL, NEXT, OPEN, TaskStatus, sources
from modelpress.domain.wish import Wish, make_recipe
from modelpress.errors import InvalidRequest

S = TaskStatus


# --- states --------------------------------------------------------------------------------------------------


def test_the_states_are_the_wires_own_words() -> None:
    assert {status.value for status in S} == {"creating", "running", "stopping", "succeeded", "failed", "stopped"}


def test_every_state_has_a_row_in_the_table_and_is_open_or_final() -> None:
    assert set(NEXT) == set(S)
    assert {S.SUCCEEDED, S.FAILED, S.STOPPED} == FINAL
    assert set(S) == OPEN | FINAL
    assert not OPEN & FINAL


def test_success_is_reached_from_running_alone_and_never_through_stopping() -> None:
    assert sources(S.SUCCEEDED) == {S.RUNNING}


def test_no_state_is_ever_left_for_creating() -> None:
    assert sources(S.CREATING) == frozenset()


@pytest.mark.parametrize("status", S)
def test_the_sources_of_a_state_are_the_table_read_backwards(status: TaskStatus) -> None:
    assert all((status in NEXT[leaving]) == (leaving in sources(status)) for leaving in S)


@pytest.mark.parametrize("status", sorted(OPEN))
def test_every_open_task_can_still_reach_an_end(status: TaskStatus) -> None:
    reached, seen = {status}, set[TaskStatus]()
    while reached - seen:
        seen |= reached
        reached = {following for leaving in reached for following in NEXT[leaving]}
    assert seen & FINAL


# --- schemes and recipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "scheme"),
    [
        (("W8A16C16", "W8A16", "WINT8"), W8A16C16),
        (("W4A16C16", "W4A16", "WINT4"), W4A16C16),
        (("INT8-PTQ", "W8A8", "W8A8C16"), INT8_PTQ),
    ],
)
def test_a_scheme_is_found_by_each_of_its_names_in_any_letter_case(names: tuple[str, ...], scheme: Scheme) -> None:
    for name in names:
        for written in (name, name.lower(), name.title(), f" {name} "):
            assert find_scheme(written) is scheme


def test_no_name_means_two_schemes() -> None:
    names = [name.lower() for s in SCHEMES for name in {s.name.lower(), s.quant_conf.lower(), *s.aliases}]
    assert len(names) == len(set(names))


@given(st.text())
def test_a_name_that_is_none_finds_nothing(name: str) -> None:
    known = {n.lower().replace("_", "-") for s in SCHEMES for n in (s.name, s.quant_conf, *s.aliases)}
    assert (find_scheme(name) is not None) == (name.strip().lower().replace("_", "-") in known)


_recipes = st.builds(
    Recipe,
    scheme=st.sampled_from(SCHEMES),
    group_size=st.none() | st.just("channel") | st.integers(min_value=1, max_value=2**31),
)


@given(_recipes)
def test_a_recipe_comes_back_from_json_as_it_was(recipe: Recipe) -> None:
    assert recipe_from_json(json.loads(json.dumps(recipe.as_json()))) == recipe


def test_equal_wishes_are_equal_recipes() -> None:
    wishes = [
        make_recipe(Wish(strategy="Quantization", weight="W4A16C16")),
        make_recipe(Wish(strategy=" quantization ", weight="w4a16")),
        make_recipe(Wish(strategy="QUANTIZATION", weight=None, quant_conf="wint4")),
        make_recipe(Wish(strategy="Quantization", weight="W4A16", quant_conf="WINT4")),
    ]
    assert len(set(wishes)) == 1


@pytest.mark.parametrize(
    ("strategy", "weight", "quant_conf", "group_size", "field"),
    [
        ("Pruning", "W8A16", None, None, "config.strategy"),
        ("", "W8A16", None, None, "config.strategy"),
        ("Quantization", None, None, None, "config.weight"),
        ("Quantization", "", None, None, "config.weight"),
        ("Quantization", "W9A16", None, None, "config.weight"),
        ("Quantization", "W8A16", "wint4", None, "config.quantConf"),
        ("Quantization", "W8A16", "nonsense", None, "config.quantConf"),
        ("Quantization", "W8A16", None, 0, "config.groupSize"),
        ("Quantization", "W8A16", None, -1, "config.groupSize"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_its_field(
    strategy: str, weight: str | None, quant_conf: str | None, group_size: GroupSize, field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make_recipe(Wish(strategy=strategy, weight=weight, quant_conf=quant_conf, group_size=group_size))
    assert caught.value.field == field


def test_the_refusal_of_an_unknown_weight_names_what_is_offered() -> None:
    with pytest.raises(InvalidRequest, match="INT8-PTQ, W8A16C16, W4A16C16"):
        make_recipe(Wish(strategy="Quantization", weight="W9A16"))


# --- pages, policies, ids ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "given"), [(None, 10), (1, 1), (100, 100), (101, 100), (10**9, 100)])
def test_a_page_has_ten_items_unless_asked_and_never_over_a_hundred(asked: int | None, given: int) -> None:
    assert make_page_request(marker=None, max_keys=asked, reverse=None).max_keys == given


@pytest.mark.parametrize("asked", [0, -1, -(10**9)])
def test_a_page_of_nothing_is_refused(asked: int) -> None:
    with pytest.raises(InvalidRequest, match="maxKeys"):
        make_page_request(marker=None, max_keys=asked, reverse=None)


def test_an_absent_marker_is_an_empty_one_and_order_is_that_of_creation() -> None:
    request = make_page_request(marker=None, max_keys=None, reverse=None)
    assert (request.marker, request.reverse) == ("", False)


@pytest.mark.parametrize(
    ("policies", "reads", "writes"),
    [
        ((), False, False),
        ((Policy.READ,), True, False),
        ((Policy.TUNING_READ,), True, False),
        ((Policy.FULL_CONTROL,), True, True),
        ((Policy.TUNING_FULL_CONTROL,), True, True),
        ((Policy.READ, Policy.TUNING_FULL_CONTROL), True, True),
    ],
)
def test_reads_need_any_policy_and_writes_one_of_full_control(
    policies: tuple[Policy, ...], reads: bool, writes: bool
) -> None:
    caller = Caller(account_id="acc-1", user_id="usr-1", access_key="AK", policies=frozenset(policies))
    assert (caller.may_read(), caller.may_write()) == (reads, writes)


@pytest.mark.parametrize("prefix", [TASK, MODEL, MODEL_SET, ACCOUNT])
def test_an_id_is_its_prefix_and_twelve_random_letters_or_digits(prefix: str) -> None:
    ids = {new_id(prefix) for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(re.escape(prefix) + "[a-z0-9]{12}", each) for each in ids)
