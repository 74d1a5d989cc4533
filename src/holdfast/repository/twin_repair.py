"""Repair of what opens the vault: from its twin, as a twin, from the ledger, or by leaving it anew. Plan, then apply.

Nothing is guessed about who may read what: a slot comes back from its own twin, or is sealed to whom root's ledger names; a
certificate that is damaged twice stays for a person, for the one before it may give back what it took away.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import DamageError, KeyringLostError, KeyRotationError, ObjectMissingError, VersionError
from holdfast.repository import names
from holdfast.repository.bodies import Slot
from holdfast.repository.home import create
from holdfast.repository.missing import find_missing, require_shape
from holdfast.repository.objects import damaged
from holdfast.repository.opening import grant_in, keyring_in
from holdfast.repository.rotation import reseal
from holdfast.repository.superseded import superseded_keyrings, superseded_slots
from holdfast.repository.twins import originals, prove, twins
from holdfast.repository.wraps import SLOT, Attempts, Wrap, former_slots, readable_wraps
from holdfast.repository.writers import put_grant, revoke

if TYPE_CHECKING:
    from holdfast.repository.home import Home
    from holdfast.repository.keyring import WriterEntry
    from holdfast.repository.repository import Repository


@dataclass(frozen=True, slots=True)
class TwinRepair:
    """What is to be done for the objects that open the vault. Names are those of the objects, not of their twins."""

    back: tuple[str, ...] = ()
    """Lost or damaged; they come back from their twins."""
    kept: tuple[str, ...] = ()
    """Whole; their twins are missing or damaged and are made anew."""
    reseal: tuple[tuple[str, Wrap], ...] = ()
    """Slots that are damaged twice, and the entries of the ledger to whose holders the root key is sealed once more."""
    leave: tuple[tuple[str, WriterEntry], ...] = ()
    """Grants that are damaged twice, and who is left his keys anew."""
    drop: tuple[str, ...] = ()
    """Superseded, and damaged twice, or a twin without its object, or of keys that were taken back: nobody needs them any more."""
    beyond: tuple[str, ...] = ()
    """Damaged twice, or gone in both forms: only another copy of the home has them."""
    revoke: tuple[str, ...] = ()
    """Credentials that the ledger says were revoked, and their certificates do not: it is said anew."""
    certify: tuple[str, ...] = ()
    """The vault's own writer, of whom every certificate is gone."""

    @property
    def lost(self) -> int:
        """Objects that are lost or damaged themselves, and are mended."""
        mended = (self.back, self.reseal, self.leave, self.drop, self.revoke, self.certify)
        return sum(len(each) for each in mended)


class _Plan:
    """A plan in the making."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.home = repository.home
        self.keyring = repository.require_keyring()
        self.back: list[str] = []
        self.kept: list[str] = []
        self.reseal: list[tuple[str, Wrap]] = []
        self.leave: list[tuple[str, WriterEntry]] = []
        self.drop: list[str] = []
        self.beyond: list[str] = []
        self.revoke: list[str] = []
        self.certify: list[str] = []
        wraps, bad = readable_wraps(self.home)
        # Of another epoch: a rotation is to be finished, or somebody took the word away that revoked this key.
        live = (
            wrap
            for wrap in wraps
            if wrap.live and wrap.body.form == SLOT and wrap.body.shape and wrap.body.epoch == self.keyring.epoch
        )
        self.holders = {} if bad else {wrap.body.slot: wrap for wrap in live}
        self.ledger_known = not bad
        self.entries = {entry.id: entry for entry in self.keyring.writers}
        self.attempts = Attempts(self.home, list(self.entries))
        try:
            repository.require_newest()
        except (KeyRotationError, KeyringLostError):
            # Somebody else is at the keys, or newer ones are lost: nothing is sealed to anybody beside him.
            self.holders, self.entries, self.ledger_known = {}, {}, False
        self.alone: list[tuple[str, bytes]] = []
        """Twins that count, of which the object is gone."""
        self.superseded: dict[str, int] = {}
        """Of each row of numbers the highest that counts: what is below is needed by nobody."""

    @functools.cached_property
    def replaced(self) -> frozenset[str]:
        """Slots that the ledger named once and names no more; none while it is not known."""
        return former_slots(self.home) if self.ledger_known else frozenset()

    def counts(self, name: str, data: bytes) -> bool:
        """Return whether bytes are what their name says, by all that root knows."""
        try:
            prove(self.home, name, data)
            kind = name.partition("/")[0]
            if kind == "keyring":
                self._is_keyring(name, data)
            elif kind == "key" and names.middle(name) in self.holders:
                require_shape(self.home, name, data, self.holders[names.middle(name)])
            elif kind == "grant":
                key = self.keyring.state_key(names.middle(name))
                if key is not None:
                    grant_in(self.home, name, key, data)
        except DamageError:
            return False
        except VersionError:
            return True
        return True

    def _is_keyring(self, name: str, data: bytes) -> None:
        try:
            number = keyring_in(self.home, name, data, self.repository.root_key).number
        except DamageError:
            return  # root signed it, and another root key seals it: a rotation is under way
        if number != names.last_number(name):
            raise damaged(name, f"it is keyring {number}")

    def _bytes(self, name: str) -> bytes | None:
        try:
            return self.home.store.get(name)
        except ObjectMissingError:
            return None

    def look(self, name: str) -> None:
        """Say what is to be done about one object."""
        data, twin = self._bytes(name), self._bytes(names.twin(name))
        if name.startswith("key/") and twin is not None and twin != data:
            self._look_at_slot(name, data, twin)
        elif data is not None and self.counts(name, data):
            self._supersede(name)
            if twin != data:
                self.kept.append(name)
        elif twin is not None and self.counts(name, twin):
            self._supersede(name)
            if data is None:
                self.alone.append((name, twin))
            else:
                self.back.append(name)
        elif not any(found is not None and self.attempts.left(name, found) for found in (data, twin)):
            self.beyond.append(name)

    def _look_at_slot(self, name: str, data: bytes | None, twin: bytes) -> None:
        """Decide about a slot that its twin does not bear out. Nobody signs slots: no form is laid over the other."""
        whole, kept = data is not None and self.counts(name, data), self.counts(name, twin)
        if data is None and kept and self._given_up(name, twin):
            self.drop.append(name)
        elif names.middle(name) in self.holders:
            self.reseal.append((name, self.holders[names.middle(name)]))
        elif whole and kept:
            self.beyond.append(name)
        elif whole:
            self.kept.append(name)
        elif kept:
            self.back.append(name)
        elif not any(found is not None and self.attempts.left(name, found) for found in (data, twin)):
            self.beyond.append(name)

    def _supersede(self, name: str) -> None:
        if names.is_numbered(name):
            row, _, number = name.rpartition("/")
            self.superseded[row] = max(int(number), self.superseded.get(row, -1))

    def _is_superseded(self, name: str) -> bool:
        row, _, number = name.rpartition("/")
        return names.is_numbered(name) and int(number) < self.superseded.get(row, -1)

    def _given_up(self, name: str, twin: bytes) -> bool:
        """Return whether a twin alone is of a key that was replaced or destroyed: it stays gone.

        Who did that knew nothing of twins, or whoever put the object came to its twin only afterwards. What is below the newest
        that counts is needed by nobody, and may hold what was erased.
        """
        try:
            kind = name.partition("/")[0]
            if kind == "key":
                return self.home.verify(name, twin, Slot)[1].epoch < self.keyring.epoch
            if kind == "keyring":
                return names.last_number(name) < self.keyring.number
            return kind == "grant" and (self._is_superseded(name) or self._is_taken_away(name, twin))
        except VersionError:
            return False  # a newer release's: it knows

    def _is_taken_away(self, name: str, grant: bytes) -> bool:
        """Return whether a grant is a revoked holder's, or holds keys that were destroyed."""
        holder = names.middle(name)
        certificate = self.home.certificate(holder, fresh=True)
        key = self.keyring.state_key(holder)
        left = grant_in(self.home, name, key, grant) if key is not None else []
        erased = {(c.id, c.generation) for c in self.keyring.classes if c.erased}
        gone = any((c.id, c.generation) in erased and not c.erased for c in left)
        return gone or (certificate is not None and certificate.revoked)

    def second_look(self) -> None:
        """Decide about twins alone, and find another way for what is damaged twice."""
        for name, twin in self.alone:
            (self.drop if self._given_up(name, twin) else self.back).append(name)
        beyond, self.beyond = self.beyond, []
        for name in beyond:
            if self._is_superseded(name):
                self.drop.append(name)
            elif name.startswith("key/") and names.middle(name) in self.holders:
                self.reseal.append((name, self.holders[names.middle(name)]))
            elif name.startswith("key/") and names.middle(name) in self.replaced:
                self.drop.append(name)  # sealed anew already, by a repair that was killed before it came to this
            elif name.startswith("grant/") and names.middle(name) in self.entries:
                self.leave.append((name, self.entries[names.middle(name)]))
            else:
                self.beyond.append(name)

    def look_for_superseded(self) -> None:
        """Drop what was taken back and is there again. While a rotation is under way, or the ledger is not known, nothing is."""
        if not self.ledger_known:
            return
        old, _ = superseded_slots(self.home, self.keyring.epoch)
        gone = {*old, *superseded_keyrings(self.repository)} - {*self.drop}
        self.drop += sorted(gone)
        for kept in (self.back, self.kept, self.beyond):
            kept[:] = [name for name in kept if name not in gone]

    def look_for_missing(self) -> None:
        """Say what is to be done about what is there in no form. Nobody guesses whether a lost certificate was in force."""
        missing = find_missing(self.home, self.keyring)
        for wrap in missing.slots:
            name = f"key/{wrap.body.slot}"
            if wrap.body.slot in self.holders:
                self.reseal.append((name, wrap))
            else:
                self.beyond.append(name)
        self.revoke += missing.unrevoked
        for holder in missing.uncertified:
            if holder == self.keyring.own_id:
                self.certify.append(holder)
            else:
                self.beyond.append(f"writer/{holder}")
        for holder in missing.ungranted:
            if holder in self.entries:
                self.leave.append((f"grant/{holder}", self.entries[holder]))
            else:
                self.beyond.append(f"grant/{holder}")


def plan_twins(repository: Repository) -> TwinRepair:
    """Look at everything that opens the vault, and say what is to be done. Nothing changes. Needs the root key."""
    made = _Plan(repository)
    for name in sorted({*originals(repository.home), *twins(repository.home)}):
        made.look(name)
    made.second_look()
    made.look_for_superseded()
    made.look_for_missing()
    return TwinRepair(
        tuple(made.back), tuple(made.kept), tuple(made.reseal), tuple(made.leave), tuple(made.drop), tuple(made.beyond),
        tuple(made.revoke), tuple(made.certify),
    )  # fmt: skip


def apply_twins(repository: Repository, plan: TwinRepair) -> int:
    """Carry a plan out; return how many objects are whole again, twins aside. Idempotent; a crash leaves no less than before."""
    home = repository.home
    for name in plan.back:
        _put_back(home, name)
    for name in plan.kept:
        home.keep_twin(name, home.store.get(name))
    for name, wrap in plan.reseal:
        reseal(repository, wrap, repository.require_keyring().epoch)
        home.remove(name)
    for name, entry in plan.leave:
        certificate = home.certificate(entry.id, fresh=True)
        if certificate is not None and not certificate.revoked:
            put_grant(repository, repository.require_keyring(), entry)
        if names.is_known(name):
            home.remove(name)
    for name in plan.drop:
        home.remove(name)
    for holder in plan.revoke:
        revoke(repository, holder)
    for holder in plan.certify:
        repository.put_certificate(holder)
    return plan.lost


def _put_back(home: Home, name: str) -> None:
    """Put an object back from its twin, unless somebody deletes both meanwhile: what he takes away stays gone."""
    try:
        data = home.store.get(names.twin(name))
    except ObjectMissingError:
        return
    home.store.delete(name)
    create(home.store, name, data)
    if home.store.size(names.twin(name)) is None:
        home.remove(name)


def mend_twins(repository: Repository, *, dry_run: bool = False) -> TwinRepair:
    """Plan and, unless it is a dry run, apply; return what was to be done. `NotPermittedError` without the root key."""
    plan = plan_twins(repository)
    if not dry_run:
        apply_twins(repository, plan)
    return plan
