"""Snapshots as callers hold them: look inside, compare, restore."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast.base.events import Events, ignore
from holdfast.errors import DamageError, SnapshotMissingError
from holdfast.repository.listing import claimed_source
from holdfast.repository.salvage import salvaged
from holdfast.repository.snapshots import of_source, select, source_in
from holdfast.runs.approvals import authorise
from holdfast.runs.assembly import set_limits
from holdfast.runs.operations import audited, browsed
from holdfast.runs.options import raw_path
from holdfast.runs.reading import paths_of, restore_plan, thaw
from holdfast.runs.restore import RestoreRequest, run_restore
from holdfast.runs.trees import Trees, changes, tree_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import Cancel, Damaged, Limits, Overwrite, PathLike
    from holdfast.runs.results import Change, EntryInfo, RestoreResult, SnapshotInfo
    from holdfast.runs.tier_results import RestorePlan, ThawResult


class Snapshot:
    """One committed snapshot of an open vault. Cheap to hold: nothing is read until asked."""

    def __init__(self, vault: OpenVault, info: SnapshotInfo) -> None:
        """Use `Vault.snapshots` or `Vault.snapshot` instead."""
        self._vault = vault
        self._trees: Trees | None = None
        self.info = info

    @property
    def id(self) -> str:
        """The snapshot's id, 32 hex digits."""
        return self.info.id

    @property
    def finished(self) -> datetime:
        """When the run that made it finished, by that host's clock."""
        return self.info.finished

    @audited("restore")
    def restore(
        self,
        to: PathLike,
        *,
        include: Sequence[str | bytes] = (),
        exclude: Sequence[str] = (),
        classes: Sequence[str] = (),
        overwrite: Overwrite = "never",
        damaged: Damaged = "keep",
        in_place: bool = False,
        dry_run: bool = False,
        owners: bool | None = None,
        break_glass: str = "",
        events: Events = ignore,
        limits: Limits | None = None,
        stop: Cancel | None = None,
    ) -> RestoreResult:
        """Write entries under `to`: `/srv/ehr/a` becomes `TO/srv/ehr/a`.

        `include` takes paths, folders and globs (`/srv/ehr/2026/**`); none means all. A file gets its name only when it
        is whole and every byte verified; what cannot be restored is a finding, and the rest is restored. Never writes
        outside `to`, whatever symlinks are there. An interrupted restore goes on where it stopped when called again.

        Of a file that is damaged in the vault, what is whole becomes `NAME.damaged`, zeros where bytes are lost, and
        `NAME.damaged.map` (JSON) lists those ranges; with `damaged="skip"` it is a finding only. Nothing that is there is
        touched by it: a name that is taken gets a number.

        `owners` None: restore owners if root. `break_glass` is the reason for going without the approvals that the access
        policy asks for: it always works, and always alerts.

        Errors: `ApprovalMissingError`, `TargetNotEmptyError` (`to` has entries and neither `in_place`
        nor `overwrite` other than `never` was given), `TargetInsideVaultError`, `PathMissingError` (an include that
        matches nothing), `NotPermittedError` (no class can be read), `Interrupted`, any store error.
        """
        request = RestoreRequest(
            to=raw_path(to),
            include=tuple(os.fsencode(pattern) for pattern in include),
            exclude=tuple(exclude),
            classes=tuple(classes),
            overwrite=overwrite,
            damaged=damaged,
            in_place=in_place,
            dry_run=dry_run,
            owners=owners,
            break_glass=break_glass,
        )
        return run_restore(self._vault, self.info, request, events=events, limits=limits, stop=stop)

    def restore_plan(self, *, include: Sequence[str | bytes] = (), classes: Sequence[str] = ()) -> RestorePlan:
        """Return what a restore would read from which store, what must be thawed first, how long it takes and what it costs.

        Nothing but metadata is read. With includes whose files are too large to be listed in their entries the figures
        are those of the whole snapshot, an upper bound.
        """
        return restore_plan(self._vault, self.info, include=paths_of(include), classes=self._classes(classes))

    @audited("thaw")
    def thaw(self, *, include: Sequence[str | bytes] = (), classes: Sequence[str] = (), days: int = 7) -> ThawResult:
        """Ask the stores for what a restore needs and what lies cold, to be readable for so many days. Returns at once."""
        wanted = self._classes(classes)
        return thaw(self._vault, self.info, include=paths_of(include), classes=wanted, days=days)

    def _classes(self, names: Sequence[str]) -> frozenset[int] | None:
        return frozenset(self._vault.repository.class_id(name) for name in names) or None

    @browsed
    def ls(self, path: PathLike = b"") -> Iterator[EntryInfo]:
        """Yield the entries of a folder, ordered by name; the entry itself if it is no folder.

        `PathMissingError` if there is no such path in the classes that can be read.
        """
        return self._open().ls(tree_path(raw_path(path)))

    @browsed
    def walk(self, prefix: PathLike = b"") -> Iterator[EntryInfo]:
        """Yield every entry under a path in tree order, all readable classes merged."""
        return self._open().walk(tree_path(raw_path(prefix)))

    @browsed
    def find(self, pattern: str) -> Iterator[EntryInfo]:
        """Yield the entries whose name (or, with a `/` in the pattern, whole path) matches a glob."""
        return self._open().find(pattern)

    @audited("read")
    def read(self, path: PathLike, fd: int, *, limits: Limits | None = None) -> int:
        """Write one file's content to an open descriptor, verified piece by piece; return its bytes.

        It keeps to `limits`, and what a signal's handler raises meanwhile (`KeyboardInterrupt`) ends it.

        `PathMissingError` if it is not a file of the snapshot; `DamageError` if a piece does not verify: what was
        written before is right, nothing wrong is written.
        """
        found = self._open().lookup(tree_path(raw_path(path)))
        if found is not None:
            names = {part.class_id: part.class_name for part in self.info.classes}
            authorise(self._vault, f"restore:{names.get(found[0], '')}", {"snapshot": self.id})
        set_limits(self._vault.limits, limits)
        return self._open().read(tree_path(raw_path(path)), fd)

    @browsed
    def diff(self, other: Snapshot) -> Iterator[Change]:
        """Yield what changed from this snapshot to `other`, in tree order; costs what the change does, not the tree."""
        return changes(self._open(), other._open())

    def _open(self) -> Trees:
        if self._trees is None:
            self._trees = Trees(self._vault, self.info)
        return self._trees


def refuse_to_guess(damaged: Sequence[str]) -> None:
    """Raise `DamageError` if a snapshot cannot be read: nobody knows then which is the newest."""
    if damaged:
        raise DamageError(
            f"{len(damaged)} snapshots cannot be read, and one of them may be what is meant: {', '.join(damaged)}",
            next="name a snapshot by its id; `holdfast snapshots` lists those that can be read. `holdfast check` says what stands in"
            " the way: where it is a signer whose certificate is damaged, nothing is lost, and `holdfast repair` mends it; what is"
            " lost for good is forgotten by its whole id.",
            snapshots=tuple(damaged),
        )


def selected(vault: OpenVault, selector: str) -> SnapshotInfo:
    """Return the snapshot that a selector means; see `Vault.snapshot`."""
    found, damaged = vault.listing()
    if not is_id(selector):
        refuse_to_guess(_may_be_meant(vault, found, damaged, source_in(selector)))
        return select(found, selector)
    lost = [each for each in damaged if each.startswith(selector)]
    if len(lost) == 1 and not any(info.id.startswith(selector) for info in found):
        info = salvaged(vault.repository, lost[0])
        if info is not None:
            return info
    if selector in lost:
        raise DamageError(
            f"snapshot {selector} cannot be read: neither its envelope nor what says that it was committed",
            next="put `snapshot/`, `decision/` or `committed/` of it back from a copy of the home (`holdfast repair home`); the rescue"
            " reader's `--all` reads its parts as far as they are there.",
            snapshots=(selector,),
        )
    refuse_to_guess(lost)
    return select(found, selector)


def _may_be_meant(
    vault: OpenVault, found: Sequence[SnapshotInfo], damaged: Sequence[str], source: str
) -> tuple[str, ...]:
    """Return the snapshots that cannot be read and may be of a source: those that say that they are of another are not."""
    wanted = {info.source for info in of_source(found, source)} if source else set()
    if not wanted:
        return tuple(damaged)
    said = {each: claimed_source(vault.repository.home, each) for each in damaged}
    return tuple(each for each in damaged if not said[each] or said[each] in wanted)


def is_id(selector: str) -> bool:
    """Return whether a selector is (the beginning of) an id, which means one snapshot whatever else there is."""
    return bool(selector) and set(selector) <= set("0123456789abcdef")


class SnapshotList:
    """Snapshots, oldest first. `damaged` are ids of snapshots that were committed and cannot be read."""

    def __init__(self, snapshots: Sequence[Snapshot], damaged: Sequence[str] = ()) -> None:
        """Hold snapshots already ordered."""
        self._snapshots = tuple(snapshots)
        self.damaged = tuple(damaged)

    def __iter__(self) -> Iterator[Snapshot]:
        """Iterate, oldest first."""
        return iter(self._snapshots)

    def __len__(self) -> int:
        """Count them."""
        return len(self._snapshots)

    def __getitem__(self, position: int) -> Snapshot:
        """Return one by position; -1 is the newest."""
        return self._snapshots[position]

    def latest(self) -> Snapshot:
        """Return the newest. `SnapshotMissingError` if there is none, `DamageError` if that cannot be known."""
        refuse_to_guess(self.damaged)
        if not self._snapshots:
            raise SnapshotMissingError("there is no snapshot yet", next="`holdfast backup PATH` makes one.")
        return self._snapshots[-1]
