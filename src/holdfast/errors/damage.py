"""Errors of what is damaged in part: what could be read was served, and this says that it was not all."""

from __future__ import annotations

from holdfast.errors.core import DamageError

__all__ = ["PartlyLostError"]


class PartlyLostError(DamageError):
    """Raised last, when everything that could be read was handed out."""

    code = "partly-lost"
    meaning = "A part of what was asked for cannot be read, because the objects that name it are damaged. All the rest was shown."
    safe = "what was shown before this is right and verified; nothing of it was guessed."
    next = (
        "`holdfast check` says which objects are damaged, `holdfast repair` brings back what another copy or parity has, and what"
        " no index run lists."
    )
