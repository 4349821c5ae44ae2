"""Patterns by which a user names modules: ``down_proj``, ``mlp.*``, ``model.layers.[0-3].*``.

``*`` is any text, dots among it, ``?`` one character, ``[0-9]`` one of these, ``[!0-9]`` one of all others. A pattern
means a module if it fits the module's whole name or what follows one of its dots. Regular expressions are not taken:
one that backtracks would hold up a server for ever. What is made of a glob here cannot: each part between two stars is
sought once, from left to right, and the first place found is kept (an atomic group), so that the work for a name is
bounded by its length times the pattern's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import lru_cache

from modelpress.errors import InvalidRequest

LONGEST_PATTERN = 200
#: In a whole recipe. Patterns without a wildcard cost next to nothing and are limited with them.
MOST_PATTERNS = 256
#: Suggestions in a hint.
_NEAR = 3

_WILD = re.compile(r"[*?\[]")
#: A class, a star, a question mark, or a run of anything else.
_TOKEN = re.compile(r"\[(?P<no>[!^]?)(?P<class>\]?[^\]]*)\]|\*+|\?|[^*?\[]+|\[")
_REMEMBERED = 64


def check_patterns(texts: Iterable[str], *, field: str) -> tuple[str, ...]:
    """The patterns, sorted, each once: their order makes no difference.

    Raises: InvalidRequest naming ``field``.
    """
    return tuple(sorted({_checked(text.strip(), field) for text in texts}))


def _checked(text: str, field: str) -> str:
    if text.startswith("re:"):
        raise InvalidRequest(
            field,
            f"{_short(text)} is a regular expression; patterns have *, ? and [..] alone",
            hint=f"try {_as_glob(text)!r}; a pattern fits whole names and what follows a dot in them",
        )
    if not text:
        raise InvalidRequest(field, "a pattern is empty", hint="'*' means every linear layer")
    if len(text) > LONGEST_PATTERN:
        raise InvalidRequest(field, f"a pattern has {len(text)} characters; at most {LONGEST_PATTERN} are taken")
    if not text.isprintable() or " " in text:
        raise InvalidRequest(field, f"{_short(text)} has blanks or control characters, which no module's name has")
    try:
        _expression(text)
    except ValueError as exc:
        raise InvalidRequest(field, f"{_short(text)}: {exc}") from exc
    return re.sub(r"\*+", "*", text)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


def _as_glob(text: str) -> str:
    """A glob that may mean what a regular expression means, for a hint."""
    glob = text.removeprefix("re:").removeprefix("^").removesuffix("$")
    glob = re.sub(r"\.[*+]\??|\\d[*+]?|\[0-9\][*+]", "*", glob).replace("\\.", ".")
    glob = re.sub(r"[\\()|^$+{}]", "*", glob)
    return re.sub(r"\*+", "*", glob)[:LONGEST_PATTERN] or "*"


@lru_cache(_REMEMBERED)
def matcher(patterns: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a module's name fits one of the checked ``patterns``; none fit where there are none."""
    plain = frozenset(pattern for pattern in patterns if not _WILD.search(pattern))
    wild = [_expression(pattern) for pattern in patterns if pattern not in plain]
    expression = re.compile("|".join(f"(?:{text})" for text in wild), re.DOTALL) if wild else None

    def fits(module: str) -> bool:
        if plain and not plain.isdisjoint(_tails(module)):
            return True
        # The dot in front makes of a whole name one that follows a dot.
        return expression is not None and expression.fullmatch(f".{module}") is not None

    return fits


def _tails(module: str) -> Iterable[str]:
    words = module.split(".")
    return (".".join(words[start:]) for start in range(len(words)))


def _expression(pattern: str) -> str:
    """A regular expression for ``.`` and a module's name, which never looks at a part between stars twice.

    Raises: ValueError saying what is wrong with the pattern.
    """
    parts = ["\\."]
    for token in _TOKEN.finditer(pattern):
        if token.group().startswith("*"):
            parts.append("")
        else:
            parts[-1] += _one(token)
    *sought, last = parts
    # With no star after it, the last part must end the name: there is one place for it, and nothing to seek.
    return "".join(f"(?>.*?{part})" for part in sought) + f".*{last}"


def _one(token: re.Match[str]) -> str:
    text = token.group()
    if text == "?":
        return "."
    if text == "[" or token["class"] == "":
        raise ValueError("'[' begins a class such as [0-9], which is not closed or empty")
    if token["class"] is None:
        return re.escape(text)
    return _class(token["class"], negated=bool(token["no"]))


def _class(members: str, *, negated: bool) -> str:
    parts = []
    for one in re.finditer(r"(.)-(.)|.", members):
        low, high = one.group(1, 2)
        if low is not None and low > high:
            raise ValueError(f"the range {low}-{high} goes backwards")
        parts.append(re.escape(one.group()) if low is None else f"{re.escape(low)}-{re.escape(high)}")
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def unmatched(patterns: Iterable[str], modules: Iterable[str]) -> list[str]:
    """Those of the patterns that fit none of the modules: mistakes of spelling, most likely."""
    names = list(modules)
    return [pattern for pattern in patterns if not any(map(matcher((pattern,)), names))]


def near(pattern: str, modules: Iterable[str]) -> list[str]:
    """A few last words of modules that look like the pattern's, for a hint."""
    last = pattern.rpartition(".")[2] or pattern
    words = {module.rpartition(".")[2] for module in modules}
    return get_close_matches(last, sorted(words), n=_NEAR, cutoff=0.5)
