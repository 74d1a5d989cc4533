"""What includes mean: paths and globs, resolved against the trees of a snapshot."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.base.patterns import has_glob, literal_folder, matcher
from holdfast.errors import PathMissingError
from holdfast.runs.trees import Trees, tree_path

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["resolved"]


def resolved(trees: Trees, patterns: Iterable[bytes]) -> list[bytes]:
    """Return the paths that includes mean, globs resolved against the trees. `PathMissingError` if one means nothing.

    A path stands for itself and everything under it; so does every match of a glob.
    """
    found: list[bytes] = []
    for pattern in patterns:
        text = pattern.decode(errors="surrogateescape")
        if not has_glob(text):
            path = tree_path(pattern)
            if path and trees.lookup(path) is None and next(trees.walk(path), None) is None:
                raise PathMissingError("an include matches nothing in the snapshot")
            found.append(path)
            continue
        if text.endswith("/**") and not has_glob(text.removesuffix("/**")):
            found.extend(resolved(trees, [os.fsencode(text.removesuffix("/**"))]))
            continue
        matches = matcher(text)
        prefix = literal_folder(text) if "/" in text.strip("/") else b""
        hits = [entry.path for entry in trees.walk(prefix) if matches(entry.path)]
        if not hits:
            raise PathMissingError("an include matches nothing in the snapshot")
        found.extend(hits)
    return found
