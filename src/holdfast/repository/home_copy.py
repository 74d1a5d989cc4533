"""A copy of the vault's home on a second store: kept after each run, healed back from, promoted when the home is lost.

The copy has every object of the home under its own name, data packs aside (they have copies by their class's policy), but
the vault's header, which lies under `copy/vault`: so nobody opens it as a vault. What others rely on is copied before what
relies on it, so that a copy that was interrupted is the vault at an earlier moment. Of the copy only keys are deleted that
root took back (a rotation, an erasure), as ledger and certificates say: what a prune or a forget took from the home is
harmless there, for tombstones, decisions and plans are copied, too.

Promotion (root): first `home/ID`, a new id of its own, then `epoch/N` that names it, then the header. A store that holds an epoch and
not the `home/ID` that the newest epoch names is no home any more: the old one is refused wherever the new one is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import (
    DamageError,
    HomeReplacedError,
    ObjectMissingError,
    StoreRefusedError,
    VaultMissingError,
)
from holdfast.repository import names
from holdfast.repository.bodies import EpochBody, Slot
from holdfast.repository.home import ROOT, create
from holdfast.repository.objects import sha256
from holdfast.repository.transfer import in_order
from holdfast.repository.wraps import SLOT, Wrap, readable_wraps

if TYPE_CHECKING:
    from holdfast.repository.home import Home, Signer
    from holdfast.stores.protocol import ObjectInfo, Store

HEADER = "copy/vault"
"""The vault's header on the copy, where nobody takes it for a vault's."""
NOT_COPIED = ("parity/", "data/", "probe/", "member/", "copy/", "home/", "twin/vault")
KEPT = (
    *("keyring", "writer", "decision", "forgotten", "dropped", "hold", "admission"),
    *("condemn", "plan", "closed"),
)
KEPT_TOO = ("damaged", "access", "approval", "audit", "epoch", "wrap", "joined", "shred", "floor", "rehearsal")
"""Kinds that no step of the protocol deletes: one that the home lacks is lost."""
WITHDRAWN = ("key", "grant")
"""Kinds that root takes back: one that the home lacks is lost if it was not."""
ABOVE_ALL = 10**names.NUMBER_DIGITS


@dataclass(frozen=True, slots=True)
class HomeRepair:
    """What is to be put back on the home: objects that it lacks, and objects that it has and that do not verify."""

    lost: tuple[str, ...]
    damaged: tuple[str, ...]
    beyond: tuple[str, ...]
    """Damaged on the home, and no better on the copy."""


def copied_name(name: str) -> str:
    """Return the name of a home object on the copy."""
    return HEADER if name == names.VAULT else name


def copy_home(home: Home, copy: Store) -> int:
    """Bring the copy up to date; return how many objects were copied. A crash leaves an earlier moment of the vault."""
    there = _sizes(copy)
    copied = 0
    for info in in_order(_home_objects(home.store)):
        name = copied_name(info.name)
        if there.get(name) == info.size:
            continue
        try:
            data = home.store.get(info.name)
        except ObjectMissingError:
            continue  # forgotten or pruned meanwhile
        if name in there:
            copy.delete(name)  # cut short by a crash of a store that tears
        create(copy, name, data)
        copied += 1
    for name in withdrawn_keys(home, copy):
        copy.delete(name)
    return copied


def withdrawn_keys(home: Home, copy: Store) -> tuple[str, ...]:
    """Return the wrapped keys on the copy that the vault has given up, and that the home lacks: by what it says, not by its lack.

    A keyring below the home's newest; a slot that the ledger names as nobody's present one; a grant below the holder's newest,
    or of a holder who was revoked. What the home lost it has not given up: it stays, and comes back by `repair home`.
    """
    newest, there = _newest_keyring(home.store), home.on(copy)
    if newest is None:
        return ()
    gone = [name for name in there.listed("keyring") if _below(name, newest)]
    taken = [name for kind in WITHDRAWN for name in there.listed(kind)]
    lacking = [name for name in (*gone, *taken) if all(home.store.size(n) is None for n in (name, names.twin(name)))]
    if any(name in taken for name in lacking):
        kept = _Kept.read(home, there)
        lacking = [name for name in lacking if name not in taken or kept.given_up(name)]
    return tuple(sorted(each for name in lacking for each in (name, names.twin(name)) if copy.size(each) is not None))


@dataclass(frozen=True, slots=True)
class _Kept:
    """Which slots and grants are in force, as root said: in the ledger and in certificates, either store may lack some."""

    slots: frozenset[str] | None
    """Ids of the slots of live entries; None if that is not known: a word is damaged, or the vault is older than its ledger."""
    grants: Mapping[str, int]
    """By holder the number of his newest grant on the home; above all for one who was revoked."""

    @classmethod
    def read(cls, home: Home, copy: Home) -> _Kept:
        newest: dict[str, Wrap] = {}
        (here, bad), (there, worse) = readable_wraps(home), readable_wraps(copy)
        for wrap in (*here, *there):
            if wrap.id not in newest or wrap.number > newest[wrap.id].number:
                newest[wrap.id] = wrap
        live = frozenset(w.body.slot for w in newest.values() if w.body.form == SLOT and w.live)
        grants = {holder: max(home.numbers(f"grant/{holder}"), default=0) for holder in home.ids("grant")}
        for holder in copy.ids("grant"):
            certificate = home.certificate(holder, fresh=True)
            if certificate is not None and certificate.revoked:
                grants[holder] = ABOVE_ALL
        return cls(None if bad or worse or not live else live, grants)

    def given_up(self, name: str) -> bool:
        """Return whether root took a slot or a grant back."""
        if name.startswith("key/"):
            return self.slots is not None and names.middle(name) not in self.slots
        return names.last_number(name) < self.grants.get(names.middle(name), 0)

    def in_force(self, name: str) -> bool:
        """Return whether the vault needs a slot or a grant: what is not known is not put back."""
        if name.startswith("key/"):
            return self.slots is not None and names.middle(name) in self.slots
        return not self.given_up(name)


def _newest_keyring(home: Store) -> int | None:
    listed = (info.name for prefix in ("keyring/", names.twin("keyring/")) for info in home.list(prefix))
    return max((names.last_number(name) for name in listed if names.is_known(name)), default=None)


def _below(name: str, newest: int | None) -> bool:
    """Return whether a keyring was superseded; what is no keyring never is."""
    return newest is not None and name.startswith("keyring/") and names.last_number(name) < newest


def plan_repair(home: Home, copy: Store) -> HomeRepair:
    """Return what the copy can give back to the home. Reads every control and sealed object; nothing changes.

    What the protocol deletes is put back only where a snapshot that exists names it.
    """
    here = {info.name for info in _home_objects(home.store)}
    damaged: list[str] = []
    beyond: list[str] = []
    for name in sorted(here):
        if not name.startswith("meta/") and not _verifies(home, name, home.store):
            if _verifies(home, name, copy):
                damaged.append(name)
            elif not _kept_twice(home, name):
                beyond.append(name)
    lacking = (name for name in sorted(_sizes(copy)) if name != HEADER and name not in here and names.is_known(name))
    newest = _newest_keyring(home.store)
    lacking = (name for name in lacking if not _below(name, newest))
    gone = _gone(home, copy)
    lost = [name for name in lacking if _is_lost(home, name, gone) and _verifies(home, name, copy)]
    if names.VAULT not in here and copy.size(HEADER) is not None:
        lost.append(names.VAULT)
    return HomeRepair(tuple(lost), tuple(damaged), tuple(beyond))


def _kept_twice(home: Home, name: str) -> bool:
    """Return whether the other of an object and its twin is whole: `repair` makes this one of it."""
    own = names.untwinned(name)
    return names.is_twinned(own) and _verifies(home, names.twin(own) if own == name else own, home.store)


def apply_repair(home: Home, copy: Store, plan: HomeRepair) -> int:
    """Put back what a plan says, each object verified before it is; return how many."""
    store = home.store
    for name in plan.damaged:
        data = copy.get(copied_name(name))
        store.delete(name)
        create(store, name, data)
    for name in plan.lost:
        create(store, name, copy.get(copied_name(name)))
    return len(plan.damaged) + len(plan.lost)


def heal_essentials(home: Store, copy: Store) -> int:
    """Put back keyrings and certificates that the home lacks, and its header; return how many.

    Without them nothing opens. Whoever could put them on the copy could put them on the home; both verify when they are read.
    """
    healed, newest = 0, _newest_keyring(home)
    for prefix in ("keyring/", "writer/", "joined/"):
        here = {info.name for info in home.list(prefix)}
        for info in list(copy.list(prefix)):
            if info.name not in here and names.is_known(info.name) and not _below(info.name, newest):
                healed += create(home, info.name, copy.get(info.name))
    if home.size(names.VAULT) is None and not list(home.list("epoch/")):
        with suppress(ObjectMissingError):
            healed += create(home, names.VAULT, copy.get(HEADER))
    return healed


# --- epochs -----------------------------------------------------------------------------------------------------------


def newest_epoch(home: Home, stores: Iterable[Store]) -> EpochBody | None:
    """Return the newest epoch that any of the stores knows of, signed by root; None if the first home still is it."""
    found: EpochBody | None = None
    for store in stores:
        for info in list(store.list("epoch/")):
            try:
                read, body = home.verify(info.name, store.get(info.name), EpochBody)
            except DamageError:
                continue
            if read.signer == ROOT and (found is None or body.number > found.number):
                found = body
    return found


def require_current(home: Home, others: Iterable[Store] = ()) -> int:
    """Return the home's epoch, 0 for the first. `HomeReplacedError` if another store was promoted in its place."""
    epoch = newest_epoch(home, (home.store, *others))
    if epoch is None:
        return 0
    if home.store.size(f"home/{epoch.home}") is None:
        raise HomeReplacedError("this store was the vault's home until its copy was promoted", epoch=epoch.number)
    return epoch.number


def promote(home: Home, root: Signer, *, header: bytes) -> int:
    """Make the store of `home`, which is a copy, the vault's home; return the new epoch.

    The epoch comes before the header: from then on the old home is refused wherever this store is known, and this one opens only when
    the header is there. Done again after a crash, it goes on with the epoch that was begun.
    """
    store = home.store
    epoch = newest_epoch(home, (store,))
    if epoch is None or store.size(f"home/{epoch.home}") is None:  # an epoch of another home, copied from there
        number = 1 if epoch is None else epoch.number + 1
        epoch = EpochBody(number, home.env.random_id())
        create(store, f"home/{epoch.home}", epoch.home.encode())
        # What a power loss left of an epoch counts for nobody: without it the old home would not be refused.
        name = names.numbered("epoch", number)
        if not home.create_or_replace(name, epoch, root, lambda: newest_epoch(home, (store,)) is not None):
            raise StoreRefusedError("the new epoch could not be written", next="run the same command again.")
    if not create(store, names.VAULT, header):
        try:
            home.verify_control(names.VAULT, store.get(names.VAULT))
        except DamageError:
            store.delete(names.VAULT)
            create(store, names.VAULT, header)
    home.keep_twin(names.VAULT, header)
    return epoch.number


def retire(home: Home, copy: Store) -> None:
    """Tell an old home that still answers of the newest epoch, so that it is refused by whoever knows only it."""
    for info in list(copy.list("epoch/")):
        create(home.store, info.name, copy.get(info.name))


def header_of(copy: Store) -> bytes:
    """Return the header of a copy. `VaultMissingError` if the store has no copy of a home."""
    try:
        return copy.get(HEADER)
    except ObjectMissingError:
        raise VaultMissingError("this store holds no copy of a vault's home") from None


def _home_objects(store: Store) -> list[ObjectInfo]:
    return [info for info in store.list("") if not info.name.startswith(NOT_COPIED)]


def _sizes(copy: Store) -> dict[str, int]:
    skipped = tuple(prefix for prefix in NOT_COPIED if prefix != "copy/")
    return {info.name: info.size for info in copy.list("") if not info.name.startswith(skipped)}


def _verifies(home: Home, name: str, store: Store) -> bool:
    """Return whether an object is there and proves itself; a twin, by the rules of what it is a twin of."""
    try:
        data = store.get(copied_name(name) if store is not home.store else name)
        name = names.untwinned(name)
        kind = name.split("/")[0]
        if kind == "meta":
            return sha256(data) == name.rpartition("/")[2]
        if kind == "key":
            home.verify(name, data, Slot)
        else:
            home.signer_of(name, data)
    except DamageError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Gone:
    """What the protocol took from the home."""

    packs: frozenset[str]
    parts: Mapping[str, frozenset[int]]
    """Classes that snapshots have no more."""
    keys: _Kept


def _gone(home: Home, copy: Store) -> _Gone:
    from holdfast.repository.listing import read_dropped
    from holdfast.repository.rounds import read_rounds

    return _Gone(read_rounds(home).deleted, read_dropped(home), _Kept.read(home, home.on(copy)))


def _is_lost(home: Home, name: str, gone: _Gone) -> bool:
    """Return whether an object that the home lacks should be there."""
    from holdfast.repository.decisions import Verdict, is_forgotten, outcome, owner_of

    kind, _, rest = name.partition("/")
    if kind in KEPT or kind in KEPT_TOO:
        return True
    if kind in WITHDRAWN:
        return gone.keys.in_force(name)
    if kind == "committed":
        return outcome(home, rest, owner_of(home, rest)).verdict is not Verdict.REVOKED
    if kind in {"snapshot", "part"}:
        snapshot, _, class_id = rest.partition("/")
        taken = is_forgotten(home, snapshot) or class_id in {str(c) for c in gone.parts.get(snapshot, ())}
        return not taken and outcome(home, snapshot, owner_of(home, snapshot)).verdict is not Verdict.REVOKED
    if kind == "meta":
        return rest.rpartition("/")[2] not in gone.packs
    # After a deletion a run cannot be told from one that was replaced: see repair index.
    return kind in {"index", "countersign", "refs"} and not gone.packs
