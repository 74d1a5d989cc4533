"""Keys as operations: who may, who must agree, in which order; the repository does the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from holdfast.errors import DamageError, NotPermittedError, StoreError, UsageError
from holdfast.repository import floors, rotation, shares, shred, writers
from holdfast.repository.credentials import KeyFile, Passphrase
from holdfast.repository.enrolment import create_enrolment, encode_enrolment, expire
from holdfast.repository.generations import named
from holdfast.repository.home_copy import withdrawn_keys
from holdfast.repository.key_services import key_service
from holdfast.repository.listing import envelope_infos, with_main_part
from holdfast.repository.objects import canonical
from holdfast.repository.rehearsals import put_rehearsal
from holdfast.repository.roles import READS_CONTENT, ROOT_ROLE
from holdfast.repository.wraps import CREDENTIAL, LIVE, MEDIUM, SLOT, Wrap, find_wrap, read_wraps
from holdfast.runs.approvals import authorise, find_statements
from holdfast.runs.home_copies import copy_after, copy_store
from holdfast.runs.key_results import ClassRotation, Erasure, KeyRow, Rehearsal, RootRotated, SharesMade

if TYPE_CHECKING:
    from holdfast.repository.credentials import Secret
    from holdfast.repository.slots import SplitSecret
    from holdfast.runs.assembly import OpenVault

EXPORT = "export"


def class_ids(vault: OpenVault, names: Sequence[str]) -> list[int]:
    """Return the ids of data classes."""
    return [vault.repository.class_id(name) for name in names]


def _generation_name(vault: OpenVault, class_id: int, generation: int) -> str:
    return f"{vault.repository.classes.get(class_id, class_id)}/{generation}"


def export(vault: OpenVault, what: Mapping[str, object]) -> None:
    """Have people agree that a key which reads content is handed out, where the vault says so."""
    authorise(vault, EXPORT, what)


def add_key(vault: OpenVault, secret: Secret | SplitSecret, *, label: str, what: Mapping[str, object]) -> str:
    """Let a secret open the vault; return its entry in the ledger."""
    vault.repository.require_newest()
    export(vault, what)
    return vault.repository.add_slot(secret, label=label)


def add_service(vault: OpenVault, uri: str, *, label: str, create: bool) -> str:
    """Let a key service open the vault."""
    service = key_service(uri, vault.env, create=create)
    return add_key(vault, service, label=label, what={"key": service.method, "label": label})


def split(vault: OpenVault, threshold: int, count: int, *, label: str) -> SharesMade:
    """Split a new key into shares; return one sheet for each holder."""
    repository = vault.repository
    secret, words = shares.split(threshold, count, vault.env)
    entry = add_key(vault, secret, label=label, what={"key": "shares", "threshold": threshold, "count": count})
    made = vault.env.timestamp()
    sheets = tuple(
        shares.sheet(
            each,
            number=number,
            count=count,
            threshold=threshold,
            vault=vault.vault_id,
            label=repository.label,
            made=made,
        ).encode()
        for number, each in enumerate(words, 1)
    )
    return SharesMade(entry, threshold, secret.digests, sheets)


def issue(
    vault: OpenVault, role: str, label: str, classes: Sequence[str], *, days: float | None = None, group: str = ""
) -> bytes:
    """Issue a role's credential and return the file's bytes; for `root` a key file."""
    repository = vault.repository
    if role == ROOT_ROLE:
        if classes or days is not None:
            raise UsageError("the root key has all data classes and no end")
        secret = KeyFile.new(vault.env)
        add_key(vault, secret, label=label, what={"key": "keyfile", "label": label})
        return secret.encode()
    chosen = class_ids(vault, classes)
    if role in READS_CONTENT:
        export(vault, {"role": role, "label": label, "classes": sorted(chosen)})
    expires = vault.env.now() + timedelta(days=days) if days is not None else None
    return writers.issue(repository, role, label, chosen, group=group, expires=expires).encode()


def enrolment(vault: OpenVault, label: str, classes: Sequence[str], *, group: str, days: float) -> bytes:
    """Make an enrolment file; return its bytes."""
    expire(vault.repository)
    made = create_enrolment(vault.repository, label, class_ids(vault, classes), group=group, days=days)
    return canonical(encode_enrolment(made))


def keys(vault: OpenVault) -> tuple[KeyRow, ...]:
    """Return every place where a key was written, oldest first. `DamageError` if the ledger cannot be read."""
    repository = vault.repository
    known = {w.id: w for w in writers.list_writers(repository)}
    rows = []
    for wrap in read_wraps(repository.home):
        body, holder = wrap.body, known.get(wrap.id)
        classes = tuple(repository.classes.get(c, str(c)) for c in holder.classes) if holder else ()
        state = "joining" if holder and holder.joining and body.state == LIVE else body.state
        if body.form == SLOT and wrap.live and not rotation.slot_stands(repository.home, body.slot):
            state = "damaged"
        reads = tuple(_generation_name(vault, ref.class_, ref.generation) for ref in body.private)
        group = holder.group if holder and holder.group != holder.id else ""
        rows.append(
            KeyRow(
                wrap.id,
                body.form,
                body.role,
                body.method,
                body.label,
                state,
                body.made,
                body.expires,
                classes,
                reads,
                group,
            )
        )
    return tuple(rows)


def revoke(vault: OpenVault, name: str) -> tuple[Wrap | None, ClassRotation | None]:
    """Take a key away: a slot by replacing the root key without it; a credential by its certificate, and new generations.

    What was read before cannot be taken back.
    """
    repository = vault.repository
    found = next((w for w in writers.list_writers(repository) if w.id.startswith(name) or w.label == name), None)
    if found is None:
        wrap = find_wrap(read_wraps(repository.home), name)
        if wrap.body.form == CREDENTIAL:
            raise DamageError(
                "the certificate of this credential is damaged or lost, and so is its twin: what is revoked is a certificate",
                next=f"put the objects under `writer/{wrap.id}/` back by `holdfast repair home` or from the store, then revoke it.",
            )
        if wrap.body.form != SLOT:
            raise UsageError(
                "what lies on a medium cannot be revoked", next="destroy it, then say so: `holdfast key destroyed`."
            )
        rotate_root(vault, drop=(wrap.id,))
        return wrap, None
    holder = writers.find_writer(repository, name)
    writers.revoke(repository, holder.id)
    if holder.role not in READS_CONTENT:
        return None, None
    return None, rotate_classes(vault, holder.classes)


def rotate_root(
    vault: OpenVault, *, drop: Sequence[str] = (), again: bool = False, dry_run: bool = False
) -> RootRotated:
    """Replace the root key."""
    repository = vault.repository
    ids = tuple(find_wrap(read_wraps(repository.home), name).id for name in drop)
    secret = None if isinstance(vault.secret, Passphrase) and not vault.secret.text else vault.secret
    plan = rotation.plan_root(repository, at_hand=secret, drop=ids, again=again)
    epoch = repository.require_keyring().epoch
    if dry_run:
        return RootRotated(epoch, len(plan.reseal), len(plan.drop), plan.unlisted, plan.finish, dry_run=True)
    done = rotation.rotate_root(repository, plan)
    _left_on_copy(vault)
    return RootRotated(done.epoch, done.resealed, done.dropped, plan.unlisted, plan.finish)


def rotate_classes(
    vault: OpenVault, classes: Sequence[int], *, again: bool = False, dry_run: bool = False
) -> ClassRotation:
    """Make new generations of data classes; new content is sealed under them."""
    repository = vault.repository
    plan = rotation.plan_renewal(repository, classes, again=again)
    if dry_run:
        repository.require_newest(given_up=again)
        taken = named(repository.home)
        names = tuple(
            _generation_name(vault, c, max(known.generation, taken.get(c, 0)) + 1)
            for c in plan.classes
            if (known := repository.generation(c)) is not None
        )
        return ClassRotation(names, len(plan.holders), dry_run=True)
    done = rotation.renew(repository, plan)
    return ClassRotation(tuple(_generation_name(vault, *each) for each in done.generations), done.holders)


def _with_approvals(
    vault: OpenVault, operation: str, what: Mapping[str, object], put: Callable[[tuple[str, ...]], object]
) -> None:
    """Have people agree, and put an object that carries their statements: whoever carries it out checks it by itself."""
    _, statements = find_statements(vault, operation, what)
    authorise(vault, operation, what)
    put(tuple(statement.encode() for statement in statements))


def destroy(
    vault: OpenVault,
    class_name: str,
    generation: int,
    *,
    reason: str,
    with_snapshots: bool = False,
    dry_run: bool = False,
) -> Erasure:
    """Destroy the keys of a generation, and certify what has become of them."""
    repository = vault.repository
    class_id = repository.class_id(class_name)
    plan = shred.plan_shred(repository, class_id, generation, with_snapshots=with_snapshots)
    if dry_run:
        gone, outstanding = shred.account(repository, class_id, generation)
        name = _generation_name(vault, class_id, generation)
        return Erasure(name, False, reason, None, len(plan.snapshots), gone, outstanding, dry_run=True)
    if not plan.ordered:
        _with_approvals(
            vault,
            shred.OPERATION,
            plan.asked(),
            lambda said: shred.order(repository, plan, reason=reason, approvals=said),
        )
    found = shred.carry_out(repository, class_id, generation, elsewhere=lambda: _left_on_copy(vault))
    return _erasure(vault, found)


def _erasure(vault: OpenVault, found: shred.Certificate) -> Erasure:
    body = found.body
    return Erasure(
        _generation_name(vault, body.class_, body.generation), body.erased, body.reason, body.said, len(body.snapshots),
        body.places, body.outstanding, found.number,
    )  # fmt: skip


def certify(vault: OpenVault, class_name: str, generation: int) -> Erasure:
    """Sign anew what has become of the keys of a generation."""
    class_id, left = vault.repository.class_id(class_name), _left_on_copy(vault)
    return _erasure(vault, shred.certify(vault.repository, class_id, generation, elsewhere=left))


def erasures(vault: OpenVault) -> tuple[Erasure, ...]:
    """Return the newest certificate of each generation that was destroyed."""
    return tuple(_erasure(vault, found) for found in shred.certificates(vault.repository.home))


def _left_on_copy(vault: OpenVault) -> tuple[str, ...]:
    """Take withdrawn keys from the home's copy as well; return what may be left of them there."""
    copy = copy_store(vault)
    if copy is None:
        return ()
    copy_after(vault, vault.trail.hear)
    try:
        left = withdrawn_keys(vault.repository.home, copy)
    except StoreError:
        left = ("unknown",)
    return ("the copy of the vault's home",) if left else ()


def say_destroyed(vault: OpenVault, name: str, statement: str) -> str:
    """Write into the ledger that every copy of a key is gone; return its entry."""
    wrap = find_wrap(read_wraps(vault.repository.home), name)
    if wrap.body.form != MEDIUM and wrap.body.state == LIVE:
        raise UsageError("a key in force is revoked before it is said to be destroyed", next="`holdfast key revoke`.")
    return shred.say_destroyed(vault.repository, wrap.id, statement).id


def set_floors(vault: OpenVault, days: Mapping[str, int]) -> dict[str, int]:
    """Set the minimum retention of classes; those not named stay. Return all in force. Lowering needs the policy's approvals."""
    repository = vault.repository
    current = floors.read_floors(repository.home)
    wanted = {**current, **{repository.class_id(name): value for name, value in days.items()}}
    wanted = {class_id: value for class_id, value in wanted.items() if value}
    if floors.lowers(current, wanted):
        asked = {"days": {str(class_id): value for class_id, value in sorted(wanted.items())}}
        _with_approvals(vault, floors.OPERATION, asked, lambda said: floors.put_floors(repository, wanted, said))
    elif wanted != current:
        floors.put_floors(repository, wanted)
    return floors_of(vault)


def floors_of(vault: OpenVault) -> dict[str, int]:
    """Return the minimum retention in days of each class that has one."""
    found = floors.read_floors(vault.repository.home)
    return {vault.repository.classes.get(class_id, str(class_id)): value for class_id, value in sorted(found.items())}


def rehearse(vault: OpenVault) -> Rehearsal:
    """Record that the key that opened this vault did so, and reads what is sealed. `NotPermittedError` if it is an everyday key."""
    repository = vault.repository
    listed = [w for w in read_wraps(repository.home) if w.body.form == SLOT and w.live]
    wrap = None if vault.secret is None else rotation.wrap_of(repository, listed, vault.secret)
    if wrap is None or wrap.body.method not in {writers.KIT, "shares"}:
        raise NotPermittedError(
            "the key that opened the vault is no recovery kit",
            next="write one: `holdfast key kit --out FILE`, and give that.",
        )
    newest = max(envelope_infos(repository), key=lambda s: s.finished, default=None)
    if newest is not None:
        with_main_part(repository, newest)
    body = put_rehearsal(repository, wrap.id, len(repository.classes))
    return Rehearsal(wrap.id, wrap.body.method, body.opened, newest.id if newest else "", body.classes)


__all__ = [
    "add_key",
    "add_service",
    "certify",
    "class_ids",
    "destroy",
    "enrolment",
    "erasures",
    "export",
    "floors_of",
    "issue",
    "keys",
    "rehearse",
    "revoke",
    "rotate_classes",
    "rotate_root",
    "say_destroyed",
    "set_floors",
    "split",
]
