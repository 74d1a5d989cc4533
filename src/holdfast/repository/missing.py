"""What the ledger and the keyring name and the store has in no form any more. Pure reading; `check` names it, `repair` mends it.

An object that is deleted in both its forms leaves no trace of itself, and much of what opens a vault is missed by nobody until it is
needed: the kit in the safe, the word that a credential was revoked. Root wrote down elsewhere that it must be there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.base.values import dataclass
from holdfast.errors import DamageError, VersionError
from holdfast.repository.bodies import Slot
from holdfast.repository.objects import damaged
from holdfast.repository.wraps import CREDENTIAL, REVOKED, SLOT, Wrap, readable_wraps, words

if TYPE_CHECKING:
    from holdfast.repository.home import Home
    from holdfast.repository.keyring import Keyring


@dataclass(frozen=True, slots=True)
class Missing:
    """What should be there and is not."""

    slots: tuple[Wrap, ...] = ()
    """Entries of keys in force that open the vault, of which the slot is gone."""
    forged: tuple[Wrap, ...] = ()
    """Entries of keys in force of which the slot is another than was made: nobody signs slots."""
    unrevoked: tuple[str, ...] = ()
    """Credentials that the ledger says were revoked, and their certificates do not."""
    uncertified: tuple[str, ...] = ()
    """Holders in force of whom every certificate is gone."""
    ungranted: tuple[str, ...] = ()
    """Credentials in force for which nothing is left any more of what root left for their holders."""
    kinds: tuple[str, ...] = ()
    """Kinds of which there is nothing at all, and without which nothing opens: `key`, `keyring`."""


def find_missing(home: Home, keyring: Keyring | None = None) -> Missing:
    """Hold the ledger, and the keyring where it is at hand, against the store."""
    wraps, _ = readable_wraps(home)
    credentials = [wrap for wrap in wraps if wrap.body.form == CREDENTIAL]
    live = [wrap.id for wrap in credentials if wrap.whole]
    if keyring is not None:
        live.append(keyring.own_id)
    # In this order: whoever is issued a credential meanwhile gets his grant before his certificate.
    in_force = [wrap for wrap in credentials if _in_force(home, wrap.id)]
    known, granted = set(home.ids("writer")), set(home.ids("grant"))
    return Missing(
        missing_slots(home, wraps),
        tuple(wrap for wrap in wraps if wrap.live and wrap.body.form == SLOT and _is_forged(home, wrap)),
        tuple(wrap.id for wrap in in_force if is_withdrawn(home, wrap.id)),
        tuple(holder for holder in live if holder not in known),
        tuple(wrap.id for wrap in in_force if wrap.live and wrap.id not in granted),
        tuple(kind for kind in ("key", "keyring") if next(iter(home.listed(kind)), None) is None),
    )


def missing_slots(home: Home, wraps: tuple[Wrap, ...]) -> tuple[Wrap, ...]:
    """Return the entries of keys in force of which the slot is there in no form."""
    there = set(home.ids("key"))
    gone = tuple(w for w in wraps if w.whole and w.body.form == SLOT and w.body.slot not in there)
    if not gone:
        return ()
    # Somebody else may have sealed anew meanwhile: what the ledger says by now, and the store after it.
    still, there = {(w.id, w.number) for w in readable_wraps(home)[0]}, set(home.ids("key"))
    return tuple(w for w in gone if (w.id, w.number) in still and w.body.slot not in there)


def require_shape(home: Home, name: str, data: bytes, wrap: Wrap) -> None:
    """Raise `DamageError` if the bytes of a slot, the root key in it aside, are not what its entry in the ledger says it is."""
    _, slot = home.verify(name, data, Slot)
    if wrap.body.shape and replace(slot, wrapped=b"", epoch=0) != replace(wrap.body.shape[0], wrapped=b"", epoch=0):
        raise damaged(name, "it is another slot than the ledger says")


def _is_forged(home: Home, wrap: Wrap) -> bool:
    name = f"key/{wrap.body.slot}"
    try:
        data = home.store.get(name)
        home.verify(name, data, Slot)
    except (DamageError, VersionError):
        return False  # found with the objects themselves
    try:
        require_shape(home, name, data, wrap)
    except DamageError:
        return True
    return False


def _in_force(home: Home, holder: str) -> bool:
    certificate = home.certificate(holder, fresh=True)
    return certificate is not None and not certificate.revoked


def is_withdrawn(home: Home, holder: str) -> bool:
    """Return whether root wrote into the ledger that a credential was revoked, whatever was said of it since."""
    return any(word.body.form == CREDENTIAL and word.body.state == REVOKED for word in words(home, holder))
