"""One case per option: what a file says, and the value that comes out. One module per area; `CASES` of each are collected."""

from __future__ import annotations

import importlib
import pkgutil

HEAD = '[vault]\nurl = "/v"\n'


def all_cases() -> dict[str, tuple[str, object]]:
    """Return the cases of every module of this package. A key stands in one of them only."""
    found: dict[str, tuple[str, object]] = {}
    for module in pkgutil.iter_modules(__path__):
        cases = importlib.import_module(f"{__name__}.{module.name}").CASES
        assert not found.keys() & cases.keys()
        found |= cases
    return found
