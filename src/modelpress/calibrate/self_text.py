"""Calibration text that the model writes itself, from its start token on: no data is needed, of any language.

The first token is any of many that the model thinks likely, so that texts differ; the next few are always the
likeliest, which gives each a sound beginning; the rest are drawn as the model's probabilities say.
Source: Liu et al., LLM-QAT (2023), section 2.1, which draws the first token from the whole vocabulary: of a large one,
most tokens begin no text.

It takes a forward pass of the whole model for each token of a batch of texts: long, where there is no accelerator.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from modelpress.calibrate.document import Document
from modelpress.calibrate.memory import available_bytes
from modelpress.calibrate.tokenizer import Tokenizer
from modelpress.errors import BadSource, OutOfMemory, Unsupported

_SEED = 20_230_529
_FIRST_TOKENS = 512
_LIKELIEST = 4
_MOST_AT_ONCE = 16
#: A text may end before it fills its sample: so many times the samples that were asked for are written at most.
_MOST_TEXTS = 4
#: Weights, and room for what is computed with them.
_MEMORY_OVER_WEIGHTS = 1.25


def written_by(folder: Path, tokenizer: Tokenizer, *, count: int, length: int) -> Iterator[Document]:
    """Texts of at most ``length`` tokens, as long as they are asked for and at most four times ``count``.

    Deterministic on one machine.

    Raises: OutOfMemory if the model does not fit as a whole; BadSource, Unsupported if it cannot be loaded.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    _look_at_memory(folder, device)
    model = _loaded(folder, device)
    start, ends = _start(model, tokenizer), _ends(model)
    generator_devices = [device] if device.type == "cuda" else []
    at_once = min(count, _MOST_AT_ONCE)
    for number in range(-(-_MOST_TEXTS * count // at_once)):
        # The state of the process's generator is everybody's: a text may be asked for at any time.
        with torch.random.fork_rng(devices=generator_devices), torch.inference_mode():
            torch.manual_seed(_SEED + number)
            rows = _written(model, start.to(device), count=at_once, length=length)
        for row in rows.tolist():
            end = next((at for at, token in enumerate(row) if token in ends), len(row))
            yield Document(text=tokenizer.decode(row[:end]), place="a text that the model wrote")


def _look_at_memory(folder: Path, device: torch.device) -> None:
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    needed, available = int(weights * _MEMORY_OVER_WEIGHTS), available_bytes(device)
    if not weights:
        raise Unsupported("only a model in safetensors can write its own calibration text", hint="give text, or none")
    if available is not None and needed > available:
        raise OutOfMemory(
            f"to write its calibration text the whole model must fit: {needed} bytes, and {available} are available",
            hint="take calibration.source default, or a file: then one block at a time is in memory",
        )


def _loaded(folder: Path, device: torch.device) -> Any:
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    # Progress is told by the worker, in words.
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    # A stranger's files: transformers raises whatever it meets in them.
    except Exception as exc:
        raise BadSource(f"transformers cannot load the model to write text ({type(exc).__name__}: {exc})") from exc
    return model.eval().to(device)


def _start(model: Any, tokenizer: Tokenizer) -> torch.Tensor:
    """The tokens that a text begins with: int64 [1, tokens]."""
    opening = tokenizer.opening.ids
    if not len(opening):
        config = model.generation_config
        known = [getattr(config, name, None) for name in ("bos_token_id", "eos_token_id")]
        flat = [token[0] if isinstance(token, list) else token for token in known if token is not None]
        return torch.tensor([[flat[0] if flat else 0]])
    return torch.from_numpy(opening)[None]


def _ends(model: Any) -> frozenset[int]:
    """The tokens that end a text."""
    ends = model.generation_config.eos_token_id
    return frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])


def _written(model: Any, start: torch.Tensor, *, count: int, length: int) -> torch.Tensor:
    """So many rows of tokens, without ``start``, written on beyond a text's end: int64 [count, tokens]."""
    logits = model(start).logits[0, -1]
    likely = logits.topk(min(_FIRST_TOKENS, len(logits))).indices
    token = likely[torch.randint(len(likely), (count,)).to(likely.device)]
    written = [token]
    state = model(torch.cat([start.expand(count, -1), token[:, None]], dim=1), use_cache=True)
    for number in range(length - start.shape[1] - 1):
        logits = state.logits[:, -1].float()
        drawn = torch.multinomial(logits.softmax(dim=-1), 1)[:, 0]
        token = drawn if number >= _LIKELIEST else logits.argmax(dim=-1)
        written.append(token)
        state = model(token[:, None], past_key_values=state.past_key_values, use_cache=True)
    return torch.stack(written, dim=1)
