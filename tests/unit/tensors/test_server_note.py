"""What servers do not load is told."""

from __future__ import annotations

from modelpress.domain.scheme import FP8_BLOCK, W4A16C16, W8A16C16
from modelpress.tensors.server_note import block_notes, split_notes
from modelpress.tensors.treatment import Treatment

FOUR = Treatment(scheme=W4A16C16, group_size=128)
BLOCKS = Treatment(scheme=FP8_BLOCK, group_size=128)
EIGHT = Treatment(scheme=W8A16C16, group_size=None)
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")


def attention(layers: int, **changed: Treatment | None) -> dict[str, Treatment | None]:
    return {f"layers.{n}.self_attn.{part}": changed.get(part, FOUR) for n in range(layers) for part in ATTENTION}


def test_what_servers_leave_apart_may_differ() -> None:
    assert list(split_notes(attention(2))) == []
    assert list(split_notes(attention(2, o_proj=EIGHT))) == []
    assert list(split_notes(attention(2, o_proj=None))) == []


def test_a_set_that_is_told_apart_is_named_with_the_first_place_and_how_many_more() -> None:
    note = "vLLM makes one layer of q_proj, k_proj and v_proj; here their formats differ, in layers.0.self_attn"
    assert list(split_notes(attention(3, v_proj=EIGHT))) == [f"{note} and 2 more: it will not load them."]
    assert list(split_notes(attention(1, q_proj=None))) == [f"{note}: it will not load them."]


def test_experts_of_one_layer_are_one_and_those_of_another_another() -> None:
    modules: dict[str, Treatment | None] = {
        f"layers.{n}.mlp.experts.{expert}.{part}": FOUR if n else EIGHT
        for n in range(2)
        for expert in range(4)
        for part in ("gate_proj", "up_proj", "down_proj")
    }
    assert list(split_notes(modules)) == []
    modules["layers.1.mlp.experts.3.down_proj"] = EIGHT
    [note] = split_notes(modules)
    assert "all experts of a layer; here their formats differ, in layers.1.mlp.experts: " in note


def test_blocks_that_do_not_divide_are_told_and_other_weights_are_not_looked_at() -> None:
    shapes = {"a": (256, 128), "b": (192, 128), "c": (128, 100), "d": (3, 5), "e": (3, 5)}
    treatments = {"a": BLOCKS, "b": BLOCKS, "c": BLOCKS, "d": FOUR, "e": None}
    [note] = block_notes(treatments, shapes)
    assert "not so in b (192 × 128) and 1 more." in note
    assert list(block_notes({"a": BLOCKS, "d": FOUR}, shapes)) == []
