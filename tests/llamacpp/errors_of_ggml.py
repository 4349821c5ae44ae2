"""Prints the squared errors that ggml's own rounding makes: run by an interpreter that has xllamacpp.

    python tests/llamacpp/errors_of_ggml.py WEIGHTS.npy

Prints one line of JSON: for each searched type the squared error of the matrix, plain and weighted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.golden.make_blocks import SEARCHED, ggml_blocks, ggml_values, load_ggml, squared_errors


def main() -> None:
    library, weights, errors = load_ggml(), np.load(sys.argv[1]), {}
    for name, (number, length, block_bytes, group) in SEARCHED.items():
        blocks = ggml_blocks(library, weights, number=number, size=weights.size // length * block_bytes)
        values = ggml_values(library, blocks, name=name, count=weights.size)
        errors[name] = squared_errors(weights, values, group)
    print(json.dumps(errors))


if __name__ == "__main__":
    main()
