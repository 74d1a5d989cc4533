"""Line numbers for a TOML file: `tomllib` gives values and no places, and a person with an error wants the line."""

from __future__ import annotations

import re

__all__ = ["line_of", "lines_of"]

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(
    r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=\s*(.*)$"""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_STRINGS = re.compile(r'"""|\'\'\'|"(?:\\.|[^"\\])*"|\'[^\']*\'|#.*|[\[\]{}]')

Key = tuple[str | int, ...]


def lines_of(text: str) -> dict[Key, int]:
    """Map each key and table of a TOML text to its first line, counted from 1. A text that is no TOML gives what it can."""
    found: dict[Key, int] = {}
    counts: dict[Key, int] = {}
    table: Key = ()
    depth, quote = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        rest = line
        if depth == 0 and not quote:
            header = _HEADER.match(line)
            if header:
                table = _resolve(_parts(header[2]), counts)
                if header[1] == "[[":
                    position = counts.get(table, 0)
                    counts[table] = position + 1
                    table = (*table, position)
                found.setdefault(table, number)
                continue
            key = _KEY.match(line)
            if key:
                found.setdefault((*table, *_parts(key[1])), number)
                rest = key[2]
        depth, quote = _scan(rest, depth, quote)
    return found


def line_of(found: dict[Key, int], key: Key) -> int | None:
    """Return the line of a key, or of the nearest table around it."""
    while key:
        if key in found:
            return found[key]
        key = key[:-1]
    return None


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in _PART.findall(dotted))


def _resolve(parts: tuple[str, ...], counts: dict[Key, int]) -> Key:
    """Insert the position of the last element where a part of the path is an array of tables."""
    key: Key = ()
    for place, part in enumerate(parts):
        key = (*key, part)
        if place < len(parts) - 1 and key in counts:
            key = (*key, counts[key] - 1)
    return key


def _scan(rest: str, depth: int, quote: str) -> tuple[int, str]:
    """Follow brackets and multi-line strings, so that what looks like a key inside them is not taken for one."""
    position = 0
    while position < len(rest):
        if quote:
            end = rest.find(quote, position)
            if end < 0:
                return depth, quote
            position, quote = end + len(quote), ""
            continue
        match = _STRINGS.search(rest, position)
        if match is None:
            break
        found = match[0]
        position = match.end()
        if found in ('"""', "'''"):
            quote = found
        elif found in "[{":
            depth += 1
        elif found in "]}":
            depth = max(0, depth - 1)
    return depth, quote
