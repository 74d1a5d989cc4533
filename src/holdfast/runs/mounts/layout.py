"""Where mounted snapshots stand, and what a writable mount keeps on the local disk. Decisions only; nothing is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.repository.types import SnapshotInfo

__all__ = ["Row", "UpperFolder", "rows_of", "upper_of"]

SUFFIX = ".holdfast"
NAME_BYTES_MAX = 200


@dataclass(frozen=True, slots=True)
class Row:
    """One path above the snapshots: a snapshot by its position, or a symbolic link."""

    path: bytes
    snapshot: int | None = None
    target: bytes | None = None
    seconds: int = 0

    def as_given(self) -> tuple[bytes, int | None, bytes | None, int]:
        """Return the row as the engine takes it."""
        return self.path, self.snapshot, self.target, self.seconds


def rows_of(infos: Sequence[SnapshotInfo], unreadable: Sequence[SnapshotInfo | None] = ()) -> list[Row]:
    """Return `snapshots/SOURCE/TIME` for each snapshot, a `latest` per source, and one for all. Oldest first, as given.

    Where one of the `unreadable`, as far as something is known of them, may be newer, there is no `latest`: it would lead to
    an older one unnoticed.
    """
    labels = {info.source: info.label for info in infos if info.label}
    rows: list[Row] = []
    taken: set[bytes] = set()
    newest: dict[bytes, tuple[bytes, SnapshotInfo]] = {}
    last = b""
    for position, info in enumerate(infos):
        # A label that cannot be read is the one that the source's other snapshots have.
        source = _name(info.label or labels.get(info.source, info.source[:12]))
        time = info.finished.strftime("%Y-%m-%dT%H-%M-%SZ").encode()
        path = b"/".join((b"snapshots", source, time))
        if path in taken:
            time += b"-" + info.id[:8].encode()
            path = b"/".join((b"snapshots", source, time))
        taken.add(path)
        rows.append(Row(path, snapshot=position, seconds=int(info.finished.timestamp())))
        newest[source] = time, info
        last = path
    rows.extend(
        Row(b"/".join((b"snapshots", source, b"latest")), target=time)
        for source, (time, info) in newest.items()
        if not any(_may_be_newer(each, info) for each in unreadable)
    )
    if last and not any(each is None or each.finished >= infos[-1].finished for each in unreadable):
        rows.append(Row(b"latest", target=last))
    return rows


def _may_be_newer(lost: SnapshotInfo | None, newest: SnapshotInfo) -> bool:
    """Return whether a snapshot that cannot be read may be of the same source as another and newer."""
    return lost is None or (lost.source in {"", newest.source} and lost.finished >= newest.finished)


def _name(label: str) -> bytes:
    """Return a label as a name of a folder."""
    name = label.encode(errors="surrogateescape").replace(b"/", b"_").replace(b"\0", b"_")[:NAME_BYTES_MAX]
    return b"_" + name if name in {b"", b".", b"..", b"latest"} else name


@dataclass(frozen=True, slots=True)
class UpperFolder:
    """What a writable mount keeps: the tree, which is what remains in the end, and the state beside it."""

    root: Path

    @property
    def tree(self) -> Path:
        """The files, a plain folder once everything is here."""
        return self.root / "tree"

    @property
    def state(self) -> Path:
        """What is known of files that are here in part."""
        return self.root / "state"

    @property
    def record(self) -> Path:
        """Which snapshot it is of."""
        return self.state / "mount.json"

    @property
    def lock(self) -> Path:
        """Held by the process that has it mounted."""
        return self.state / "lock"

    @property
    def whole(self) -> Path:
        """There once everything is here."""
        return self.state / "whole"

    @property
    def links(self) -> Path:
        """One name of each file that has several."""
        return self.state / "links"


def upper_of(place: Path, upper: Path | None) -> UpperFolder:
    """Return the folder of a writable mount: beside its place unless said, so that it can be renamed into it."""
    return UpperFolder(upper if upper is not None else place.with_name(place.name + SUFFIX))
