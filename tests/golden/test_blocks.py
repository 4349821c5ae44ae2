"""What our rounding to blocks makes of weights, held against what ggml itself makes of them (make_blocks.py)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from modelpress.tensors.gguf.blocks import BLOCK_TYPES, BlockType, dequantize
from modelpress.tensors.grid import Grid
from modelpress.tensors.rounding.blocks import BlockRounding
from tests.golden.block_weights import make_weights
from tests.golden.make_blocks import EXACT, SEARCHED, squared_errors

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("blocks.json").read_text(encoding="utf-8"))
TYPES = {block_type.name: block_type for block_type in BLOCK_TYPES.values()}
KINDS = list(make_weights())


def blocks_of(weights: NDArray[np.float32], block_type: BlockType) -> NDArray[np.uint8]:
    rounding = BlockRounding(grid=Grid.F32, columns=weights.shape[1], block_type=block_type)
    blocks = np.empty(rounding.output_bytes(len(weights))[0], np.uint8)
    assert rounding.round_rows(weights.astype("<f4").reshape(-1).view(np.uint8), [blocks]) is None
    return blocks


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("kind", KINDS)
def test_simple_blocks_are_ggmls_bit_for_bit(kind: str, name: str) -> None:
    blocks = blocks_of(make_weights()[kind], TYPES[name])
    assert hashlib.sha256(blocks.tobytes()).hexdigest() == GOLDEN["sha256"][f"{kind} {name}"]


@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize("kind", KINDS)
def test_searched_blocks_lose_no_more_than_ggmls(kind: str, name: str) -> None:
    weights = make_weights()[kind]
    values = dequantize(blocks_of(weights, TYPES[name]), TYPES[name])
    ours = squared_errors(weights, values, group=SEARCHED[name][3])
    theirs = GOLDEN["squared_error"][f"{kind} {name}"]
    assert ours["plain"] <= theirs["plain"]
    assert ours["weighted"] <= theirs["weighted"]
