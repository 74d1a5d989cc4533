"""A writable mount behaves as a local folder (the oracle), fills, survives kills, and becomes that folder."""

from __future__ import annotations

import errno
import os
import random
import shutil
import time
from pathlib import Path

import pytest
from tests.integration.mounts.test_read_only import attempt, contents, make_source, options
from tests.rounds import stored

import holdfast
from holdfast.cli.main import main
from holdfast.errors import (
    MountBusyError,
    MountError,
    MountMissingError,
    MountNotWholeError,
    TargetNotEmptyError,
    UsageError,
)
from holdfast.runs.mounts.layout import upper_of
from holdfast.runs.mounts.upper import held, make_upper, recorded
from servers import fuse

NAMES = ["a", "b", "c", "d/e", "d/f", "d/g/h", "big", "table", "small"]
SLOW = ["--limit-read", "1"]
"""So slow that nothing is filled but what is touched."""


@pytest.fixture
def vault(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    make_source(tmp_path / "source")
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as made:
        made.backup(tmp_path / "source", label="ehr")
        yield made


@pytest.fixture
def simple(tmp_path, monkeypatch):
    """A vault with a snapshot of `source`, whose files are of every size that is treated apart."""
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    source = tmp_path / "source"
    (source / "d" / "g").mkdir(parents=True)
    draw = random.Random(7)
    for name, size in (("a", 10), ("b", 70_000), ("d/e", 0), ("d/g/h", 300), ("big", 3_000_017), ("table", 8192 * 300)):
        (source / name).write_bytes(draw.randbytes(size))
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as made:
        made.backup(source)
    shutil.copytree(source, tmp_path / "plain", symlinks=True)
    return source


def inside(tmp_path: Path, place: str = "m") -> Path:
    return tmp_path / place / str(tmp_path / "source").lstrip("/")


def plain_contents(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Return what a tree holds without times: two programs never write at the same moment."""
    return {
        path: (kind, mode, size, body, xattrs, first)
        for path, (kind, mode, _, _, size, _, body, xattrs, first) in contents(root).items()
    }


def operation(draw: random.Random):
    """Return one operation, to be done in any root."""
    name, other = draw.choice(NAMES), draw.choice(NAMES)
    offset, length = (
        draw.choice([0, 1, 65_535, 65_536, 131_072, 2_999_000, 3_100_000]),
        draw.choice([1, 10, 8192, 70_000]),
    )
    body = draw.randbytes(length)
    kind = draw.randrange(16)

    def write(root: Path, flags: int) -> int:
        fd = os.open(root / name, flags | os.O_WRONLY, 0o644)
        try:
            return os.pwrite(fd, body, offset)
        finally:
            os.close(fd)

    def read(root: Path) -> bytes:
        fd = os.open(root / name, os.O_RDONLY)
        try:
            return os.pread(fd, length, offset)
        finally:
            os.close(fd)

    def append(root: Path) -> int:
        fd = os.open(root / name, os.O_WRONLY | os.O_APPEND)
        try:
            return os.write(fd, body)
        finally:
            os.close(fd)

    def allocate(root: Path) -> None:
        fd = os.open(root / name, os.O_RDWR)
        try:
            os.posix_fallocate(fd, offset, length)
        finally:
            os.close(fd)

    def sync(root: Path) -> None:
        fd = os.open(root / name, os.O_RDWR)
        try:
            os.pwrite(fd, body, offset)
            os.fsync(fd)
        finally:
            os.close(fd)

    def listed(root: Path) -> list[str]:
        return sorted(os.listdir(root / name))

    table = {
        0: lambda root: write(root, 0),
        1: lambda root: write(root, os.O_CREAT),
        2: lambda root: write(root, os.O_TRUNC),
        3: read,
        4: append,
        5: lambda root: os.truncate(root / name, offset),
        6: lambda root: os.unlink(root / name),
        7: lambda root: os.rename(root / name, root / other),
        8: lambda root: os.mkdir(root / name),
        9: lambda root: os.rmdir(root / name),
        10: lambda root: os.symlink("target", root / name),
        11: lambda root: os.link(root / name, root / other),
        12: lambda root: os.chmod(root / name, 0o600 if length == 1 else 0o755),
        13: lambda root: os.setxattr(root / name, "user.x", body[:20]),
        14: allocate if length > 10 else listed,
        15: sync,
    }
    return table[kind]


def test_the_same_operations_give_the_same_tree_as_on_a_plain_folder(simple, tmp_path):
    seed = random.SystemRandom().randrange(1 << 30)
    print("seed", seed)  # noqa: T201 - to repeat a failure
    draw = random.Random(seed)
    with fuse.mounted(*options(tmp_path), "--writable", *SLOW, place=tmp_path / "m") as mount:
        root, plain = inside(tmp_path), tmp_path / "plain"
        for number in range(600):
            act = operation(draw)
            assert attempt(lambda: act(root)) == attempt(lambda: act(plain)), f"seed {seed}, operation {number}"  # noqa: B023
        assert plain_contents(root) == plain_contents(plain), f"seed {seed}"
        mount.kill()
    fuse.sweep(tmp_path / "m")
    # Killed: nothing that was written is lost. Then filled, switched over: still the same.
    with fuse.mounted(*options(tmp_path), "--writable", place=tmp_path / "m") as mount:
        assert plain_contents(inside(tmp_path)) == plain_contents(tmp_path / "plain"), f"seed {seed}"
        mount.wait_for("mount-whole")
        assert mount.end() == 0
    holdfast.finish_mount(tmp_path / "m")
    assert plain_contents(inside(tmp_path)) == plain_contents(tmp_path / "plain"), f"seed {seed}"


def test_it_looks_like_its_source_fills_and_becomes_a_plain_folder(vault, tmp_path, capsys):
    before = stored(tmp_path / "vault")
    with fuse.mounted(*options(tmp_path), "--writable", place=tmp_path / "m") as mount:
        assert contents(inside(tmp_path)) == contents(tmp_path / "source")
        assert (inside(tmp_path) / "big").stat().st_nlink == 2
        with pytest.raises(OSError, match="No data"):
            os.getxattr(inside(tmp_path) / "secret", "user.holdfast.lower")
        with pytest.raises(PermissionError):
            os.setxattr(inside(tmp_path) / "big", "user.holdfast.lower", b"x")
        # A file that an application keeps open all the time does not keep it from being whole.
        with (inside(tmp_path) / "sparse").open("r+b") as file:
            file.read(1)
            mount.wait_for("mount-whole")
            with pytest.raises(MountBusyError):
                holdfast.finish_mount(tmp_path / "m")
        # Finished while it is mounted and idle: the other process ends by itself.
        done = holdfast.finish_mount(tmp_path / "m")
        assert mount.process.wait(30) == 0
    assert isinstance(done, holdfast.MountFinished)
    assert done.snapshot == vault.snapshot().id
    assert stored(tmp_path / "vault") == before, "a mount that is written to, and its end, change nothing on a store"
    assert not os.path.ismount(tmp_path / "m")
    assert contents(inside(tmp_path)) == contents(tmp_path / "source")
    assert not (tmp_path / "m.holdfast").exists()
    assert main(["mount", "finish", str(tmp_path / "m")]) == 5
    assert "no writable mount" in capsys.readouterr().err


def test_a_mount_that_is_in_use_waits_for_the_application(simple, tmp_path):
    with fuse.mounted(*options(tmp_path), "--writable", *SLOW, place=tmp_path / "m") as mount:
        with (inside(tmp_path) / "big").open("r+b") as file:
            file.write(b"written")
            mount.process.terminate()
            mount.wait_for("mount-busy")
            file.seek(100_000)
            assert file.read(10) == (simple / "big").read_bytes()[100_000:100_010]
        assert mount.process.wait(30) == 0
    assert mount.records()[-1]["whole"] is False
    with pytest.raises(MountNotWholeError):
        holdfast.finish_mount(tmp_path / "m")
    with fuse.mounted(*options(tmp_path), "--writable", *SLOW, place=tmp_path / "m"):
        assert (inside(tmp_path) / "big").read_bytes() == b"written" + (simple / "big").read_bytes()[7:]


def test_a_killed_mount_keeps_what_was_written_while_it_was_filling(simple, tmp_path):
    expected = (tmp_path / "plain" / "big").read_bytes()
    draw = random.Random(3)
    for attempt_number in range(3):
        with fuse.mounted(*options(tmp_path), "--writable", "--limit-read", "3MiB", place=tmp_path / "m") as mount:
            with (inside(tmp_path) / "big").open("r+b", buffering=0) as file:
                assert file.read() == expected, attempt_number
                for _ in range(20):
                    at, body = draw.randrange(2_900_000), draw.randbytes(draw.choice([3, 8192, 100_000]))
                    file.seek(at)
                    file.write(body)
                    expected = expected[:at] + body + expected[at + len(body) :]
            mount.kill()
    with fuse.mounted(*options(tmp_path), "--writable", place=tmp_path / "m") as mount:
        assert (inside(tmp_path) / "big").read_bytes() == expected
        assert (inside(tmp_path) / "a").stat().st_mtime_ns == (simple / "a").stat().st_mtime_ns
        mount.wait_for("mount-whole")
        mount.kill()
    # Killed when everything is here: it can be switched over all the same.
    holdfast.finish_mount(tmp_path / "m", to=tmp_path / "out")
    assert (tmp_path / "out" / str(tmp_path / "source").lstrip("/") / "big").read_bytes() == expected


def test_damage_below_costs_the_file_and_stops_the_switch_over(vault, tmp_path):
    packs = sorted((tmp_path / "vault" / "data").glob("*/*"), key=lambda path: path.stat().st_size)
    packs[-1].chmod(0o600)
    with packs[-1].open("r+b") as file:
        file.seek(packs[-1].stat().st_size // 2)
        file.write(bytes(64))
    with fuse.mounted(*options(tmp_path), "--writable", place=tmp_path / "m") as mount:
        until = time.monotonic() + 60
        while not any(row.get("findings") for row in mount.records()):
            assert time.monotonic() < until
            time.sleep(0.1)
        outcomes = [attempt((inside(tmp_path) / name).read_bytes) for name in ("big", "sparse", "deep/er/table")]
        assert outcomes.count("EIO") == 1
        (lost,) = [
            name for name, found in zip(("big", "sparse", "deep/er/table"), outcomes, strict=True) if found == "EIO"
        ]
        # Overwritten whole, it is no loss any more.
        os.truncate(inside(tmp_path) / lost, 0)
        assert (inside(tmp_path) / lost).read_bytes() == b""
        assert mount.end() == 4
        assert mount.records()[-1]["unread"] >= 1
    with pytest.raises(MountNotWholeError):
        holdfast.finish_mount(tmp_path / "m")
    listed = [each.record for each in vault.audit.records()]
    found = [(each.phase, each.outcome, each.code) for each in listed if each.kind == "mount.finish"]
    assert found == [("begin", "", ""), ("end", "failure", "mount-not-whole")]


def test_upper_folders_that_are_refused(vault, tmp_path, monkeypatch):
    fuse.ready()
    (tmp_path / "m").mkdir()
    upper = upper_of(tmp_path / "m", None)

    def refused(error, **more):
        with pytest.raises(error) as found:
            vault.mount_writable(tmp_path / "m", **more)
        return found.value

    refused(UsageError, upper=tmp_path / "vault" / "x")
    refused(UsageError, upper=tmp_path / "m" / "x")
    (tmp_path / "u").mkdir()
    (tmp_path / "u" / "file").touch()
    refused(TargetNotEmptyError, upper=tmp_path / "u")
    make_upper(upper, vault._vault.vault_id, "0" * 32)
    assert recorded(upper) == {"vault": vault._vault.vault_id, "snapshot": "0" * 32}
    refused(UsageError, snapshot="latest")
    refused(holdfast.HoldfastError)
    with held(upper), pytest.raises(MountBusyError), held(upper):
        pass
    upper.record.write_text("{")
    refused(MountError)
    upper.record.unlink()
    (upper.tree / "x").touch()
    refused(TargetNotEmptyError)
    with pytest.raises(MountMissingError):
        holdfast.finish_mount(tmp_path / "m")

    def no_attributes(*_):
        raise OSError(errno.ENOTSUP, "no")

    monkeypatch.setattr(os, "setxattr", no_attributes)
    refused(MountError, upper=tmp_path / "other")
