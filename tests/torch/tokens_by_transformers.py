"""Prints the tokens that transformers makes of texts: run by an interpreter that has it.

    python tests/torch/tokens_by_transformers.py TEXTS.json MODEL_DIRECTORY…

Prints one line of JSON for each directory: a list of ids for each text, and the texts that come back of them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer


def main() -> None:
    texts = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for directory in sys.argv[2:]:
        tokenizer = AutoTokenizer.from_pretrained(directory)
        ids = [tokenizer(text)["input_ids"] for text in texts]
        decoded = [tokenizer.decode(of_text, skip_special_tokens=True) for of_text in ids]
        print(json.dumps({"ids": ids, "decoded": decoded}))


if __name__ == "__main__":
    main()
