"""Patterns for paths, as shells know them: `*` and `?` stay within a name, `**` crosses folders, `[abc]` is a set.

Paths are bytes; those that are no UTF-8 match `*` and `?` like any other.
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_GLOB = re.compile(r"[*?\[]")
_SPECIAL = re.compile(r"([\\*?\[\]!#{}])")


def has_glob(pattern: str) -> bool:
    """Return whether a pattern has wildcards."""
    return _GLOB.search(pattern) is not None


def literal(path: str) -> str:
    """Return a path as a gitignore-like pattern that matches nothing else."""
    return _SPECIAL.sub(r"\\\1", path)


def literal_folder(pattern: str) -> bytes:
    """Return the folder that everything a path pattern matches lies under."""
    parts = pattern.strip("/").split("/")
    literal = []
    for part in parts:
        if has_glob(part):
            break
        literal.append(part)
    return "/".join(literal).encode(errors="surrogateescape")


def matcher(pattern: str) -> Callable[[bytes], bool]:
    """Return a test for paths: `*` and `?` stay within a name, `**` crosses folders, a pattern without `/` tests the name.

    As shells do: `[abc]` and `[!abc]` are sets. Bytes that are no UTF-8 match `*` and `?` like others.
    """
    if "/" not in pattern:
        compiled = re.compile(fnmatch.translate(pattern), re.DOTALL)
        return lambda path: compiled.match(_text(path.rpartition(b"/")[2])) is not None
    whole = re.compile(_translate(pattern.strip("/")), re.DOTALL)
    return lambda path: whole.fullmatch(_text(path)) is not None


def _translate(pattern: str) -> str:
    """Translate a path pattern to a regular expression."""
    out = []
    position = 0
    while position < len(pattern):
        if pattern.startswith("**/", position):
            out.append("(?:[^/]+/)*")
            position += 3
        elif pattern.startswith("**", position):
            out.append(".*")
            position += 2
        elif pattern[position] == "*":
            out.append("[^/]*")
            position += 1
        elif pattern[position] == "?":
            out.append("[^/]")
            position += 1
        elif pattern[position] == "[" and (end := pattern.find("]", position + 2)) > 0:
            inner = pattern[position + 1 : end].replace("\\", "\\\\")
            negated = inner.startswith("!")
            out.append(f"[{'^/' if negated else ''}{inner[negated:]}]")
            position = end + 1
        else:
            out.append(re.escape(pattern[position]))
            position += 1
    return "".join(out)


def _text(path: bytes) -> str:
    return path.decode(errors="surrogateescape")
