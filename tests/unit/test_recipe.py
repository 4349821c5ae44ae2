"""Recipes: what a wish means, that equal wishes are equal, and that they survive being stored."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpress.domain import scheme as schemes
from modelpress.domain import wish as wishes
from modelpress.domain.calibration import Calibration, CalibrationSource
from modelpress.domain.method import Method, Strategy
from modelpress.domain.pattern import check_patterns
from modelpress.domain.recipe import Choice, Override, Recipe, recipe_from_json
from modelpress.domain.scheme import DENSE, INT8_PTQ, KNOWN, NVFP4, Q4_0, Q4_K_M, Q8_0, W4A16C16, W8A16C16, Scheme
from modelpress.domain.sparsity import Sparsity
from modelpress.domain.tuning import Tuning
from modelpress.domain.wish import OverrideWish, Wish, make_recipe
from modelpress.errors import InvalidRequest
from modelpress.service.tasks import TaskRequest

_patterns = st.lists(st.text(alphabet="ab_.*?", min_size=1, max_size=9), max_size=4).map(
    lambda texts: check_patterns(texts, field="targets")
)
_schemes = st.sampled_from(KNOWN)
_group_sizes = st.none() | st.just("channel") | st.integers(min_value=1, max_value=2**24)
_symmetric = st.none() | st.booleans()
_overrides = st.builds(
    Override,
    targets=_patterns.filter(bool),
    keep=st.booleans(),
    scheme=st.none() | _schemes,
    group_size=_group_sizes,
    symmetric=_symmetric,
)
_calibrations = st.builds(
    Calibration,
    source=st.sampled_from(CalibrationSource),
    bucket=st.text(max_size=4),
    object_path=st.text(max_size=4),
    num_samples=st.integers(min_value=1, max_value=65_536),
    max_length=st.integers(min_value=16, max_value=131_072),
    text_field=st.none() | st.text(min_size=1, max_size=4),
)
_tunings = st.builds(
    Tuning,
    act_order=st.none() | st.booleans(),
    dampening=st.none() | st.floats(min_value=1e-6, max_value=1),
    smoothing_strength=st.none() | st.floats(min_value=0, max_value=1),
    iterations=st.none() | st.integers(min_value=1, max_value=10_000),
)
_recipes = st.builds(
    Recipe,
    scheme=_schemes | st.just(DENSE),
    strategy=st.sampled_from(Strategy),
    method=st.sampled_from(Method),
    sparsity=st.none()
    | st.builds(
        Sparsity, ratio=st.floats(min_value=0, max_value=0.9), pattern=st.sampled_from(["unstructured", "2:4"])
    ),
    calibration=st.none() | _calibrations,
    tuning=st.none() | _tunings.filter(lambda tuning: tuning != Tuning()),
    group_size=_group_sizes,
    symmetric=_symmetric,
    scale_search=st.sampled_from(["max", "mse"]),
    targets=_patterns,
    ignore=_patterns,
    overrides=st.lists(_overrides, max_size=3).map(tuple),
)


@pytest.fixture(autouse=True)
def _all_schemes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes, "SCHEMES", KNOWN)
    monkeypatch.setattr(wishes, "SCHEMES", KNOWN)


def recipe_of(weight: str, **rest: object) -> Recipe:
    return make_recipe(Wish(strategy="Quantization", weight=weight, **rest))  # type: ignore[arg-type]


def override_of(*targets: str, **rest: object) -> OverrideWish:
    return OverrideWish(targets=targets, **rest)  # type: ignore[arg-type]


# --- stored --------------------------------------------------------------------------------------------------


@given(_recipes)
def test_a_recipe_comes_back_from_json_as_it_was(recipe: Recipe) -> None:
    stored = json.loads(json.dumps(recipe.as_json()))
    assert recipe_from_json(stored) == recipe
    assert hash(recipe_from_json(stored)) == hash(recipe)


def test_a_recipe_stored_by_an_older_version_is_read() -> None:
    stored = {"strategy": "Quantization", "scheme": "W4A16C16", "method": "rtn", "group_size": 64}
    assert recipe_from_json(stored) == Recipe(scheme=W4A16C16, group_size=64)
    assert recipe_from_json(stored).as_json() == stored


def test_a_request_that_an_older_version_knew_keeps_its_digest() -> None:
    request = TaskRequest(
        name="n", description="", source_model_id="amv-1", model_set_id="am-1", recipe=recipe_of("W4A16C16")
    )
    assert request.digest() == "e4f601257aac58f9563b5aaf94b088afe20fd358ab39443153aabf928aa5d10c"


@given(_recipes, _recipes)
def test_requests_share_a_digest_only_if_they_want_the_same(one: Recipe, other: Recipe) -> None:
    digests = {
        TaskRequest(name="n", description="", source_model_id="s", model_set_id="m", recipe=recipe).digest()
        for recipe in (one, other)
    }
    assert (len(digests) == 1) == (one == other)


# --- equal wishes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "rest", "weight_again", "rest_again"),
    [
        ("W4A16", {"symmetric": True, "scale_search": "MAX"}, "wint4", {}),
        ("W8A16", {"group_size": "channel"}, "W8A16C16", {}),
        ("NVFP4", {"group_size": 16}, "wnvfp4", {"symmetric": True}),
        ("FP8-BLOCK", {"group_size": 128}, "wfp8-block", {}),
        ("FP8", {"group_size": "channel"}, "FP8_DYNAMIC", {}),
        ("W8A16C16", {"output_format": "GGUF"}, "Q8_0", {}),
        ("W4A16C16", {"output_format": "gguf"}, "q4_k_m", {"output_format": "gguf", "symmetric": False}),
        ("W4A16", {"output_format": "safetensors"}, "W4A16", {}),
        ("W4A16", {"targets": ["b", "a", "a"]}, "W4A16", {"targets": ("a", "b")}),
        (
            "W4A16",
            {"overrides": [override_of("b", "a", weight="W8A16", group_size="channel")]},
            "W4A16",
            {"overrides": [override_of("a", "b", weight="wint8"), override_of("b", "a", weight="W8A16C16")]},
        ),
        (
            "W4A16",
            {"overrides": [override_of("a", weight="W4A16", group_size=32)]},
            "W4A16",
            {"overrides": [override_of("a", group_size=32, symmetric=True)]},
        ),
    ],
)
def test_equal_wishes_are_equal_recipes(
    weight: str, rest: dict[str, object], weight_again: str, rest_again: dict[str, object]
) -> None:
    one, other = recipe_of(weight, **rest), recipe_of(weight_again, **rest_again)
    assert one == other
    assert one.as_json() == other.as_json()


# --- what becomes of a module --------------------------------------------------------------------------------


def test_without_patterns_every_module_gets_the_recipes_own_format() -> None:
    recipe = recipe_of("W4A16", group_size=64, symmetric=False, scale_search="mse")
    own = Choice(scheme=W4A16C16, group_size=64, symmetric=False, scale_search="mse")
    assert recipe.choose("model.layers.0.mlp.up_proj") == own


def test_what_is_ignored_or_no_target_stays_as_it_is_whatever_overrides_say() -> None:
    recipe = recipe_of("W4A16", targets=["mlp.*"], ignore=["up_proj"], overrides=[override_of("*", weight="W8A16")])
    assert recipe.choose("layers.0.mlp.up_proj") is None
    assert recipe.choose("layers.0.self_attn.q_proj") is None
    made = recipe.choose("layers.0.mlp.down_proj")
    assert made is not None
    assert made.scheme is W8A16C16


def test_the_first_override_that_fits_holds() -> None:
    overrides = [override_of("layers.0.*", weight="none"), override_of("down_proj", weight="W8A16")]
    recipe = recipe_of("W4A16", group_size=64, overrides=overrides)
    assert recipe.choose("layers.0.mlp.down_proj") is None
    assert recipe.choose("layers.1.mlp.down_proj") == Choice(
        scheme=W8A16C16, group_size=None, symmetric=True, scale_search="max"
    )


def test_an_override_without_a_scheme_changes_only_what_it_says() -> None:
    overrides = [override_of("a", group_size=32), override_of("b", symmetric=True), override_of("c", symmetric=False)]
    recipe = recipe_of("W4A16", group_size=64, symmetric=False, scale_search="mse", overrides=overrides)
    sizes = {module: recipe.choose(module) for module in "abc"}
    assert sizes["a"] == Choice(scheme=W4A16C16, group_size=32, symmetric=False, scale_search="mse")
    assert sizes["b"] == Choice(scheme=W4A16C16, group_size=64, symmetric=True, scale_search="mse")
    assert sizes["c"] == Choice(scheme=W4A16C16, group_size=64, symmetric=False, scale_search="mse")


def test_an_override_can_go_back_to_whole_rows() -> None:
    recipe = recipe_of("W8A16", group_size=128, overrides=[override_of("a", group_size="channel")])
    made = recipe.choose("a")
    assert made is not None
    assert made.group_size == "channel"


def test_scales_are_searched_only_where_the_scheme_can() -> None:
    recipe = recipe_of("W4A16", scale_search="mse", overrides=[override_of("a", weight="NVFP4")])
    made = recipe.choose("a")
    assert made is not None
    assert (made.scheme, made.scale_search) == (NVFP4, "max")


def test_in_gguf_the_generic_names_of_overrides_mean_its_types() -> None:
    recipe = recipe_of("W4A16", output_format="gguf", overrides=[override_of("down_proj", weight="W8A16")])
    assert recipe.scheme is Q4_K_M
    assert recipe.overrides[0].scheme is Q8_0


# --- refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "rest", "field"),
    [
        ("W4A16", {"group_size": 0}, "groupSize"),
        ("W4A16", {"group_size": 2**60}, "groupSize"),
        ("NVFP4", {"group_size": 32}, "groupSize"),
        ("FP8", {"group_size": 128}, "groupSize"),
        ("FP8-BLOCK", {"group_size": 64}, "groupSize"),
        ("Q4_0", {"group_size": 64}, "groupSize"),
        ("FP8", {"symmetric": False}, "symmetric"),
        ("INT8-PTQ", {"symmetric": False}, "symmetric"),
        ("Q4_K_M", {"symmetric": True}, "symmetric"),
        ("W4A16", {"scale_search": "best"}, "scaleSearch"),
        ("NVFP4", {"scale_search": "mse"}, "scaleSearch"),
        ("W4A16", {"output_format": "onnx"}, "outputFormat"),
        ("Q8_0", {"output_format": "safetensors"}, "outputFormat"),
        ("INT8-PTQ", {"output_format": "gguf"}, "outputFormat"),
        ("W4A16", {"targets": ["re:.*"]}, "targets"),
        ("W4A16", {"ignore": [""]}, "ignore"),
        ("W4A16", {"ignore": [f"layers.{index}.*" for index in range(300)]}, "targets"),
        ("W4A16", {"overrides": [override_of()]}, "overrides[0].targets"),
        ("W4A16", {"overrides": [override_of("a")]}, "overrides[0].weight"),
        ("W4A16", {"overrides": [override_of("a", weight="W9A16")]}, "overrides[0].weight"),
        ("W4A16", {"overrides": [override_of("a", weight="none", group_size=32)]}, "overrides[0].weight"),
        ("W4A16", {"overrides": [override_of("a", weight="Q8_0")]}, "overrides[0].weight"),
        ("Q4_0", {"overrides": [override_of("a", weight="FP8")]}, "overrides[0].weight"),
        (
            "W4A16",
            {"overrides": [override_of("a", weight="W8A16"), override_of("b", weight="NVFP4", symmetric=False)]},
            "overrides[1].symmetric",
        ),
        ("W4A16", {"overrides": [override_of("re:b", weight="W8A16")]}, "overrides[0].targets"),
        ("W4A16", {"overrides": [override_of("a", weight="W8A16")] * 65}, "overrides"),
    ],
)
def test_a_wish_that_cannot_be_is_refused_by_its_field(weight: str, rest: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        recipe_of(weight, **rest)
    assert caught.value.field == f"config.{field}"


@pytest.mark.parametrize("scheme", KNOWN, ids=lambda scheme: scheme.name)
def test_every_scheme_is_found_by_its_names_and_describes_its_format(scheme: Scheme) -> None:
    for name in (scheme.name, scheme.quant_conf, *scheme.aliases):
        assert schemes.find_scheme(name.swapcase()) is scheme
    assert bool(scheme.group_sizes) == (scheme.grouping != "channel")
    assert scheme.quant_conf == scheme.quant_conf.lower()


def test_no_name_means_two_schemes() -> None:
    names = [name.lower() for s in KNOWN for name in {s.name.lower(), s.quant_conf.lower(), *s.aliases}]
    assert len(names) == len(set(names))


def test_only_what_is_made_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (schemes, wishes):
        monkeypatch.setattr(module, "SCHEMES", (W8A16C16,))
    with pytest.raises(InvalidRequest, match="none of W8A16C16"):
        recipe_of("W4A16")
    with pytest.raises(InvalidRequest, match="none of safetensors"):
        recipe_of("W8A16", output_format="gguf")
    assert recipe_from_json(Recipe(scheme=Q4_0).as_json()).scheme is Q4_0
    assert INT8_PTQ not in schemes.SCHEMES
