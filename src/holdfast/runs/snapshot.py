"""Snapshots as callers hold them: look inside, compare, restore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from holdfast.base.events import Events, ignore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from holdfast.runs.options import Limits, Overwrite, PathLike
    from holdfast.runs.results import Change, EntryInfo, RestoreResult, SnapshotInfo
    from holdfast.runs.vault import Vault


class Cancel(Protocol):
    """Something that says when to stop: a `threading.Event` will do."""

    def is_set(self) -> bool:
        """Return whether the run should stop: it keeps a checkpoint and raises `Interrupted`."""
        ...


class Snapshot:
    """One committed snapshot of an open vault. Cheap to hold: nothing is read until asked."""

    def __init__(self, vault: Vault, info: SnapshotInfo) -> None:
        """Use `Vault.snapshots` or `Vault.snapshot` instead."""
        self._vault = vault
        self.info = info

    @property
    def id(self) -> str:
        """The snapshot's id, 32 hex digits."""
        return self.info.id

    @property
    def finished(self) -> datetime:
        """When the run that made it finished, by that host's clock."""
        return self.info.finished

    def restore(
        self,
        to: PathLike,
        *,
        include: Sequence[str | bytes] = (),
        exclude: Sequence[str] = (),
        classes: Sequence[str] = (),
        overwrite: Overwrite = "never",
        in_place: bool = False,
        dry_run: bool = False,
        owners: bool | None = None,
        events: Events = ignore,
        limits: Limits | None = None,
        stop: Cancel | None = None,
    ) -> RestoreResult:
        """Write entries under `to`: `/srv/ehr/a` becomes `TO/srv/ehr/a`.

        `include` takes paths, folders and globs (`/srv/ehr/2026/**`); none means all. A file gets its name only when it
        is whole and every byte verified; what cannot be restored is a finding, and the rest is restored. Never writes
        outside `to`, whatever symlinks are there. An interrupted restore goes on where it stopped when called again.

        `owners` None: restore owners if root. Errors: `TargetNotEmptyError` (`to` has entries and neither `in_place`
        nor `overwrite` other than `never` was given), `TargetInsideVaultError`, `SourceMissingError` (an include that
        matches nothing), `NotPermittedError` (no class can be read), `Interrupted`, any store error.
        """
        raise NotImplementedError

    def ls(self, path: PathLike = b"") -> Iterator[EntryInfo]:
        """Yield the entries of a folder, ordered by name; the entry itself if it is no folder.

        `SourceMissingError` if there is no such path in the classes that can be read.
        """
        raise NotImplementedError

    def walk(self, prefix: PathLike = b"") -> Iterator[EntryInfo]:
        """Yield every entry under a path in tree order, all readable classes merged."""
        raise NotImplementedError

    def find(self, pattern: str) -> Iterator[EntryInfo]:
        """Yield the entries whose name (or, with a `/` in the pattern, whole path) matches a glob."""
        raise NotImplementedError

    def read(self, path: PathLike, fd: int) -> int:
        """Write one file's content to an open descriptor, verified piece by piece; return its bytes.

        `SourceMissingError` if it is not a file of the snapshot; `DamageError` if a piece does not verify: what was
        written before is right, nothing wrong is written.
        """
        raise NotImplementedError

    def diff(self, other: Snapshot) -> Iterator[Change]:
        """Yield what changed from this snapshot to `other`, in tree order; costs what the change does, not the tree."""
        raise NotImplementedError


class SnapshotList:
    """Snapshots, oldest first."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        """Hold snapshots already ordered."""
        self._snapshots = tuple(snapshots)

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
        """Return the newest. `SnapshotMissingError` if there is none."""
        raise NotImplementedError
