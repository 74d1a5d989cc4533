"""Locks that suspicions extend: the objects of each pinned snapshot are kept from being deleted, on stores that can.

Whoever got at a store's credentials would delete the last good snapshot next. So each run that sees the suspicion unreleased
locks what a restore of that snapshot needs for some time ahead, and does so again when half of it is over. One run does a
bounded part; how far it got is noted in the local state, and the next one goes on. What cannot be locked is an alert, and never
stops the run. A release ends it: what is locked stays so until its time is over, and no longer.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.environment import format_time, parse_time
from holdfast.base.events import Alert, Note, Progress, ignore
from holdfast.base.values import dataclass
from holdfast.errors import HoldfastError, LocalStateError, Retry, Safety
from holdfast.repository.locks import can_retain, needed_objects, retain
from holdfast.repository.placed import sha_of
from holdfast.repository.retention import pins

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holdfast.base.events import Events
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault

__all__ = ["Lock", "locked_anew", "locked_packs", "locks", "longest_lock"]

FOLDER = "locks"
SECONDS_MAX = 120.0
"""One run spends no more time on locks."""
NOTED_EVERY = 2048
"""After so many objects it is noted how far the run got."""


@dataclass(frozen=True, slots=True)
class Lock:
    """How far the objects of a pinned snapshot are locked, by what this host did."""

    snapshot: str
    """The last good snapshot before a suspicious one."""
    objects: int
    """Objects that a restore of it needs."""
    locked: int
    """Objects among them that are locked until then, or were not there."""
    until: datetime
    """Until when."""

    @property
    def complete(self) -> bool:
        """Whether all of them are."""
        return self.locked >= self.objects


@dataclass(frozen=True, slots=True)
class _Pass:
    """A pass over the objects of one snapshot: all before `done` are locked until then."""

    snapshot: str
    until: datetime
    done: int
    objects: tuple[str, ...]
    over: bool = False
    """Nothing pins it any more: kept until its locks have ended, for prunes to know of."""

    def state(self) -> Lock:
        return Lock(self.snapshot, len(self.objects), self.done, self.until)


def locked_anew(
    vault: OpenVault, snapshots: Sequence[SnapshotInfo], events: Events = ignore, *, whole: bool = False
) -> tuple[Lock, ...]:
    """Extend the locks of what suspicious ones among the snapshots pin; return how far that got.

    `snapshots`: all of the sources that it is about. Nothing happens where no store can lock, or `anomaly.lock_days` is 0.
    With `whole` it goes on to the end. It never raises for the store, the vault or the local state: a failure is an alert.
    """
    why = "`anomaly.lock_days` is 0" if not vault.watch.lock_days else ""
    if not why and not can_retain(vault.store):
        why = "no store of the vault can lock objects"
    if why:
        if whole:
            events(Note(f"nothing is locked: {why}", "lock-impossible"))
        return ()
    pinned: dict[str, str] = {}
    by_id = {info.id: info for info in snapshots}
    for suspect, good in pins(snapshots):
        if good:
            pinned.setdefault(good, by_id[suspect].label or by_id[suspect].source)
    _end_released(vault, {info.id for info in snapshots} - pinned.keys())
    left = vault.watch.lock_objects_max
    ends = vault.env.monotonic() + SECONDS_MAX
    found = []
    for good, subject in sorted(pinned.items()):
        work = _Work(vault, events, objects_max=None if whole else left, ends=None if whole else ends)
        try:
            with engine.translated():
                state = work.extend(good)
        except HoldfastError as error:
            events(_alert(subject, good, error))
            continue
        left -= work.count
        found.append(state.state())
    return tuple(found)


class _Work:
    """One run's work at locks, within its bounds."""

    def __init__(self, vault: OpenVault, events: Events, *, objects_max: int | None, ends: float | None) -> None:
        self._vault = vault
        self._events = events
        self._objects_max = objects_max
        self._ends = ends
        self.count = 0

    def extend(self, snapshot: str) -> _Pass:
        """Go on with the pass over a snapshot's objects, or begin the next one when half of its time is over."""
        vault = self._vault
        whole = timedelta(days=vault.watch.lock_days)
        now = vault.env.now()
        state = _read(vault, snapshot)
        if state is None or state.over or state.until - now < whole / 2:
            objects = needed_objects(vault.repository, snapshot, vault.whole_index())
            state = _Pass(snapshot, now + whole, 0, objects)
        self._events(Progress(phase="lock"))
        try:
            while state.done < len(state.objects) and not self._is_over():
                retain(vault.store, state.objects[state.done], state.until)
                state = replace(state, done=state.done + 1)
                self.count += 1
                if state.done % NOTED_EVERY == 0:
                    _write(vault, state)
        finally:
            _write(vault, state)
        return state

    def _is_over(self) -> bool:
        late = self._ends is not None and self._vault.env.monotonic() >= self._ends
        return late or (self._objects_max is not None and self.count >= self._objects_max)


def _alert(subject: str, snapshot: str, error: HoldfastError) -> Alert:
    return Alert(
        "lock-not-extended",
        subject,
        f"the locks of the last good snapshot {snapshot[:12]} were not extended ({error.code}: {error.what})",
        Safety.DEGRADED,
        Retry.LATER,
        "the snapshot is whole, and nothing of its source is forgotten; its store would let its objects be deleted.",
        "let a credential that may set retention do it: `holdfast findings lock`; the next run tries again, too.",
    )


def _end_released(vault: OpenVault, unpinned: set[str]) -> None:
    """Mark passes of snapshots that nothing pins any more; drop all whose locks have ended."""
    for state in _all(vault):
        if state.until <= vault.env.now():
            with suppress(OSError):
                _place(vault, state.snapshot).unlink()
        elif state.snapshot in unpinned and not state.over:
            _write(vault, replace(state, over=True))


def locks(vault: OpenVault) -> dict[str, Lock]:
    """Return how far pinned snapshots are locked, by the snapshot; what only other hosts did is not known here."""
    return {state.snapshot: state.state() for state in _all(vault) if not state.over}


def locked_packs(vault: OpenVault) -> frozenset[str]:
    """Return the packs that this host locked, and whose locks have not ended: to rewrite them would free nothing."""
    now = vault.env.now()
    return frozenset(
        sha_of(name)
        for state in _all(vault)
        if state.until > now
        for name in state.objects
        if name.startswith(("data/", "meta/"))
    )


def longest_lock(vault: OpenVault) -> datetime:
    """Return when the last lock ends that this host set; now, if none is in force."""
    return max((state.until for state in _all(vault)), default=vault.env.now())


# --- what the local state remembers: losing it costs asking the store again ---------------------------------------------


def _place(vault: OpenVault, snapshot: str) -> Path:
    return vault.folder(FOLDER) / f"{snapshot}.json"


def _all(vault: OpenVault) -> list[_Pass]:
    try:
        names = sorted(path.stem for path in vault.folder(FOLDER).glob("*.json"))
    except (OSError, LocalStateError):
        return []
    return [state for name in names if (state := _read(vault, name)) is not None]


def _read(vault: OpenVault, snapshot: str) -> _Pass | None:
    with suppress(OSError, ValueError, KeyError, TypeError, LocalStateError):
        raw = json.loads(_place(vault, snapshot).read_text("utf-8"))
        objects = tuple(str(name) for name in raw["objects"])
        done = min(max(0, int(raw["done"])), len(objects))
        return _Pass(snapshot, parse_time(raw["until"]), done, objects, bool(raw["over"]))
    return None


def _write(vault: OpenVault, state: _Pass) -> None:
    row = {"until": format_time(state.until), "done": state.done, "over": state.over, "objects": state.objects}
    with suppress(OSError, LocalStateError):
        place = _place(vault, state.snapshot)
        temporary = place.with_suffix(".new")
        temporary.write_text(json.dumps(row), "utf-8")
        os.chmod(temporary, 0o600)
        temporary.replace(place)
