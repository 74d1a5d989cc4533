"""Roles: whose signature is worth what. Pure.

A role is what root certified a key for, not what a credential says of itself: a reader asks the certificate, so that a changed
file, or a program that skips every question, signs what nobody accepts. What a role may read is a matter of the keys it was given.
"""

from __future__ import annotations

WRITER, RESTORER, VERIFIER, AUDITOR, PRUNER, ROOT_ROLE = "writer", "restorer", "verifier", "auditor", "pruner", "root"
ISSUED = (WRITER, RESTORER, VERIFIER, AUDITOR, PRUNER)
"""Roles that have credentials; root's is a key slot."""

WRITE, VOUCH, PRUNE = "write", "vouch", "prune"
POWERS = {
    WRITER: frozenset({WRITE}),
    VERIFIER: frozenset({VOUCH}),
    PRUNER: frozenset({PRUNE}),
    RESTORER: frozenset[str](),
    AUDITOR: frozenset[str](),
}
"""Snapshots and sessions; countersignatures and lists of damage; tombstones, admissions, prune rounds and their index runs.
Heads of audit logs are everybody's; all else is root's."""

PRIVATE, DEDUP, INDEX, PUBLIC = "private", "dedup_key", "index_key", "public"
KEYS = {
    WRITER: frozenset({PUBLIC, DEDUP, INDEX}),
    RESTORER: frozenset({PUBLIC, DEDUP, INDEX, PRIVATE}),
    VERIFIER: frozenset({PUBLIC, DEDUP, INDEX, PRIVATE}),
    PRUNER: frozenset({INDEX}),
    AUDITOR: frozenset[str](),
}
"""What a role is given of each generation of its classes."""
READS_CONTENT = frozenset({RESTORER, VERIFIER})
NEEDED = {
    WRITE: "a writer's credential, or the vault's root key",
    VOUCH: "a verifier's credential, or the vault's root key",
    PRUNE: "a pruner's credential, or the vault's root key",
}


def may(role: str, power: str) -> bool:
    """Return whether a role has a power. A role that this release does not know has none."""
    return power in POWERS.get(role, frozenset())
