"""One flipped bit, anywhere in the vault: `check` or `verify` finds it, and nothing wrong is ever restored as good.

Every kind of object is damaged at sampled positions. HOLDFAST_FLIPS=20 tries more positions in each kind.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict

import pytest
from tests.rounds import Place, assert_same

import holdfast
from holdfast.errors import HoldfastError
from holdfast.runs.options import BackupOptions, ClassRule
from holdfast.runs.results import RetentionPolicy
from holdfast.testing import trees
from holdfast.testing.changes import ChangingTree, TreeShape

FLIPS = int(os.environ.get("HOLDFAST_FLIPS", "4"))
SEED = int(os.environ.get("HOLDFAST_SEED", "1"))
SHAPE = TreeShape(folders=4, files=15, file_bytes_max=60_000, paged_bytes=1 << 20)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory):
    """A vault with every kind of object: several snapshots, a hold, forgotten ones, a closed prune round, a verification."""
    root = tmp_path_factory.mktemp("damage")
    before = os.environ.get("HOLDFAST_STATE")
    os.environ["HOLDFAST_STATE"] = str(root / "state")
    place = Place(root, BackupOptions(class_rules=(ClassRule(f"{root}/source/database.pages", "database"),)))
    with place.create() as vault:
        tree = ChangingTree(place.source, SEED, SHAPE)
        tree.grow()
        for _ in range(4):
            place.backup(vault)
            tree.step()
        truth = place.truth()
        place.backup(vault)
        for row in vault.suspicions():  # so small a tree changes as a whole: no ordinary day
            vault.release_suspicious(row.snapshot, reason="a test")
        vault.hold("latest", reason="a test")
        vault.forget(RetentionPolicy(last=2))
        vault.prune(undo_days=0.0)
        vault.prune(undo_days=0.0)
        assert vault.verify().sound
        newest = vault.snapshots()[-1].id
    yield place, newest, truth
    trees.empty(root)
    if before is None:
        del os.environ["HOLDFAST_STATE"]
    else:
        os.environ["HOLDFAST_STATE"] = before


def objects(place: Place) -> dict[str, list[str]]:
    found = defaultdict(list)
    for path in sorted(place.vault.rglob("*")):
        if path.is_file():
            name = path.relative_to(place.vault).as_posix()
            found[name.split("/")[0]].append(name)
    return found


def flip(place: Place, name: str, offset: int, bit: int) -> None:
    path = place.vault / name
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def found_by_inspection(place: Place) -> str:
    """Return who finds damage, on a host that holds nothing of the vault."""
    place.forget_local_state()
    try:
        with place.open() as vault:
            if not vault.check().sound:
                return "check"
            return "" if vault.verify(mark_damaged=False).sound else "verify"
    except HoldfastError as error:
        return error.code


def restores_nothing_wrong(place: Place, newest: str, truth: dict[bytes, trees.Item], what: str) -> None:
    """Whatever a restore brings back under its name is right; if anything is missing, the restore says so."""
    target = place.target()
    try:
        with place.open() as vault:
            result = vault.snapshot(newest).restore(target)
    except HoldfastError:
        if target.exists():
            trees.empty(target)
        return
    there = place.restored(target)
    wrong = [
        one
        for one in trees.differences(truth, there, owners=os.geteuid() == 0)
        if one.field in {"digest", "size", "target", "kind"}
    ]
    assert not wrong, f"{what}: restored wrong:\n{trees.describe(wrong)}"
    if result.exit_code == 0:
        assert_same(truth, there, what)


def test_every_flipped_bit_is_found(lived_in):
    place, newest, truth = lived_in
    dice = random.Random(SEED)
    kinds = objects(place)
    assert {"vault", "key", "keyring", "writer", "session", "decision", "snapshot", "part", "refs", "index"} <= set(
        kinds
    )
    assert {"data", "meta", "forgotten", "hold"} <= set(kinds)
    missed = []
    for names in kinds.values():
        for _ in range(FLIPS):
            name = dice.choice(names)
            offset, bit = dice.randrange((place.vault / name).stat().st_size), dice.randrange(8)
            flip(place, name, offset, bit)
            what = f"seed {SEED}: bit {bit} of byte {offset} of {name}"
            if not found_by_inspection(place):
                missed.append(what)
            restores_nothing_wrong(place, newest, truth, what)
            flip(place, name, offset, bit)
    assert not missed, f"not found: {missed}"
    assert found_by_inspection(place) == ""


def test_content_is_proved_once_and_bytes_every_time(place):
    """What was opened is proved by its name afterwards; where that fails, damage is named by segment as at first."""
    with place.create() as vault:
        (place.source / "a").write_bytes(random.Random(SEED).randbytes(200_000))
        place.backup(vault)
        first = vault.verify()
        again = vault.verify()
        everything = vault.verify(content=True)
        assert first.sound
        assert again.sound
        assert everything.sound
        assert (again.packs, again.bytes, again.segments) == (first.packs, first.bytes, 0)
        assert everything.segments == first.segments > 0
        flip(place, objects(place)["data"][0], 5000, 3)
        found = vault.verify()
        assert [pack.reason.startswith("its SHA-256 is not its name; segment 0: ") for pack in found.damaged] == [True]


def test_a_backup_does_not_rely_on_known_damage(place):
    with place.create() as vault:
        for number in range(20):
            (place.source / f"file-{number:02d}").write_bytes(random.Random(number).randbytes(200_000))
        place.backup(vault)
        for pack in objects(place)["data"]:
            flip(place, pack, (place.vault / pack).stat().st_size // 2, 3)
        assert not vault.verify().sound
        healed = place.backup(vault)
        assert healed.stats.new_bytes > 0
        assert_same(place.truth(), place.by_engine(vault, "latest"), "after healing")
        again = place.backup(vault)
        assert again.stats.new_bytes == 0


def test_known_damage_costs_a_restore_no_more_than_the_damage(place):
    with place.create() as vault:
        for number in range(20):
            (place.source / f"file-{number:02d}").write_bytes(random.Random(number).randbytes(400_000))
        place.backup(vault)
        (pack,) = objects(place)["data"]
        middle = (place.vault / pack).stat().st_size // 2
        flip(place, pack, middle, 3)
        before = vault.snapshot().restore(place.root / "before")
        assert not vault.verify().sound
    with place.open() as vault:
        after = vault.snapshot().restore(place.root / "after")
        assert (after.files, len(after.findings)) == (before.files, len(before.findings)) == (19, 1)
        assert not vault.verify(snapshots=["latest"]).sound, "known damage is still damage"
        flip(place, pack, middle, 3)
    with place.open() as vault:
        healed = vault.snapshot().restore(place.root / "healed")
        assert (healed.files, healed.findings) == (20, ()), "put back from a copy, it is good at once"


def test_a_missing_pack_is_found_and_stored_again(place):
    with place.create() as vault:
        (place.source / "file").write_bytes(random.Random(1).randbytes(300_000))
        place.backup(vault)
        (place.vault / objects(place)["data"][0]).unlink()
        assert not vault.check().sound
        assert not vault.verify().sound
        assert place.backup(vault).stats.new_bytes > 0
        assert_same(place.truth(), place.by_engine(vault, "latest"), "after healing")


def test_a_wrong_key_opens_nothing(place):
    place.create().close()
    other = place.root / "other.key"
    with holdfast.Vault.create(place.root / "other", key_file=other):
        pass
    with pytest.raises(HoldfastError) as caught:
        holdfast.Vault.open(place.vault, key_file=other)
    assert caught.value.code == "key-wrong"
    assert caught.value.exit_code == 6


def test_latest_does_not_pass_over_a_damaged_snapshot(place):
    with place.create() as vault:
        (place.source / "file").write_bytes(b"old")
        place.backup(vault)
        (place.source / "file").write_bytes(b"newer")
        result = place.backup(vault)
        assert result.snapshot is not None
        flip(place, f"snapshot/{result.snapshot.id}", 200, 1)
        with pytest.raises(HoldfastError):
            vault.snapshot("latest").restore(place.target())


def test_a_snapshot_that_is_lost_for_good_can_be_forgotten(place):
    with place.create() as vault:
        lost = place.backup(vault).snapshot.id
        (place.source / "file").write_bytes(b"newer")
        kept = place.backup(vault).snapshot.id
        flip(place, f"snapshot/{lost}", 200, 1)
        assert vault.snapshots().damaged == (lost,)
        with pytest.raises(HoldfastError):
            vault.prune()
        with pytest.raises(HoldfastError):
            vault.forget(snapshots=[lost[:8]])
        assert vault.forget(snapshots=[lost]).forgotten == (lost,)
        assert vault.snapshot("latest").id == kept
        vault.prune()
        assert vault.check().sound
