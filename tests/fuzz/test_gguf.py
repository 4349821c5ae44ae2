"""GGUF files that were damaged at random, in their bytes, their counts and what they say: refused, or planned."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import SCHEMES
from modelpress.errors import TaskError
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.plan import Plan, make_plan
from tests.fuzz.damage import Draw, assert_bearable, damaged_bytes
from tests.fuzz.memory_folder import MemoryFolder
from tests.unit.gguf_writer import F16, F32, Q4_0, Q8_0, MetadataValue, StoredTensor, gguf_bytes, gguf_text

_HIDDEN, _TOKENS = 32, 6


def _matrix(rows: int, *, number: int = Q4_0) -> StoredTensor:
    row_bytes = {Q4_0: 18, Q8_0: 34, F16: 64, F32: 128}[number]
    return StoredTensor(shape=(rows, _HIDDEN), number=number, data=bytes(rows * row_bytes))


def _vector() -> StoredTensor:
    return StoredTensor(shape=(_HIDDEN,), number=F32, data=bytes(4 * _HIDDEN))


_TENSORS = {
    "token_embd.weight": _matrix(_TOKENS, number=F16),
    **{f"blk.0.attn_{part}.weight": _matrix(_HIDDEN) for part in ("q", "k", "v", "output")},
    **{f"blk.0.ffn_{part}.weight": _matrix(_HIDDEN, number=Q8_0) for part in ("gate", "up", "down")},
    **{f"{name}.weight": _vector() for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")},
}


def _floats(*values: float) -> bytes:
    return struct.pack("<IIQ", 9, 6, len(values)) + struct.pack(f"<{len(values)}f", *values)


def metadata(family: str, tokenizer: str) -> dict[str, MetadataValue]:
    """A sound model's metadata."""
    return {
        "general.architecture": family,
        "general.alignment": 32,
        f"{family}.block_count": 1,
        f"{family}.context_length": 64,
        f"{family}.embedding_length": _HIDDEN,
        f"{family}.feed_forward_length": _HIDDEN,
        f"{family}.attention.head_count": 4,
        f"{family}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{family}.rope.freq_base": 10000.0,
        "tokenizer.ggml.model": tokenizer,
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "a", "b", "ab"],
        "tokenizer.ggml.scores": _floats(0, 0, 0, -1, -2, -3),
        "tokenizer.ggml.token_type": [2, 3, 3, 1, 1, 1],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.chat_template": "{{ messages }}",
    }


def _number(kind: int, code: str, value: float) -> bytes:
    return struct.pack(f"<I{code}", kind, value)


#: What no field should be: other types, extremes, lists of other lengths, text of controls.
ODD_VALUES: tuple[MetadataValue, ...] = (
    *(
        0,
        1,
        2,
        2**32 - 1,
        True,
        False,
        0.0,
        -1.0,
        float("nan"),
        float("inf"),
        1e38,
        "",
        "llama",
        "x" * 5000,
        "\x1b[2J\0",
    ),
    *(_number(11, "q", -1), _number(11, "q", -(2**63)), _number(10, "Q", 2**64 - 1), _number(12, "d", 1e308)),
    *([], [0], [-1] * 6, [2**31 - 1] * 6, ["a"] * 6, ["", "a", "b", "\0", "é", "😀"], ["a b", "b a", "ab ab", "", " "]),
    *(_floats(), _floats(*[float("nan")] * 6), _floats(*[1e38] * 6), b"\x09\0\0\0\x09\0\0\0" + bytes(8), b"\x0d\0\0\0"),
    struct.pack("<I", 8) + gguf_text(b"\xff"),
)


@st.composite
def files(draw: Draw) -> bytes:
    """A sound file, or one that lies in up to three of its fields, a count, a shape or an offset; or is damaged."""
    stated = metadata(
        draw(st.sampled_from(("llama", "llama", "qwen2", "gemma2"))), draw(st.sampled_from(("gpt2", "llama")))
    )
    for key in draw(st.sets(st.sampled_from(sorted(stated)), max_size=3)):
        value = draw(st.sampled_from((None, *ODD_VALUES)))
        if value is None:
            del stated[key]
        else:
            stated[key] = value
    tensors = dict(_TENSORS)
    if draw(st.integers(1, 4)) == 1:
        name = draw(st.sampled_from(sorted(tensors)))
        kept = tensors.pop(name)
        tensors[draw(st.sampled_from((name, "output.weight", "rope_freqs.weight", "__metadata__", "\x1b[2J")))] = (
            StoredTensor(
                shape=draw(st.one_of(st.just(kept.shape), st.lists(st.integers(0, 2**64 - 1), max_size=5).map(tuple))),
                number=draw(st.one_of(st.just(kept.number), st.integers(0, 40))),
                data=kept.data,
                offset=draw(st.one_of(st.none(), st.sampled_from((0, 32, 1, 2**63, 2**64 - 1)))),
            )
        )
    lies = draw(st.integers(1, 4)) == 1
    count = draw(st.sampled_from((0, 1, 2**16, 2**63))) if lies else None
    content = gguf_bytes(stated, tensors, version=draw(st.sampled_from((2, 3, 3, 3, 1, 2**24))), tensor_count=count)
    return bytes(draw(damaged_bytes(content))) if draw(st.integers(1, 4)) == 1 else content


def plan_or_refusal(content: bytes, others: Mapping[str, bytes] | None = None) -> Plan | None:
    """The plan; None if the file is refused in a sentence that a terminal can bear."""
    folder = MemoryFolder({"x.gguf": content, **(others or {})})
    try:
        # numpy's warnings about a stranger's numbers reach nobody's terminal either.
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return make_plan(open_checkpoint(folder), Recipe(scheme=SCHEMES[1]))
    except TaskError as exc:
        assert_bearable(exc.message, longest=10_000)
        return None
    finally:
        assert folder.asked_bytes <= 4 * len(content) + 1000


@pytest.mark.parametrize("tokenizer", ["gpt2", "llama"])
def test_the_sound_file_that_damage_is_done_to_is_planned(tokenizer: str) -> None:
    assert plan_or_refusal(gguf_bytes(metadata("llama", tokenizer), _TENSORS)) is not None


@given(content=files())
@settings(max_examples=3 * settings().max_examples)
def test_a_damaged_file_is_refused_or_planned(content: bytes) -> None:
    plan_or_refusal(content)


@given(content=st.binary(max_size=200))
def test_any_bytes_are_refused_or_planned(content: bytes) -> None:
    plan_or_refusal(content)
    plan_or_refusal(b"GGUF\x03\0\0\0" + content)
