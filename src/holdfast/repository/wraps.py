"""The ledger: every place where a key of the vault was ever written, as `wrap/ID/N` signed by root, of which the highest N counts.

An entry is written before what it tells of is handed out, so that nothing is ever out that the ledger does not know. Its
`public` is what the root key is sealed to anew when it is replaced; it comes from here and not from a slot, which nobody signs.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from holdfast.errors import DamageError, MissingError, UsageError, VersionError
from holdfast.repository import names
from holdfast.repository.bodies import Body, GenerationRef, Slot
from holdfast.repository.home import ROOT
from holdfast.repository.hpke import ClassPublic
from holdfast.repository.objects import of_other_vault

if TYPE_CHECKING:
    from holdfast.repository.home import Home, Signer

SLOT, CREDENTIAL, MEDIUM = "slot", "credential", "medium"
LIVE, REVOKED, DESTROYED = "live", "revoked", "destroyed"
PENDING = "being made"
"""The statement of an entry whose slot, or whose holder's certificate, is not stored yet: nobody misses it."""


@dataclass(frozen=True, slots=True)
class WrapBody(Body):
    """`wrap/ID/N`: where a key was written, and what has become of it."""

    kind: ClassVar[str] = "wrap"
    form: str
    """`slot` (opens the vault), `credential` (a role's file), or `medium` (a copy of the keyring outside the home)."""
    role: str
    """`root` for a slot, else the role; empty for a medium."""
    method: str
    """How a slot is opened: `keyfile`, `kit`, `passphrase`, `shares`, `pkcs11`, `transit`."""
    label: str
    made: datetime
    state: str
    """`live`, `revoked` (it opens nothing new), or `destroyed` (somebody said that every copy of it is gone)."""
    expires: datetime | None = None
    private: tuple[GenerationRef, ...] = ()
    """Generations whose private half is in it; a slot or a medium leads to all of its time."""
    slot: str = ""
    """The slot object that it opens at present."""
    epoch: int = 0
    """Of a slot: which root key that object holds. Of a medium: which one its keyring is sealed with."""
    mlkem: bytes = b""
    p384: bytes = b""
    shape: tuple[Slot, ...] = ()
    """Of a slot: the object without the root key, to be sealed anew."""
    statement: str = ""
    """What was said when its state changed: who destroyed what, how."""

    @property
    def public(self) -> ClassPublic:
        """What the root key is sealed to."""
        return ClassPublic(self.mlkem, self.p384)


@dataclass(frozen=True, slots=True)
class Wrap:
    """An entry of the ledger."""

    id: str
    number: int
    body: WrapBody

    @property
    def whole(self) -> bool:
        """Whether it is in force and all that it names was stored: whatever is gone of that now was lost."""
        return self.live and self.body.statement != PENDING

    @property
    def live(self) -> bool:
        """Whether it opens what it was made for."""
        return self.body.state == LIVE


def read_wraps(home: Home) -> tuple[Wrap, ...]:
    """Return all entries, oldest first. `DamageError` if the newest word on one cannot be read: nothing is known to be gone then."""
    found, bad = readable_wraps(home)
    if bad:
        raise DamageError(
            f"{bad} entries of the key ledger cannot be read, so where keys are is not known",
            next="run `holdfast check` for their names; put them back from a copy of the home.",
        )
    return found


def readable_wraps(home: Home) -> tuple[tuple[Wrap, ...], int]:
    """Return the entries that can be read, oldest first, and how many cannot."""
    found, bad = [], 0
    for entry in home.ids("wrap"):
        wrap, unread = newest_word(home, entry)
        bad += unread
        if wrap is not None and not unread:
            found.append(wrap)
    return tuple(sorted(found, key=lambda wrap: (wrap.body.made, wrap.id))), bad


def newest_word(home: Home, entry: str) -> tuple[Wrap | None, bool]:
    """Return root's newest word on an entry that can be read, None if there is none, and whether a newer one cannot be."""
    unread = False
    for number in reversed(home.numbers(f"wrap/{entry}")):
        name = names.numbered("wrap", entry, number)
        data = home.store.get(name)
        try:
            read, body = home.verify(name, data, WrapBody)
        except DamageError:
            # One that another vault left is nobody's: a creation in the same place that never finished.
            if _left_entry(home, name, data):
                break
            unread = True
            continue
        if read.signer == ROOT:
            return Wrap(entry, number, body), unread
    return None, unread


def words(home: Home, entry: str) -> Iterator[Wrap]:
    """Yield all that root ever said of an entry and that can be read, the newest first."""
    for number in reversed(home.numbers(f"wrap/{entry}")):
        try:
            read, body = home.read(names.numbered("wrap", entry, number), WrapBody)
        except (DamageError, VersionError):
            continue
        if read.signer == ROOT:
            yield Wrap(entry, number, body)


def former_slots(home: Home) -> frozenset[str]:
    """Return the ids of the slots that the ledger named once and names no more: they were replaced or taken back.

    Empty while an entry cannot be read: its newest word may name any of them.
    """
    found, bad = readable_wraps(home)
    if bad:
        return frozenset()
    earlier = (word for wrap in found for word in words(home, wrap.id) if word.number < wrap.number)
    said = {word.body.slot for word in earlier if word.body.form == SLOT}
    return frozenset(said - {wrap.body.slot for wrap in found if wrap.live and wrap.body.form == SLOT})


def _left_entry(home: Home, name: str, data: bytes) -> bool:
    """Return whether an entry is left by the creation of another vault in the same place, that never finished."""
    return (
        of_other_vault(name, data, home.vault_id)
        and home.numbers(f"wrap/{names.middle(name)}") == [0]
        and home.certificate(names.middle(name)) is None
    )


class Attempts:
    """Tells what an attempt to make another vault in the same place left from an object that was written over.

    Left is only what nothing of this vault names; whoever may write could lay another vault's object anywhere else. Reads the
    ledger once, and only if it is asked.
    """

    def __init__(self, home: Home, holders: Collection[str] = ()) -> None:
        """`holders`: ids that the keyring lists, where it is at hand."""
        self.home = home
        self.holders = holders

    @functools.cached_property
    def _ledger(self) -> tuple[Wrap, ...]:
        return readable_wraps(self.home)[0]

    @property
    def knows_slots(self) -> bool:
        """Whether any entry of this vault's ledger names a slot."""
        return any(wrap.body.form == SLOT for wrap in self._ledger)

    def left(self, name: str, data: bytes) -> bool:
        """Return whether the bytes of an object, or of the twin of one, are such a rest: no damage."""
        if not of_other_vault(name, data, self.home.vault_id):
            return False
        match name.split("/"):
            case ["key", slot]:
                named = {wrap.body.slot for wrap in self._ledger if wrap.body.form == SLOT}
                return self.knows_slots and slot not in named
            case ["keyring", number] if int(number) == 0:
                return any(self._is_own_keyring(each) for each in self.home.numbers("keyring") if each)
            case ["writer", holder, number] if int(number) == 0:
                listed = holder in self.holders or any(wrap.id == holder for wrap in self._ledger)
                listed = listed or next(iter(self.home.listed(f"state/{holder}")), None) is not None
                return not listed and self.home.certificate(holder) is None
            case ["wrap", entry, _]:
                return entry not in self.holders and _left_entry(self.home, name, data)
        return False

    def _is_own_keyring(self, number: int) -> bool:
        try:
            return self.home.read_sealed(names.numbered("keyring", number)).signer_name == ROOT
        except DamageError:
            return False


def write_wrap(home: Home, signer: Signer, entry: str, body: WrapBody) -> Wrap:
    """Put the next word on an entry."""
    number, _ = home.append(f"wrap/{entry}", body, signer)
    return Wrap(entry, number, body)


def note_medium(home: Home, signer: Signer, entry: str, label: str, made: datetime, epoch: int) -> None:
    """Enter a copy of the keyring outside the home, before it is written. Idempotent by its id."""
    if not home.numbers(f"wrap/{entry}"):
        write_wrap(home, signer, entry, WrapBody(MEDIUM, "", "", label, made, LIVE, epoch=epoch))


def find_wrap(wraps: tuple[Wrap, ...], name: str) -> Wrap:
    """Return an entry by id, unique beginning of it, or label. `MissingError`, `UsageError` if several fit."""
    live = [wrap for wrap in wraps if wrap.body.label == name and wrap.live]
    fits = [wrap for wrap in wraps if wrap.id.startswith(name)] or live or [w for w in wraps if w.body.label == name]
    if not fits:
        raise MissingError("there is no such key in the ledger", next="`holdfast key list` shows it.")
    if len(fits) > 1:
        raise UsageError("several keys fit; give the id", fits=len(fits))
    return fits[0]


def pending(body: WrapBody) -> WrapBody:
    """Return the entry as it is written before what it names is stored."""
    return replace(body, statement=PENDING)


def with_state(body: WrapBody, state: str, statement: str) -> WrapBody:
    """Return the entry with another state."""
    return replace(body, state=state, statement=statement)
