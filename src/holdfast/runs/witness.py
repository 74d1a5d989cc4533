"""What this host has seen of a vault, and whether the store shows an older state now.

Some objects stay in a vault for ever: decisions, tombstones, and the highest numbers of closed prune rounds, keyrings and access
policies. A host notes those it has seen. If one is gone, somebody put back an older state of the store, or deleted what nobody may
delete: snapshots of the time in between are hidden, and pruning by the older state could take what they need. A host that never
saw the newer state cannot tell; another host that did, or the audit log's anchors (`holdfast audit verify`), can.

A new epoch is no older state: root promoted the copy of the home, and what that copy lacked is lost with the old home.

The note is local state: lost with it, and made anew by the next run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.base.events import Alert
from holdfast.errors import HoldfastError, LocalStateError, RolledBackError
from holdfast.repository.generations import certified, note_higher, open_to_revoked, unknown

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.base.events import Events
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault

__all__ = [
    "Seen",
    "accept_older",
    "begin",
    "cleared",
    "committed",
    "keyring_seen",
    "keys_behind",
    "keys_changed",
    "older",
    "refuse_older",
]

FOLDER, FILE = "seen", "seen.json"
IDS = ("decision", "forgotten")
NUMBERS = ("closed", "keyring", "access")
EPOCH = "epoch"
OPENED = "opened"
"""The number of the highest keyring that was opened here; whoever can only add objects can make none that opens."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What stays for ever, as it was seen."""

    ids: Mapping[str, frozenset[str]] = field(default_factory=dict)
    numbers: Mapping[str, int] = field(default_factory=dict)

    def missing(self, now: Seen) -> int:
        """Return how many of these objects `now` does not show."""
        gone = sum(len(ids - now.ids.get(kind, frozenset())) for kind, ids in self.ids.items())
        return gone + sum(number > now.numbers.get(kind, -1) for kind, number in self.numbers.items())

    def encode(self) -> str:
        """Return it as its file holds it."""
        return json.dumps({"ids": {kind: sorted(ids) for kind, ids in self.ids.items()}, "numbers": dict(self.numbers)})


def _decoded(text: str) -> Seen:
    """Read what `encode` wrote; anything else is nothing seen."""
    try:
        raw = json.loads(text)
        return Seen(
            {str(kind): frozenset(map(str, ids)) for kind, ids in raw["ids"].items()},
            {str(kind): int(number) for kind, number in raw["numbers"].items()},
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Seen()


def _shown(vault: OpenVault) -> Seen:
    """Return what the store shows now: five listings, and the epoch, which root signed."""
    home = vault.repository.home
    numbers = {kind: max(home.numbers(kind), default=-1) for kind in NUMBERS}
    return Seen(
        {kind: frozenset(home.ids(kind)) for kind in IDS}, numbers | {EPOCH: vault.epoch, OPENED: _opened(vault)}
    )


def _opened(vault: OpenVault) -> int:
    """Return the number of the highest keyring that opens; of a credential, which opens none, the highest that ever did here."""
    keyring = vault.repository.keyring
    return vault.repository.keyring_seen if keyring is None else keyring.number


def keyring_seen(state: Path) -> int:
    """Return the number of the highest keyring that this host ever opened, as far as it noted it; -1 if none."""
    try:
        return _decoded((state / FOLDER / FILE).read_text()).numbers.get(OPENED, -1)
    except OSError:
        return -1


def keys_changed(vault: OpenVault) -> None:
    """After any operation: note a keyring that this host opened or put first. A note that cannot be made costs nothing else."""
    repository = vault.repository
    if repository.keyring is not None and repository.keyring.number > repository.keyring_seen:
        repository.keyring_seen = repository.keyring.number
        with suppress(HoldfastError):
            known = _known(vault)
            _note(vault, Seen(known.ids, {**known.numbers, OPENED: repository.keyring_seen}))


def _file(vault: OpenVault) -> Path:
    return vault.folder(FOLDER) / FILE


def _known(vault: OpenVault) -> Seen:
    try:
        return _decoded(_file(vault).read_text())
    except OSError:
        return Seen()


def _note(vault: OpenVault, seen: Seen) -> None:
    path = _file(vault)
    new = path.with_suffix(".new")
    try:
        new.write_text(seen.encode())
        new.replace(path)
    except OSError as error:
        raise LocalStateError("what was seen of the vault cannot be noted") from error


def older(vault: OpenVault) -> int:
    """Return how many objects that this host has seen, and that stay for ever, are not there; note what is new if all are."""
    known, shown = _known(vault), _shown(vault)
    missing = known.missing(shown)
    if missing and vault.epoch > known.numbers.get(EPOCH, 0):
        missing = 0  # root promoted the copy of a lost home: what it had not yet is given up by that word
    if not missing and shown != known:
        _note(vault, shown)
    return missing


def _error(missing: int) -> RolledBackError:
    return RolledBackError(
        f"the store shows an older state of the vault than this host has seen: {missing} objects that stay for ever are gone",
        objects=missing,
    )


def refuse_older(vault: OpenVault) -> None:
    """Raise `RolledBackError` if the store shows an older state: before anything is forgotten or pruned by it."""
    missing = older(vault)
    if missing:
        raise _error(missing)


def begin(vault: OpenVault, events: Events) -> None:
    """Before a backup: alert if the store shows an older state. The backup goes on, for it only adds."""
    missing = older(vault)
    if missing:
        events(Alert.of(_error(missing), "vault"))


def keys_behind(vault: OpenVault, history: list[SnapshotInfo], events: Events) -> list[SnapshotInfo]:
    """Before a backup by the root key: alert if it would seal under keys that are not the newest. It goes on all the same.

    A keyring that is lost, or a revocation that ended before its new keys were made: what is stored may be open to whoever was to
    lose his key. Returns the history of the source, which it looks at, too.
    """
    repository = vault.repository
    keyring = repository.keyring
    if keyring is None:
        return history
    home = repository.home
    taken, found = open_to_revoked(home, keyring), certified(home)
    note_higher(found, ((part.class_id, part.generation) for info in history for part in info.classes))
    lost = repository.keyring_seen > keyring.number or bool(unknown(found, keyring.classes))
    if lost or taken:
        what = "the newest keyring of the vault is lost" if lost else "no new keys were made when a key was taken back"
        who = f", which a key that was taken back reads in {len(taken)} data classes" if taken else ""
        events(Alert("keyring-behind", "vault", f"{what}: this backup is sealed under older keys{who}"))
    return history


def committed(vault: OpenVault, snapshot: str) -> None:
    """After a backup: note its decision, which this host has seen. A note that cannot be made costs no snapshot."""
    known = _known(vault)
    decisions = known.ids.get("decision", frozenset()) | {snapshot}
    try:
        _note(vault, Seen({**known.ids, "decision": decisions}, known.numbers))
    except HoldfastError:
        return


def cleared(vault: OpenVault, gone: Sequence[str]) -> None:
    """After root cleared objects away by name: what this host had seen of them counts for nothing seen."""
    known, home = _known(vault), vault.repository.home
    numbers = {
        kind: max(home.numbers(kind), default=-1) if f"{kind}/{number:08d}" in gone else number
        for kind, number in known.numbers.items()
    }
    if numbers != known.numbers:
        _note(vault, Seen(known.ids, numbers))


def accept_older(vault: OpenVault) -> int:
    """Take the state that the store shows for the vault's from now on; return how many objects are given up."""
    missing = _known(vault).missing(shown := _shown(vault))
    _note(vault, shown)
    return missing
