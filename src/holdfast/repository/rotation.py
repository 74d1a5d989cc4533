"""Rotation: another root key, sealed anew to everybody who holds a key; and new generations of data classes.

Root: (1) a keyring of the next epoch, sealed under the new root key; (2) a slot for the key at hand, then for every other live
slot of the ledger, each told to the ledger once it is stored; (3) the old slots go; (4) the old keyrings go. What a crash leaves
opens with the old keys before (2), and with the key at hand from there on, and the next call finishes it. Until then no key is
changed by anybody who holds the old one.

Generations: (1) the keyring; (2) what root leaves for each holder of a credential; (3) certificates that demand the newest
generation of writers. An interrupted renewal is finished before another is begun.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from holdfast.errors import DamageError, KeyringLostError, KeyRotationError, UsageError
from holdfast.repository import names, slots
from holdfast.repository.bodies import Slot
from holdfast.repository.generations import named
from holdfast.repository.keyring import KEY_BYTES, ClassGeneration, Keyring, WriterEntry, newest
from holdfast.repository.opening import is_of_other_key, read_keyring
from holdfast.repository.roles import WRITER
from holdfast.repository.twins import keep_all
from holdfast.repository.wraps import REVOKED, SLOT, Wrap, newest_word, read_wraps, write_wrap
from holdfast.repository.writers import (
    change_keyring,
    demand_newest,
    granted,
    private_generations,
    put_grant,
    put_keyring,
)

if TYPE_CHECKING:
    from holdfast.repository.credentials import Secret
    from holdfast.repository.home import Home
    from holdfast.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class RootPlan:
    """What a rotation of the root key will do."""

    finish: bool
    """An interrupted rotation is finished; no other root key is made."""
    reseal: tuple[Wrap, ...]
    """Entries of the ledger that the new root key is sealed to, the key at hand first."""
    drop: tuple[Wrap, ...]
    """Keys that open nothing afterwards, because that was asked for."""
    unlisted: int
    """Slots that the ledger does not know: they die, and whoever holds their secrets needs new ones."""


@dataclass(frozen=True, slots=True)
class RootRotation:
    """A rotation that was carried out."""

    epoch: int
    resealed: int
    dropped: int
    slots_deleted: int
    keyrings_deleted: int


def plan_root(
    repository: Repository, *, at_hand: Secret | None = None, drop: Sequence[str] = (), again: bool = False
) -> RootPlan:
    """Plan a rotation of the root key. Nothing changes.

    `at_hand`: the secret that opened the vault; it is sealed to first, so that whoever began can always finish. `drop`: ids of
    ledger entries that shall open nothing any more. `again`: begin anew although somebody began and sealed to nobody yet.
    `KeyRotationError`, `UsageError` if no key would be left or the one at hand would be dropped.
    """
    keyring = repository.require_keyring()
    home = repository.home
    wraps = [wrap for wrap in read_wraps(home) if wrap.body.form == SLOT and wrap.live]
    _refuse_split(repository, wraps, again=again)
    known = {wrap.body.slot for wrap in wraps}
    listed = {names.middle(name) for name in home.listed("key")}
    resealed = [wrap for wrap in wraps if wrap.id not in drop]
    behind = [wrap for wrap in wraps if wrap.body.epoch < keyring.epoch]
    old = [n for n in home.numbers("keyring") if n < keyring.number and is_of_other_key(home, n, repository.root_key)]
    finish = keyring.epoch > 0 and bool(behind or old)
    if at_hand is not None:
        first = wrap_of(repository, resealed, at_hand)
        if first is None and not finish:
            raise UsageError(
                "the key at hand is not among those that the new root key will be sealed to",
                next="open the vault with a key that stays: `holdfast key list`.",
            )
        resealed.sort(key=lambda wrap: wrap is not first)
    if not resealed:
        raise UsageError("no key would be left that opens the vault", next="add one first: `holdfast key kit`.")
    dropped = tuple(wrap for wrap in wraps if wrap.id in drop)
    return RootPlan(finish, tuple(resealed), dropped, len(listed - known))


def _refuse_split(repository: Repository, wraps: Sequence[Wrap], *, again: bool) -> None:
    """Refuse to begin where somebody else's rotation is under way. `KeyRotationError`."""
    keyring = repository.require_keyring()
    if any(wrap.body.epoch > keyring.epoch for wrap in wraps):
        repository.require_newest()
    if not again:
        try:
            repository.require_newest()
        except KeyRotationError as error:
            error.next = "if nobody is at it any more, run `holdfast key rotate root --again`."
            raise
        except KeyringLostError as error:
            error.next = f"{error.next} So does `holdfast key rotate root --again`, for all that the lost one held."
            raise


def wrap_of(repository: Repository, wraps: Sequence[Wrap], secret: Secret) -> Wrap | None:
    """Return the entry whose slot a secret opens."""
    for wrap in wraps:
        try:
            _, slot = repository.home.read(f"key/{wrap.body.slot}", Slot)
            if slots.unwrap(slot, secret, repository.vault_id) is not None:
                return wrap
        except DamageError:
            continue
    return None


def rotate_root(repository: Repository, plan: RootPlan) -> RootRotation:
    """Carry a plan out. Idempotent: after a crash anywhere, planning and calling again finishes it.

    The old root key opens what was copied while it was in force: an old keyring on a medium, for instance. Keys of classes that
    a thief may have read are renewed besides (:func:`renew`); the root's signature stays, so that a stolen keyring takes a new vault.
    """
    if not plan.finish:
        fresh = repository.env.random_bytes(KEY_BYTES)
        current = read_keyring(repository.home, repository.root_key)
        number = repository.home.next_number("keyring", repository.root)
        epochs = [wrap.body.epoch for wrap in (*plan.reseal, *plan.drop)]
        keyring = replace(current, number=number, epoch=max(current.epoch, *epochs) + 1)
        if not put_keyring(repository, keyring, fresh):
            raise KeyRotationError("somebody else changed the keys at the same moment")
        repository.adopt(keyring, fresh)
    for wrap in plan.drop:
        _withdraw(repository, wrap)
    epoch = repository.require_keyring().epoch
    resealed = sum(_reseal(repository, wrap, epoch) for wrap in plan.reseal)
    deleted = _drop_old_slots(repository)
    keyrings = drop_old_keyrings(repository)
    keep_all(repository.home)
    return RootRotation(epoch, resealed, len(plan.drop), deleted, keyrings)


def _reseal(repository: Repository, wrap: Wrap, epoch: int) -> bool:
    """Seal the root key to one entry's holder: the slot, then the ledger's word on it."""
    body = wrap.body
    if body.epoch == epoch and slot_stands(repository.home, body.slot):
        return False
    reseal(repository, wrap, epoch)
    return True


def reseal(repository: Repository, wrap: Wrap, epoch: int) -> None:
    """Put a slot with the root key for an entry's holder, whose secret nobody needs to present, and tell the ledger."""
    body = wrap.body
    (shape,) = body.shape
    slot_id = repository.env.random_id()
    repository.store_slot(slot_id, slots.seal(shape, body.public, repository.root_key, epoch, repository.vault_id))
    write_wrap(repository.home, repository.root, wrap.id, replace(body, slot=slot_id, epoch=epoch, statement=""))


def slot_stands(home: Home, slot: str) -> bool:
    """Return whether a slot, or its twin, is there and whole."""
    try:
        home.read(f"key/{slot}", Slot)
    except DamageError:
        return False
    return True


def _drop_old_slots(repository: Repository) -> int:
    """Delete every slot that the ledger does not name as somebody's present one."""
    home = repository.home
    kept = {w.body.slot for w in read_wraps(home) if w.body.form == SLOT and w.live}
    gone = [name for name in home.listed("key") if names.middle(name) not in kept]
    for name in gone:
        home.remove(name)
    return len(gone)


def drop_old_keyrings(repository: Repository) -> int:
    """Delete every keyring but the present one."""
    present = repository.require_keyring().number
    gone = [number for number in repository.home.numbers("keyring") if number != present]
    for number in gone:
        repository.home.remove(names.numbered("keyring", number))
    return len(gone)


def _withdraw(repository: Repository, wrap: Wrap) -> None:
    write_wrap(repository.home, repository.root, wrap.id, replace(wrap.body, state=REVOKED))


@dataclass(frozen=True, slots=True)
class RenewalPlan:
    """What a renewal of class keys will do."""

    classes: tuple[int, ...]
    """Classes that get a new generation; none if an interrupted renewal is only finished."""
    holders: tuple[str, ...]
    """Credentials in force that are left new keys."""
    again: bool = False
    """A newer keyring that is lost is given up."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """A renewal that was carried out."""

    generations: tuple[tuple[int, int], ...]
    """Classes and their new generations."""
    holders: int


def plan_renewal(repository: Repository, classes: Sequence[int], *, again: bool = False) -> RenewalPlan:
    """Plan new generations of classes. What an interrupted renewal left undone is finished instead, if it is about these.

    `again`: make them although a newer keyring is lost, which is given up with what was sealed under its keys.
    """
    keyring = repository.require_keyring()
    if not classes or not set(classes) <= set(repository.classes):
        raise UsageError("name data classes that the vault has")
    holders = [w for w in _holders(repository, keyring) if set(w.classes) & set(classes)]
    behind = [w.id for w in holders if not granted(repository, keyring, w)]
    if behind and not again and any((newest(keyring.classes, c) or _NONE).generation > 0 for c in classes):
        return RenewalPlan((), tuple(behind))
    return RenewalPlan(tuple(sorted(set(classes))), tuple(w.id for w in holders), again)


_NONE = ClassGeneration(0, "", 0, None, b"", b"")


def _holders(repository: Repository, keyring: Keyring) -> list[WriterEntry]:
    """Return the holders of credentials in force, the vault's own writer left out."""
    found = []
    for entry in keyring.writers:
        certificate = repository.home.certificate(entry.id, fresh=True)
        if entry.id != keyring.own_id and certificate is not None and not certificate.revoked:
            found.append(entry)
    return found


def renew(repository: Repository, plan: RenewalPlan) -> Renewal:
    """Carry a plan out. Everything stored from now on is sealed under the new generations; what is there stays readable."""
    made: list[ClassGeneration] = []

    def change(ring: Keyring) -> Keyring:
        made.clear()
        taken = named(repository.home)
        for class_id in plan.classes:
            last = newest(ring.classes, class_id)
            if last is not None:
                number = (
                    max(last.generation, taken.get(class_id, 0)) + 1
                )  # of a lost keyring, too: never two keys of one number
                made.append(ClassGeneration.generate(class_id, last.name, number, repository.env))
        return replace(ring, classes=(*ring.classes, *made))

    if not plan.classes:
        repository.require_newest()
    keyring = change_keyring(repository, change, given_up=plan.again) if plan.classes else repository.require_keyring()
    done = finish_renewal(repository, keyring)
    return Renewal(tuple((c.id, c.generation) for c in made), done)


def _tell_ledger(repository: Repository, keyring: Keyring, entry: WriterEntry) -> None:
    """Say, before it is so, which private halves a credential leads to."""
    home = repository.home
    private = private_generations(keyring, entry)
    word, unread = newest_word(home, entry.id) if private else (None, False)
    if word is not None and not unread:
        # What it once had it may have kept.
        merged = tuple(dict.fromkeys((*word.body.private, *private)))
        write_wrap(home, repository.root, entry.id, replace(word.body, private=merged))


def finish_renewal(repository: Repository, keyring: Keyring) -> int:
    """Leave every holder what it lacks, and demand the newest generations of writers; return how many lacked something."""
    done = 0
    for entry in _holders(repository, keyring):
        if not granted(repository, keyring, entry):
            _tell_ledger(repository, keyring, entry)
            put_grant(repository, keyring, entry)
            done += 1
        if entry.role == WRITER and any(c.generation for c in keyring.classes if c.id in entry.classes):
            demand_newest(repository, keyring, entry)
    return done
