"""Bad input and failure: each a stable code and three lines, nothing lost, and the next run goes on from what is stored."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import threading

import pytest
from tests.rounds import Place, assert_same

import holdfast
from holdfast.base.events import Progress
from holdfast.errors import HoldfastError
from holdfast.runs.options import BackupOptions, Limits

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-euc"]


def refused(code: str, exit_code: int):
    """Expect an error with a code, an exit code, and three lines that name no path."""

    class Expected:
        def __enter__(self):
            self.raises = pytest.raises(HoldfastError)
            self.caught = self.raises.__enter__()
            return self.caught

        def __exit__(self, *problem):
            if not self.raises.__exit__(*problem):
                return False
            error = self.caught.value
            assert (error.code, error.exit_code) == (code, exit_code)
            lines = str(error).splitlines()
            assert len(lines) == 3
            assert lines[1].startswith("SAFE: ")
            assert lines[2].startswith("NEXT: ")
            return True

    return Expected()


@pytest.fixture
def filled(place):
    """A vault with one snapshot of a small source."""
    with place.create() as vault:
        (place.source / "file").write_bytes(b"content" * 100)
        place.backup(vault)
        yield place, vault


def test_a_prefix_of_several_snapshots_is_ambiguous(filled):
    place, vault = filled
    for _ in range(16):
        place.backup(vault)
    firsts = [snapshot.id[0] for snapshot in vault.snapshots()]
    shared = next(digit for digit in firsts if firsts.count(digit) > 1)
    with refused("snapshot-ambiguous", 2):
        vault.snapshot(shared)


def test_a_snapshot_that_is_not_there(filled):
    _, vault = filled
    with refused("snapshot-missing", 5):
        vault.snapshot("ffffffff")


def test_a_target_that_holds_something(filled):
    place, vault = filled
    target = place.target()
    target.mkdir()
    (target / "mine").write_text("untouched")
    with refused("target-not-empty", 2):
        vault.snapshot("latest").restore(target)
    assert (target / "mine").read_text() == "untouched"
    assert os.listdir(target) == ["mine"]


@pytest.mark.parametrize("inside", ["", "data", "new/folder"])
def test_a_target_inside_the_vault(filled, inside):
    place, vault = filled
    before = sorted(place.vault.rglob("*"))
    with refused("target-inside-vault", 2):
        vault.snapshot("latest").restore(place.vault / inside)
    assert sorted(place.vault.rglob("*")) == before


def test_a_source_that_does_not_exist(filled):
    place, vault = filled
    with refused("source-missing", 2):
        vault.backup([place.source, place.root / "nowhere"])
    assert len(vault.snapshots()) == 1


def test_a_vault_that_does_not_exist(place):
    place.create().close()
    with refused("vault-missing", 5):
        holdfast.Vault.open(place.root / "nowhere", key_file=place.key)


def test_a_vault_where_there_is_one(filled):
    place, _ = filled
    with pytest.raises(HoldfastError, match="SAFE"):
        place.create()


def test_the_vault_and_the_state_are_never_backed_up(place):
    with place.create() as vault:
        result = vault.backup([place.root], label="all")
        paths = [entry.path for entry in vault.snapshot("latest").walk()]
        own = [os.fsencode(folder).lstrip(b"/") + b"/" for folder in (place.vault, place.root / "state")]
        assert not [path for path in paths if path.startswith(tuple(own))]
        assert not result.partial


def holdfast_command(place: Place, *words: object) -> list[str]:
    where = ["--vault", str(place.vault), "--key-file", str(place.key)]
    return [sys.executable, "-m", "holdfast", *map(str, words), *where]


@pytest.fixture
def incompressible(place):
    """A source of 24 MiB that no compression and no deduplication makes smaller."""
    place.source.mkdir()
    for file in range(24):
        (place.source / f"file-{file:02d}").write_bytes(random.Random(file).randbytes(1 << 20))
    return place


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_backup_with_its_exit_code(incompressible, number, exit_code):
    place = incompressible
    with place.create() as vault:
        words = holdfast_command(place, "backup", place.source, "--label", "rounds", "--limit-read", "6MiB", "--json")
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if '"progress"' in line and '"bytes":0,' not in line:
                break
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
        assert process.returncode == exit_code, output + rest + errors
        assert len(vault.snapshots()) == 0
        assert not place.backup(vault).partial
        assert_same(place.truth(), place.by_engine(vault, "latest"), "after an interruption")


def test_an_interrupted_backup_resumes_without_storing_twice(incompressible):
    place = incompressible
    place.options = BackupOptions(pack_bytes=2 << 20, limits=Limits(read_bytes_per_s=12 << 20))
    stop = threading.Event()

    def interrupt(event: object) -> None:
        if isinstance(event, Progress) and event.stored_bytes > 0:
            stop.set()

    with place.create() as vault:
        with refused("interrupted", 130):
            vault.backup([place.source], label="rounds", options=place.options, events=interrupt, stop=stop)
        assert len(vault.snapshots()) == 0
        place.options = BackupOptions()
        result = place.backup(vault)
        assert 0 < result.stats.new_bytes < 24 << 20
        assert place.chunks_stored_twice() == []
        assert_same(place.truth(), place.by_engine(vault, "latest"), "after an interruption")


def test_a_full_store_stops_the_run_and_loses_nothing(place):
    """A vault on a file system of 6 MiB fills up; after it has grown, the next run completes."""
    place.source.mkdir()
    (place.source / "small").write_bytes(random.Random(1).randbytes(100_000))
    place.vault.mkdir()
    quoted = {name: shlex.join(holdfast_command(place, *words)) for name, words in commands(place).items()}
    vault, source = shlex.quote(str(place.vault)), shlex.quote(str(place.source))
    script = f"""
        mount -t tmpfs -o size=6m tmpfs {vault} || exit 99
        {quoted["init"]}
        {quoted["backup"]}
        head -c 20000000 /dev/urandom > {source}/large
        code=0; {quoted["backup"]} || code=$?
        test $code = 7 || exit 50
        {quoted["check"]} || exit 51
        {quoted["restore-1"]} || exit 52
        mount -o remount,size=64m {vault}
        {quoted["backup"]} || exit 53
        {quoted["verify"]} || exit 54
        {quoted["restore-2"]} || exit 55
    """
    done = subprocess.run([*NAMESPACE, script], capture_output=True, text=True, check=False)
    if done.returncode == 99 or "unshare failed" in done.stderr:
        pytest.skip("this machine allows no mounts of one's own")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "store-full" in done.stdout + done.stderr or "SAFE:" in done.stderr
    assert_same(place.truth(), place.restored(place.root / "restore-2"), "after the store had grown")
    assert set(place.restored(place.root / "restore-1")) == {b"", b"small"}


def commands(place: Place) -> dict[str, tuple[object, ...]]:
    return {
        "init": ("init",),
        "backup": ("backup", place.source, "--label", "rounds"),
        "check": ("check",),
        "verify": ("verify",),
        "restore-1": ("restore", "latest", "--to", place.root / "restore-1"),
        "restore-2": ("restore", "latest", "--to", place.root / "restore-2"),
    }
