"""What key operations hand out: frozen values without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

__all__ = ["ClassRotation", "Erasure", "KeyRow", "Rehearsal", "RootRotated", "SharesMade"]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One place where a key of the vault was written."""

    id: str
    """Its entry in the ledger."""
    form: str
    """`slot` opens the vault; `credential` is a role's file; `medium` is a copy of the keyring on a courier's disk."""
    role: str
    """`root`, `writer`, `restorer`, `verifier`, `auditor`, `pruner`; empty for a medium."""
    method: str
    """How a slot is opened: `keyfile`, `kit`, `passphrase`, `shares`, `pkcs11`, `transit`."""
    label: str
    """What the operator called it."""
    state: str
    """`live`, `revoked` or `destroyed`; of an enrolment nobody used yet `joining`; of a slot that can be read in neither of its two
    forms, and opens nothing, `damaged`: see `Vault.repair`."""
    made: datetime
    """When."""
    expires: datetime | None
    """Until when it serves; null: without an end."""
    classes: tuple[str, ...]
    """Data classes of a credential."""
    reads: tuple[str, ...]
    """Generations whose content it reads, as `CLASS/GENERATION`; of a slot none are listed: it reads everything."""
    group: str = ""
    """Writers of one group may deduplicate against each other; empty: by itself."""


@dataclass(frozen=True, slots=True)
class SharesMade:
    """A key that was split."""

    id: str
    """Its entry in the ledger."""
    threshold: int
    """So many sheets open the vault."""
    digests: tuple[str, ...]
    """Of each sheet: what its holder tells to show that it is there."""
    sheets: tuple[bytes, ...]
    """What is printed, one for each holder."""


@dataclass(frozen=True, slots=True)
class RootRotated:
    """A rotation of the root key, or what it would do."""

    epoch: int
    """How often the root key was replaced."""
    resealed: int
    """Keys that open the new root key, without anybody having presented them."""
    dropped: int
    """Keys that open nothing any more, as asked."""
    unlisted: int
    """Key slots that the ledger did not know; they are gone."""
    finished: bool
    """An interrupted rotation was finished; no other key was made."""
    dry_run: bool = False
    """Nothing was changed."""


@dataclass(frozen=True, slots=True)
class ClassRotation:
    """New generations of data classes, or what would be made."""

    generations: tuple[str, ...]
    """What is written to from now on, as `CLASS/GENERATION`; none: an interrupted rotation was finished."""
    holders: int
    """Credentials that were left new keys in the vault."""
    dry_run: bool = False
    """Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """What has become of the keys of a generation."""

    name: str
    """`CLASS/GENERATION`."""
    erased: bool
    """Every place where the key was is accounted for."""
    reason: str
    """Why it was ordered."""
    said: datetime | None
    """When this was signed."""
    snapshots: int
    """Snapshots that lost their part of the class, or would."""
    gone: tuple[str, ...]
    """Places from where the key is gone, and by whose word."""
    outstanding: tuple[str, ...]
    """Places of which that is not known: credentials, media, stores that keep what is deleted."""
    number: int = 0
    """Of the signed certificate, `shred/NUMBER` in the vault."""
    dry_run: bool = False
    """Nothing was changed."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A key kept for an emergency opened the vault."""

    key: str
    """Its entry in the ledger."""
    method: str
    """`kit`, `shares`, …"""
    opened: datetime
    """When."""
    snapshot: str
    """The newest snapshot, whose sealed part it opened; empty if there is none yet."""
    classes: int
    """Data classes that it reads."""
