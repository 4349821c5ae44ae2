"""Whether a GGUF file that was written is what its plan says, read back by the reader that sources are read with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from modelpress.errors import QualityGate
from modelpress.tensors.folder import Folder
from modelpress.tensors.gguf.header import GgufTensor, open_gguf
from modelpress.tensors.rounding.blocks import BlockRounding
from modelpress.tensors.shard import PlannedShard

_PIECE_BYTES = 8 * 1024 * 1024

#: Where a block's float16 scales are; of the other types, every number is looked at.
_SCALES = {"Q4_0": (0,), "Q5_0": (0,), "Q8_0": (0,), "Q4_K": (0, 2), "Q6_K": (208,)}
#: A number's type as an integer, and the exponent that only NaN and infinity have.
_NUMBERS = {"F32": ("<u4", 0x7F800000), "F16": ("<u2", 0x7C00), "BF16": ("<u2", 0x7F80)}


def check_gguf(folder: Folder, shard: PlannedShard) -> None:
    """Nothing, if the file's header is the planned one and a sound one, every tensor lies where it was planned in its
    planned type and shape, and every block's scales are finite.

    Raises: QualityGate naming the first thing that is not so; BadSource if the file is not sound.
    """
    if folder.size(shard.name) != shard.size_bytes:
        raise QualityGate(f"{shard.name} has {folder.size(shard.name)} bytes, planned were {shard.size_bytes}")
    header = bytearray(len(shard.header))
    folder.read_into(shard.name, 0, memoryview(header))
    if header != shard.header:
        raise QualityGate(f"the header of {shard.name} is not what was planned")
    found = open_gguf(folder, shard.name).tensors
    if found.keys() != shard.offsets.keys():
        odd = sorted(found.keys() ^ shard.offsets.keys())
        raise QualityGate(f"{shard.name} and its plan differ in {len(odd)} tensors, first {odd[0]!r}")
    for step in shard.steps:
        assert isinstance(step.rounding, BlockRounding)
        assert step.layout is not None
        (blocks,) = step.layout.rounded
        tensor = found[blocks.name]
        if (tensor.block_type, tensor.size_bytes, tensor.offset) != (
            step.rounding.block_type,
            blocks.size_bytes,
            shard.offsets[blocks.name],
        ):
            raise QualityGate(f"tensor {blocks.name!r} is {tensor}, planned were {blocks} at its place")
        _check_scales(folder, tensor, file=shard.name)


def _check_scales(folder: Folder, tensor: GgufTensor, *, file: str) -> None:
    block_bytes = tensor.block_type.size_bytes
    most = _PIECE_BYTES // block_bytes * block_bytes
    for start in range(0, tensor.size_bytes, most):
        blocks = np.empty(min(most, tensor.size_bytes - start), np.uint8)
        folder.read_into(file, tensor.offset + start, blocks.data)
        for numbers, exponent in _numbers(blocks, tensor):
            if ((numbers & exponent) == exponent).any():
                raise QualityGate(f"{tensor.name!r} holds a scale or a number that is not finite")


def _numbers(blocks: NDArray[np.uint8], tensor: GgufTensor) -> Iterator[tuple[NDArray[np.unsignedinteger], int]]:
    """The bits of scales, or of plain numbers, and those that all of a number's must not be."""
    name, size = tensor.block_type.name, tensor.block_type.size_bytes
    if name in _NUMBERS:
        word, exponent = _NUMBERS[name]
        yield blocks.view(word), exponent
        return
    for place in _SCALES[name]:
        yield np.ndarray(len(blocks) // size, "<u2", blocks.data, offset=place, strides=(size,)), 0x7C00
