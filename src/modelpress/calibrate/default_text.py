"""The built-in calibration text: English documentation and Python code out of the standard library, Chinese prose.

Mixed since a gain by calibration holds for what it was calibrated on: with English documentation alone, GPTQ halves the
divergence on such text and is worse than plain rounding on Chinese. The Chinese was written for this project, since no
Chinese comes with Python. Documentation and code are those of the Python that runs, so another version's differ a
little; the digest of the samples tells them apart.

Left out, so that results can be judged by it: the last two fifths of the documentation's topics, and all licences
(modules that carry one in their source are not taken).
"""

from __future__ import annotations

import sysconfig
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

#: Of the topics in the order of their names, those that are taken.
_TOPICS_SHARE = 0.6
#: Of different kinds, in every Python from 3.11 to 3.14, and without a licence in them.
_MODULES = """
argparse bisect calendar cmd collections/__init__ configparser contextlib copy csv dataclasses difflib dis enum
fileinput filecmp fractions ftplib gettext graphlib heapq html/parser http/server asyncio/queues asyncio/streams
asyncio/tasks json/decoder json/encoder mimetypes pickle plistlib pprint queue random sched selectors shlex shutil
smtplib statistics tempfile threading timeit tokenize traceback urllib/parse uuid wave weakref
"""
#: Of each module, out of its middle: there is most of the code, and much of one would say little new.
_MODULE_CHARACTERS = 6000
_PROSE = Path(__file__).with_name("prose") / "chinese.txt"
#: A line of its own between the pieces of a file of prose.
_BETWEEN = "\n---\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Documents of one kind."""

    name: str
    #: Of all calibration tokens, in percent, where all parts are there.
    percent: int
    documents: tuple[str, ...]


def default_parts() -> tuple[Part, ...]:
    """The parts that this Python has; some distributions package the documentation apart, or leave sources out."""
    parts = (
        Part(name="English documentation", percent=40, documents=_topics()),
        Part(name="Python code", percent=30, documents=_sources()),
        Part(name="Chinese prose", percent=30, documents=_prose()),
    )
    return tuple(part for part in parts if part.documents)


def _topics() -> tuple[str, ...]:
    try:
        topics: dict[str, str] = import_module("pydoc_data.topics").topics
    except ImportError:
        return ()
    names = sorted(topics)
    return tuple(topics[name] for name in names[: int(len(names) * _TOPICS_SHARE)])


def _sources() -> tuple[str, ...]:
    library = Path(sysconfig.get_path("stdlib"))
    paths = [library / f"{name}.py" for name in _MODULES.split()]
    return tuple(_middle(path.read_text(encoding="utf-8")) for path in paths if path.is_file())


def _middle(source: str) -> str:
    """Whole lines of it."""
    start = max(0, (len(source) - _MODULE_CHARACTERS) // 2)
    return source[source.rfind("\n", 0, start) + 1 : source.find("\n", start + _MODULE_CHARACTERS) + 1 or None]


def _prose() -> tuple[str, ...]:
    return tuple(piece.strip() for piece in _PROSE.read_text(encoding="utf-8").split(_BETWEEN))
