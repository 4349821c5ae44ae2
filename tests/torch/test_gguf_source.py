"""What GGUF files mean: llama.cpp runs them, transformers runs what is made of them, and both must say the same.

Every architecture that is read is here as a tiny model with random weights (tests/unit/gguf_models.py): names, the
order of rows, norms, biases, experts, positions, windows and caps all show in what comes next.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from modelpress.demo.smollm import write_model
from modelpress.tensors.folder import LocalFolder
from tests.unit.gguf_models import KINDS, tiny_file, tiny_model
from tests.unit.gguf_writer import MetadataValue, gguf_bytes

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).parent

IDS = [5, 17, 42, 99, 7, 200, 131, 60, 61, 62, 3, 77]
#: A token that is text in either vocabulary.
IS_TEXT = 260
# llama.cpp keeps keys and values of the attention in float16; a wrong row, sign or factor changes much more.
TOLERANCE = 0.03

TEXTS = [
    "hello the hello 123 1234",
    "It's 2024, isn't it?  Twice  spaced,\ttabbed\n\n\nand broken.",
    "def f(x):\n    return x**2 + 3.14159  # naïve café",
    "模型压缩把模型变小。",
    "👩‍👩‍👧 🇫🇷 ½ ² ٣",
    " leading and trailing ",
    "<tool>hi <tool> the<tool>",
    "THE'LL don't I'M x'S",
    "a\r\nb\r\n\r\n  c",
    "",
    "  ",
    "1234567",
    "aA Aa AAa aaA 1a a1 .a a. ..  .\n \n\n 'S's a/ ./ \r\n  1 12a aAaA.aA1aA",
    "a\n\n\n  a\r\n\r\n .\n./\n a/a ./a _a __a a_a",
    "É éÀa aÀ Ǆa ʰa aʰA 1²3 ½1 ٣a",
    "\t\ta \t a\u00a0a\u3000a  \n  a",
    "'sa 'Sa a's a'S 'LL'll I'Mm",
    "aaaaAAAAaaaa....////\n\n    aaaa",
]

#: Rules for splitting, in one vocabulary, and SentencePiece with and without a prefix.
RULES = ("llama-bpe", "tekken", "dbrx", "smollm", "gpt-2", "qwen2", "deepseek-r1-qwen")
TOKENIZERS: Mapping[str, tuple[str, Mapping[str, MetadataValue]]] = {
    **{rule: ("llama", {"tokenizer.ggml.pre": rule}) for rule in RULES},
    "with-prefix": ("mixtral", {}),
    "without-prefix": ("gemma2", {}),
}


def run(environment: str, script: str, *arguments: object) -> list[Any]:
    """The JSON lines that a script of this folder prints in an environment of its own."""
    python = ROOT / ".cache" / environment / "bin" / "python"
    assert python.exists(), f"the environment {environment} is missing: run `make test`"
    command = [str(python), str(SCRIPTS / script), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return [json.loads(line) for line in ended.stdout.splitlines() if line.startswith(("{", "["))]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each kind a file, and a directory made of it."""
    place = tmp_path_factory.mktemp("tiny")
    for number, kind in enumerate(KINDS):
        (place / f"{number}").mkdir()
        (place / f"{number}" / "model.gguf").write_bytes(tiny_file(kind))
        (place / f"{number}-made").mkdir()
        write_model(LocalFolder(place / f"{number}"), place / f"{number}-made")
    return place


@pytest.fixture(scope="module")
def by_transformers(place: Path) -> dict[str, Any]:
    made = [place / f"{number}-made" for number in range(len(KINDS))]
    return dict(zip(KINDS, run("calibrate", "next_by_transformers.py", *made, "--", *IDS), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_made_of_a_file_goes_on_as_the_file_does(
    place: Path, by_transformers: dict[str, Any], kind: str
) -> None:
    ours = by_transformers[kind]
    assert (ours["missing"], ours["unexpected"]) == ([], [])
    file = place / f"{list(KINDS).index(kind)}" / "model.gguf"
    (theirs,) = run("llamacpp", "next_by_llamacpp.py", file, IS_TEXT, *IDS)
    assert len(theirs) == 20
    for token_id, logarithm in theirs.items():
        assert ours["next"][int(token_id)] == pytest.approx(logarithm, abs=TOLERANCE)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For each of :data:`TOKENIZERS` a file and a directory made of it, and the texts."""
    place = tmp_path_factory.mktemp("tokenizers")
    (place / "texts.json").write_text(json.dumps(TEXTS))
    for name, (kind, rule) in TOKENIZERS.items():
        metadata, tensors = tiny_model(kind)
        (place / name).mkdir()
        (place / name / "model.gguf").write_bytes(gguf_bytes({**metadata, **rule}, tensors))
        (place / f"{name}-made").mkdir()
        write_model(LocalFolder(place / name), place / f"{name}-made")
    return place


@pytest.fixture(scope="module")
def by_tokenizers(tokenizers: Path) -> dict[str, Any]:
    made = [tokenizers / f"{name}-made" for name in TOKENIZERS]
    answers = run("calibrate", "tokens_by_transformers.py", tokenizers / "texts.json", *made)
    return dict(zip(TOKENIZERS, answers, strict=True))


@pytest.mark.parametrize("name", TOKENIZERS)
def test_texts_become_the_tokens_that_llama_cpp_makes_of_them(
    tokenizers: Path, by_tokenizers: dict[str, Any], name: str
) -> None:
    (theirs,) = run("llamacpp", "tokens_by_llamacpp.py", tokenizers / name / "model.gguf", tokenizers / "texts.json")
    assert by_tokenizers[name]["ids"] == theirs


@pytest.mark.parametrize("name", TOKENIZERS)
def test_tokens_become_the_texts_they_were_made_of(by_tokenizers: dict[str, Any], name: str) -> None:
    for text, decoded in zip(TEXTS, by_tokenizers[name]["decoded"], strict=True):
        # After a token that stands for itself, SentencePiece with a prefix begins anew, with a space.
        if "<tool>" not in text:
            assert decoded == text
