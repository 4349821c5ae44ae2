"""Methods, sparsity and calibration on the command line: alone, and as what a server is asked for."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from modelpress.cli.wish import config_of, config_text, read_wish
from modelpress.cli.words import Words
from modelpress.domain.calibration import CalibrationWish
from modelpress.domain.method import Method
from modelpress.domain.wish import make_recipe
from tests.unit.cli.conftest import Cli, RunningServer

WORDS = (
    *("--method", "smoothquant", "--calibration", "self", "--samples", "4", "--length", "32"),
    *("--no-act-order", "--dampening", "0.05", "--smoothing", "0.75"),
)


@pytest.fixture
def text() -> Path:
    """A file of calibration text where commands are run."""
    path = Path("text.jsonl")
    path.write_text('{"body": "hello"}\n')
    return path


def test_methods_are_told_in_a_table_or_in_full(cli: Cli) -> None:
    table = [re.split(r"  +", line) for line in cli("methods").plain.splitlines()]
    assert table[0] == ["METHOD", "STRATEGY", "CALIBRATION", "WHAT IT DOES"]
    assert [row[0] for row in table[1:]] == list(Method)
    assert {row[0] for row in table[1:] if row[2] == "no data"} == {"rtn", "magnitude"}
    told = json.loads(cli("methods", "--json").out)
    assert [method["method"] for method in told] == list(Method)


def test_a_plan_tells_the_method_and_its_calibration(cli: Cli, tiny_model: Path, text: Path) -> None:
    outcome = cli("compress", tiny_model, "--weight", "W8A8", "--plan", *WORDS)
    assert outcome.code == 0
    assert (
        "method: smoothquant\n"
        "calibration: 4 samples of at most 32 tokens that the model writes itself\n"
        "tuning: actOrder False, dampening 0.05, smoothingStrength 0.75\n"
    ) in outcome.out
    with_file = cli(
        "compress", tiny_model, "--weight", "W4A16", "--plan", "--json", "--calibration", text, "--text-field", "body"
    )
    told = json.loads(with_file.out)
    assert (told["scheme"], told["method"]) == ("W4A16C16", "gptq")
    assert told["calibration"] == {
        "source": "object",
        "file": "text.jsonl",
        "numSamples": 128,
        "maxLength": 512,
        "textField": "body",
    }
    both = json.loads(cli("compress", tiny_model, "--weight", "W4A16", "--sparsity", "0.25", "--plan", "--json").out)
    assert (both["method"], both["sparsityRatio"], both["sparsityPattern"]) == ("magnitude", 0.25, "unstructured")


@pytest.mark.parametrize(
    ("words", "option", "told"),
    [
        ((), "--weight", "required, unless weights are pruned"),
        (("--weight", "W4A16", "--method", "best"), "--method", "none of auto, rtn, gptq"),
        (("--weight", "FP8", "--method", "gptq"), "--method", "gptq does not make WFP8AFP8C16"),
        (("--weight", "W4A16", "--calibration", "absent.txt"), "--calibration", "neither a file nor one of default"),
        (("--weight", "FP8", "--calibration", "default"), "--calibration", "made without data"),
        (("--weight", "W4A16", "--samples", "0", "--calibration", "self"), "--samples", "between 1 and 65536"),
        (("--weight", "W4A16", "--calibration", "self", "--length", "1"), "--length", "between 16 and 131072"),
        (("--weight", "W4A16", "--calibration", "self", "--text-field", "a"), "--text-field", "has no fields"),
        (("--sparsity", "0.95"), "--sparsity", "between 0 and 0.9"),
        (("--sparsity-pattern", "4:8"), "--sparsity-pattern", "unstructured, 2:4"),
        (("--weight", "W4A16", "--act-order"), "--act-order", "rtn has none"),
        (("--weight", "W4A16", "--method", "gptq", "--dampening", "0"), "--dampening", "above 0"),
        (("--weight", "W8A8", "--method", "smoothquant", "--smoothing", "2"), "--smoothing", "between 0 and 1"),
        (("--weight", "W4A16", "--method", "learned", "--iterations", "0"), "--iterations", "between 1 and 10000"),
    ],
)
def test_what_cannot_be_asked_for_is_wrong_usage_and_names_the_option(
    cli: Cli, tiny_model: Path, words: tuple[str, ...], option: str, told: str
) -> None:
    outcome = cli("compress", tiny_model, "out", *words)
    assert outcome.code == 2
    last = outcome.err.splitlines()[-1]
    assert last.startswith(f"Error: Invalid value for '{option}': ")
    assert told in last
    assert os.listdir() == []


def test_without_the_engine_a_calibrated_method_is_refused_with_what_to_install(
    cli: Cli, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelpress.worker.method.find_spec", lambda name: None)
    outcome = cli("compress", tiny_model, "out", "--weight", "W4A16", "--method", "gptq")
    assert (outcome.code, outcome.err) == (
        1,
        "error: method gptq needs torch and transformers, not installed where it was to be carried out\n"
        "hint: pip install 'modelpress[calibrate]'\n",
    )
    assert os.listdir() == []


def _place(text: str) -> CalibrationWish:
    bucket, _, path = text.partition("/")
    return CalibrationWish(bucket=bucket, object_path=path)


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (Words(weight="W4A16C16"), ""),
        (Words(weight="W4A16C16", method="gptq"), "--method gptq --calibration default --samples 128 --length 512"),
        (Words(weight="W4A16C16", method="learned", iterations=20, samples=3), "--iterations 20"),
        (
            Words(weight="W4A16C16", calibration="local/a b.jsonl", text_field="body", act_order=False, dampening=0.1),
            "--calibration 'local/a b.jsonl' --samples 128 --length 512 --text-field body --no-act-order",
        ),
        (Words(weight="INT8-PTQ", method="smoothquant", smoothing=0.25), "--smoothing 0.25"),
        (Words(sparsity=0.3), "--method magnitude --sparsity 0.3"),
        (Words(method="wanda", sparsity_pattern="2:4", weight="W8A16C16"), "--sparsity-pattern 2:4"),
    ],
)
def test_what_a_server_is_asked_for_is_what_the_options_say_and_is_shown_as_them(words: Words, written: str) -> None:
    """By the form in which the API tells of a recipe, which is one that it takes."""
    import msgspec

    from modelpress.api.request import decode
    from modelpress.api.task_actions import _wish
    from modelpress.api.task_result import _config
    from modelpress.api.wire import Config

    def recipe_of(config: Any) -> Any:
        form = decode(json.dumps(config).encode(), Config)
        assert isinstance(form, Config)
        return make_recipe(_wish(form))

    wish = read_wish(words, _place)
    recipe = recipe_of(config_of(wish))
    assert recipe == make_recipe(wish)
    told = msgspec.to_builtins(_config(json.dumps(recipe.as_json())))
    assert recipe_of(told) == recipe
    assert written in config_text(told)


def test_a_task_is_created_with_a_method_and_shows_it(cli: Cli, server: RunningServer, imported: str) -> None:
    made = cli("task", "create", "--model", imported, "--weight", "W8A8", *WORDS).out.strip()
    shown = cli("task", "show", made).out
    assert re.search(r"^name +tiny-V1-INT8-PTQ-smoothquant$", shown, re.MULTILINE)
    assert (
        "--method smoothquant --calibration self --samples 4 --length 32 --no-act-order --dampening 0.05 "
        "--smoothing 0.75\n"
    ) in shown
    sparse = cli("task", "create", "--model", imported, "--weight", "W8A16", "--sparsity-pattern", "2:4").out.strip()
    assert re.search(r"^weight +50 % sparse, W8A16C16$", cli("task", "show", sparse).out, re.MULTILINE)
    assert "50 % sparse, W8A16C16" in cli("task", "list").out


def test_a_server_is_told_where_in_a_bucket_the_text_is(cli: Cli, server: RunningServer, imported: str) -> None:
    (server.settings.data / "local" / "text.jsonl").write_text('{"text": "hello"}')
    given = ("--model", imported, "--weight", "W4A16", "--calibration")
    made = cli("task", "create", *given, "local/text.jsonl", "--json")
    config = json.loads(cli("task", "show", json.loads(made.out)["id"], "--json").out)["config"]
    assert (config["method"], config["calibration"]["objectPath"]) == ("gptq", "text.jsonl")
    absent = cli("task", "create", *given, "local/absent.jsonl")
    assert (absent.code, "NoSuchObject" in absent.err) == (1, True)
    usage = cli("task", "create", *given, "text.jsonl")
    assert (usage.code, "'text.jsonl' is neither BUCKET/PATH nor one of default, self" in usage.err) == (2, True)
