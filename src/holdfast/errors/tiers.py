"""Errors of policies, spool and courier."""

from __future__ import annotations

from holdfast.errors.core import DamageError, HoldfastError, Retry, Safety, StoreFullError

__all__ = ["MediumDamageError", "MediumError", "MediumGapError", "ReceiptError", "SpoolFullError"]


class SpoolFullError(StoreFullError):
    """No store takes a pack, and the spool has no room for it either."""

    code = "spool-full"
    retry = Retry.LATER
    meaning = "The stores that a data class may go to are down, and the spool has no room left."
    safe = "every snapshot acknowledged before is as it was; what waits in the spool is kept and stored later."
    next = "bring a store back, then `holdfast migrate` stores what waits; or raise `spool.bytes_max`."


class MediumError(HoldfastError):
    """A courier's medium cannot be used: full, swapped, not one of ours."""

    code = "medium"
    meaning = "The medium of a courier is full, was swapped, or is none of this vault's."
    safe = "the vault is as it was; what lies complete on the media stays good."
    next = (
        "insert the medium that the first line asks for, and run the same command again: it goes on where it stopped."
    )


class MediumGapError(MediumError):
    """A medium or a whole set is missing before this one."""

    code = "medium-gap"
    safety = Safety.UNTOUCHED
    meaning = "A transfer set cannot be imported because one before it, or one of its media, is missing."
    safe = "nothing was imported from this medium; the vault at the far side is as complete as before."
    next = "import what is missing first; `holdfast courier export --again N` writes a lost set anew."


class MediumDamageError(DamageError):
    """A medium's content is not what its signed list says."""

    code = "medium-damaged"
    meaning = "A medium holds other bytes than its signed list names. They were not imported."
    safe = "nothing wrong was imported; what was whole is kept."
    next = "try another drive; `holdfast courier export --again N` writes the set anew."


class ReceiptError(HoldfastError):
    """A receipt does not confirm what was exported here."""

    code = "receipt"
    safety = Safety.UNTOUCHED
    meaning = "A receipt belongs to another vault or another export, or was altered."
    safe = "nothing was noted; the sets count as not confirmed."
    next = "fetch the receipt that the far side wrote for this vault."
