"""A read-only mount shows what a restore would bring, and never a wrong byte: content, names, attributes, damage, refusals."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import (
    FuseMissingError,
    MountBusyError,
    MountError,
    NotPermittedError,
    SnapshotMissingError,
    TargetInsideVaultError,
    TargetNotEmptyError,
    UsageError,
)
from holdfast.runs.mounts import place as places
from holdfast.runs.mounts.layout import rows_of
from servers import fuse

ODD = [b"new\nline", b"\xff\xfe bytes", b"-dash", b"sp ace", b"a" * 255, b"quote'\"", b"\xe2\x82\xac"]


def contents(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Return everything a tree holds, by path."""
    found: dict[bytes, tuple[object, ...]] = {}
    links: dict[int, bytes] = {}
    for folder, folders, names in os.walk(os.fsencode(root)):
        folders.sort()
        for name in sorted([*folders, *names]):
            path = os.path.join(folder, name)
            info = os.lstat(path)
            kind = stat.S_IFMT(info.st_mode)
            body: object = None
            if kind == stat.S_IFREG:
                with open(path, "rb") as file:
                    body = file.read()
            elif kind == stat.S_IFLNK:
                body = os.readlink(path)
            size = info.st_size if kind == stat.S_IFREG else 0
            attributes = {
                key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
            }
            first = links.setdefault(info.st_ino, path) if kind == stat.S_IFREG else path
            relative = os.path.relpath(path, os.fsencode(root))
            found[relative] = (
                kind, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, size, info.st_mtime_ns, body, attributes,
                os.path.relpath(first, os.fsencode(root)),
            )  # fmt: skip
    return found


def make_source(source: Path) -> None:
    """Make a folder with everything that a file system can hold."""
    deep = source / "deep" / "er"
    deep.mkdir(parents=True)
    for name in ODD:
        Path(os.fsdecode(os.path.join(os.fsencode(source), name))).write_bytes(name * 3)
    (source / "empty").touch()
    (source / "big").write_bytes(os.urandom(5_000_001))
    (deep / "table").write_bytes(b"".join(bytes([n % 251]) * 8192 for n in range(700)))
    with (source / "sparse").open("wb") as file:
        file.truncate(20_000_000)
        file.seek(10_000_000)
        file.write(b"middle")
    os.link(source / "big", deep / "same")
    (source / "link").symlink_to("deep/er/table")
    (source / "dangling").symlink_to("nowhere at all")
    os.mkfifo(source / "pipe")
    os.setxattr(source / "big", "user.colour", b"green\0blue")
    (source / "big").chmod(0o640)
    (source / "secret").mkdir(mode=0o700)
    os.utime(source / "empty", ns=(1, -1_200_000_000))
    os.utime(deep / "table", ns=(0, 1_234_567_890_123_456_789))


@pytest.fixture
def vault(tmp_path, monkeypatch):
    """A vault with one snapshot of `source`."""
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    make_source(tmp_path / "source")
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as made:
        made.backup(tmp_path / "source", label="ehr")
        yield made


def attempt(act: Callable[[], object]) -> object:
    """Return what an operation came to: its result, or its errno."""
    try:
        return act()
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def options(tmp_path: Path) -> list[str]:
    return ["--vault", str(tmp_path / "vault"), "--key-file", str(tmp_path / "key")]


def test_a_snapshot_looks_like_its_source(vault, tmp_path):
    with fuse.mounted(*options(tmp_path), "latest", place=tmp_path / "m") as mount:
        inside = tmp_path / "m" / str(tmp_path / "source").lstrip("/")
        assert contents(inside) == contents(tmp_path / "source")
        with (inside / "sparse").open("rb") as file:
            assert os.lseek(file.fileno(), 0, os.SEEK_DATA) > 0
            assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 0
            assert os.lseek(file.fileno(), 10_500_000, os.SEEK_HOLE) >= 10_500_000
        with (inside / "big").open("rb") as file, pytest.raises(OSError, match="address"):
            os.lseek(file.fileno(), 6_000_000, os.SEEK_DATA)
        assert os.statvfs(inside).f_files > 0
        assert (inside / "big").stat().st_nlink == 2
        for refused in (
            lambda: (inside / "x").touch(),
            lambda: (inside / "big").unlink(),
            lambda: (inside / "big").chmod(0),
        ):
            with pytest.raises(OSError, match="Read-only"):
                refused()
        with pytest.raises(OSError, match="No data"):
            os.getxattr(inside / "big", "user.none")
        assert mount.end() == 0
    assert [row["type"] for row in mount.records()][-1] == "mount"
    kinds = [(row.record.kind, row.record.phase) for row in vault.audit.records()]
    assert ("mount", "begin") in kinds
    assert ("mount", "end") in kinds


def test_all_snapshots_by_source_and_time(vault, tmp_path):
    (tmp_path / "source" / "later").write_text("added")
    vault.backup(tmp_path / "source", label="ehr")
    vault.backup(tmp_path / "source" / "deep", label="lab/x")
    rows = rows_of([each.info for each in vault.snapshots()])
    assert len({row.path for row in rows}) == len(rows)
    with fuse.mounted(*options(tmp_path), place=tmp_path / "m") as mount:
        root = tmp_path / "m"
        assert sorted(path.name for path in (root / "snapshots").iterdir()) == ["ehr", "lab_x"]
        first, second = sorted(path for path in (root / "snapshots" / "ehr").iterdir() if not path.is_symlink())
        source = str(tmp_path / "source").lstrip("/")
        assert not (first / source / "later").exists()
        assert (second / source / "later").read_text() == "added"
        assert (root / "snapshots" / "ehr" / "latest").resolve() == second
        assert (root / "latest").resolve().parent.name == "lab_x"
        assert contents(root / "latest" / source / "deep") == contents(tmp_path / "source" / "deep")
        with pytest.raises(FileNotFoundError):
            (root / "snapshots" / "nobody").stat()
        # Unmounted by somebody else: the command ends by itself.
        subprocess.run(["fusermount3", "-u", str(root)], check=True)
        assert mount.process.wait(30) == 0


def test_many_names_and_random_reads(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    (tmp_path / "source").mkdir()
    for number in range(3000):
        (tmp_path / "source" / f"file-{number:05d}").write_text(str(number))
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        vault.backup(tmp_path / "source")
    with fuse.mounted(*options(tmp_path), "latest", place=tmp_path / "m"):
        inside = tmp_path / "m" / str(tmp_path / "source").lstrip("/")
        assert len(os.listdir(inside)) == 3000
        for number in range(0, 3000, 97):
            assert (inside / f"file-{number:05d}").read_text() == str(number)
        with os.scandir(inside) as rows:
            assert sum(row.stat().st_size for row in rows) == sum(len(str(number)) for number in range(3000))


def test_damage_is_an_error_and_the_rest_is_read(vault, tmp_path):
    packs = sorted((tmp_path / "vault" / "data").glob("*/*"), key=lambda path: path.stat().st_size)
    victim = packs[-1]
    victim.chmod(0o600)
    with victim.open("r+b") as file:
        file.seek(victim.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    failed = right = 0
    with fuse.mounted(*options(tmp_path), "latest", place=tmp_path / "m") as mount:
        inside = tmp_path / "m" / str(tmp_path / "source").lstrip("/")
        for name in ("big", "sparse", "deep/er/table", "empty"):
            found = attempt((inside / name).read_bytes)
            failed += found == "EIO"
            right += found == (tmp_path / "source" / name).read_bytes()
        assert mount.end() == 4, "what applications were told is in the exit code, too"
        (alert,) = [row for row in mount.records() if row.get("code") == "damage"]
        result = mount.records()[-1]
    assert failed == 1
    assert right == 3
    snapshot = vault.snapshots()[-1].id
    assert snapshot in alert["text"]
    assert result["unread"] >= 1
    assert result["unread_snapshots"] == [snapshot]
    (ended,) = [each for each in vault.audit.records() if each.record.kind == "mount" and each.record.phase == "end"]
    assert ended.record.outcome == "failure"
    assert ended.record.facts["unread"] == result["unread"]


def refused(vault, place, error, **more):
    with pytest.raises(error) as found:
        vault.mount(place, snapshot="latest", **more)
    assert len(str(found.value).splitlines()) == 3
    return found.value


def test_what_is_refused_before_anything_is_mounted(vault, tmp_path, monkeypatch):
    fuse.ready()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "m").mkdir()
    (tmp_path / "file").touch()
    refused(vault, tmp_path / "full", TargetNotEmptyError)
    refused(vault, tmp_path / "none", UsageError)
    refused(vault, tmp_path / "file", UsageError)
    refused(vault, tmp_path / "vault" / "data", TargetInsideVaultError)
    refused(vault, "/proc", MountBusyError)
    with monkeypatch.context() as patch:
        patch.setattr(places, "DEVICE", tmp_path / "no-fuse")
        refused(vault, tmp_path / "m", FuseMissingError)
    with (
        holdfast.Vault.create(tmp_path / "empty", key_file=tmp_path / "key") as empty,
        pytest.raises(SnapshotMissingError),
    ):
        empty.mount(tmp_path / "m")
    credential = tmp_path / "writer"
    credential.write_bytes(vault.enroll_writer("host"))
    credential.chmod(0o600)
    with holdfast.Vault.open(tmp_path / "vault", credential=credential) as writer:
        (info,) = writer.snapshots()
        with pytest.raises(NotPermittedError):
            writer.mount(tmp_path / "m", snapshot=info.id)
    with pytest.raises(MountError):
        places.unmount(tmp_path / "full")


def test_a_library_mount_ends_when_told(vault, tmp_path):
    fuse.ready()
    (tmp_path / "m").mkdir()
    stop, there = threading.Event(), threading.Event()
    results = []

    def run():
        results.append(
            vault.mount(
                tmp_path / "m", snapshot="latest", stop=stop, break_glass="drill",
                events=lambda event: there.set() if getattr(event, "code", "") == "mounted" else None,
            )
        )  # fmt: skip

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert there.wait(60)
        assert os.path.ismount(tmp_path / "m")
        with pytest.raises(MountBusyError):
            vault.mount(tmp_path / "m", snapshot="latest")
        with (tmp_path / "m" / str(tmp_path / "source").lstrip("/") / "big").open("rb") as held:
            stop.set()
            thread.join(2)
            held.read(10)  # in use: it is detached, and goes when this is closed
        thread.join(60)
    finally:
        fuse.sweep(tmp_path / "m")
    (result,) = results
    assert isinstance(result, holdfast.MountResult)
    assert (result.exit_code, result.snapshots, result.writable) == (0, 1, False)
