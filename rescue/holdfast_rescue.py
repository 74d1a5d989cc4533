#!/usr/bin/env python3
"""Restores any Holdfast vault (format version 1), without Holdfast: see README.md beside this file.

    python holdfast_rescue.py VAULT_DIR --key-file FILE list
    python holdfast_rescue.py VAULT_DIR --key-file FILE ls latest srv/ehr
    python holdfast_rescue.py VAULT_DIR --key-file FILE restore latest --to OUT [PATH ...]
    python holdfast_rescue.py VAULT_DIR --key-file FILE verify

Exit codes: 0 all well; 1 failed; 2 wrong usage; 3 not everything could be restored; 4 damage was found; 5 no such vault or
snapshot; 6 wrong key; 130 interrupted.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import hashlib
import heapq
import io
import os
import sys
import time
from collections.abc import Iterator

import rescue_format as f
import rescue_tree as t
from rescue_files import Restorer, blocks
from rescue_keys import read_secret
from rescue_shares import combine
from rescue_values import Part, Snapshot, check_chunk
from rescue_vault import Vault


class Stop(Exception):
    """Ends the program with an exit code and a sentence."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Voice:
    """Says what happens on standard error, each thing once, and remembers the exit code it leads to."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self.damage = self.partial = 0
        self.shown = time.monotonic()

    def note(self, text: str) -> None:
        """A damaged object of the vault."""
        if text not in self.said:
            self.said.add(text)
            self.damage += 1
            print(f"DAMAGE: {text}", file=sys.stderr)

    def entry(self, level: str, path: bytes, text: str) -> None:
        """Something about one path: "damaged", "failed", "incomplete" or "missing"."""
        self.damage += level == "damaged"
        self.partial += level != "damaged"
        print(f"{level.upper()}: {show(path)}: {text}", file=sys.stderr)

    def progress(self, text: str) -> None:
        """Where we are, every few seconds, on a terminal."""
        if sys.stderr.isatty() and time.monotonic() - self.shown > 2:
            self.shown = time.monotonic()
            print(f"… {text}", file=sys.stderr)

    @property
    def exit_code(self) -> int:
        """4 before 3 before 0."""
        return 4 if self.damage else 3 if self.partial else 0


def show(path: bytes) -> str:
    """A path for a person: control characters are escaped, other bytes are as they are."""
    text = os.fsdecode(path)
    return "".join(c if c.isprintable() or "\udc80" <= c <= "\udcff" else f"\\x{ord(c):02x}" for c in text) or "."


def when(mtime_ns: int) -> str:
    """A time for a person."""
    try:
        return datetime.datetime.fromtimestamp(mtime_ns // 10**9, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"@{mtime_ns // 10**9}"


# ---- snapshots ------------------------------------------------------------------------------------------------------


def choose(vault: Vault, text: str, voice: Voice, *, anything: bool) -> Snapshot:
    """The snapshot that an id, a unique prefix or `latest` names."""
    known = [s for s in vault.snapshots() if anything or s.status == "committed"]
    if text == "latest":
        found = sorted(known, key=lambda s: str(s.envelope.get("finished", "")))[-1:]
    else:
        found = [s for s in known if s.id.startswith(text)]
    if not found:
        raise Stop(5, f"no snapshot is named {text}; see `list` (and `--all`)")
    if len(found) > 1:
        raise Stop(2, f"{len(found)} snapshots begin with {text}; give more of the id")
    for problem in found[0].problems:
        voice.note(problem)
    return found[0]


def merged(
    vault: Vault, snapshot: Snapshot, under: bytes, voice: Voice, *, only: bool = False
) -> Iterator[tuple[Part, t.Entry]]:
    """All entries at or under a path, over all class trees of a snapshot, in order; with `only`, that path alone."""

    def one(rank: int, part: Part) -> Iterator[tuple[bytes, int, Part, t.Entry | t.Lost]]:
        walk = t.Walk(vault.fetch, under)
        for item in walk.run(t.Location.parse(part.body.get("root", ""))):
            key = t.order(item.path if isinstance(item, t.Entry) else item.first)
            if only and isinstance(item, t.Entry) and item.path != under:
                return
            yield key, rank, part, item

    last: bytes | None = None
    streams = [one(rank, part) for rank, part in enumerate(snapshot.parts)]
    for key, _, part, item in heapq.merge(*streams, key=lambda row: row[:2]):
        if isinstance(item, t.Lost):
            end = f"up to {show(item.end)}" if item.end is not None else "to the end"
            voice.entry("damaged", item.first, f"files from here {end} are lost from the listing ({item.reason})")
        elif key != last:
            last = key
            yield part, item


# ---- commands -------------------------------------------------------------------------------------------------------


def command_list(vault: Vault, options: argparse.Namespace, voice: Voice) -> None:
    """One line per snapshot, oldest first."""
    rows = [s for s in vault.snapshots() if options.all or s.status == "committed"]
    for snapshot in sorted(rows, key=lambda s: str(s.envelope.get("finished", ""))):
        envelope = snapshot.envelope
        words = [snapshot.id, str(envelope.get("finished", "unknown time"))[:19]]
        words += [snapshot.status] if snapshot.status != "committed" else []
        words += ["partial"] if envelope.get("partial") else []
        entries, size = (sum(count(part, key) for part in snapshot.parts) for key in ("entries", "bytes"))
        words.append(f"{entries} entries, {size} bytes,")
        words.append("classes " + (" ".join(part.class_name for part in snapshot.parts) or "unreadable"))
        for part in snapshot.parts[:1]:
            words += [f"host {part.body.get('host', '')}", str(part.body.get("label", ""))]
        print(" ".join(word for word in words if word))
        for problem in snapshot.problems:
            voice.note(problem)


def command_ls(vault: Vault, options: argparse.Namespace, voice: Voice) -> None:
    """Everything at or under a path, one line each."""
    snapshot = choose(vault, options.snapshot, voice, anything=options.all)
    vault.load_index(from_packs=options.no_index)
    for _, entry in merged(vault, snapshot, clean(options.path), voice):
        owner = f"{os.fsdecode(entry.user) or entry.uid}:{os.fsdecode(entry.group) or entry.gid}"
        arrow = f" -> {show(entry.target)}" if entry.kind == t.SYMLINK else ""
        letter = t.KIND_LETTERS[entry.kind]
        print(f"{letter}{entry.mode:04o} {owner} {entry.size:>12} {when(entry.mtime_ns)} {show(entry.path)}{arrow}")


def command_restore(vault: Vault, options: argparse.Namespace, voice: Voice) -> None:
    """Restore all or some paths into a new or empty folder."""
    target = os.path.realpath(options.to)
    inside = os.path.realpath(vault.root)
    if os.path.commonpath([target, inside]) == inside:
        raise Stop(2, "the target lies inside the vault")
    snapshot = choose(vault, options.snapshot, voice, anything=options.all)
    os.makedirs(target, exist_ok=True)
    if os.listdir(target):
        raise Stop(2, "the target folder is not empty: nothing is ever overwritten, give a new one")
    vault.load_index(from_packs=options.no_index)
    restorer = Restorer(vault, target, voice.entry)
    paths = sorted({clean(path) for path in options.paths} or {b""}, key=t.order)
    done: bytes | None = None
    above: set[bytes] = set()
    for path in paths:
        if done is not None and (not done or path.startswith(done + b"/")):
            continue
        done, found = path, False
        for part, entry in _above(vault, snapshot, path, above, voice):
            restorer.restore(entry, part.class_id)
        for part, entry in merged(vault, snapshot, path, voice):
            found = True
            restorer.restore(entry, part.class_id)
            voice.progress(f"{restorer.files} files, {restorer.bytes} bytes")
        if not found and path:
            voice.entry("missing", path, "is not in this snapshot")
    for path, content in beside(snapshot, voice):
        if any(not wanted or path.startswith(wanted + b"/") for wanted in paths):
            restorer.put(path, content)
    restorer.finish()
    print(f"restored {restorer.files} files, {restorer.bytes} bytes, to {options.to}")


def beside(snapshot: Snapshot, voice: Voice) -> Iterator[tuple[bytes, bytes]]:
    """Small files that belong to an application's copy and are in no tree: its evidence holds them."""
    for part in snapshot.parts:
        try:
            rows = part.body.get("evidence", {}).get("beside", [])
            found = [(clean(base64.b64decode(row["path"])), base64.b64decode(row["content"])) for row in rows]
        except (AttributeError, KeyError, TypeError, ValueError):
            voice.note(
                f"snapshot {snapshot.id[:8]}: its evidence is malformed; files that belong beside others are lost"
            )
            continue
        yield from found


def count(part: Part, key: str) -> int:
    """A number that a part tells of itself; 0 if it is none."""
    value = part.body.get(key)
    return value if isinstance(value, int) else 0


def _above(
    vault: Vault, snapshot: Snapshot, path: bytes, seen: set[bytes], voice: Voice
) -> Iterator[tuple[Part, t.Entry]]:
    """The folders above a path, so that they get their attributes too."""
    names = path.split(b"/")
    for count in range(1, len(names)):
        folder = b"/".join(names[:count])
        if folder not in seen:
            seen.add(folder)
            for row in merged(vault, snapshot, folder, voice, only=True):
                if row[1].kind == t.FOLDER:
                    yield row
                break


def clean(path: str | bytes) -> bytes:
    """A path as trees name it."""
    parts = os.fsencode(path).split(b"/")
    return b"/".join(part for part in parts if part not in (b"", b"."))


# ---- verify ---------------------------------------------------------------------------------------------------------


def command_verify(vault: Vault, _: argparse.Namespace, voice: Voice) -> None:
    """Every object, every pack byte by byte, every chunk's id; then every snapshot's tree and what it refers to."""
    vault.load_index(from_packs=False)
    verify_objects(vault, voice)
    for problem in vault.parity.problems:
        voice.note(problem)
    for name in vault.parity.names():
        voice.progress(name)
        if not vault.parity.whole(name):
            voice.note(f"{name}: its bytes have another hash than its name")
    bad = verify_packs(vault, voice)
    count = 0
    seen: set[t.Location] = set()
    for snapshot in vault.snapshots():
        for problem in snapshot.problems:
            voice.note(problem)
        if snapshot.status == "committed":
            count += 1
            for part in snapshot.parts:
                verify_tree(vault, snapshot, part, bad, seen, voice)
    print(f"verified {len(vault.pack_runs)} packs and {count} snapshots: {voice.damage or 'no'} problems")


CONTROL_FOLDERS = ("session", "checkpoint", "ack", "decision", "hold", "admission", "forgotten", "condemn", "plan", "closed",
                   "committed", "damaged", "countersign", "audit", "access", "approval", "wrap", "joined", "shred", "rehearsal",
                   "floor")  # fmt: skip
SEALED_FOLDERS = {"keyring": 5, "refs": 2, "state": 3, "grant": 6}


def verify_objects(vault: Vault, voice: Voice) -> None:
    """Frames, hashes and signatures of the objects that opening and restoring did not look at."""
    for folder in ("key", *CONTROL_FOLDERS, *SEALED_FOLDERS):
        for parent, _, names in os.walk(os.path.join(vault.root, folder)):
            for name in sorted(names):
                path = os.path.relpath(os.path.join(parent, name), vault.root)
                try:
                    verify_object(vault, folder, path)
                except (f.Damage, f.WrongKey) as failure:
                    voice.note(str(failure))


def verify_object(vault: Vault, folder: str, path: str) -> None:
    """One such object, or `Damage`."""
    if folder in CONTROL_FOLDERS:
        vault.control(path)
        return
    data = vault.get(path)
    if folder == "key":
        f.parse_control(data, "key", vault.vault_id.hex(), path)
        return
    sealed = f.parse_sealed(data, SEALED_FOLDERS[folder], vault.vault_id, path)
    if folder == "keyring":
        sealed.open_with(vault.root_key)
    elif folder == "refs":
        if hashlib.sha256(data).hexdigest() != path.rsplit("/", 1)[1]:
            raise f.Damage(f"{path}: its bytes have another hash than its name")
        sealed.open_with(vault.keys(sealed.class_id, sealed.generation, path).index_key)


def verify_packs(vault: Vault, voice: Voice) -> set[tuple[bytes, int]]:
    """Hash every pack, open every segment, recompute every id. Returns the segments that no pack holds sound."""
    sound: set[tuple[bytes, int]] = set()
    bad: set[tuple[bytes, int]] = set()
    for name in sorted({*vault.pack_names(), *vault.pack_runs}):
        voice.progress(name)
        try:
            if not vault.parity.whole(name):
                voice.note(f"{name}: is missing, or its bytes have another hash than its name")
                vault.heal(name)
            pack = vault.pack(name)
        except (f.Damage, f.WrongKey) as failure:
            voice.note(str(failure))
            continue
        keys = vault.keys(pack.header.class_id, pack.header.generation, name)
        for key, segment in () if keys.erased else pack.segments.items():
            try:
                plain = vault.open_in_pack(pack, segment)
                for number in range(len(segment.roles)):
                    check_chunk(keys, segment, plain, number)
                sound.add(key)
            except f.Damage as failure:
                voice.note(str(failure))
                bad.add(key)
    return bad - sound


def verify_tree(
    vault: Vault, snapshot: Snapshot, part: Part, bad: set[tuple[bytes, int]], seen: set[t.Location], voice: Voice
) -> None:
    """Every node of a tree, and that each file's content is there. Nodes shared with trees seen before are not entered again."""

    def skip(place: t.Location) -> bool:
        known = place in seen
        seen.add(place)
        return known

    where = f"snapshot {snapshot.id[:8]}, class {part.class_name}"
    walk = t.Walk(vault.fetch, b"", skip)
    for item in walk.run(t.Location.parse(part.body.get("root", ""))):
        if isinstance(item, t.Lost):
            voice.entry("damaged", item.first, f"{where}: files from here on are lost from the listing ({item.reason})")
        elif item.content is not None:
            failure = lost_content(vault, item, bad)
            if failure:
                voice.entry("damaged", item.path, f"{where}: {failure}")
        voice.progress(f"{where}: {walk.entries} entries")


def lost_content(vault: Vault, entry: t.Entry, bad: set[tuple[bytes, int]]) -> str:
    """What is wrong with a file's content, or nothing. Chunks of pieces were checked with their packs; page maps are read in full."""
    if entry.content is None or entry.content.tag == 0:
        return ""
    if entry.content.tag in (3, 4):
        return next((str(data) for _, data in blocks(vault, entry) if isinstance(data, Exception)), "")
    try:
        size = 0
        for length, place in t.pieces_of(vault.fetch, entry.content):
            size += length
            if place is not None and vault.chunk_length(place) != length:
                raise f.Damage("a piece has another length than its chunk")
            if place is not None and (place.origin, place.segment) in bad:
                raise f.Damage(f"segment {place.origin.hex()}:{place.segment} is damaged")
        if size != entry.size:
            raise f.Damage("its pieces do not add up to its size")
    except (f.Damage, f.WrongKey) as failure:
        return str(failure)
    return ""


# ---- the program ----------------------------------------------------------------------------------------------------


def options_of(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "vault", help="the folder that holds the vault (it has a file named `vault` and folders `key`, `data`, …)"
    )
    secret = parser.add_mutually_exclusive_group(required=True)
    secret.add_argument("--key-file", help="key file or recovery kit")
    secret.add_argument("--share", action="append", help="a sheet of shares; give as many as it says are needed")
    secret.add_argument("--passphrase-file", help="file that holds the passphrase")
    parser.add_argument("--no-index", action="store_true", help="do not trust the index: look at every pack instead")
    parser.add_argument(
        "--all",
        action="store_true",
        help="also snapshots never committed, or forgotten, or of an unknown signer",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the snapshots")
    ls = commands.add_parser("ls", help="what is in a snapshot")
    ls.add_argument("snapshot", help="id, unique beginning of an id, or `latest`")
    ls.add_argument("path", nargs="?", default="")
    restore = commands.add_parser("restore", help="write files into a new folder")
    restore.add_argument("snapshot", help="id, unique beginning of an id, or `latest`")
    restore.add_argument("--to", required=True, help="a new or empty folder")
    restore.add_argument("paths", nargs="*", help="files or folders; default: everything")
    commands.add_parser("verify", help="read and check everything")
    return parser.parse_args(to_first(arguments))


def to_first(arguments: list[str]) -> list[str]:
    """`--to DIR` put right behind `restore`: older argparse gives up on paths that follow an option."""
    if "restore" not in arguments:
        return arguments
    head, rest = arguments[: arguments.index("restore") + 1], arguments[arguments.index("restore") + 1 :]
    for at, word in enumerate(rest):
        count = 2 if word == "--to" else 1 if word.startswith("--to=") else 0
        if count:
            return head + rest[at : at + count] + rest[:at] + rest[at + count :]
    return arguments


COMMANDS = {"list": command_list, "ls": command_ls, "restore": command_restore, "verify": command_verify}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = options_of(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")
    voice = Voice()
    try:
        vault = open_vault(options, voice)
        vault.unsigned = options.all
        COMMANDS[options.command](vault, options, voice)
    except Stop as stop:
        return finish(stop.code, str(stop))
    except f.WrongKey as failure:
        return finish(6, str(failure))
    except f.UnknownVersion as failure:
        return finish(1, str(failure))
    except f.Damage as failure:
        return finish(4, str(failure))
    except OSError as failure:
        return finish(1, str(failure))
    except KeyboardInterrupt:
        return finish(130, "interrupted; the target folder is incomplete")
    if voice.exit_code == 4:
        print(
            "Damage was found; every line above names one. Files restored as NAME.damaged are not whole.",
            file=sys.stderr,
        )
    return voice.exit_code


def open_vault(options: argparse.Namespace, voice: Voice) -> Vault:
    """The vault that the command line names, opened with the secret that it names."""
    if not os.path.isdir(os.path.join(options.vault, "key")):
        raise Stop(5, "there is no vault here: a vault's folder has a folder named `key`")
    if options.share:
        return Vault(options.vault, read_shares(options.share), method="shares", note=voice.note)
    passphrase = options.passphrase_file is not None
    secret = read_secret(options.passphrase_file or options.key_file, passphrase=passphrase)
    return Vault(options.vault, secret, method="passphrase" if passphrase else "keyfile", note=voice.note)


def read_shares(paths: list[str]) -> bytes:
    """The secret that sheets make."""
    sheets = []
    for path in paths:
        with open(path, encoding="ascii", errors="replace") as stream:
            sheets.append(stream.read(2**16))
    return combine(sheets)


def finish(code: int, text: str) -> int:
    """Say why we stop."""
    print(text, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
