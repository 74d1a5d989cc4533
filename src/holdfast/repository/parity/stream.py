"""Parity of a run's own packs, made while they pass: nothing is read back but the rows of the group that is gone on with.

Full groups are stored at once, the rest when the run is over. A group with room is remembered on this host, and the next run
goes on with it. Parity never stops a backup: what could not be protected is said, and `repair` or `prune` catches up.
"""

from __future__ import annotations

import json
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.errors import HoldfastError
from holdfast.repository.names import DATA_KIND
from holdfast.repository.parity.frame import DATA, META, SLOTS, Group, Member, Stored, size_step
from holdfast.repository.parity.plan import rows_for
from holdfast.repository.parity.work import read_sound, store_rows

if TYPE_CHECKING:
    from holdfast.repository.engine_port import ParityPort, ParityRowsPort
    from holdfast.repository.parity.shelf import Shelf
    from holdfast.stores.protocol import Data

__all__ = ["ParityStream"]

_CLASS_AT = 28
_OPEN_FILE = "open"
OPEN_MAX = 12
"""Groups under construction at once; a pack that would need one more is left for later."""

Kind = tuple[int, int, int]


@dataclass(slots=True)
class _Open:
    """A group under construction. `base` is the one it goes on with; its slots are taken."""

    rows: ParityRowsPort
    wanted: int
    base: Stored | None
    members: list[Member] = field(default_factory=list)

    @property
    def free(self) -> tuple[int, ...]:
        taken = {member.slot for member in self.members}
        before = self.base.group.free if self.base is not None else tuple(range(SLOTS))
        return tuple(slot for slot in before if slot not in taken)


class ParityStream:
    """The parity of one run. Thread-safe: packs are added by the threads that store them."""

    def __init__(self, shelf: Shelf, engine: ParityPort) -> None:
        """Nothing is asked of any store before the first group is stored."""
        self.shelf = shelf
        self.engine = engine
        self.failure: HoldfastError | None = None
        """Why some packs are unprotected; None if all are protected."""
        self.unprotected = 0
        self._open: dict[Kind, _Open] = {}
        self._known = _remembered(shelf)
        self._lock = threading.Lock()

    def add(self, name: str, kind: int, data: Data) -> None:
        """Take a pack that is stored now. Never raises for parity's sake."""
        folder = DATA if kind == DATA_KIND else META
        (class_id,) = struct.unpack_from("<H", data, _CLASS_AT)
        wanted = self.shelf.wanted(class_id, folder)
        if not wanted:
            return
        with self._lock:
            key = (class_id, folder, size_step(len(data)))
            try:
                with self.engine.translated():
                    self._add(key, wanted, name, data)
            except HoldfastError as error:
                self._failed(key, error)

    def _add(self, key: Kind, wanted: int, name: str, data: Data) -> None:
        if key not in self._open:
            if len(self._open) == OPEN_MAX:
                self.unprotected += 1
                return
            rows = self.engine.ParityRows(str(self.shelf.folder), wanted)
            self._open[key] = _Open(rows, wanted, self._known.pop(key, None))
        group = self._open[key]
        member = Member(group.free[0], name, len(data))
        group.rows.add(member.slot, data)
        group.members.append(member)
        if not group.free:
            self._store(key, group)
            del self._open[key]

    def _failed(self, key: Kind, error: HoldfastError) -> None:
        lost = self._open.pop(key, None)
        self.unprotected += len(lost.members) if lost is not None else 1
        self.failure = self.failure or error

    def finish(self) -> None:
        """Store what is left, and remember the groups with room. Never raises for parity's sake."""
        with self._lock:
            for key in list(self._open):
                try:
                    with self.engine.translated():
                        self._store(key, self._open[key])
                    del self._open[key]
                except HoldfastError as error:
                    self._failed(key, error)
            _remember(self.shelf, self._known)

    def _store(self, key: Kind, group: _Open) -> None:
        """Store a group, with the packs of the one it goes on with if those rows can be had; then those rows go."""
        base = group.base
        if base is not None and not self._joined(group, base):
            base = None
        before = base.group.members if base is not None else ()
        members = tuple(sorted((*before, *group.members), key=lambda member: member.slot))
        made = Group(key[0], key[1], rows_for(len(members), group.wanted), members)
        stored, _ = store_rows(self.shelf, made, group.rows)
        if made.free:
            self._known[key] = stored
        if base is not None and self.shelf.repository.is_root:
            for _, sha in base.rows:
                self.shelf.delete(sha)

    def _joined(self, group: _Open, base: Stored) -> bool:
        """Add what a group goes on with: its rows, or its few packs where it has too few rows. False: it is left alone."""
        count = rows_for(len(base.group.members) + len(group.members), group.wanted)
        try:
            if base.group.rows >= count:
                found = [(row, self.shelf.row(sha)) for row, sha in base.rows[:count]]
                for row, data in found:
                    group.rows.add_row(row, data)
                return True
            packs = [read_sound(self.shelf, base.group.folder, member.name) for member in base.group.members]
            whole = [data for data in packs if data is not None]
            if len(whole) < len(packs):
                return False
            for member, pack in zip(base.group.members, whole, strict=True):
                group.rows.add(member.slot, pack)
        except (HoldfastError, OSError):
            return False
        return True


def _remembered(shelf: Shelf) -> dict[Kind, Stored]:
    """Return the groups with room that this host stored last. A lost or torn note costs some room and nothing else."""
    try:
        rows = json.loads((shelf.folder / _OPEN_FILE).read_text(encoding="ascii"))
        found = {}
        for row in rows:
            members = tuple(Member(int(slot), str(name), int(size)) for slot, name, size in row["members"])
            group = Group(int(row["class"]), int(row["folder"]), int(row["rows"]), members)
            found[group.kind] = Stored(group, tuple((int(at), str(sha)) for at, sha in row["stored"]))
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return {}
    return found


def _remember(shelf: Shelf, groups: dict[Kind, Stored]) -> None:
    rows = [
        {
            "class": one.group.class_id,
            "folder": one.group.folder,
            "rows": one.group.rows,
            "members": [[m.slot, m.name, m.size] for m in one.group.members],
            "stored": [list(pair) for pair in one.rows],
        }
        for one in groups.values()
    ]
    new = shelf.folder / f"{_OPEN_FILE}.new"
    try:
        new.write_text(json.dumps(rows), encoding="ascii")
        new.chmod(0o600)
        new.replace(shelf.folder / _OPEN_FILE)
    except OSError:
        return
