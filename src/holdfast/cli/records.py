"""JSON lines: one object per line, each with a `type`. The shapes are the library's own result types.

Paths are text; one that is not UTF-8 is written with replacement characters and, beside it, as `…_base64`. Where the
operator did not ask for paths, `path` is absent and `path_digest` stands in its place: equal within one output, and
worth nothing outside of it.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
from datetime import datetime
from enum import Enum
from typing import Any

from holdfast.base.environment import format_time, system
from holdfast.base.events import Finding
from holdfast.errors import HoldfastError

__all__ = ["digest", "error_record", "fields", "line", "path_text", "record"]

_DIGEST_KEY = system().random_bytes(32)


def line(value: dict[str, object]) -> str:
    """Write one record."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def record(kind: str, value: object, *, show_paths: bool, **more: object) -> dict[str, object]:
    """Return the record of a result, an event or a row: its type, its fields, and `more`."""
    found = {"type": kind, **fields(value, show_paths=show_paths)}
    found.update({name: _plain(item, show_paths=show_paths) for name, item in more.items()})
    return found


def fields(value: object, *, show_paths: bool) -> dict[str, object]:
    """Return the fields of a dataclass as JSON has them."""
    found: dict[str, object] = {}
    hidden = isinstance(value, Finding) and not show_paths
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        item = getattr(value, field.name)
        if isinstance(item, bytes):
            found.update(_path_fields(field.name, item, hidden=hidden))
        elif field.name == "paths" and not show_paths:
            found["paths_count"] = len(item)
        else:
            found[field.name] = _plain(item, show_paths=show_paths)
    return found


def error_record(error: HoldfastError) -> dict[str, object]:
    """Return the record of an error that stopped the command."""
    return {
        "type": "error",
        "code": error.code,
        "exit_code": error.exit_code,
        "what": error.what,
        "safe": error.safe,
        "next": error.next,
        "safety": error.safety.value,
        "retry": error.retry.value,
    }


def path_text(path: bytes) -> str:
    """Return a path as text, for people and JSON; bytes that are not UTF-8 become replacement characters."""
    return path.decode(errors="replace")


def digest(path: bytes) -> str:
    """Return what stands for a path that must not be shown: keyed by this process, 16 hex digits."""
    return hmac.new(_DIGEST_KEY, path, hashlib.sha256).hexdigest()[:16]


def _path_fields(name: str, path: bytes, *, hidden: bool) -> dict[str, object]:
    if hidden:
        return {f"{name}_digest": digest(path)} if path else {}
    found: dict[str, object] = {name: path_text(path)}
    try:
        path.decode()
    except UnicodeDecodeError:
        found[f"{name}_base64"] = base64.b64encode(path).decode()
    return found


def _plain(value: Any, *, show_paths: bool) -> object:  # noqa: ANN401 - whatever a result holds
    if dataclasses.is_dataclass(value):
        return fields(value, show_paths=show_paths)
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, bytes):
        return path_text(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, tuple | list):
        return [_plain(item, show_paths=show_paths) for item in value]
    return value
