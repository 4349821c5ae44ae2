"""The limit: read every byte of a model, write as many bytes as its output has, end in fsync; nothing else.

    python -I -S copying.py SOURCE DESTINATION OUTPUT_BYTES THREADS

SOURCE is a directory, whose safetensors files are read, or ``-`` for none; DESTINATION is a file to be made, or ``-``
for none. It prints a line of JSON with the seconds from the first read to the last sync: the interpreter's own start is
left out. What is read lies in one buffer a thread, small enough for a core's own cache, and is written from there:
nothing is left but system calls, and they run in all threads at once.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time

_CHUNK_BYTES = 1 << 20

#: File, offset, bytes.
Chunk = tuple[int, int, int]


def main() -> None:
    """Copy as the command line says."""
    source, destination, output_text, threads_text = sys.argv[1:]
    began = time.perf_counter()
    chunks = _chunks(source)
    output_bytes = int(output_text)
    out = -1 if destination == "-" else os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    count = len(chunks) or -(-output_bytes // _CHUNK_BYTES)
    share = -(-output_bytes // count)
    numbers = itertools.count()

    def work() -> None:
        buffer = memoryview(bytearray(_CHUNK_BYTES))
        while (number := next(numbers)) < count:
            if chunks:
                file, offset, size = chunks[number]
                assert os.preadv(file, [buffer[:size]], offset) == size
            if out >= 0:
                start = number * share
                _write(out, buffer, start, min(share, output_bytes - start))

    crew = [threading.Thread(target=work) for _ in range(int(threads_text))]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    if out >= 0:
        os.fsync(out)
        assert os.fstat(out).st_size == output_bytes
    print(json.dumps({"seconds": time.perf_counter() - began}))


def _chunks(source: str) -> list[Chunk]:
    if source == "-":
        return []
    found = []
    for name in sorted(os.listdir(source)):
        if name.endswith(".safetensors"):
            file = os.open(os.path.join(source, name), os.O_RDONLY)
            size = os.fstat(file).st_size
            found += [(file, at, min(_CHUNK_BYTES, size - at)) for at in range(0, size, _CHUNK_BYTES)]
    return found


def _write(out: int, buffer: memoryview, start: int, size: int) -> None:
    done = 0
    while done < size:
        done += os.pwrite(out, buffer[: size - done], start + done)


if __name__ == "__main__":
    main()
