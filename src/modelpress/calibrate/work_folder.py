"""What a calibrated run keeps on the disk, so that the next one goes on at the block where this one was killed.

``block-00007.safetensors`` holds what the output gets of block 7, ``block-00007.json`` what is told of it, and
``hidden-00008.bin`` what went into block 8. Each is written beside its place and renamed when it is whole, the block's
tensors last: a block that is there is finished.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelpress.calibrate.tensor_bytes import bytes_of
from modelpress.tensors.header import encode_header
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.writer import NewFile, disk_errors, remove_partials, write_file

#: Where it lies in a staging directory, whose manifest tells whether it is of the same plan and data.
FOLDER = ".calibrated"


class WorkFolder:
    """The files of one run, below a staging directory.

    ``shapes``: of the hidden states of every batch, [samples, length, hidden] each, all of ``dtype``.
    """

    def __init__(self, staging: Path, *, shapes: Sequence[tuple[int, int, int]], dtype: torch.dtype) -> None:
        self.path = staging / FOLDER
        self._shapes, self._dtype = shapes, dtype
        with disk_errors(self.path, size_bytes=0):
            self.path.mkdir(parents=True, exist_ok=True)
        remove_partials(self.path)

    @property
    def hidden_bytes(self) -> int:
        """Bytes of the hidden states of all batches."""
        return sum(map(self._batch_bytes, self._shapes))

    def finished(self) -> int | None:
        """How many blocks are finished, from the first on; None if not even what goes into the first is there."""
        count = 0
        while self.block(count).exists():
            count += 1
        hidden = self._hidden(count)
        whole = hidden.exists() and hidden.stat().st_size == self.hidden_bytes
        return count if whole else None

    def block(self, number: int) -> Path:
        """The file with what the output gets of a block."""
        return self.path / f"block-{number:05}.safetensors"

    def facts(self, number: int) -> Any:
        """What was told of a finished block."""
        return json.loads(self._facts(number).read_bytes())

    def finish(self, number: int, tensors: Mapping[TensorSpec, NDArray[np.uint8]], *, facts: Mapping[str, Any]) -> None:
        """Keep what the output gets of a block, whose outputs are kept already; it is finished then."""
        write_file(self._facts(number), json.dumps(facts).encode())
        placed, end = [], 0
        for spec in sorted(tensors, key=lambda spec: -spec.alignment_bytes):
            placed.append((spec, end))
            end += spec.size_bytes
        header = encode_header(placed)
        with NewFile(self.block(number), size_bytes=len(header) + end) as new:
            new.write_at(0, header)
            for spec, offset in placed:
                new.write_at(len(header) + offset, tensors[spec].data)
            new.commit()
        self._hidden(number).unlink(missing_ok=True)

    def keep_hidden(self, number: int, batches: Iterable[Tensor]) -> None:
        """Keep what goes into block ``number``: hidden states of each batch, in order."""
        with NewFile(self._hidden(number), size_bytes=self.hidden_bytes) as new:
            offset = 0
            for batch, shape in zip(batches, self._shapes, strict=True):
                assert tuple(batch.shape) == shape, (batch.shape, shape)
                data = bytes_of(batch.to(self._dtype))
                new.write_at(offset, data.data)
                offset += len(data)
            new.commit()

    def hidden(self, number: int) -> Iterator[Tensor]:
        """What goes into block ``number``, batch after batch, on the CPU."""
        with self._hidden(number).open("rb") as file:
            for shape in self._shapes:
                data = np.fromfile(file, dtype=np.uint8, count=self._batch_bytes(shape))
                yield torch.from_numpy(data).view(self._dtype).reshape(shape)

    def start_over(self) -> None:
        """Forget all that is there."""
        shutil.rmtree(self.path)
        self.path.mkdir()

    def remove(self) -> None:
        """Take the folder away, when the output is whole."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _batch_bytes(self, shape: tuple[int, int, int]) -> int:
        return shape[0] * shape[1] * shape[2] * self._dtype.itemsize

    def _facts(self, number: int) -> Path:
        return self.path / f"block-{number:05}.json"

    def _hidden(self, number: int) -> Path:
        return self.path / f"hidden-{number:05}.bin"
