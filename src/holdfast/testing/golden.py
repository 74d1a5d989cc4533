"""Golden vaults: one small vault per format version, kept for ever, so that every release restores what an older one wrote.

`build` makes the vault of today's format: seed, clock and Holdfast's own randomness are fixed; the key pairs and
encapsulations come from the cryptography library, which takes its randomness from the system, so a second build has the same
files and other bytes. What is committed is therefore the vault itself, with a `manifest.json` of what it holds: the hash of
each object, and of each snapshot every path with its kind, mode, time, size and content hash.

    python -m holdfast.testing.golden FOLDER

builds into a new folder (for a new format version only: the committed ones never change). `holdfast.testing.golden_damage` has
the ways to damage a copy, and what must come of each.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.environment import Environment, ManualClock
from holdfast.repository.objects import FORMAT_VERSION
from holdfast.runs.options import BackupOptions, ClassRule
from holdfast.runs.results import RetentionPolicy

if TYPE_CHECKING:
    import holdfast

__all__ = ["KEY", "MANIFEST", "PASSPHRASE", "VAULT", "Golden", "Manifest", "build", "entries_of", "objects_of"]

VAULT, KEY, MANIFEST = "vault", "vault.key", "manifest.json"
PASSPHRASE = "a passphrase of the golden vault"  # noqa: S105 - it protects made-up data
SEED = 20261123
_STARTED = datetime(2026, 11, 23, 3, tzinfo=UTC)
_MTIME_NS = 1_790_000_000_123_456_789
_DAY_NS = 86_400_000_000_000
_STEP_NS = 1_000_000_000
_PAGE = 4096
_PAGES = 280
"""A little more than a mebibyte, from where on a file of pages gets a page map; and more than one group of it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a golden vault holds."""

    format: int
    root: str
    """Where the source was, without a leading slash: a restore brings it back below its target."""
    latest: str
    """The newest snapshot of the first writer."""
    snapshots: dict[str, dict[str, list[object]]]
    """Per snapshot: path (hex) to what :func:`entries_of` tells of it."""
    objects: dict[str, str]
    """Name to SHA-256."""


@dataclass(frozen=True, slots=True)
class Golden:
    """A golden vault in a folder."""

    folder: Path

    @property
    def vault(self) -> Path:
        """The vault's store."""
        return self.folder / VAULT

    @property
    def key(self) -> Path:
        """Its key file: it protects nothing but made-up data."""
        return self.folder / KEY

    def manifest(self) -> Manifest:
        """Return what the vault holds."""
        found = json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))
        return Manifest(found["format"], found["root"], found["latest"], found["snapshots"], found["objects"])

    def copy(self, to: Path) -> Golden:
        """Copy vault and key into a new folder, with the modes that they need."""
        shutil.copytree(self.folder, to)
        (to / KEY).chmod(0o600)
        for path in to.rglob("*"):
            if path.is_dir():
                path.chmod(0o700)
        return Golden(to)


def entries_of(root: bytes) -> dict[str, list[object]]:
    """Return what a folder holds: path (hex) to kind, mode, time, size and a SHA-256 of content or target.

    Owners are left out: who restores decides them. Hard links share the last field, the smallest of their paths.
    """
    found: dict[str, list[object]] = {}
    first: dict[tuple[int, int], str] = {}
    for path in sorted(_walk(root)):
        info = os.lstat(os.path.join(root, path))
        key = path.hex()
        digest, link = "", ""
        if stat.S_ISREG(info.st_mode):
            with open(os.path.join(root, path), "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if info.st_nlink > 1:
                link = first.setdefault((info.st_dev, info.st_ino), key)
        elif stat.S_ISLNK(info.st_mode):
            digest = hashlib.sha256(os.readlink(os.path.join(root, path))).hexdigest()
        mode = 0 if stat.S_ISLNK(info.st_mode) else stat.S_IMODE(info.st_mode)
        size = info.st_size if stat.S_ISREG(info.st_mode) else 0
        found[key] = [stat.S_IFMT(info.st_mode), mode, info.st_mtime_ns, size, digest, link]
    return found


def _walk(root: bytes) -> Iterator[bytes]:
    for parent, folders, names in os.walk(root):
        for name in (*folders, *names):
            yield os.path.relpath(os.path.join(parent, name), root)


def objects_of(vault: Path) -> dict[str, str]:
    """Return the SHA-256 of every object."""
    names = sorted(path for path in vault.rglob("*") if path.is_file())
    return {path.relative_to(vault).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


def _environment(clock: ManualClock, dice: random.Random) -> Environment:
    return Environment(now=clock.now, monotonic=clock.monotonic, sleep=clock.sleep, random_bytes=dice.randbytes)


def build(folder: Path) -> Golden:
    """Build the golden vault of today's format in a new folder, whose path the vault keeps.

    Several classes, a page map, holes, hard links, odd names, five snapshots of two writers of which two are forgotten, a hold, a
    closed prune round with repacked packs, checkpoints, two key slots; no damage.
    """
    import holdfast

    folder.mkdir(parents=True)
    source, golden = folder / "source", Golden(folder)
    clock, dice = ManualClock(_STARTED), random.Random(SEED)
    env = _environment(clock, dice)
    _plant(source, dice)
    options = BackupOptions(
        class_rules=(
            ClassRule("*.dcm", "imaging"),
            ClassRule("*.pages", "database"),
            ClassRule("*.log", "system"),
            ClassRule("restricted/", "phi-restricted"),
        ),
        audit_files=0,
        pack_bytes=48 << 10,
        checkpoint_bytes=48 << 10,
        workers=1,
        upload_threads=1,
    )
    states: dict[str, dict[str, list[object]]] = {}

    def backup(vault: holdfast.Vault, label: str) -> str:
        result = vault.backup([source], label=label, options=options)
        assert result.exit_code == 0, result.findings
        assert result.snapshot is not None
        states[result.snapshot.id] = entries_of(os.fsencode(source))
        clock.advance(timedelta(hours=24))
        return result.snapshot.id

    with holdfast.Vault.create(
        golden.vault, key_file=golden.key, passphrase=PASSPHRASE, label="golden", env=env
    ) as vault:
        credential = folder / "writer.credential"
        credential.write_bytes(vault.enroll_writer("ward-7"))
        credential.chmod(0o600)
        first = last = backup(vault, "golden")
        for step in range(3):
            _change(source, dice, step)
            last = backup(vault, "golden")
        for row in vault.suspicions():
            vault.release_suspicious(row.snapshot, reason="the golden vault is small: any change is a large one")
        vault.hold(last, reason="a legal hold of the golden vault")
        vault.forget(RetentionPolicy(last=2))
        vault.prune(undo_days=0.0)
        vault.prune(undo_days=0.0)
        assert first not in {snapshot.id for snapshot in vault.snapshots()}
    with holdfast.Vault.open(golden.vault, credential=credential, env=env) as vault:
        backup(vault, "ward-7")
    with holdfast.Vault.open(golden.vault, key_file=golden.key, env=env) as vault:
        assert vault.check().sound
        assert vault.verify().sound
        kept = {snapshot.id: states[snapshot.id] for snapshot in vault.snapshots()}
    credential.unlink()
    for name in sorted(golden.vault.glob("probe/*")):
        name.unlink()
    root = os.path.relpath(source, "/")
    manifest = {
        "format": FORMAT_VERSION,
        "root": root,
        "latest": last,
        "snapshots": kept,
        "objects": objects_of(golden.vault),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    shutil.rmtree(source)
    return golden


def _plant(source: Path, dice: random.Random) -> None:
    """Make the source: every kind of content and entry that fits a small vault."""
    for name in ("phi", "imaging", "system", "restricted", "names", "empty"):
        (source / name).mkdir(parents=True)
    for number in range(40):
        (source / f"phi/patient-{number:02d}.hl7").write_bytes(_message(dice, number))
    (source / "phi/inline").write_bytes(b"short enough to sit in its entry")
    (source / "phi/nothing").write_bytes(b"")
    for number in range(3):
        (source / f"imaging/scan-{number}.dcm").write_bytes(bytes(128) + b"DICM" + dice.randbytes(4_000))
    (source / "restricted/note.txt").write_bytes(b"psychotherapy note, synthetic\n" * 40)
    (source / "system/boot.log").write_bytes(b"started\n" * 2_000)
    (source / "database.pages").write_bytes(b"".join(_page(dice, number) for number in range(_PAGES)))
    with (source / "holes").open("wb") as file:
        file.truncate(6 << 20)
        file.seek(3 << 20)
        file.write(dice.randbytes(2_000))
    for odd in (b"\xff\xfe not UTF-8", b"new\nline", b"-rf", b"x" * 255, "患者".encode()):
        with open(os.path.join(os.fsencode(source), b"names", odd), "wb") as named:
            named.write(b"named " + odd)
    os.link(source / "phi/patient-00.hl7", source / "phi/patient-00.link")
    os.symlink("../phi/patient-01.hl7", source / "names/symlink")
    os.mkfifo(source / "names/fifo", 0o600)
    (source / "phi/patient-02.hl7").chmod(0o4711)
    _settle(source, 0)


def _change(source: Path, dice: random.Random, step: int) -> None:
    """Let a day pass: messages come, go and are amended, a few pages change, a log grows."""
    (source / f"phi/arrived-{step}.hl7").write_bytes(_message(dice, 100 + step) * 20)
    (source / f"phi/patient-{10 + step:02d}.hl7").unlink()
    (source / f"phi/patient-{20 + step:02d}.hl7").write_bytes(_message(dice, 200 + step))
    (source / f"imaging/scan-{step % 3}.dcm").write_bytes(bytes(128) + b"DICM" + dice.randbytes(3_000))
    with (source / "database.pages").open("r+b") as file:
        for _ in range(3):
            number = dice.randrange(_PAGES)
            file.seek(number * _PAGE)
            file.write(_page(dice, number))
    with (source / "system/boot.log").open("ab") as log:
        log.write(b"day %d\n" % step)
    _settle(source, step + 1)


def _message(dice: random.Random, number: int) -> bytes:
    return b"MSH|^~\\&|LAB|WARD|||%08d||ORU^R01|%d|P|2.5\rPID|1||%08d^^^HOLDFAST||DOE^JANE\rOBX|1|NM|GLU||%d.%d\r" % (
        20261123,
        number,
        number,
        dice.randrange(3, 9),
        dice.randrange(10),
    )


def _page(dice: random.Random, number: int) -> bytes:
    """Return a page; the first one looks like SQLite's, which says how large pages are."""
    head = b"SQLite format 3\0" + _PAGE.to_bytes(2, "big") if number == 0 else b""
    return (head + b"page %06d " % number + dice.randbytes(8)).ljust(_PAGE, b".")


def _settle(source: Path, day: int) -> None:
    """Set every time that is not of the golden vault's days yet: of what changed today."""
    for parent, folders, names in os.walk(os.fsencode(source), topdown=False):
        for name in (*names, *folders):
            path = os.path.join(parent, name)
            if os.lstat(path).st_mtime_ns % _STEP_NS != _MTIME_NS % _STEP_NS:
                moment = _MTIME_NS + day * _DAY_NS
                os.utime(path, ns=(moment, moment), follow_symlinks=False)
    os.utime(source, ns=(_MTIME_NS, _MTIME_NS))


if __name__ == "__main__":  # pragma: no cover - for a new version of the format
    build(Path(sys.argv[1]))
