"""Decoders without a row in the table: what their names suggest is used where the block shows it to be true."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from modelpress.calibrate.architecture import ARCHITECTURES
from modelpress.calibrate.decoder import Call, Decoder
from modelpress.calibrate.discovery import folds_in
from modelpress.errors import Unsupported
from tests.calibrate.tiny import tiny_model

TOKENS = torch.tensor([[1, 5, 9, 33, 7, 60], [1, 2, 2, 40, 8, 11]])
WITHIN = {"self_attn.v_proj", "mlp.up_proj"}


def sources_in(model_type: str, dtype: torch.dtype) -> set[str]:
    """The sources of the folds that are found in the first block, which keeps its weights."""
    model = tiny_model(model_type).to(dtype)
    block = model.get_decoder().layers[0]
    before = {name: parameter.clone() for name, parameter in block.named_parameters()}
    folds = folds_in(block, entered(model, dtype))
    assert all(torch.equal(before[name], parameter) for name, parameter in block.named_parameters())
    return {fold.source for fold in folds}


def entered(model: Any, dtype: torch.dtype) -> tuple[Tensor, Call]:
    decoder = Decoder(model.config.to_dict(), dtype=dtype, device=torch.device("cpu"))
    hidden, calls = decoder.embed(TOKENS, model.get_input_embeddings().weight)
    return hidden, calls[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("model_type", "sources"),
    [
        ("granite", {"input_layernorm", "post_attention_layernorm", *WITHIN}),
        ("olmo2", WITHIN),  # its norms stand behind attention and the layers, and bear the names of those before
        ("starcoder2", {"input_layernorm", "self_attn.v_proj"}),  # the layers behind bear other names
        ("cohere", WITHIN),  # one norm is read by attention and by the layers beside it
    ],
)
def test_a_place_is_used_if_scales_folded_into_it_leave_the_output_as_it_was(
    model_type: str, sources: set[str], dtype: torch.dtype
) -> None:
    assert sources_in(model_type, dtype) == sources


@pytest.mark.parametrize("model_type", ["llama", "gemma", "gemma2", "gemma3_text", "phi3"])
def test_what_the_table_says_shows_itself_as_well(model_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = sources_in(model_type, torch.bfloat16)
    assert model_type in ARCHITECTURES
    monkeypatch.setattr("modelpress.calibrate.discovery.ARCHITECTURES", {})
    assert sources_in(model_type, torch.bfloat16) == told


def test_a_decoder_in_which_nothing_is_known_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelpress.calibrate.discovery.GUESSES", ())
    with pytest.raises(Unsupported, match="type 'granite' is known to take") as refused:
        sources_in("granite", torch.float32)
    assert refused.value.hint is not None
