"""Crypto-shredding: a generation of a data class is erased by destroying its private key, wherever that was ever written.

The order `shred/N`, signed by root, carries the approvals that the vault's policy demands; whoever carries it out checks them by
the vault alone. Then: a keyring without the keys, what root left for holders of credentials anew, and the old ones of both go. What
lies in other hands (credentials, media) only people can destroy: the certificate lists it until somebody says so, and says
"erased" only when nothing is outstanding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar

from holdfast.errors import ApprovalMissingError, MissingError, ShredRefusedError, UsageError
from holdfast.repository import names
from holdfast.repository.access import approved, read_policy
from holdfast.repository.bodies import Body
from holdfast.repository.floors import kept_until, read_floors
from holdfast.repository.home import ROOT
from holdfast.repository.keyring import Keyring, generation_of, newest
from holdfast.repository.listing import envelope_infos
from holdfast.repository.marking import sound_envelopes
from holdfast.repository.rotation import drop_old_keyrings, finish_renewal
from holdfast.repository.twins import strange_twins
from holdfast.repository.wraps import CREDENTIAL, DESTROYED, MEDIUM, Wrap, find_wrap, read_wraps, with_state, write_wrap
from holdfast.repository.writers import change_keyring
from holdfast.stores.protocol import Capability

if TYPE_CHECKING:
    from holdfast.repository.home import Home
    from holdfast.repository.repository import Repository

OPERATION = "shred"


@dataclass(frozen=True, slots=True)
class ShredBody(Body):
    """`shred/N`: the keys of a generation are to be destroyed (`order`), or what has become of them (`certificate`)."""

    kind: ClassVar[str] = "shred"
    step: str
    class_: int
    generation: int
    reason: str
    said: datetime
    snapshots: tuple[str, ...] = ()
    """Snapshots that lose their part of the class, given up expressly."""
    approvals: tuple[str, ...] = ()
    erased: bool = False
    """Of a certificate: nothing is outstanding."""
    places: tuple[str, ...] = ()
    """Of a certificate: every place where the key was, and that it is gone from there."""
    outstanding: tuple[str, ...] = ()

    def asked(self) -> dict[str, object]:
        """Return what people approve."""
        return {"class": self.class_, "generation": self.generation, "snapshots": list(self.snapshots)}


@dataclass(frozen=True, slots=True)
class ShredPlan:
    """What destroying a generation would do."""

    class_id: int
    generation: int
    snapshots: tuple[str, ...]
    """Snapshots whose part of the class nobody could read any more."""
    ordered: bool
    """An order stands already and is only carried out."""

    def asked(self) -> dict[str, object]:
        """Return what people approve."""
        return {"class": self.class_id, "generation": self.generation, "snapshots": list(self.snapshots)}


@dataclass(frozen=True, slots=True)
class Certificate:
    """What has become of the keys of a generation."""

    number: int
    body: ShredBody

    @property
    def erased(self) -> bool:
        """Whether every place is accounted for."""
        return self.body.erased


def plan_shred(repository: Repository, class_id: int, generation: int, *, with_snapshots: bool = False) -> ShredPlan:
    """Say what destroying a generation would do. Nothing changes.

    `ShredRefusedError` if a snapshot under legal hold or minimum retention rests on it, if any snapshot does and
    `with_snapshots` does not give them up, or if it is the generation written to. `MissingError`.
    """
    keyring = repository.require_keyring()
    if generation_of(keyring.classes, class_id, generation) is None:
        raise MissingError("there is no such generation of that data class", next="`holdfast key list` shows them.")
    if _order_of(repository, class_id, generation) is not None:
        return ShredPlan(class_id, generation, (), ordered=True)
    last = newest(keyring.classes, class_id)
    if last is not None and last.generation == generation:
        raise ShredRefusedError(
            "new content is sealed under this generation",
            next="make a new one first: `holdfast key rotate class NAME`.",
        )
    sound_envelopes(repository)
    resting = [
        s
        for s in envelope_infos(repository)
        if (class_id, generation) in {(c.class_id, c.generation) for c in s.classes}
    ]
    held = sum(s.held for s in resting)
    floors, now = read_floors(repository.home), repository.env.now()
    retained = sum(kept_until(s, floors) > now for s in resting)
    if held or retained:
        raise ShredRefusedError(
            f"{held} snapshots under legal hold and {retained} under minimum retention rest on this generation",
            next="nothing but the end of the hold or of the retention allows it.", held=held, retained=retained,
        )  # fmt: skip
    if resting and not with_snapshots:
        raise ShredRefusedError(f"{len(resting)} snapshots rest on this generation", snapshots=len(resting))
    return ShredPlan(class_id, generation, tuple(sorted(s.id for s in resting)), ordered=False)


def order(repository: Repository, plan: ShredPlan, *, reason: str, approvals: Sequence[str] = ()) -> ShredBody:
    """Put the order, with the approvals that the policy in force demands. `ApprovalMissingError` without them."""
    home = repository.home
    standing = _order_of(repository, plan.class_id, plan.generation)
    if standing is not None:
        return standing
    if not reason:
        raise UsageError("keys are destroyed for a reason that is on record", next="give one: --reason TEXT.")
    body = ShredBody(
        "order", plan.class_id, plan.generation, reason, repository.env.now(), plan.snapshots, tuple(approvals),
    )  # fmt: skip
    if not approved(home, read_policy(home), OPERATION, body.asked(), body.approvals):
        raise ApprovalMissingError("this order lacks the approvals that the vault's policy demands")
    home.append("shred", body, repository.root)
    return body


def _order_of(repository: Repository, class_id: int, generation: int) -> ShredBody | None:
    """Return the standing order: signed by root, and approved as the policy in force demands, or carried out already."""
    home, policy = repository.home, read_policy(repository.home)
    known = generation_of(repository.require_keyring().classes, class_id, generation)
    found = []
    for number in home.numbers("shred"):
        read, body = home.read(names.numbered("shred", number), ShredBody)
        if read.signer == ROOT and (body.step, body.class_, body.generation) == ("order", class_id, generation):
            found.append(body)
    accepted = [body for body in found if approved(home, policy, OPERATION, body.asked(), body.approvals)]
    done = known is not None and known.erased
    return next(iter(accepted or (found if done else ())), None)


def carry_out(
    repository: Repository, class_id: int, generation: int, *, elsewhere: Callable[[], Sequence[str]] = tuple
) -> Certificate:
    """Destroy what can be reached, and certify what is known; `elsewhere` deals with copies and says which are left.

    Idempotent; a crash anywhere is finished by the next call.

    `ApprovalMissingError` if no order stands that the vault's policy accepts.
    """
    standing = _order_of(repository, class_id, generation)
    if standing is None:
        raise ApprovalMissingError("no order to destroy these keys stands that the vault's policy accepts")
    keyring = repository.require_keyring()
    known = generation_of(keyring.classes, class_id, generation)
    if known is not None and not known.erased:

        def change(ring: Keyring) -> Keyring:
            classes = tuple(c.erase() if (c.id, c.generation) == (class_id, generation) else c for c in ring.classes)
            return replace(ring, classes=classes)

        keyring = change_keyring(repository, change)
    drop_old_keyrings(repository)
    finish_renewal(repository, keyring)
    _drop_old_grants(repository)
    return certify(repository, class_id, generation, elsewhere=elsewhere())


def _drop_old_grants(repository: Repository) -> None:
    """Delete what root left for holders before: their newest is all they need."""
    home = repository.home
    for holder in home.ids("grant"):
        certificate = home.certificate(holder, fresh=True)
        numbers = home.numbers(f"grant/{holder}")
        revoked = certificate is not None and certificate.revoked
        for number in numbers if revoked else numbers[:-1]:
            home.remove(names.numbered("grant", holder, number))


def certify(repository: Repository, class_id: int, generation: int, *, elsewhere: Sequence[str] = ()) -> Certificate:
    """Write down, signed, what has become of the keys of a generation; `elsewhere` are copies that still have them.

    `MissingError` if nobody ordered their end.
    """
    home = repository.home
    standing = _order_of(repository, class_id, generation)
    if standing is None:
        raise MissingError("nobody ordered these keys to be destroyed")
    places, outstanding = account(repository, class_id, generation)
    outstanding = (*outstanding, *elsewhere)
    body = ShredBody(
        "certificate", class_id, generation, standing.reason, repository.env.now(), standing.snapshots,
        erased=not outstanding, places=places, outstanding=outstanding,
    )  # fmt: skip
    number, _ = home.append("shred", body, repository.root)
    return Certificate(number, body)


def account(repository: Repository, class_id: int, generation: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the places from where the key is gone, and those of which that is not known. `DamageError` if the ledger is damaged."""
    home = repository.home
    keyring = repository.require_keyring()
    gone: list[str] = []
    open_: list[str] = []
    known = generation_of(keyring.classes, class_id, generation)
    kept = len(home.numbers("keyring")) > 1 or known is None or not known.erased
    (open_ if kept else gone).append("the vault's keyring")
    others = strange_twins(home)
    (open_ if others else gone).append("the twins of keyring and grants")
    if Capability.RETAIN_UNTIL in repository.store.capabilities:
        open_.append(
            "the home's store, which can keep deleted objects: see that no version of keyring/, grant/ and their twins is left"
        )
    for wrap in read_wraps(home):
        if _had(wrap, class_id, generation):
            said = f"{wrap.body.form} {wrap.id} ({wrap.body.label or wrap.body.role})"
            if wrap.body.state == DESTROYED:
                gone.append(f"{said}: {wrap.body.statement}")
            else:
                open_.append(said)
    return tuple(gone), tuple(open_)


def _had(wrap: Wrap, class_id: int, generation: int) -> bool:
    """Return whether a private key could be had from a place without the vault: slots only lead to the keyring."""
    if wrap.body.form == CREDENTIAL:
        return any((ref.class_, ref.generation) == (class_id, generation) for ref in wrap.body.private)
    return wrap.body.form == MEDIUM


def say_destroyed(repository: Repository, name: str, statement: str) -> Wrap:
    """Write into the ledger that somebody destroyed every copy of a key, and who says so how. `UsageError` without a statement."""
    if not statement:
        raise UsageError("say who destroyed it, and how", next="give --statement TEXT.")
    wrap = find_wrap(read_wraps(repository.home), name)
    return write_wrap(repository.home, repository.root, wrap.id, with_state(wrap.body, DESTROYED, statement))


def certificates(home: Home) -> tuple[Certificate, ...]:
    """Return the newest certificate of each generation that was to be destroyed."""
    found: dict[tuple[int, int], Certificate] = {}
    for number in home.numbers("shred"):
        read, body = home.read(names.numbered("shred", number), ShredBody)
        if read.signer == ROOT and body.step == "certificate":
            found[body.class_, body.generation] = Certificate(number, body)
    return tuple(found[key] for key in sorted(found))
