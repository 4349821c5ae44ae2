"""Methods: what is meant where none is named, what each needs and takes, and what cannot be asked for together."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelpress.domain.calibration import Calibration, CalibrationSource
from modelpress.domain.calibration import CalibrationWish as C
from modelpress.domain.method import Method
from modelpress.domain.method import Strategy as S
from modelpress.domain.recipe import Recipe, recipe_from_json
from modelpress.domain.scheme import DENSE, FP8, INT8_PTQ, SCHEMES, W4A16C16, W8A16C16, find_scheme
from modelpress.domain.sparsity import Sparsity
from modelpress.domain.task_filter import make_scheme
from modelpress.domain.tuning import Tuning
from modelpress.domain.wish import OverrideWish, Wish, make_recipe
from modelpress.errors import InvalidRequest

DEFAULT = Calibration()


def quantized(weight: str = "W4A16", **rest: object) -> Recipe:
    return make_recipe(Wish(strategy="Quantization", weight=weight, **rest))  # type: ignore[arg-type]


def pruned(**rest: object) -> Recipe:
    return make_recipe(Wish(strategy="Sparsity", **rest))  # type: ignore[arg-type]


def refused(strategy: str, rest: Mapping[str, object]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        make_recipe(Wish(strategy=strategy, **rest))  # type: ignore[arg-type]
    return caught.value


# --- what auto means -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "auto", " Auto "])
@pytest.mark.parametrize(
    ("strategy", "weight", "calibration", "method"),
    [
        ("Quantization", "W4A16", None, Method.RTN),
        ("Quantization", "W4A16", C(), Method.GPTQ),
        ("Quantization", "W8A16", C(), Method.GPTQ),
        ("Quantization", "W2A16C16", C(), Method.GPTQ),
        ("Quantization", "INT8-PTQ", C(source="self"), Method.SMOOTHQUANT),
        ("Quantization", "FP8", None, Method.RTN),
        ("Quantization", "Q4_0", None, Method.RTN),
        ("Sparsity", None, None, Method.MAGNITUDE),
        ("Sparsity", None, C(), Method.SPARSEGPT),
        ("Sparsity", "W4A16", None, Method.MAGNITUDE),
        ("Sparsity", "FP8", C(), Method.SPARSEGPT),
    ],
)
def test_auto_is_the_method_that_fits_what_else_is_said(
    name: str | None, strategy: str, weight: str | None, calibration: C | None, method: Method
) -> None:
    recipe = make_recipe(Wish(strategy=strategy, weight=weight, method=name, calibration=calibration))
    assert recipe.method is method
    assert recipe == make_recipe(
        Wish(strategy=strategy, weight=weight, method=method.value.upper(), calibration=calibration)
    )


def test_beside_smoothed_layers_some_can_have_weights_alone_rounded() -> None:
    recipe = quantized("INT8-PTQ", calibration=C(), overrides=(OverrideWish(targets=("down_proj",), weight="W8A16"),))
    assert recipe.method is Method.SMOOTHQUANT
    assert recipe.overrides[0].scheme is W8A16C16


@pytest.mark.parametrize("method", Method)
def test_a_calibrated_method_has_the_built_in_text_where_none_is_named(method: Method) -> None:
    weight = None if method.strategy is S.SPARSITY else "INT8-PTQ"
    recipe = make_recipe(Wish(strategy=method.strategy, weight=weight, method=method.value))
    assert recipe.method is method
    assert recipe.calibration == (DEFAULT if method.calibrated else None)


def test_what_a_recipe_makes_is_told_in_words() -> None:
    assert quantized().title == "W4A16C16"
    assert quantized(method="gptq").title == "W4A16C16 (gptq)"
    assert pruned().title == "50 % sparse (magnitude)"
    assert pruned(method="wanda", sparsity_pattern="2:4", weight="W4A16").title == (
        "50 % sparse in 2:4 (wanda), W4A16C16"
    )
    assert DEFAULT.title == "128 samples of at most 512 tokens of the built-in text"
    assert Calibration(source=CalibrationSource.OBJECT, bucket="b", object_path="c.jsonl").title.endswith("b/c.jsonl")


# --- equal wishes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "one", "other"),
    [
        ("Quantization", {"weight": "W4A16", "method": "RTN"}, {"weight": "W4A16"}),
        ("Quantization", {"weight": "W4A16", "method": "gptq"}, {"weight": "W4A16", "calibration": C()}),
        (
            "Quantization",
            {"weight": "W4A16", "calibration": C(source="Default", num_samples=128, max_length=512)},
            {"weight": "W4A16", "calibration": C(), "tuning": Tuning(dampening=0.01)},
        ),
        (
            "Quantization",
            {"weight": "W4A16", "calibration": C(source="object", bucket="b", object_path="p")},
            {"weight": "W4A16", "calibration": C(bucket="b", object_path="p")},
        ),
        ("Sparsity", {}, {"sparsity_ratio": 0.5, "sparsity_pattern": "Unstructured", "method": "magnitude"}),
        ("Sparsity", {"sparsity_pattern": "2:4"}, {"sparsity_ratio": 0.5, "sparsity_pattern": " 2:4"}),
        ("Sparsity", {"output_format": "safetensors"}, {}),
        ("Sparsity", {"weight": "W4A16", "symmetric": True}, {"quant_conf": "wint4"}),
        ("Sparsity", {"sparsity_ratio": 0}, {"sparsity_ratio": 0.0}),
    ],
)
def test_equal_wishes_are_equal_recipes(strategy: str, one: dict[str, object], other: dict[str, object]) -> None:
    first, second = (make_recipe(Wish(strategy=strategy, **words)) for words in (one, other))  # type: ignore[arg-type]
    assert first == second
    assert json.dumps(first.as_json()) == json.dumps(second.as_json())


_numbers = st.none() | st.integers(min_value=16, max_value=65_536)
_calibration_wishes = st.none() | st.builds(C, source=st.sampled_from([None, "self"]), num_samples=_numbers)
_tunings = st.builds(
    Tuning,
    act_order=st.none() | st.booleans(),
    dampening=st.none() | st.floats(min_value=1e-6, max_value=1),
    smoothing_strength=st.none() | st.floats(min_value=0, max_value=1),
    iterations=st.none() | st.integers(min_value=1, max_value=10_000),
)


@given(
    strategy=st.sampled_from(S),
    weight=st.none() | st.sampled_from([scheme.name for scheme in SCHEMES]),
    method=st.sampled_from([None, "auto", *Method]),
    ratio=st.none() | st.sampled_from([0.5, 0, 0.9]),
    pattern=st.sampled_from([None, "unstructured", "2:4"]),
    calibration=_calibration_wishes,
    tuning=st.none() | _tunings,
)
def test_what_a_wish_means_survives_being_stored_and_is_never_contradictory(
    strategy: S,
    weight: str | None,
    method: str | None,
    ratio: float | None,
    pattern: str | None,
    calibration: C | None,
    tuning: Tuning | None,
) -> None:
    wish = Wish(
        strategy=strategy,
        weight=weight,
        method=method,
        sparsity_ratio=ratio,
        sparsity_pattern=pattern,
        calibration=calibration,
        tuning=tuning,
    )
    try:
        recipe = make_recipe(wish)
    except InvalidRequest:
        return
    assert recipe_from_json(json.loads(json.dumps(recipe.as_json()))) == recipe
    assert recipe.method.strategy is strategy
    assert recipe.method.fits(recipe.scheme)
    assert (recipe.sparsity is not None) == (strategy is S.SPARSITY)
    assert (recipe.calibration is not None) == recipe.method.calibrated
    assert recipe.quantizes == (weight is not None)


# --- sparsity ------------------------------------------------------------------------------------------------


def test_what_is_pruned_alone_stays_in_its_numbers_and_what_is_pruned_and_quantized_gets_others() -> None:
    alone = pruned(sparsity_ratio=0.25)
    assert alone.scheme is DENSE
    assert alone.sparsity == Sparsity(ratio=0.25)
    made = alone.choose("model.layers.0.mlp.up_proj")
    assert made is not None
    assert made.scheme is DENSE
    both = pruned(weight="W8A16", overrides=[OverrideWish(targets=["up_proj"], weight="INT8-PTQ")])
    assert both.scheme is W8A16C16
    over = both.choose("model.layers.0.mlp.up_proj")
    assert over is not None
    assert over.scheme is INT8_PTQ


def test_modules_can_be_kept_from_pruning() -> None:
    recipe = pruned(overrides=[OverrideWish(targets=["up_proj"], weight="none")])
    assert recipe.choose("model.layers.0.mlp.up_proj") is None


def test_nobody_finds_the_scheme_of_what_is_not_quantized() -> None:
    assert find_scheme("DENSE") is None
    assert DENSE not in SCHEMES
    with pytest.raises(InvalidRequest):
        make_scheme("DENSE")


# --- refusals ------------------------------------------------------------------------------------------------

_BUCKET = C(bucket="b", object_path="p")


@pytest.mark.parametrize(
    ("strategy", "rest", "field"),
    [
        ("Quantization", {"weight": "W4A16", "method": "best"}, "method"),
        ("Quantization", {"weight": "W4A16", "method": "wanda"}, "method"),
        ("Sparsity", {"method": "gptq"}, "method"),
        ("Quantization", {"weight": "FP8", "method": "gptq"}, "method"),
        ("Quantization", {"weight": "Q8_0", "method": "gptq"}, "method"),
        ("Quantization", {"weight": "NVFP4", "method": "awq"}, "method"),
        ("Quantization", {"weight": "MXFP4", "method": "learned"}, "method"),
        ("Quantization", {"weight": "W4A16", "method": "smoothquant"}, "method"),
        ("Quantization", {"weight": "W4A16", "method": "rtn", "calibration": C()}, "calibration"),
        ("Quantization", {"weight": "FP8", "calibration": C()}, "calibration"),
        ("Quantization", {"weight": "W4A16", "output_format": "gguf", "calibration": C()}, "calibration"),
        ("Sparsity", {"method": "magnitude", "calibration": C()}, "calibration"),
        ("Quantization", {"weight": "W4A16", "sparsity_ratio": 0.5}, "sparsityRatio"),
        ("Quantization", {"weight": "W4A16", "sparsity_pattern": "2:4"}, "sparsityPattern"),
        ("Sparsity", {"sparsity_ratio": 0.91}, "sparsityRatio"),
        ("Sparsity", {"sparsity_ratio": -0.1}, "sparsityRatio"),
        ("Sparsity", {"sparsity_ratio": float("nan")}, "sparsityRatio"),
        ("Sparsity", {"sparsity_ratio": 0.6, "sparsity_pattern": "2:4"}, "sparsityRatio"),
        ("Sparsity", {"sparsity_pattern": "4:8"}, "sparsityPattern"),
        ("Sparsity", {"sparsity_pattern": "2:4", "method": "structured"}, "sparsityPattern"),
        ("Sparsity", {"weight": "W4A16", "symmetric": False}, "symmetric"),
        ("Sparsity", {"weight": "Q8_0"}, "weight"),
        ("Sparsity", {"weight": "W4A16", "output_format": "gguf"}, "weight"),
        ("Sparsity", {"weight": "W9"}, "weight"),
        ("Sparsity", {"output_format": "gguf"}, "outputFormat"),
        ("Sparsity", {"output_format": "onnx"}, "outputFormat"),
        ("Sparsity", {"group_size": 64}, "groupSize"),
        ("Sparsity", {"symmetric": True}, "symmetric"),
        ("Sparsity", {"scale_search": "mse"}, "scaleSearch"),
        ("Sparsity", {"overrides": [OverrideWish(targets=["a"], weight="W4A16")]}, "overrides[0].weight"),
        (
            "Sparsity",
            {"weight": "W8A16", "overrides": [OverrideWish(targets=["a"], weight="W4A16", symmetric=False)]},
            "overrides[0].symmetric",
        ),
        (
            "Quantization",
            {"weight": "W4A16", "method": "awq", "overrides": [OverrideWish(targets=["a"], weight="FP8")]},
            "overrides[0].weight",
        ),
        ("Quantization", {"weight": "W4A16", "calibration": C(source="web")}, "calibration.source"),
        (
            "Quantization",
            {"weight": "W4A16", "calibration": C(source="self", bucket="b", object_path="p")},
            "calibration.source",
        ),
        ("Quantization", {"weight": "W4A16", "calibration": C(source="object")}, "calibration.bucket"),
        ("Quantization", {"weight": "W4A16", "calibration": C(object_path="p")}, "calibration.bucket"),
        ("Quantization", {"weight": "W4A16", "calibration": C(bucket="b")}, "calibration.objectPath"),
        ("Quantization", {"weight": "W4A16", "calibration": C(num_samples=0)}, "calibration.numSamples"),
        ("Quantization", {"weight": "W4A16", "calibration": C(num_samples=65_537)}, "calibration.numSamples"),
        ("Quantization", {"weight": "W4A16", "calibration": C(max_length=15)}, "calibration.maxLength"),
        ("Quantization", {"weight": "W4A16", "calibration": C(max_length=131_073)}, "calibration.maxLength"),
        ("Quantization", {"weight": "W4A16", "calibration": C(text_field="body")}, "calibration.textField"),
        ("Quantization", {"weight": "W4A16", "method": "gptq", "tuning": Tuning(dampening=0)}, "tuning.dampening"),
        ("Quantization", {"weight": "W4A16", "method": "gptq", "tuning": Tuning(dampening=1.1)}, "tuning.dampening"),
        ("Quantization", {"weight": "W4A16", "method": "gptq", "tuning": Tuning(iterations=9)}, "tuning.iterations"),
        ("Quantization", {"weight": "W4A16", "tuning": Tuning(act_order=False)}, "tuning.actOrder"),
        ("Sparsity", {"method": "wanda", "tuning": Tuning(dampening=0.1)}, "tuning.dampening"),
        (
            "Quantization",
            {"weight": "INT8-PTQ", "method": "smoothquant", "tuning": Tuning(smoothing_strength=1.5)},
            "tuning.smoothingStrength",
        ),
        ("Quantization", {"weight": "W4A16", "method": "learned", "tuning": Tuning(iterations=0)}, "tuning.iterations"),
        (
            "Quantization",
            {"weight": "W4A16", "method": "learned", "tuning": Tuning(iterations=10_001)},
            "tuning.iterations",
        ),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_its_field(strategy: str, rest: dict[str, object], field: str) -> None:
    assert refused(strategy, rest).field == f"config.{field}"


def test_a_refusal_says_what_could_be_asked_for_instead() -> None:
    assert refused("Sparsity", {"method": "gptq"}).hint == (
        "of Sparsity there are auto, sparsegpt, wanda, magnitude, structured"
    )
    assert refused("Quantization", {"weight": "W4A16", "method": "rtn", "calibration": C()}).hint == (
        "leave it out, or take gptq, awq, learned"
    )
    assert not Method.GPTQ.fits(FP8)
    assert Method.GPTQ.fits(W4A16C16)


def test_a_command_may_name_a_file_of_its_machine() -> None:
    made = quantized(calibration=C(file="/tmp/c.txt", text_field="body")).calibration
    assert made == Calibration(source=CalibrationSource.OBJECT, object_path="/tmp/c.txt", text_field="body")
    assert quantized(calibration=_BUCKET).calibration == Calibration(
        source=CalibrationSource.OBJECT, bucket="b", object_path="p"
    )
