"""What a backup refuses before it begins: paths that are not there or are its own, texts that could not be stored."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.errors import SourceMissingError, TargetInsideVaultError, UsageError

if TYPE_CHECKING:
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.backup import BackupRequest

__all__ = ["check_paths", "check_texts"]


def check_paths(vault: OpenVault, request: BackupRequest) -> None:
    """Refuse paths that do not exist, and those of the vault itself."""
    if not request.paths and not request.options.streams:
        raise UsageError("nothing to back up was named", next="give at least one path.")
    missing = sum(not os.path.lexists(path) for path in request.paths)
    if missing:
        raise SourceMissingError(f"{missing} of the {len(request.paths)} paths to back up do not exist")
    if any(map(vault.owns, request.paths)):
        raise TargetInsideVaultError("a path to back up lies in the vault or in Holdfast's own state")


def check_texts(request: BackupRequest) -> None:
    """Refuse what could not be stored or listed: labels and tags that are no line of text, streams without a place."""
    for text in (request.label, *request.options.tags):
        if not text.isprintable():
            raise UsageError("a label or a tag is one line of printable text")
    names = [os.fsencode(stream.path).strip(b"/") for stream in request.options.streams]
    if len(set(names)) != len(names):
        raise UsageError("two streams have the same name")
    if any(part in {b"", b".", b".."} or b"\0" in part for name in names for part in name.split(b"/")):
        raise UsageError("the name of a stream is a path without `.` and `..`")
