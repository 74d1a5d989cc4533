"""What a rotation or an erasure took away and somebody laid back: slots and keyrings that nothing in force needs. Pure reading."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.errors import DamageError, VersionError
from holdfast.repository import names
from holdfast.repository.bodies import Slot
from holdfast.repository.home import ROOT
from holdfast.repository.opening import open_keyring
from holdfast.repository.wraps import SLOT, Wrap, readable_wraps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from holdfast.repository.home import Home
    from holdfast.repository.repository import Repository


def superseded_slots(home: Home, epoch: int = 0) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the slots that no entry of a key in force names: those of a root key that was replaced, and those of unknown origin.

    `epoch`: the keyring's, where it is at hand. Nothing is said while an entry of the ledger cannot be read. A second slot of a key
    in force (a rotation was interrupted) is neither; nor is one of the older form, from before there was a ledger.
    """
    there = list(home.listed("key"))  # before the ledger: a key's entry is written before its slot
    wraps, bad = readable_wraps(home)
    entries = [wrap for wrap in wraps if wrap.live and wrap.body.form == SLOT]
    named, salts = {wrap.body.slot for wrap in entries}, {shape.salt for wrap in entries for shape in wrap.body.shape}
    epoch = max((epoch, *(wrap.body.epoch for wrap in entries)))
    old, unknown = [], []
    for name in there if not bad else ():
        if names.middle(name) in named:
            continue
        try:
            _, slot = home.read(name, Slot)
        except (DamageError, VersionError):
            continue  # found with the objects themselves
        if slot.epoch < epoch:
            old.append(name)
        elif slot.bound and slot.salt not in salts:
            unknown.append(name)
    return tuple(old), tuple(unknown)


def superseded_keyrings(repository: Repository) -> tuple[str, ...]:
    """Return the keyrings below the present one that another root key seals, or that hold destroyed keys."""
    home, keyring = repository.home, repository.require_keyring()
    wraps, bad = readable_wraps(home)
    rotating = bool(bad) or any(_is_behind(wrap, keyring.epoch) for wrap in wraps)
    erased = {(c.id, c.generation) for c in keyring.classes if c.erased}
    return tuple(_keyrings(repository, [n for n in home.numbers("keyring") if n < keyring.number], erased, rotating))


def _keyrings(
    repository: Repository,
    numbers: Sequence[int],
    erased: set[tuple[int, int]],
    rotating: bool,  # noqa: FBT001 - an inner function
) -> Iterator[str]:
    for number in numbers:
        name = names.numbered("keyring", number)
        try:
            found = open_keyring(repository.home, name, repository.root_key)
        except VersionError:
            continue
        except DamageError:
            if not rotating and _is_roots(repository.home, name):
                yield name
            continue
        if any((c.id, c.generation) in erased and not c.erased for c in found.classes):
            yield name


def _is_behind(wrap: Wrap, epoch: int) -> bool:
    return wrap.live and wrap.body.form == SLOT and wrap.body.epoch < epoch


def _is_roots(home: Home, name: str) -> bool:
    try:
        return home.read_sealed(name).signer_name == ROOT
    except DamageError:
        return False
