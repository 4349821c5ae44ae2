"""What a calibrated run keeps on the disk, so that the next one goes on at the block where this one was killed.

``block-00007.safetensors`` holds what the output gets of block 7, ``block-00007.json`` what is told of it, and
``hidden-00008.bin`` what went into block 8; for methods that compare with the source, ``untouched-00008.bin`` what goes
into block 8 there, where no block was changed. Each is written beside its place and renamed when it is whole, the
block's tensors last: a block that is there is finished.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modelpress.calibrate.tensor_bytes import bytes_of
from modelpress.tensors.header import encode_header
from modelpress.tensors.spec import TensorSpec
from modelpress.tensors.staging import CALIBRATED
from modelpress.tensors.writer import NewFile, disk_errors, remove_partials, write_file


class WorkFolder:
    """The files of one run, below a staging directory.

    ``shapes``: of the hidden states of every batch, [samples, length, hidden] each, all of ``dtype``.
    """

    def __init__(
        self, staging: Path, *, shapes: Sequence[tuple[int, int, int]], dtype: torch.dtype, blocks: int
    ) -> None:
        self.path = staging / CALIBRATED
        self._shapes, self._dtype, self._blocks = shapes, dtype, blocks
        sizes = [math.prod(shape) * dtype.itemsize for shape in shapes]
        #: Where each batch's hidden states begin in their file, and where the last ones end.
        self._offsets = [0, *accumulate(sizes)]
        with disk_errors(self.path, size_bytes=0):
            self.path.mkdir(parents=True, exist_ok=True)
        remove_partials(self.path)

    def finished(self) -> int | None:
        """How many blocks are finished, from the first on; None if not even what goes into the first is there."""
        count = 0
        while count < self._blocks and self.block(count).exists():
            count += 1
        if count == self._blocks:
            return count
        hidden = self._hidden(count)
        return count if hidden.exists() and hidden.stat().st_size == self._offsets[-1] else None

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
        self._untouched(number).unlink(missing_ok=True)
        if number + 1 == self._blocks:
            self._untouched(self._blocks).unlink(missing_ok=True)

    def keep_hidden(self, number: int, batches: Iterable[Tensor]) -> None:
        """Keep what goes into block ``number``: hidden states of each batch, in order."""
        self._keep(self._hidden(number), batches)

    def keep_untouched(self, number: int, batches: Iterable[Tensor]) -> None:
        """Keep what goes into block ``number`` of the source."""
        self._keep(self._untouched(number), batches)

    def _keep(self, file: Path, batches: Iterable[Tensor]) -> None:
        with NewFile(file, size_bytes=self._offsets[-1]) as new:
            for batch, shape, offset in zip(batches, self._shapes, self._offsets[:-1], strict=True):
                assert tuple(batch.shape) == shape, (batch.shape, shape)
                new.write_at(offset, bytes_of(batch.to(self._dtype)).data)
            new.commit()

    def hidden(self, number: int, batch: int) -> Tensor:
        """What goes into block ``number`` of one batch, on the CPU."""
        return self._read(self._hidden(number), batch)

    def untouched(self, number: int, batch: int) -> Tensor:
        """What goes into block ``number`` of the source; into the first, it is the same."""
        return self._read(self._untouched(number) if number else self._hidden(0), batch)

    def _read(self, file: Path, batch: int) -> Tensor:
        start, stop = self._offsets[batch : batch + 2]
        data = np.fromfile(file, dtype=np.uint8, offset=start, count=stop - start)
        return torch.from_numpy(data).view(self._dtype).reshape(self._shapes[batch])

    def start_over(self) -> None:
        """Forget all that is there."""
        shutil.rmtree(self.path)
        self.path.mkdir()

    def _facts(self, number: int) -> Path:
        return self.path / f"block-{number:05}.json"

    def _hidden(self, number: int) -> Path:
        return self.path / f"hidden-{number:05}.bin"

    def _untouched(self, number: int) -> Path:
        return self.path / f"untouched-{number:05}.bin"
