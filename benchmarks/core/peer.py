"""llm-compressor on one model: ``python peer.py MODEL OUTPUT``, with the interpreter of an environment that has it."""

from __future__ import annotations

import sys


def main() -> None:
    """Compress as the documents of ``model_free_ptq`` show."""
    from llmcompressor import model_free_ptq

    source, destination = sys.argv[1:]
    model_free_ptq(
        model_stub=source,
        save_directory=destination,
        scheme="W4A16",
        ignore=["lm_head", "re:.*embed_tokens"],
        device="cpu",
    )


if __name__ == "__main__":
    main()
