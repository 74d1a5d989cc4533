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
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.base.events import Alert
from holdfast.errors import HoldfastError, LocalStateError, RolledBackError

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.base.events import Events
    from holdfast.runs.assembly import OpenVault

__all__ = ["Seen", "accept_older", "begin", "committed", "older", "refuse_older"]

FILE = "seen.json"
IDS = ("decision", "forgotten")
NUMBERS = ("closed", "keyring", "access")
EPOCH = "epoch"


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
    return Seen({kind: frozenset(home.ids(kind)) for kind in IDS}, numbers | {EPOCH: vault.epoch})


def _file(vault: OpenVault) -> Path:
    return vault.folder("seen") / FILE


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


def committed(vault: OpenVault, snapshot: str) -> None:
    """After a backup: note its decision, which this host has seen. A note that cannot be made costs no snapshot."""
    known = _known(vault)
    decisions = known.ids.get("decision", frozenset()) | {snapshot}
    try:
        _note(vault, Seen({**known.ids, "decision": decisions}, known.numbers))
    except HoldfastError:
        return


def accept_older(vault: OpenVault) -> int:
    """Take the state that the store shows for the vault's from now on; return how many objects are given up."""
    missing = _known(vault).missing(shown := _shown(vault))
    _note(vault, shown)
    return missing
