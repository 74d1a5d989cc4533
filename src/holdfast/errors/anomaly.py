"""Errors of suspicious snapshots."""

from __future__ import annotations

from holdfast.errors.core import AccessError, Safety

__all__ = ["PinnedError"]


class PinnedError(AccessError):
    """A suspicious snapshot pins the last good one of its source."""

    code = "pinned"
    safety = Safety.INTACT
    meaning = "A later snapshot of the source looks like the work of ransomware: the last good one is not forgotten."
    safe = "nothing was forgotten; every snapshot is as it was."
    next = "`holdfast findings list` names the suspicious one; if its change was meant, `holdfast findings release` it."
