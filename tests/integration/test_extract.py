"""A restore never leaves its target, never gives a damaged file its good name, goes on where it was killed, and spares what exists.

Each test backs up a small tree, puts something in the way of a restore (or breaks the vault), and looks at what stands afterwards.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

import holdfast
from holdfast.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STAGING = ".holdfast-restore"


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[holdfast.Vault]:
    """Return an empty vault with a state folder of its own."""
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as opened:
        yield opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder of a few small files, hard links, and a file of many chunks."""
    folder = tmp_path / "source"
    (folder / "ward").mkdir(parents=True)
    for number in range(20):
        (folder / "ward" / f"{number:02}.hl7").write_bytes(b"MSH|%d|" % number * 40)
    (folder / "large.bin").write_bytes(random.Random(1).randbytes(9 << 20))
    os.link(folder / "large.bin", folder / "ward" / "also-large.bin")
    return folder


def backed_up(vault: holdfast.Vault, source: Path) -> holdfast.Snapshot:
    vault.backup(source)
    return vault.snapshots().latest()


def placed(target: Path, source: Path) -> Path:
    """Return where a restore into `target` puts `source`."""
    return target / source.relative_to("/")


def test_a_symlink_in_the_target_is_not_followed(vault, source, tmp_path):
    snapshot = backed_up(vault, source)
    outside, target = tmp_path / "outside", tmp_path / "target"
    outside.mkdir()
    there = placed(target, source)
    there.mkdir(parents=True)
    (there / "ward").symlink_to(outside)
    result = snapshot.restore(to=target, overwrite="always")
    assert result.findings
    assert list(outside.iterdir()) == []
    assert (there / "large.bin").read_bytes() == (source / "large.bin").read_bytes()


def test_a_symlink_in_place_of_a_file_is_replaced_not_written_through(vault, source, tmp_path):
    snapshot = backed_up(vault, source)
    victim, target = tmp_path / "victim", tmp_path / "target"
    victim.write_text("precious")
    there = placed(target, source)
    (there / "ward").mkdir(parents=True)
    (there / "ward" / "00.hl7").symlink_to(victim)
    (there / "large.bin").symlink_to(victim)
    snapshot.restore(to=target, overwrite="always")
    assert victim.read_text() == "precious"
    assert not (there / "ward" / "00.hl7").is_symlink()
    assert (there / "large.bin").read_bytes() == (source / "large.bin").read_bytes()


@pytest.mark.parametrize(("overwrite", "kept"), [("never", True), ("older", True), ("always", False)])
def test_an_existing_newer_file(vault, source, tmp_path, overwrite, kept):
    snapshot = backed_up(vault, source)
    target = tmp_path / "target"
    there = placed(target, source)
    (there / "ward").mkdir(parents=True)
    (there / "ward" / "03.hl7").write_text("edited since")
    result = snapshot.restore(to=target, overwrite=overwrite, in_place=True)
    content = (there / "ward" / "03.hl7").read_bytes()
    assert (content == b"edited since") is kept
    assert bool(result.findings) is (overwrite == "never")
    assert (there / "ward" / "04.hl7").read_bytes() == (source / "ward" / "04.hl7").read_bytes()


def test_hard_links_and_times_come_back(vault, source, tmp_path):
    os.utime(source / "ward", ns=(1, 1_234_567_890_123_456_789))
    target = tmp_path / "target"
    backed_up(vault, source).restore(to=target)
    there = placed(target, source)
    assert (there / "large.bin").samefile(there / "ward" / "also-large.bin")
    assert (there / "ward").stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert not (target / STAGING).exists()


def test_several_includes_share_their_folders(vault, source, tmp_path):
    os.utime(source / "ward", ns=(1, 1_234_567_890_123_456_789))
    target = tmp_path / "target"
    names = ("00.hl7", "07.hl7", "19.hl7")
    backed_up(vault, source).restore(target, include=[source / "ward" / name for name in names])
    there = placed(target, source)
    assert sorted(item.name for item in (there / "ward").iterdir()) == list(names)
    assert (there / "ward").stat().st_mtime_ns == 1_234_567_890_123_456_789
    assert not (there / "large.bin").exists()


def test_a_restore_that_was_killed_goes_on(vault, source, tmp_path):
    snapshot = backed_up(vault, source)
    target = tmp_path / "target"
    there = placed(target, source)
    (target / STAGING).mkdir(parents=True)
    (target / STAGING / "1").write_bytes(b"half of something")
    (there / "ward").mkdir(parents=True)
    (there / "ward" / "05.hl7").write_bytes(b"")
    result = snapshot.restore(to=target, overwrite="older")
    assert result.findings == ()
    assert (there / "ward" / "05.hl7").read_bytes() == (source / "ward" / "05.hl7").read_bytes()
    assert not (target / STAGING).exists()


def test_a_damaged_pack_costs_only_what_is_in_it(vault, source, tmp_path):
    snapshot = backed_up(vault, source)
    packs = sorted((tmp_path / "vault" / "data").glob("*/*"), key=lambda pack: pack.stat().st_size)
    content = bytearray(packs[-1].read_bytes())
    content[len(content) // 2] ^= 1
    packs[-1].chmod(0o600)
    packs[-1].write_bytes(content)
    target = tmp_path / "target"
    result = snapshot.restore(to=target)
    assert result.damaged
    there = placed(target, source)
    for item in there.rglob("*"):
        if item.is_file() and ".damaged" not in item.name:
            assert item.read_bytes() == (source / item.relative_to(there)).read_bytes()
    saved = there / "large.bin.damaged"
    if saved.exists():
        whole, rest = (source / "large.bin").read_bytes(), saved.read_bytes()
        assert len(rest) == len(whole)
        assert rest.count(0) > whole.count(0)
    assert not (there / "large.bin").exists()


def test_a_lost_part_of_a_tree_costs_only_what_it_names(vault, tmp_path):
    folder = tmp_path / "many"
    for number in range(4000):
        (folder / f"{number % 40:02}").mkdir(parents=True, exist_ok=True)
        (folder / f"{number % 40:02}" / f"{number:05}").write_bytes(random.Random(number).randbytes(200))
    snapshot = backed_up(vault, folder)
    for pack in (tmp_path / "vault" / "meta").glob("*/*"):
        content = bytearray(pack.read_bytes())
        content[4000] ^= 1
        pack.chmod(0o600)
        pack.write_bytes(content)
    target = tmp_path / "target"
    try:
        result = snapshot.restore(to=target)
    except holdfast.HoldfastError:
        return
    assert result.damaged
    assert result.files < 4000


def test_a_dry_run_writes_nothing(vault, source, tmp_path):
    result = backed_up(vault, source).restore(to=tmp_path / "target", dry_run=True)
    assert result.files == 22
    assert not (tmp_path / "target").exists()


def test_an_output_that_takes_no_more_is_named_as_the_cause(vault, source):
    snapshot = backed_up(vault, source)
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(TargetError) as caught:
            snapshot.read(source / "large.bin", full)
    finally:
        os.close(full)
    assert caught.value.exit_code == 1
    assert "No space left" in str(caught.value)
