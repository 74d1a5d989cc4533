"""What includes mean: paths and globs, resolved against the trees of a snapshot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.base.patterns import has_glob, literal_folder, matcher
from holdfast.errors import DamageError, PathMissingError
from holdfast.runs.trees import Trees, tree_path

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["resolved"]


def resolved(trees: Trees, patterns: Iterable[bytes], cut: list[bytes] | None = None) -> list[bytes]:
    """Return the paths that includes mean, globs resolved against the trees. `PathMissingError` if one means nothing.

    A path stands for itself and everything under it; so does every match of a glob. Where a part of the trees cannot be read,
    what it means in the rest is returned, and where it was looked for is added to `cut`; without that, `DamageError`.
    """
    found: list[bytes] = []
    for pattern in patterns:
        text = pattern.decode(errors="surrogateescape")
        if text.endswith("/**") and has_glob(text) and not has_glob(text.removesuffix("/**")):
            found.extend(resolved(trees, [os.fsencode(text.removesuffix("/**"))], cut))
            continue
        where = tree_path(pattern) if not has_glob(text) else literal_folder(text) if "/" in text.strip("/") else b""
        hits, error = _path(trees, where) if not has_glob(text) else _glob(trees, text, where)
        if error is not None and cut is None:
            raise error
        if error is not None and cut is not None:
            cut.append(where)
        elif not hits:
            raise PathMissingError("an include matches nothing in the snapshot")
        found.extend(hits)
    return found


def _path(trees: Trees, path: bytes) -> tuple[list[bytes], DamageError | None]:
    """Return a path if something is there, or may be: what of it is lost, the walk of the engine finds out."""
    if not path:
        return [path], None
    try:
        there = trees.lookup(path) is not None or next(trees.walk(path), None) is not None
    except DamageError as error:
        return [path], error
    return [path] if there else [], None


def _glob(trees: Trees, text: str, prefix: bytes) -> tuple[list[bytes], DamageError | None]:
    matches = matcher(text)
    hits: list[bytes] = []
    try:
        hits.extend(entry.path for entry in trees.walk(prefix) if matches(entry.path))
    except DamageError as error:
        return hits, error
    return hits, None
