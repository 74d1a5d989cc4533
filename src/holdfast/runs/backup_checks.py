"""What is asked of a backup is looked at before anything is done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.errors import SourceMissingError, TargetInsideVaultError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.backup import BackupRequest

__all__ = ["absolute", "check"]


def absolute(paths: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the paths from the root, each once; symlinks on the way are kept as they are."""
    here = os.getcwdb()
    return tuple(dict.fromkeys(os.path.normpath(os.path.join(here, path)) for path in paths))


def check(vault: OpenVault, request: BackupRequest) -> None:
    """Raise `UsageError`, `SourceMissingError` or `TargetInsideVaultError` for a request that makes no sense."""
    _check_paths(vault, request)
    _check_texts(request)


def _check_paths(vault: OpenVault, request: BackupRequest) -> None:
    if not request.paths and not request.options.streams:
        raise UsageError("nothing to back up was named", next="give at least one path.")
    missing = sum(not os.path.lexists(path) for path in request.paths)
    if missing:
        raise SourceMissingError(f"{missing} of the {len(request.paths)} paths to back up do not exist")
    if any(map(vault.owns, request.paths)):
        raise TargetInsideVaultError("a path to back up lies in the vault or in Holdfast's own state")


def _check_texts(request: BackupRequest) -> None:
    """Refuse what could not be stored or listed: labels and tags that are no line of text, streams without a place."""
    for text in (request.label, *request.options.tags):
        if not text.isprintable():
            raise UsageError("a label or a tag is one line of printable text")
    names = [os.fsencode(stream.path).strip(b"/") for stream in request.options.streams]
    if len(set(names)) != len(names):
        raise UsageError("two streams have the same name")
    if any(part in {b"", b".", b".."} or b"\0" in part for name in names for part in name.split(b"/")):
        raise UsageError("the name of a stream is a path without `.` and `..`")
