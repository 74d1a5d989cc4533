"""What became of a snapshot: committed, revoked, forgotten, and which classes of it are gone, by the objects that decide it."""

from __future__ import annotations

import base64
import os
from typing import Protocol

import rescue_format as f
from rescue_signers import Signers


class Vaultlike(Protocol):
    """An open vault, as far as its decisions are concerned."""

    root: str
    signers: Signers

    def names(self, folder: str) -> list[str]:
        """What stands in a folder."""

    def control(self, name: str) -> f.Control:
        """A control object that a known signer signed."""

    def checked(self, data: bytes, name: str) -> f.Control:
        """The bytes of one that stand under a name, or would."""


def dropped_of(vault: Vaultlike, snapshot_id: str) -> set[str]:
    """Classes of a snapshot that root has forgotten: their trees may be gone."""
    dropped = set()
    for number in vault.names(f"dropped/{snapshot_id}"):
        try:
            name = f"dropped/{snapshot_id}/{number}"
            if vault.signers.may_prune(vault.control(name).body["signer"], name):
                dropped.add(number)
        except f.Damage:
            continue
    return dropped


def status_of(vault: Vaultlike, snapshot_id: str, sha: str, writer: str, problems: list[str]) -> str:
    """`committed`, `uncommitted`, `revoked`, `forgotten`, or why its writer is refused; `sha` and `writer` are the envelope's."""
    if is_forgotten(vault, snapshot_id, problems):
        return "forgotten"
    refused = vault.signers.refusal(writer, snapshot_id)
    if refused:
        return refused
    slots = vault.names(f"decision/{snapshot_id}")
    for slot in slots:
        name = f"decision/{snapshot_id}/{slot}"
        try:
            body = vault.control(name).body
        except f.Damage as failure:
            problems.append(str(failure))
            continue
        if body.get("verdict") == "revoked" and (
            body["signer"] == writer or vault.signers.may_prune(body["signer"], name)
        ):
            return "revoked"
        if body.get("verdict") != "commit" or (sha and body["signer"] != writer):
            problems.append(f"{name}: signed by one who may not decide this; ignored")
            continue
        if sha and body.get("snapshot") != sha:
            problems.append(f"{name}: names another envelope")
        return "committed"
    if committed_by_copy(vault, snapshot_id, sha, writer, problems):
        return "committed"
    if not slots and sha and is_admitted(vault, snapshot_id):
        problems.append(
            f"decision/{snapshot_id}: is lost, and so is its copy; the snapshot was admitted, so it was committed"
        )
        return "committed"
    return "committed" if slots and sha else "uncommitted"


def is_admitted(vault: Vaultlike, snapshot_id: str) -> bool:
    """Whether root or a pruner noted when the snapshot came: only what was committed is admitted."""
    name = f"admission/{snapshot_id}"
    if not os.path.exists(os.path.join(vault.root, name)):
        return False
    try:
        return vault.signers.may_prune(vault.control(name).body["signer"], name)
    except f.Damage:
        return False


def is_forgotten(vault: Vaultlike, snapshot_id: str, problems: list[str]) -> bool:
    """Whether a valid tombstone stands."""
    if not os.path.exists(os.path.join(vault.root, "forgotten", snapshot_id)):
        return False
    try:
        name = f"forgotten/{snapshot_id}"
        if vault.signers.may_prune(vault.control(name).body["signer"], name):
            return True
        problems.append(f"forgotten/{snapshot_id}: signed by one who may not forget; ignored")
    except f.Damage as failure:
        problems.append(f"{failure}; ignored")
    return False


def committed_by_copy(vault: Vaultlike, snapshot_id: str, sha: str, writer: str, problems: list[str]) -> bool:
    """Whether `committed/ID` holds a commit of the writer: the decision's own bytes, kept a second time."""
    name = f"committed/{snapshot_id}"
    if not os.path.exists(os.path.join(vault.root, name)):
        return False
    try:
        kept = vault.control(name).body
        slot = f"decision/{snapshot_id}/{kept['number']:08d}"
        body = vault.checked(base64.b64decode(kept["decision"], validate=True), slot).body
    except f.Damage as failure:
        problems.append(str(failure))
        return False
    except (KeyError, TypeError, ValueError):
        problems.append(f"{name}: is malformed")
        return False
    if body.get("verdict") != "commit" or (sha and body["signer"] != writer):
        problems.append(f"{name}: holds no commit of the snapshot's writer; ignored")
        return False
    problems.append(f"{slot}: is lost or damaged; its copy in {name} says that the snapshot was committed")
    if sha and body.get("snapshot") != sha:
        problems.append(f"{name}: names another envelope")
    return True
