"""Scaled models as transformers loads them: what norms and other layers took in is in the output too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from modelpress.calibrate.decoder import Decoder
from modelpress.calibrate.engine import Engine
from modelpress.calibrate.methods import METHODS
from modelpress.domain.calibration import Calibration
from modelpress.domain.method import Method
from modelpress.domain.recipe import Recipe
from modelpress.domain.scheme import INT8_PTQ, W8A16C16, Scheme
from modelpress.tensors.assembly import assemble
from modelpress.tensors.checkpoint import open_checkpoint
from modelpress.tensors.compress import compress
from modelpress.tensors.folder import LocalFolder
from modelpress.tensors.plan import make_plan
from tests.calibrate.tiny import tiny_model

TOKENS = torch.randint(3, 64, (16, 24), generator=torch.Generator().manual_seed(0))


DENSE = ("llama", "gemma2", "phi3")
#: transformers 5.17 does not load experts of this form of INT8-PTQ, scaled or not.
EXPERTS = ("mixtral", "qwen3_moe")
CASES = [
    *((name, Method.AWQ, W8A16C16) for name in (*DENSE, *EXPERTS)),
    *((name, Method.SMOOTHQUANT, INT8_PTQ) for name in DENSE),
]


@pytest.mark.parametrize(("model_type", "method", "scheme"), CASES)
def test_a_scaled_model_loads_and_says_nearly_what_it_said(
    model_type: str, method: Method, scheme: Scheme, tmp_path: Path
) -> None:
    model = tiny_model(model_type).to(torch.float32)
    model.save_pretrained(tmp_path / "source")
    folder = LocalFolder(tmp_path / "source")
    checkpoint = open_checkpoint(folder)
    plan = make_plan(checkpoint, Recipe(scheme=scheme, method=method, calibration=Calibration()))
    decoder = Decoder(checkpoint.config, dtype=torch.float32, device=torch.device("cpu"))
    engine = Engine(checkpoint, plan, list(TOKENS.split(8)), method=METHODS[method], decoder=decoder)
    finished = engine.run(folder, tmp_path / "work", told=lambda share, blocks: None, say=lambda _: None)
    made = assemble(plan, folder, finished.files)
    compress(made.writing, made.folder, tmp_path / "out", report=lambda progress: None)
    before, after = _log_probabilities(model), _log_probabilities(_loaded(tmp_path / "out"))
    divergence = (before.exp() * (before - after)).sum(-1).mean()
    assert float(divergence) < 0.05, "unscaled norms beside scaled layers would be nats apart"


def _loaded(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def _log_probabilities(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=TOKENS, use_cache=False).logits.log_softmax(-1)
