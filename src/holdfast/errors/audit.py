"""Errors of the audit log and of approvals."""

from __future__ import annotations

from holdfast.errors.core import AccessError, DamageError, HoldfastError, Retry, Safety

__all__ = ["ApprovalMissingError", "AuditDamagedError", "AuditUnavailableError"]


class AuditUnavailableError(HoldfastError):
    """The audit log cannot be written: what destroys, or hands out keys, is not done unrecorded."""

    code = "audit-unavailable"
    safety = Safety.INTACT
    retry = Retry.LATER
    meaning = "The audit log cannot be written, and the operation is one that is never done unrecorded."
    safe = "nothing was deleted, revoked or handed out; backups and restores go on without the log, and say so."
    next = "make the state directory writable (is its disk full?), then run the command again."


class AuditDamagedError(DamageError):
    """The audit log is not what was written: a record was changed, removed, reordered or cut off."""

    code = "audit-damaged"
    meaning = "The audit log is not what was written to it: a record was changed, removed, reordered or cut off."
    safe = "the backups are untouched; the records before the place named are proved by the last signed head."
    next = "keep the folder as evidence; `holdfast audit verify` lists every fault, `holdfast audit renew` begins a new log."


class ApprovalMissingError(AccessError):
    """The vault demands that other people approve this operation, and not enough of them did."""

    code = "approval-missing"
    meaning = "The vault's access rules demand the approval of other people for this operation."
    next = "`holdfast approval request` writes what they sign; give their statements with `--approval FILE`."
