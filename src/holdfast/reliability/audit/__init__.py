"""The audit log: append-only, hash-chained, with signed Merkle tree heads, and its proofs and exports.

`record` is what an event says, `merkle` the tree of RFC 6962, `head` its signed root, `log` the files, `verify` and `proofs`
what an auditor does with them, offline and with the public key alone. See docs/audit.md and ADR 0014.
"""

from __future__ import annotations

from holdfast.reliability.audit.head import PublicKey, SignedHead
from holdfast.reliability.audit.log import AuditLog, Position
from holdfast.reliability.audit.record import Actor, AuditRecord

__all__ = [
    "Actor",
    "AuditLog",
    "AuditRecord",
    "Position",
    "PublicKey",
    "SignedHead",
]
