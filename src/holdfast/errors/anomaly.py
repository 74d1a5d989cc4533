"""Errors of suspicious snapshots and of suspicious stores."""

from __future__ import annotations

from holdfast.errors.core import AccessError, DamageError, Safety

__all__ = ["PinnedError", "RolledBackError"]


class PinnedError(AccessError):
    """A suspicious snapshot pins the last good one of its source."""

    code = "pinned"
    safety = Safety.INTACT
    meaning = "A later snapshot of the source looks like the work of ransomware: the last good one is not forgotten."
    safe = "nothing was forgotten; every snapshot is as it was."
    next = "`holdfast findings list` names the suspicious one; if its change was meant, `holdfast findings release` it."


class RolledBackError(DamageError):
    """The store shows an older state of the vault than this host has seen."""

    code = "rolled-back"
    safety = Safety.AT_RISK
    meaning = "Decisions or tombstones that this host has seen, and that nobody may delete, are gone from the store."
    safe = "nothing was forgotten or deleted; what the store shows is untouched."
    next = "put the newer state back; if it is lost for good, look at `holdfast snapshots`, then `holdfast check --accept-older`."
