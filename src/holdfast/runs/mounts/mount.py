"""A mount from its beginning to its end: what is checked, what is shown, how it is watched, and how it ends."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.events import Alert, Note, Progress, ignore
from holdfast.errors import DamageError, Interrupted, NotPermittedError, SnapshotMissingError, UsageError
from holdfast.repository.salvage import salvaged
from holdfast.runs.approvals import authorise, break_glass_alert
from holdfast.runs.governed import governed
from holdfast.runs.mounts.layout import Row, UpperFolder, rows_of, upper_of
from holdfast.runs.mounts.place import check_place, mounting
from holdfast.runs.mounts.results import MountResult
from holdfast.runs.mounts.upper import boot_id, held, make_upper, mark_whole, recorded
from holdfast.runs.reading import refuse_cold
from holdfast.runs.snapshot import refuse_to_guess
from holdfast.runs.trees import Trees

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from holdfast.base.events import Events
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.governed import GovernedRun
    from holdfast.runs.options import Cancel, Limits

__all__ = ["MountRequest", "mount_for", "mount_snapshots", "mount_writable"]

LOOK_SECONDS = 0.2
CACHE_BYTES = 256 << 20
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class MountRequest:
    """Where to mount, and for whom."""

    place: Path
    classes: tuple[str, ...] = ()
    allow_other: bool = False
    owners: bool | None = None
    cache_bytes: int = CACHE_BYTES
    break_glass: str = ""

    @property
    def keeps_owners(self) -> bool:
        """Whether files show their own owners; else they are the caller's."""
        return os.geteuid() == 0 if self.owners is None else self.owners


def mount_snapshots(
    vault: OpenVault,
    infos: Sequence[SnapshotInfo],
    request: MountRequest,
    *,
    alone: bool,
    unreadable: Sequence[str] = (),
    events: Events = ignore,
    stop: Cancel | None = None,
) -> MountResult:
    """Mount snapshots read-only until they are unmounted or `stop` is set; see `Vault.mount`.

    `unreadable` are the ids of snapshots that are not among them because they are damaged.
    """
    if not infos:
        refuse_to_guess(unreadable)
        raise SnapshotMissingError("there is no snapshot yet", next="`holdfast backup PATH` makes one.")
    check_place(vault, request.place)
    classes = _classes(vault, request)
    _authorise(vault, infos, request, classes, events)
    missing = _missing(vault, infos, classes)
    if alone:
        refuse_cold(vault, infos[0], (), classes)
    rows = (
        [Row(b"", snapshot=0)] if alone else rows_of(infos, [salvaged(vault.repository, each) for each in unreadable])
    )

    lost: set[tuple[str, int]] = set()

    def opened(position: int) -> list[engine.Tree]:
        if alone:
            return list(Trees(vault, infos[position], classes).trees.values())
        return _opened_among(vault, infos[position], classes, events, lost)

    with engine.translated():
        reader = vault.reader(*(info.id for info in infos))
        first = Trees(vault, infos[0], classes) if alone else None
        totals = _exactly(first) if first is not None else _totals(infos, classes)
    began = vault.env.monotonic()
    try:
        mount = engine.Mount.read_only(
            reader=reader,
            rows=[row.as_given() for row in rows],
            open=opened,
            place=os.fspath(request.place),
            cache_bytes=request.cache_bytes,
            allow_other=request.allow_other,
            owners=request.keeps_owners,
            totals=totals,
        )
    except OSError as error:
        raise mounting(error) from error
    notes = [*_notes(missing, unreadable), Note("mounted read-only", "mounted")]
    unread = _Unread([info.id for info in infos], events)
    with _detached(mount), governed(vault, None, kind="restore", events=events, stop=stop) as steered:
        if first is not None:
            lost.update(_tell_lost(infos[0], first, events))
        _watch(vault, mount, steered, events, None, totals, notes, unread)
    return MountResult(
        len(infos),
        writable=False,
        seconds=vault.env.monotonic() - began,
        classes_missing=missing,
        classes_lost=len(lost),
        snapshots_lost=len(unreadable),
        unread=unread.total,
        unread_snapshots=unread.snapshots,
    )


def _notes(missing: int, unreadable: Sequence[str]) -> Iterator[Note]:
    """Yield what is not to be seen in a mount of snapshots."""
    if missing:
        text = f"{missing} data classes need a key that is not at hand: they are not to be seen"
        yield Note(text, "partial")
    if unreadable:
        named = ", ".join(unreadable[:_NAMED_MAX])
        text = (
            f"{len(unreadable)} snapshots cannot be read ({named}): where one may be the newest, there is no `latest`"
        )
        yield Note(text, DamageError.code)


def _opened_among(
    vault: OpenVault,
    info: SnapshotInfo,
    classes: frozenset[int] | None,
    events: Events,
    lost: set[tuple[str, int]],
) -> list[engine.Tree]:
    """Return the trees of one of several snapshots, and add to `lost` which data classes are not to be seen.

    An error would hide the snapshot's neighbours, too: one that is lost is an empty folder, and an alert.
    """
    refuse_cold(vault, info, (), classes)
    try:
        trees = Trees(vault, info, classes)
    except DamageError as error:
        lost.update(_tell_all_lost(info, classes, error, events, told=lost))
        return []
    lost.update(_tell_lost(info, trees, events))
    return list(trees.trees.values())


def mount_writable(
    vault: OpenVault,
    info: SnapshotInfo | None,
    request: MountRequest,
    *,
    upper: Path | None,
    newest: SnapshotInfo | None,
    unreadable: Sequence[str] = (),
    fill: bool = True,
    events: Events = ignore,
    limits: Limits | None = None,
    stop: Cancel | None = None,
) -> MountResult:
    """Mount a snapshot with a local folder above it; see `Vault.mount_writable`.

    `info` is the snapshot that was asked for; None: the one that the upper folder was made for, else the newest, which
    is not known where snapshots are `unreadable`.
    """
    check_place(vault, request.place)
    folder = upper_of(request.place, upper)
    if vault.owns(os.fsencode(folder.root)):
        raise UsageError("the upper folder lies in the vault or in Holdfast's own state", next="name another --upper.")
    if os.path.commonpath([folder.root, request.place]) == str(request.place):
        raise UsageError("the upper folder lies under the place of the mount", next="name another --upper.")
    chosen = _chosen(vault, folder, info, newest, unreadable)
    classes = _classes(vault, request)
    _authorise(vault, [chosen], request, classes, events)
    refuse_cold(vault, chosen, (), classes)
    with engine.translated():
        trees = Trees(vault, chosen, classes)
    if recorded(folder) is None:
        make_upper(folder, vault.vault_id, chosen.id)
    totals = _exactly(trees)
    began = vault.env.monotonic()
    with (
        governed(vault, limits, kind="restore", label=chosen.label, events=events, stop=stop) as steered,
        _writable(vault, trees, request, folder, fill=fill) as mount,
    ):
        lost = _tell_lost(chosen, trees, events)
        notes = [Note("mounted: the application can start", "mounted")]
        if trees.missing:
            notes.insert(
                0, Note(f"{trees.missing} data classes need a key that is not at hand: they are not there", "partial")
            )
        unread = _Unread([chosen.id], events)
        _watch(vault, mount, steered, events, folder, totals, notes, unread)
        found = mount.progress()
    return MountResult(
        1,
        writable=True,
        seconds=vault.env.monotonic() - began,
        classes_missing=trees.missing,
        classes_lost=len(lost),
        fetched_bytes=found.fetched_bytes,
        whole=found.whole,
        lost_files=found.lost_files,
        unread=unread.total,
        unread_snapshots=unread.snapshots,
    )


def _tell_lost(info: SnapshotInfo, trees: Trees, events: Events) -> set[tuple[str, int]]:
    """Return which data classes of a snapshot are not to be seen because their parts are damaged; each is an alert."""
    for part, error in trees.lost.items():
        what = f"snapshot {info.id}: data class {part.class_name} is not to be seen in the mount: {error.what}"
        events(replace(Alert.of(error, f"{info.id}:{part.class_id}"), text=what))
    return {(info.id, part.class_id) for part in trees.lost}


def _tell_all_lost(
    info: SnapshotInfo,
    classes: frozenset[int] | None,
    error: DamageError,
    events: Events,
    *,
    told: Collection[tuple[str, int]],
) -> set[tuple[str, int]]:
    """Return the data classes of a snapshot of which nothing can be read. It is one alert."""
    found = {(info.id, part.class_id) for part in info.classes if classes is None or part.class_id in classes}
    if found.isdisjoint(told):
        what = f"snapshot {info.id}: nothing of it is to be seen in the mount: {error.what}"
        events(replace(Alert.of(error, info.id), text=what))
    return found


@contextmanager
def mount_for(
    vault: OpenVault, info: SnapshotInfo, place: Path, *, stop: Cancel | None = None, events: Events = ignore
) -> Iterator[engine.Mount]:
    """Mount a snapshot to work on for as long as the context lasts, and fetch only what is touched; nobody else watches it.

    Its upper folder lies beside `place` and is left. Errors: as of `Vault.mount_writable`; `Interrupted`.
    """
    request = MountRequest(place, allow_other=os.geteuid() == 0)
    check_place(vault, place)
    folder = upper_of(place, None)
    _authorise(vault, [info], request, _classes(vault, request), events)
    refuse_cold(vault, info, (), None)
    with engine.translated():
        trees = Trees(vault, info)
    _tell_lost(info, trees, events)
    make_upper(folder, vault.vault_id, info.id)
    if stop is not None and stop.is_set():
        raise Interrupted(safe="the vault was only read.")
    with _writable(vault, trees, request, folder, fill=False) as mount:
        yield mount


@contextmanager
def _writable(
    vault: OpenVault, trees: Trees, request: MountRequest, folder: UpperFolder, *, fill: bool
) -> Iterator[engine.Mount]:
    """Hold the upper folder and mount it above a snapshot. What still stands in the end is detached."""
    with held(folder, env=vault.env):
        try:
            mount = engine.Mount.writable(
                reader=trees.reader,
                trees=list(trees.trees.values()),
                upper=os.fspath(folder.root),
                place=os.fspath(request.place),
                boot=boot_id(),
                whole=folder.whole.exists(),
                limits=vault.limits,
                cache_bytes=request.cache_bytes,
                allow_other=request.allow_other,
                owners=request.keeps_owners,
                fill=fill,
            )
        except OSError as error:
            raise mounting(error) from error
        with _detached(mount):
            yield mount


@contextmanager
def _detached(mount: engine.Mount) -> Iterator[None]:
    """Let nobody's mount stand: what is not over in the end is detached, and goes when the last file of it is closed."""
    try:
        yield
    finally:
        if not mount.over:
            with suppress(OSError):
                mount.unmount(lazily=True)
        mount.join()


def _chosen(
    vault: OpenVault,
    folder: UpperFolder,
    info: SnapshotInfo | None,
    newest: SnapshotInfo | None,
    unreadable: Sequence[str],
) -> SnapshotInfo:
    """Return the snapshot that an upper folder is of, or is to be of."""
    record = recorded(folder)
    if record is None:
        if info is None and newest is None:
            refuse_to_guess(unreadable)
            raise SnapshotMissingError("there is no snapshot yet", next="`holdfast backup PATH` makes one.")
        return info or newest  # type: ignore[return-value]
    if record["vault"] != vault.vault_id or (info is not None and info.id != record["snapshot"]):
        raise UsageError(
            "the upper folder belongs to another snapshot",
            next="mount it without naming a snapshot to go on with it, or name another --upper.",
        )
    for each in vault.snapshots():
        if each.id == record["snapshot"]:
            return each
    raise SnapshotMissingError("the snapshot that the upper folder is of is not in the vault any more")


def _classes(vault: OpenVault, request: MountRequest) -> frozenset[int] | None:
    return frozenset(vault.repository.class_id(name) for name in request.classes) or None


def _missing(vault: OpenVault, infos: Sequence[SnapshotInfo], classes: frozenset[int] | None) -> int:
    """Return how many classes cannot be read. `NotPermittedError` if that is all of them."""
    wanted = {part.class_id for info in infos for part in info.classes if classes is None or part.class_id in classes}
    readable = {number for number in wanted if vault.repository.can_read(number)}
    if wanted and not readable:
        raise NotPermittedError("none of the snapshots' data classes can be read with this key")
    return len(wanted - readable)


def _authorise(
    vault: OpenVault,
    infos: Sequence[SnapshotInfo],
    request: MountRequest,
    classes: frozenset[int] | None,
    events: Events,
) -> None:
    """Ask for the approvals that a restore of each class needs: what is mounted can be copied."""
    if request.break_glass:
        (vault.trail.hear if events is ignore else events)(break_glass_alert(infos[-1].id))
        return
    wanted = {
        part.class_name: info.id
        for info in infos
        for part in info.classes
        if classes is None or part.class_id in classes
    }
    what: dict[str, object] = {"snapshot": infos[0].id} if len(infos) == 1 else {"snapshots": [i.id for i in infos]}
    for name in sorted(wanted):
        authorise(vault, f"restore:{name}", what)


def _totals(infos: Sequence[SnapshotInfo], classes: frozenset[int] | None) -> tuple[int, int]:
    """Return entries and bytes, as envelopes tell them: powers of two."""
    parts = [part for info in infos for part in info.classes if classes is None or part.class_id in classes]
    return sum(part.files_bucket for part in parts), sum(part.bytes_bucket for part in parts)


def _exactly(trees: Trees) -> tuple[int, int]:
    """Return entries and bytes of one snapshot, as far as it can be read."""
    parts = trees.parts.values()
    return sum(part.entries for part in parts), sum(part.content_bytes for part in parts)


def _watch(
    vault: OpenVault,
    mount: engine.Mount,
    steered: GovernedRun,
    events: Events,
    folder: UpperFolder | None,
    totals: tuple[int, int],
    notes: Sequence[Note],
    unread: _Unread,
) -> None:
    """Wait until it is unmounted, by whomever; unmount when told to stop, as soon as nothing is open any more.

    A read-only mount that is in use is detached: nothing can be lost. A writable one stays until the application let go
    of it. A second signal ends it at once: what was synced is safe.
    """
    began = vault.env.monotonic()
    told = False
    was_whole = folder is not None and folder.whole.exists()
    for note in notes:
        events(note)
    while not mount.over:
        if steered.is_over():
            told = _end(mount, folder, events, told=told)
        found = mount.progress()
        unread.take(found)
        if folder is not None and found.whole and not was_whole:
            was_whole = True
            mark_whole(folder)
            events(Note("everything is on the local disk: `holdfast mount finish` switches over", "mount-whole"))
        if folder is not None and not found.whole:
            events(
                Progress(
                    phase="fill",
                    seconds=vault.env.monotonic() - began,
                    files=found.files,
                    bytes=found.bytes,
                    stored_bytes=found.fetched_bytes,
                    bytes_total=totals[1] or None,
                    findings=found.lost_files,
                )
            )
        vault.env.sleep(LOOK_SECONDS)
    mount.join()
    found = mount.progress()
    unread.take(found)
    if folder is not None and found.whole and not folder.whole.exists():
        mark_whole(folder)


class _Unread:
    """What could not be read of each snapshot in a mount, told once for each: what an application does with `EIO` nobody sees."""

    def __init__(self, ids: Sequence[str], events: Events) -> None:
        self._ids = ids
        self._events = events
        self.counts: dict[int, int] = {}

    def take(self, found: engine.MountProgress) -> None:
        """Take in what the mount counted so far."""
        counts = dict(found.unread)
        for position in counts.keys() - self.counts.keys():
            snapshot = self._ids[position]
            error = DamageError(
                f"snapshot {snapshot}: something that was read in a mount of it is damaged; who read it was told",
                next="`holdfast verify` says what is lost; the result of the mount counts what could not be read.",
            )
            self._events(Alert.of(error, f"mount:{snapshot}"))
        self.counts = counts

    @property
    def total(self) -> int:
        """How many answers damage did not allow."""
        return sum(self.counts.values())

    @property
    def snapshots(self) -> tuple[str, ...]:
        """In which snapshots that was."""
        return tuple(self._ids[position] for position in sorted(self.counts))


def _end(mount: engine.Mount, folder: UpperFolder | None, events: Events, *, told: bool) -> bool:
    """Unmount. Return whether it was said that something is in the way."""
    try:
        mount.unmount(lazily=False)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return told  # gone meanwhile
        if error.errno != errno.EBUSY:
            raise mounting(error) from error
        if folder is None:
            mount.unmount(lazily=True)
        elif not told:
            events(Note("the mount is in use: stop the application, and it is unmounted at once", "mount-busy"))
        return True
    return told
