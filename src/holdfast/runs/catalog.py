"""The catalog as runs use it: brought up to date from the vault, then asked."""

from __future__ import annotations

from contextlib import closing, contextmanager
from itertools import islice
from typing import TYPE_CHECKING, cast

from holdfast import engine
from holdfast.base.events import Note, Progress, ignore
from holdfast.catalog import Catalog
from holdfast.errors import DamageError, HoldfastError, NotPermittedError, PartlyLostError
from holdfast.repository.listing import read_part
from holdfast.repository.snapshots import of_source
from holdfast.runs.results import EntryInfo, FoundEntry
from holdfast.runs.trees import Trees, tree_path

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from datetime import datetime

    from holdfast.base.events import Events
    from holdfast.catalog import CatalogUpdate, FileVersion
    from holdfast.catalog.feed import ReaderLike, SnapshotLike
    from holdfast.repository.types import SealedPart, SnapshotInfo
    from holdfast.runs.assembly import OpenVault

CATALOG_FILE = "catalog.sqlite"
UNKNOWN_ID = -1
_NAMED_MAX = 5


class _Feed:
    """An open vault as the catalog reads it: its snapshots, their parts, and a reader made when a tree is asked for."""

    def __init__(self, vault: OpenVault) -> None:
        self._vault = vault
        self._snapshots: list[SnapshotInfo] | None = None
        self._reader: engine.Reader | None = None

    def snapshots(self) -> Sequence[SnapshotInfo]:
        if self._snapshots is None:
            self._snapshots = self._vault.envelopes()
        return self._snapshots

    def can_read(self, class_id: int) -> bool:
        return self._vault.repository.can_read(class_id)

    def part(self, snapshot: SnapshotLike, class_id: int) -> SealedPart:
        return read_part(self._vault.repository, cast("SnapshotInfo", snapshot), class_id)

    def tree(self, root: str) -> engine.Tree:
        if self._reader is None:
            self._reader = self._vault.reader(*(info.id for info in self.snapshots()))
        return self._reader.tree(root)


@contextmanager
def opened(vault: OpenVault) -> Iterator[Catalog]:
    """Open the vault's catalog in its state folder, and close it."""
    with Catalog.open(str(vault.folder("") / CATALOG_FILE), vault.vault_id) as catalog:
        yield catalog


def update(vault: OpenVault, catalog: Catalog, *, rebuild: bool = False) -> CatalogUpdate:
    """Bring the catalog up to date, or build it anew. `NotPermittedError` without a key to any class."""
    feed = _Feed(vault)
    reader = cast("ReaderLike", feed)
    with engine.translated():
        return catalog.rebuild(feed, reader) if rebuild else catalog.update(feed, reader)


def run_update(vault: OpenVault, *, rebuild: bool = False, events: Events = ignore) -> int:
    """Update or rebuild; see `Vault.catalog_update`. Returns how many snapshots were taken in."""
    events(Progress(phase="index"))
    with opened(vault) as catalog:
        done = update(vault, catalog, rebuild=rebuild)
    if done.missing:
        events(Note(f"{done.missing} class trees could not be read and are not in the catalog", "catalog-incomplete"))
    return done.added


def after_backup(vault: OpenVault, events: Events) -> None:
    """Take in what a backup committed. The catalog is derived: if it cannot be written, that is said and no more."""
    if vault.keyring_or_none() is None:
        return
    try:
        run_update(vault, events=events)
    except HoldfastError as error:
        events(Note(f"the catalog was not brought up to date: {error.what}", error.code))


def find(vault: OpenVault, pattern: str, *, source: str, limit: int) -> Iterator[FoundEntry]:
    """Yield versions whose name or path matches; see `Vault.find`."""
    sources = _sources(vault, source)
    with opened(vault) as catalog:
        lost = _asked(vault, catalog, sources)
        with closing(cast("Generator[FileVersion, None, None]", catalog.find(pattern))) as every:
            found = (version for version in every if sources is None or version.source in sources)
            for version in islice(found, limit):
                yield _found(version)
        _tell_lost(lost, vault.listing()[1])


def versions(vault: OpenVault, path: bytes, *, source: str, before: datetime | None) -> Iterator[FoundEntry]:
    """Yield the versions of a path, newest first; see `Vault.versions`."""
    sources = _sources(vault, source)
    with opened(vault) as catalog:
        lost = _asked(vault, catalog, sources)
        rows = catalog.versions(tree_path(path))
        for version in reversed(rows):
            known = sources is None or version.source in sources
            if known and (before is None or version.first_finished <= before):
                yield _found(version)
        _tell_lost(lost, vault.listing()[1])


def _asked(vault: OpenVault, catalog: Catalog, sources: frozenset[str] | None) -> int:
    """Bring the catalog up to date before a question; return how many class trees it lacks because they are damaged.

    What it lacks and can be read by now, with another key or healed, is taken in.
    """
    update(vault, catalog)
    infos = {info.id: info for info in vault.envelopes()}
    lost, came = 0, False
    for row in catalog.snapshots():
        for class_id in row.missing:
            if (sources is not None and row.source not in sources) or not vault.repository.can_read(class_id):
                continue
            reads = row.id in infos and _reads(vault, infos[row.id], class_id)
            came |= reads
            lost += not reads
    if came:
        update(vault, catalog, rebuild=True)
    return lost


def _reads(vault: OpenVault, info: SnapshotInfo, class_id: int) -> bool:
    """Return whether a class tree can be walked to its end."""
    try:
        for _ in Trees(vault, info, frozenset({class_id})).walk():
            pass
    except (DamageError, NotPermittedError):
        return False
    return True


def _tell_lost(trees: int, snapshots: Sequence[str]) -> None:
    """`PartlyLostError` if anything is lost. Of which source a snapshot is that cannot be read, nobody knows."""
    said = [
        *([f"{len(snapshots)} snapshots cannot be read ({', '.join(snapshots[:_NAMED_MAX])})"] if snapshots else []),
        *([f"{trees} class trees of snapshots cannot be read"] if trees else []),
    ]
    if said:
        raise PartlyLostError(f"this is not all: {', and '.join(said)}", trees=trees, snapshots=tuple(snapshots))


def _sources(vault: OpenVault, source: str) -> frozenset[str] | None:
    """Return the ids of the sources meant; None means all."""
    return frozenset(info.source for info in of_source(vault.snapshots(), source)) if source else None


def _found(version: FileVersion) -> FoundEntry:
    return FoundEntry(
        snapshot=version.last,
        finished=version.last_finished,
        entry=EntryInfo(
            path=version.path,
            kind=version.kind,
            size=version.size,
            mode=0,
            uid=UNKNOWN_ID,
            gid=UNKNOWN_ID,
            user="",
            group="",
            mtime_ns=version.mtime_ns,
            class_id=version.class_id,
        ),
        first=version.first,
        snapshots=version.snapshots,
    )
