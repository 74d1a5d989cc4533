"""A configuration with faults, mended for looking further: one fault must not hide the others, of its table or of another.

What is wrong by itself is taken out (an option then has its default, a bad name becomes a good one), and the faults between options
are looked for in what is left. What a mend could bring about itself is not said: nothing is blamed on a table that cannot be mended,
nor on an entry that lacks an option now.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from holdfast.config.lines import Key
from holdfast.config.schema import Settings

__all__ = ["Mended", "mend"]

ROUNDS_MAX = 3
"""What is taken out may bring another fault to light: an option that was refused may be one that must be there."""
_UNMENDED = frozenset({("escalation",), ("alerts", "digest_contacts")})
"""Where others would be blamed for what was taken out: that nobody is told."""
_OPTION, _ENTRY = 2, 3
"""How long the key of an option in a section is, and of one in a named entry of a table."""


@dataclass(slots=True)
class Mended:
    """What could be made of it."""

    settings: Settings
    broken: frozenset[str]
    """Tables that were left out."""
    _touched: set[Key] = field(default_factory=set)
    _names: dict[Key, str] = field(default_factory=dict)

    def key_of(self, key: Key) -> Key | None:
        """Return the key of a fault as the file has it; None if the fault may come of the mend."""
        if any(key[: len(touched)] == touched for touched in self._touched):
            return None
        name = self._names.get(key[:_OPTION])
        return key if name is None else (key[0], name, *key[_OPTION:])


def mend(document: dict[str, Any], faults: Sequence[ErrorDetails]) -> Mended | None:
    """Take out what is wrong; None if that leaves nothing that could be looked at."""
    left = copy.deepcopy(document)
    touched: set[Key] = set()
    names: dict[Key, str] = {}
    broken: set[str] = set()
    for _ in range(ROUNDS_MAX):
        for fault in faults:
            _take_out(left, fault, touched, names, broken)
        for table in broken:
            left.pop(table, None)
        if not isinstance(left.get("vault"), dict):
            left["vault"] = {}
        left["vault"].setdefault("url", "-")
        try:
            return Mended(Settings.model_validate(left), frozenset(broken), touched, names)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
    return None


def _take_out(
    left: dict[str, Any], fault: ErrorDetails, touched: set[Key], names: dict[Key, str], broken: set[str]
) -> None:
    key: Key = tuple(fault["loc"])
    table = str(key[0])
    if key[-1] == "[key]" and len(key) == _ENTRY and isinstance(left.get(table), dict):
        _rename(left[table], table, str(key[1]), names)
        return
    length = _ENTRY if isinstance(_at(left, key[:_OPTION]), dict) else _OPTION
    option = key[:length]
    if len(option) < length or fault["type"] == "missing" or option[:1] in _UNMENDED or option in _UNMENDED:
        # The address of the vault is nothing that others refer to.
        broken |= {table} - {"vault"}
        return
    parent = _at(left, option[:-1])
    if isinstance(parent, dict):
        parent.pop(option[-1], None)
    touched.add(option[:_OPTION])


def _rename(entries: dict[str, Any], table: str, name: str, names: dict[Key, str]) -> None:
    """Give an entry whose name is none another one, in its place."""
    number = next(number for number in range(len(entries) + 1) if f"unnamed-{number}" not in entries)
    new = f"unnamed-{number}"
    items = [(new if each == name else each, value) for each, value in entries.items()]
    entries.clear()
    entries.update(items)
    names[table, new] = name


def _at(document: object, key: Key) -> object:
    """Return what stands at a key; None if there is nothing."""
    for part in key:
        document = document.get(part) if isinstance(document, dict) else None
    return document
