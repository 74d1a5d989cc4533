"""A restored PostgreSQL brought to one moment: prepared, started alone, checked, stopped.

Prepared means: the base backup that fits the target, its label and control file beside it, empty folders where the server
wants them, tablespaces moved along, all WAL from the vault in one folder, and recovery settings that keep the copy away from
everything of the original: no archiving, no listening, a socket of its own. The target is one of PostgreSQL's own
(`recovery_target_time`, `_lsn`, `_name`), the end of the snapshot itself, or the end of the WAL.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from holdfast.base.environment import format_time
from holdfast.base.events import ignore
from holdfast.errors import AmbiguousSnapshotError, DamageError, NotPermittedError, RecoveryError, SnapshotMissingError
from holdfast.runs.applications import read_evidence
from holdfast.runs.restore import RestoreRequest, run_restore
from holdfast.runs.wal import LOG_SUFFIX
from holdfast.sources.spool import PARTIAL
from holdfast.sources.wal import is_segment, is_wal_name, parse_head, parse_lsn, timeline_of

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.applications import Sealed
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import Cancel
    from holdfast.sources.connectors.protocol import Evidence

__all__ = [
    "Prepared",
    "RecoveryTarget",
    "ended_before",
    "map_rows",
    "moved_map",
    "prepare_recovery",
    "recovery_settings",
]

WAL_FOLDER = "wal"
_EMPTY = (
    "pg_wal", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_stat_tmp", "pg_subtrans", "pg_tblspc",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecoveryTarget:
    """The moment that a database is brought to. `kind` `snapshot` is the end of the base backup, `latest` the end of the WAL."""

    kind: Literal["time", "lsn", "name", "snapshot", "latest"]
    value: str = ""
    inclusive: bool = True
    """Whether a transaction exactly at the target is still in."""
    timeline: str = "latest"

    @classmethod
    def at_time(cls, moment: datetime, *, inclusive: bool = True) -> RecoveryTarget:
        """Everything committed up to a moment, by the server's clock. A naive time is refused with `ValueError`."""
        return cls("time", format_time(moment), inclusive)

    @classmethod
    def at_lsn(cls, lsn: str, *, inclusive: bool = True) -> RecoveryTarget:
        """Everything up to a position of the WAL, as `pg_current_wal_lsn()` gives it."""
        parse_lsn(lsn)
        return cls("lsn", lsn, inclusive)

    @classmethod
    def at_name(cls, name: str) -> RecoveryTarget:
        """Up to a restore point made by `pg_create_restore_point`."""
        return cls("name", name)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A restored cluster with its recovery settings, not yet started."""

    snapshot: str
    application: str
    version: str
    root: Path
    """The folder that everything was restored into."""
    data: Path
    """The data directory."""
    wal: Path
    """All WAL files that the vault has for it."""
    wal_files: int
    target: RecoveryTarget
    evidence: Evidence
    restore_seconds: float
    bytes: int


def prepare_recovery(
    vault: OpenVault,
    snapshots: Sequence[SnapshotInfo],
    application: str,
    to: Path,
    *,
    target: RecoveryTarget,
    selected: SnapshotInfo | None = None,
    mounted: bool = False,
    events: Events = ignore,
    stop: Cancel | None = None,
) -> Prepared:
    """Restore an application's base backup and WAL into an empty folder and write its recovery settings.

    `mounted`: a writable mount of the base backup is at `to`, and nothing of it is restored but looked into.
    `selected` is the base backup; without it the newest one that ended before the target. `SnapshotMissingError` if there is
    none, `RecoveryError` if what was restored is not whole.
    """
    began = vault.env.monotonic()
    info, sealed, evidence = _base(vault, snapshots, application, target, selected)
    folders = _folders(sealed)
    amount = 0
    if mounted:
        _check_mounted(to, folders)
    else:
        result = run_restore(vault, info, RestoreRequest(os.fsencode(to), include=folders), events=events, stop=stop)
        if result.findings or result.classes_missing:
            raise RecoveryError(
                "the base backup could not be restored whole", next="`holdfast verify` names what is damaged."
            )
        amount = result.bytes
    data = _place_beside(to, folders[0], sealed)
    wal = to / WAL_FOLDER
    wal.mkdir(mode=0o700)
    for log in snapshots:
        if (log.label, log.host) == (application + LOG_SUFFIX, info.host) and log.finished >= info.started:
            amount += _fetch_wal(vault, log, wal, evidence, events, stop)
    _finish_tails(wal)
    files = sum(1 for _ in wal.iterdir())
    if not files:
        raise RecoveryError(
            "the vault has no WAL for this base backup", next="`holdfast wal status` shows what there is."
        )
    _make_ready(data, to)
    (data / "recovery.signal").touch(mode=0o600)
    with (data / "postgresql.auto.conf").open("a") as file:
        file.write("".join(f"{name} = {_quoted(value)}\n" for name, value in recovery_settings(target, wal, evidence)))
    _own_all(data, [_inside(to, folder) for folder in folders], to)
    return Prepared(
        snapshot=info.id,
        application=application,
        version=evidence.version,
        root=to,
        data=data,
        wal=wal,
        wal_files=files,
        target=target,
        evidence=evidence,
        restore_seconds=vault.env.monotonic() - began,
        bytes=amount,
    )


def _check_mounted(to: Path, folders: Sequence[bytes]) -> None:
    """Refuse a place that is no mount of the base backup, or one that was made ready before."""
    if not os.path.ismount(to) or not all((to / os.fsdecode(folder)).is_dir() for folder in folders):
        raise RecoveryError(
            "the base backup is not mounted there", next="mount it with `holdfast mount --writable SNAPSHOT PATH`."
        )
    if (to / WAL_FOLDER).exists():
        raise RecoveryError("this mount was made ready before", next="start the server on it, or mount anew.")


def _base(
    vault: OpenVault,
    snapshots: Sequence[SnapshotInfo],
    application: str,
    target: RecoveryTarget,
    selected: SnapshotInfo | None,
) -> tuple[SnapshotInfo, Sealed, Evidence]:
    """Return the newest snapshot that holds a base backup which ended before the target; the selected one if it does.

    `AmbiguousSnapshotError` if applications of that name were backed up from several sources and none is selected.
    """
    held = False
    if selected is None:
        newest = {row.source: row for row in snapshots}.values()
        sources = [row.source for row in newest if _base_backup(vault, row, application) is not None]
        if len(sources) > 1:
            raise AmbiguousSnapshotError(
                f"{len(sources)} sources hold an application of that name",
                next="name the one you mean: --snapshot latest:SOURCE, or SOURCE@TIME.",
            )
    for info in reversed(snapshots) if selected is None else (selected,):
        try:
            sealed = read_evidence(vault, info)
        except (DamageError, NotPermittedError):
            if selected is not None:
                raise
            continue
        evidence = sealed.of(application)
        if evidence is None or "stop-lsn" not in dict(evidence.proofs):
            continue
        held = True
        if ended_before(info.finished, evidence, target):
            return info, sealed, evidence
    raise SnapshotMissingError(
        "no base backup of this application ended before the target" if held else "no snapshot holds this application",
        next="choose a later target, or another snapshot: `holdfast snapshots`.",
    )


def _base_backup(vault: OpenVault, info: SnapshotInfo, application: str) -> Evidence | None:
    """Return the evidence of a base backup of an application; None if the snapshot has none, or cannot be read."""
    try:
        evidence = read_evidence(vault, info).of(application)
    except (DamageError, NotPermittedError):
        return None
    return evidence if evidence is not None and "stop-lsn" in dict(evidence.proofs) else None


def ended_before(finished: datetime, evidence: Evidence, target: RecoveryTarget) -> bool:
    """Return whether a base backup can be brought to a target: recovery cannot stop before its end. Pure.

    For a time the snapshot's own end counts, which is later than the base backup's. A named restore point tells nothing: any
    base backup may do, and PostgreSQL says so if it does not.
    """
    if target.kind == "time":
        return finished <= datetime.fromisoformat(target.value)
    if target.kind == "lsn":
        return parse_lsn(dict(evidence.proofs)["stop-lsn"]) <= parse_lsn(target.value)
    return True


def _folders(sealed: Sealed) -> tuple[bytes, ...]:
    """Return the data directory and the tablespaces of a base backup, as paths in the snapshot."""
    labels = [row.path.rpartition(b"/")[0] for row in sealed.beside if row.path.endswith(b"/backup_label")]
    if not labels:
        raise RecoveryError("the snapshot's evidence names no data directory")
    maps = [row.content for row in sealed.beside if row.path == labels[0] + b"/tablespace_map"]
    return (labels[0], *(place.strip(b"/") for content in maps for _, place in map_rows(content)))


def _inside(to: Path, name: bytes) -> Path:
    """Return a restored path. `RecoveryError` if links or `..` lead elsewhere: a stolen writer chooses what is restored."""
    path = to / os.fsdecode(name)
    if os.path.realpath(path) != os.path.join(os.path.realpath(to), os.fsdecode(name)):
        raise RecoveryError("a folder of the base backup leads out of the folder that it was restored into")
    return path


def _place_beside(to: Path, folder: bytes, sealed: Sealed) -> Path:
    """Write what belongs to the copy to where it belongs; return the data directory."""
    data = _inside(to, folder)
    for row in sealed.beside:
        if row.path.startswith(folder + b"/"):
            path = _inside(to, row.path)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_bytes(row.content)
            path.chmod(0o600)
    return data


def _fetch_wal(
    vault: OpenVault, log: SnapshotInfo, wal: Path, evidence: Evidence, events: Events, stop: Cancel | None
) -> int:
    """Restore one snapshot of a spool and move what recovery may need into the one folder; return its bytes."""
    first, system = dict(evidence.proofs).get("first-segment", ""), dict(evidence.facts).get("system", "")
    part = wal.with_name(f".{wal.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    amount = 0
    try:
        run_restore(vault, log, RestoreRequest(os.fsencode(part)), events=events, stop=stop)
        for root, _, names in os.walk(part):
            for name in names:
                path = Path(root) / name
                newer = name.endswith(PARTIAL) or not (wal / name).exists()
                if is_wal_name(name) and newer and _wanted(path, first, system):
                    amount += path.stat().st_size
                    path.rename(wal / name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return amount


def _finish_tails(wal: Path) -> None:
    """Let recovery read a timeline's last segment though it was never finished: PostgreSQL stops where its sums do."""
    names = sorted(path.name for path in wal.iterdir())
    for name in names:
        segment = name.removesuffix(PARTIAL)
        if segment == name or not is_segment(segment):
            continue
        if any(is_segment(other) and other[:8] == segment[:8] and other >= segment for other in names):
            (wal / name).unlink()
        else:
            (wal / name).rename(wal / segment)


def _wanted(path: Path, first: str, system: str) -> bool:
    """Return whether recovery may need a WAL file: no segment that ends before the base backup, none of another cluster."""
    if not is_segment(path.name):
        return True
    with path.open("rb") as file:
        head = parse_head(file.read(64))
    if head is None or (system and str(head.system) != system):
        return False
    return not (first and path.name[8:] < first[8:] and timeline_of(path.name) <= timeline_of(first))


def _make_ready(data: Path, to: Path) -> None:
    """Make the folders that the copy lacks, and keep it away from what its links pointed to."""
    for name in _EMPTY:
        folder = data / name
        if folder.is_symlink():
            folder.unlink()  # `pg_wal` may have been a link to the running cluster's own
        folder.mkdir(mode=0o700, exist_ok=True)
    for name in ("postmaster.pid", "postmaster.opts", "standby.signal"):
        (data / name).unlink(missing_ok=True)
    space_map = data / "tablespace_map"
    if space_map.exists():
        space_map.write_bytes(moved_map(space_map.read_bytes(), to))
        for oid, place in map_rows(space_map.read_bytes()):
            if not Path(os.fsdecode(place)).is_dir():
                raise RecoveryError("a tablespace of the base backup was not restored")
            (data / "pg_tblspc" / oid).unlink(missing_ok=True)


def map_rows(content: bytes) -> list[tuple[str, bytes]]:
    """Return (oid, folder) of each line of a `tablespace_map`. Line ends in folders are written with a backslash."""
    rows = []
    for line in re.split(rb"(?<!\\)\n", content):
        oid, separator, place = line.partition(b" ")
        if separator:
            rows.append((oid.decode("ascii", "replace"), re.sub(rb"\\(.)", rb"\1", place, flags=re.DOTALL)))
    return rows


def moved_map(content: bytes, to: Path) -> bytes:
    """Return a `tablespace_map` whose folders are those that were restored under `to`. Pure."""
    lines = []
    for oid, place in map_rows(content):
        moved = os.fsencode(to) + b"/" + place.lstrip(b"/")
        lines.append(oid.encode() + b" " + re.sub(rb"([\n\r\\])", rb"\\\1", moved) + b"\n")
    return b"".join(lines)


def recovery_settings(target: RecoveryTarget, wal: Path, evidence: Evidence) -> tuple[tuple[str, str], ...]:
    """Return the settings of a recovery: the target, where the WAL is, and nothing that reaches outside. Pure.

    `archive_mode` is off: a copy that archives would mix its history into the original's.
    """
    facts = dict(evidence.facts)
    found = [
        ("restore_command", f'cp {_shell_quoted(os.fspath(wal))}/%f "%p"'),
        ("recovery_target_action", "promote"),
        ("recovery_target_timeline", target.timeline),
        ("archive_mode", "off"),
        ("archive_command", ""),
        ("primary_conninfo", ""),
        ("primary_slot_name", ""),
        ("hot_standby", "on"),
        ("synchronous_standby_names", ""),
    ]
    if target.kind == "snapshot":
        found.append(("recovery_target", "immediate"))
    elif target.kind != "latest":
        # A server that reads its settings knows no names of time zones yet, `Z` included.
        value = target.value.replace("T", " ").replace("Z", "+00") if target.kind == "time" else target.value
        found.append((f"recovery_target_{target.kind}", value))
        if target.kind != "name":
            found.append(("recovery_target_inclusive", "on" if target.inclusive else "off"))
    found += [(name.removeprefix("setting."), value) for name, value in facts.items() if name.startswith("setting.")]
    return tuple(found)


def _shell_quoted(text: str) -> str:
    """Return a path as a word for the shell; `%` is PostgreSQL's own."""
    return "'" + text.replace("%", "%%").replace("'", "'\\''") + "'"


def _quoted(text: str) -> str:
    """Return a value as PostgreSQL's configuration files have it."""
    return "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"


def _own_all(data: Path, folders: Sequence[Path], to: Path) -> None:
    """Give what was added to whom the data directory belongs to, and let nobody else in."""
    found = data.stat()
    for folder in (data, to):
        folder.chmod(0o700)
    if os.geteuid() != 0:
        return
    for top in (*folders, to / WAL_FOLDER):
        os.lchown(top, found.st_uid, found.st_gid)
        for root, inner, names in os.walk(top):
            for name in (*inner, *names):
                os.lchown(os.path.join(root, name), found.st_uid, found.st_gid)
    os.chown(to, found.st_uid, found.st_gid)
