"""Commands about who may and who must agree: enrolment files, floors, approvals, anchors of the audit log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import holdfast
from holdfast.errors import ApprovalMissingError, EnrolmentError
from holdfast.repository.access import AccessPolicy, Approver, Statement, sign_request
from holdfast.runs.approvals import read_request
from holdfast.runs.enrolment import join_vault
from holdfast.testing.sweep.command import Command, oldest
from holdfast.testing.sweep.ground import Ground
from holdfast.testing.sweep.keys import kept, opens

__all__ = ["PEOPLE"]

LABEL = "host-2"
DAYS = 3
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
NAME = "a. approver"


def _public() -> bytes:
    return KEY.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _enroll(ground: Ground, vault: holdfast.Vault) -> object:
    return kept(ground, "enrolment", vault.enroll_host(LABEL))


def _invited(ground: Ground) -> None:
    with ground.open() as vault:
        _enroll(ground, vault)


def _join(ground: Ground, _vault: holdfast.Vault) -> object:
    return join_vault(ground.live / "enrolment", ground.live / "joined", env=ground.env)


def _can_join(ground: Ground, vault: holdfast.Vault) -> bool:
    """Whether a host joins with the file that was made last."""
    path = ground.live / "enrolment"
    (ground.live / "joined").unlink(missing_ok=True)
    return path.exists() and bool(_join(ground, vault)) and _has_joined(ground, vault)


def _has_joined(ground: Ground, _vault: holdfast.Vault) -> bool:
    return opens(ground, credential=ground.live / "joined")


def _expired(ground: Ground) -> None:
    """An enrolment that nobody used and that ended: the next one withdraws it."""
    _invited(ground)
    ground.pass_days(30)


def _set_floor(_ground: Ground, vault: holdfast.Vault) -> object:
    return vault.set_minimum_retention({"phi": DAYS})


def _policy() -> AccessPolicy:
    return AccessPolicy((Approver(NAME, _public()),), 1, 0, ("forget", "floor", "shred", "key", "access"))


def _set_policy(ground: Ground, vault: holdfast.Vault) -> object:
    return _approved(ground, vault, lambda: vault.approvals.set_policy(_policy()))


def _policed(ground: Ground) -> None:
    with ground.open() as vault:
        _set_policy(ground, vault)


def _sign_all(ground: Ground, vault: holdfast.Vault) -> None:
    """Sign every request that lies in the folder, as an approver would on another machine."""
    folder = Path(vault.approvals.folder)
    for number, path in enumerate(sorted(folder.glob("request-*.json"))):
        statement: Statement = sign_request(read_request(path.read_bytes()), NAME, KEY, ground.env.now())
        (folder / f"statement-{number}.json").write_text(statement.encode())


def _approved(ground: Ground, vault: holdfast.Vault, asked: Callable[[], object]) -> object:
    """Do what needs approval: if that is missing, or was used up by a call that died, have it signed, and do it again."""
    try:
        return asked()
    except ApprovalMissingError:
        _sign_all(ground, vault)
        return asked()


def _asked(ground: Ground) -> None:
    """A forget was asked for, and its approver agreed."""
    _policed(ground)
    with ground.open() as vault:
        try:
            vault.forget(snapshots=[oldest(ground)], reason="a sweep")
        except ApprovalMissingError:
            _sign_all(ground, vault)


def _forget(ground: Ground, vault: holdfast.Vault) -> object:
    return _approved(ground, vault, lambda: vault.forget(snapshots=[oldest(ground)], reason="a sweep"))


def _floored(ground: Ground) -> None:
    with ground.open() as vault:
        _set_floor(ground, vault)
    _policed(ground)


def _lower(ground: Ground, vault: holdfast.Vault) -> object:
    return _approved(ground, vault, lambda: vault.set_minimum_retention({"phi": 0}))


def _loosen(ground: Ground, vault: holdfast.Vault) -> object:
    return _approved(ground, vault, lambda: vault.approvals.set_policy(AccessPolicy()))


def _is_anchored(_ground: Ground, vault: holdfast.Vault) -> bool:
    return bool(vault.audit.anchors()) and not vault.audit.verify().problems


PEOPLE: tuple[Command, ...] = (
    Command("enroll by file", _enroll, _can_join),
    Command("enroll by file, withdrawing", _enroll, _can_join, _expired),
    Command("join", _join, _has_joined, _invited, again=frozenset({EnrolmentError.code, "vault-exists"})),
    Command("floor", _set_floor, lambda _g, v: v.minimum_retention == {"phi": DAYS}),
    Command("floor, lowered", _lower, lambda _g, v: not v.minimum_retention, _floored),
    Command("access policy", _set_policy, lambda _g, v: v.approvals.policy.required == 1),
    Command("access policy, loosened", _loosen, lambda _g, v: v.approvals.policy.required == 0, _policed),
    Command(
        "forget, approved",
        _forget,
        lambda g, v: oldest(g) not in {s.id for s in v.snapshots()},
        _asked,
        gives_up=lambda g: frozenset({oldest(g)}),
        again=frozenset({"snapshot-missing"}),
    ),
    Command("audit head", lambda _g, v: v.audit.head(), _is_anchored),
    Command("audit renew", lambda _g, v: v.audit.renew("a sweep"), _is_anchored),
)
