"""`holdfast snapshots`, `ls`, `find`, `diff`: looking without restoring."""

from __future__ import annotations

import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from holdfast.base.units import format_bytes
from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.cli.records import path_text
from holdfast.errors import DamageError, UsageError

if TYPE_CHECKING:
    from holdfast.runs.results import Change, EntryInfo, FoundEntry, SnapshotInfo

__all__ = ["diff_command", "find_command", "ls_command", "snapshots_command"]

ID_SHOWN = 12
_KINDS = {"file": stat.S_IFREG, "folder": stat.S_IFDIR, "symlink": stat.S_IFLNK, "fifo": stat.S_IFIFO,
          "char-device": stat.S_IFCHR, "block-device": stat.S_IFBLK}  # fmt: skip
_MARKS = {"added": "+", "removed": "-", "changed": "M", "metadata": "m"}


@click.command("snapshots")
@click.option("--source", default="", help="Only those of a source: its label, or the beginning of its id.")
@vault_options
def snapshots_command(*, source: str, place: Place, out: Output) -> int:
    """List snapshots, oldest first. Exit code 4 if there are some that cannot be read."""
    with place.open() as vault:
        listed = vault.snapshots(source)
    found = [snapshot.info for snapshot in listed]
    if out.as_json:
        for info in found:
            out.row("snapshot", info, "", show_paths=out.show_paths)
    else:
        rows = [_snapshot_row(info) for info in found]
        out.table(("SNAPSHOT", "FINISHED", "SOURCE", "HOST", "CLASSES", "STATE"), rows)
        out.say(f"{len(found)} snapshots")
    if listed.damaged:
        raise DamageError(
            f"{len(listed.damaged)} more snapshots were committed and cannot be read: {', '.join(listed.damaged)}",
            next="`holdfast check` says what is wrong; put it back from a copy, or `holdfast forget` the whole id.",
        )
    return 0


def _snapshot_row(info: SnapshotInfo) -> tuple[str, ...]:
    from holdfast.repository.retention import suspicious

    marks = []
    if info.partial:
        marks.append(f"partial ({info.findings} findings)")
    if suspicious(info):
        marks.append(f"suspicious ({info.anomaly})")
    if info.held:
        marks.append("held")
    marks += [f"no {part.class_name} any more" for part in info.dropped]
    marks += [f"#{tag}" for tag in info.tags]
    classes = ",".join(part.class_name for part in info.classes)
    return (
        info.id[:ID_SHOWN],
        _moment(info.finished),
        info.label or info.source[:ID_SHOWN],
        info.host or "-",
        classes or "-",
        " ".join(marks),
    )


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _modified(entry: EntryInfo) -> str:
    try:
        return _moment(datetime.fromtimestamp(entry.mtime_ns // 1_000_000_000, UTC))
    except (ValueError, OverflowError, OSError):
        return f"@{entry.mtime_ns // 1_000_000_000}"


def _printable(path: bytes) -> str:
    """Return a path on one line: a name may hold line breaks and escapes that a terminal would obey."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in path_text(path))


def _entry_text(entry: EntryInfo, *, long: bool) -> str:
    name = _printable(entry.path) + ("/" if entry.kind == "folder" else "")
    if not long:
        return name
    mode = stat.filemode(_KINDS.get(entry.kind, 0) | entry.mode)
    owner = f"{entry.user or entry.uid}:{entry.group or entry.gid}"
    target = f" -> {_printable(entry.target)}" if entry.target else ""
    return f"{mode} {owner:<17} {entry.size:>13} {_modified(entry)} {name}{target}"


@click.command("ls")
@click.argument("snapshot", default="latest")
@click.argument("path", default=b"", type=click.Path(path_type=bytes))
@click.option("-l", "--long", is_flag=True, help="Mode, owner, size and time, too.")
@click.option("-r", "--recursive", is_flag=True, help="Everything under the path.")
@vault_options
def ls_command(*, snapshot: str, path: bytes, long: bool, recursive: bool, place: Place, out: Output) -> int:
    """List a folder of a snapshot.

    SNAPSHOT is an id, the beginning of one, `latest`, `latest:SOURCE` or `SOURCE@TIME`.
    """
    with place.open() as vault:
        found = vault.snapshot(snapshot)
        for entry in found.walk(path) if recursive else found.ls(path):
            out.row("entry", entry, _entry_text(entry, long=long))
    return 0


@click.command("find")
@click.argument("pattern", type=click.Path(path_type=bytes))
@click.option("--snapshot", default="", help="Only in one snapshot.")
@click.option("--source", default="", help="Only in the snapshots of a source.")
@click.option("--versions", is_flag=True, help="PATTERN is one path: list its distinct versions, newest first.")
@click.option("--before", metavar="TIME", help="With --versions: only those stored before a time (2026-11-23T03:00Z).")
@click.option("--limit", default=10_000, show_default=True, type=click.IntRange(1), help="Stop after so many.")
@click.option("-l", "--long", is_flag=True, help="Mode, owner, size and time, too.")
@vault_options
def find_command(
    *,
    pattern: bytes,
    snapshot: str,
    source: str,
    versions: bool,
    before: str | None,
    limit: int,
    long: bool,
    place: Place,
    out: Output,
) -> int:
    """Find files by name over all snapshots, or the versions of one.

    A pattern without `/` is matched with names, one with `/` with whole paths.
    """
    if before and not versions:
        raise UsageError("--before goes with --versions")
    moment = _parse_moment(before) if before else None
    count = 0
    with place.open() as vault:
        if snapshot:
            for entry in vault.snapshot(snapshot).find(_text_pattern(pattern)):
                out.row("entry", entry, _entry_text(entry, long=long))
                count += 1
                if count >= limit:
                    break
        else:
            rows = (
                vault.versions(pattern, source=source, before=moment)
                if versions
                else vault.find(_text_pattern(pattern), source=source, limit=limit)
            )
            for count, found in enumerate(rows, 1):
                out.row("found", found, _found_text(found, long=long))
                if count >= limit:
                    break
    if count >= limit:
        out.say(f"stopped after {limit}; --limit takes more")
    return 0


def _text_pattern(pattern: bytes) -> str:
    return pattern.decode(errors="surrogateescape")


def _found_text(found: FoundEntry, *, long: bool) -> str:
    return f"{found.snapshot[:ID_SHOWN]} {_moment(found.finished)} {_entry_text(found.entry, long=long)}"


def _parse_moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError("the time cannot be read", next="write it as 2026-11-23T03:00Z.") from None
    return moment if moment.tzinfo else moment.astimezone()


@click.command("diff")
@click.argument("before")
@click.argument("after", default="latest")
@vault_options
def diff_command(*, before: str, after: str, place: Place, out: Output) -> int:
    """Show what changed between two snapshots.

    `+` added, `-` removed, `M` content changed, `m` only mode, owner, times or attributes changed.
    """
    counts = dict.fromkeys(_MARKS, 0)
    with place.open() as vault:
        first, second = vault.snapshot(before), vault.snapshot(after)
        for change in first.diff(second):
            counts[change.kind] = counts.get(change.kind, 0) + 1
            out.row("change", change, _change_text(change))
    out.say(", ".join(f"{count} {kind}" for kind, count in counts.items()))
    return 0


def _change_text(change: Change) -> str:
    sizes = ""
    if change.before is not None and change.after is not None and change.before.size != change.after.size:
        sizes = f"  ({format_bytes(change.before.size)} → {format_bytes(change.after.size)})"
    return f"{_MARKS.get(change.kind, '?')} {_printable(change.path)}{sizes}"
