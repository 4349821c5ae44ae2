"""AutoRound on one model, run by an environment that has it; nothing of this repository is imported.

    python peer_autoround.py MODEL SAMPLES OUTPUT

4 bits in groups of 64; SAMPLES is a safetensors file with ``input_ids`` [samples, length]. Everything that is not named
here is as the library has it by default: in 0.16.1, 200 iterations a block, batches of 8, the learning rate 1/200,
bf16, the best iteration kept, and torch.compile as it chooses itself.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

_GROUP_SIZE = 64


def main() -> None:
    """Tune and save, in the format that llm-compressor writes, which every loader of our outputs reads."""
    from auto_round import AutoRound
    from safetensors.torch import load_file

    source, samples, destination = sys.argv[1:]
    rows = load_file(samples)["input_ids"]
    tuned = AutoRound(
        source,
        scheme="W4A16",
        group_size=_GROUP_SIZE,
        # Named, else a set of samples would be fetched from the network.
        dataset=[{"input_ids": row.reshape(1, -1)} for row in rows],
        nsamples=len(rows),
        seqlen=rows.shape[1],
        device_map="auto" if _accelerated() else "cpu",
    )
    beside = Path(f"{destination}.saved")
    tuned.quantize_and_save(str(beside), format="llm_compressor")
    # What is saved lies in a directory in it that is named for the model and the scheme.
    next(beside.glob("**/config.json")).parent.replace(destination)
    shutil.rmtree(beside)


def _accelerated() -> bool:
    import torch

    return bool(torch.accelerator.is_available())


# The library starts processes that import this file again.
if __name__ == "__main__":
    main()
