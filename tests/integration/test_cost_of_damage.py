"""What damage costs is said exactly: the files named are those that a restore of everything does not bring back.

The oracle knows nothing of packs: it restores every snapshot whole, before and after bytes were changed at random.
HOLDFAST_SEED=7 HOLDFAST_COSTS=20 tries other and more damage.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from pathlib import Path

import pytest
from tests.rounds import Place

from holdfast import engine
from holdfast.errors import StoreUnreachableError
from holdfast.repository.listing import read_part
from holdfast.repository.refsets import Segments
from holdfast.runs.assembly import OpenVault
from holdfast.runs.options import BackupOptions, ClassRule
from holdfast.testing import trees
from holdfast.testing.changes import ChangingTree, TreeShape

SEED = int(os.environ.get("HOLDFAST_SEED", "1"))
ROUNDS = int(os.environ.get("HOLDFAST_COSTS", "4"))
SHAPE = TreeShape(folders=8, files=60, file_bytes_max=90_000, paged_bytes=3 << 20)
SNAPSHOTS = 4
_PLACE_OF_DATA = 100
"""Changes of a pack's header would always cost all of it: most damage is behind."""


@pytest.fixture
def lived_in(place):
    """A vault of several snapshots in three classes, whose packs are small."""
    rules = (
        ClassRule(f"{place.root}/source/database.pages", "database"),
        ClassRule("**/*[aeiou]*", "imaging"),
    )
    place.options = BackupOptions(class_rules=rules, pack_bytes=1 << 20, detect=False)
    with place.create() as vault:
        tree = ChangingTree(place.source, SEED, SHAPE)
        tree.grow()
        for _ in range(SNAPSHOTS):
            place.backup(vault)
            tree.step()
        yield place, vault


def truth(place: Place, vault) -> dict[str, dict[bytes, tuple[int, int]]]:
    """Return the files of each snapshot, with time and size, as they are while all is sound."""
    found = {}
    for info in vault.snapshots():
        files = (entry for entry in vault.snapshot(info.id).walk() if entry.kind == "file")
        found[info.id] = {entry.path: (entry.mtime_ns, entry.size) for entry in files}
    return found


def lost(place: Place, vault, files: dict[str, dict[bytes, tuple[int, int]]]) -> dict[str, set[bytes]]:
    """Return which files of each snapshot a restore of all of it does not bring back under their names."""
    found = {}
    for snapshot, names in files.items():
        target = place.target()
        vault.snapshot(snapshot).restore(target, damaged="skip")
        found[snapshot] = {path for path in names if not os.path.lexists(os.path.join(os.fsencode(target), path))}
        trees.empty(target)
    return found


def entries(vault) -> dict[str, int]:
    """Return how many entries of each snapshot can be walked, each class for itself."""
    opened: OpenVault = vault._vault
    counts: dict[str, int] = defaultdict(int)
    for info in opened.snapshots():
        for part in info.classes:
            tree = opened.reader(info.id).tree(read_part(opened.repository, info, part.class_id).root)
            try:
                for _ in tree.walk(b""):
                    counts[info.id] += 1
            except engine.DamageError:
                continue
    return counts


def spoil(dice: random.Random, path: Path) -> None:
    """Change a few bytes of a pack, mostly in one place; or cut it, or lose it."""
    path.chmod(0o600)
    bytes_ = bytearray(path.read_bytes())
    how = dice.random()
    if how < 0.1:
        path.unlink()
        return
    if how < 0.2:
        del bytes_[dice.randrange(len(bytes_)) :]
    else:
        for _ in range(dice.randint(1, 3)):
            bytes_[dice.randrange(_PLACE_OF_DATA, len(bytes_))] ^= 1 << dice.randrange(8)
    path.write_bytes(bytes_)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_what_is_named_is_what_does_not_come_back(lived_in, number):
    place, vault = lived_in
    dice = random.Random(1000 * SEED + number)
    files = truth(place, vault)
    before = entries(vault)
    packs = sorted(place.vault.glob("data/*/*")) + sorted(place.vault.glob("meta/*/*")) * 2
    chosen = {path.name: path for path in dice.sample(packs, dice.randint(1, 3))}
    for path in chosen.values():
        spoil(dice, path)
    report = vault.verify(show_paths=True, mark_damaged=False)
    assert {pack.pack for pack in report.damaged} == chosen.keys(), "damage was found elsewhere"
    missing = lost(place, vault, files)
    after = entries(vault)
    what = f"HOLDFAST_SEED={SEED}, round {number}"
    for snapshot, paths in missing.items():
        costs = [cost for cost in report.costs if cost.snapshot == snapshot]
        named = {path for cost in costs for path in cost.paths}
        unnamed = sum(cost.unnamed for cost in costs)
        assert named <= paths, f"{what}: files are named that do come back"
        assert len(named) == sum(cost.files for cost in costs)
        assert unnamed == before[snapshot] - after[snapshot], f"{what}: entries without names are miscounted"
        assert len(paths - named) <= unnamed, f"{what}: files that do not come back are not named"
        assert sum(cost.bytes for cost in costs) == sum(files[snapshot][path][1] for path in named)
        assert bool(costs) == bool(paths) or unnamed, f"{what}: a snapshot is named that loses nothing"
    assert not any(cost.unlisted for cost in report.costs)
    versions = {
        (path, *files[cost.snapshot][path])
        for cost in report.costs
        for path in cost.paths
        if path in files[cost.snapshot]
    }
    assert {path for pack in report.damaged for path in pack.paths} == {path for path, _, _ in versions}
    if len(chosen) == 1:
        assert report.damaged[0].files == len(versions)
        assert report.damaged[0].bytes == sum(size for _, _, size in versions)
    costing = {cost.snapshot for cost in report.costs}
    assert {each for pack in report.damaged for each in pack.snapshots} == costing


def one_bad_byte(place: Place) -> str:
    """Change one byte in the first segment of the largest data pack, and return its name."""
    path = max(place.vault.glob("data/*/*"), key=lambda each: each.stat().st_size)
    path.chmod(0o600)
    bytes_ = bytearray(path.read_bytes())
    bytes_[len(bytes_) // 2] ^= 1
    path.write_bytes(bytes_)
    return path.name


def small_files(place: Place) -> None:
    place.source.mkdir(exist_ok=True)
    dice = random.Random(SEED)
    for number in range(60):
        (place.source / f"{number:03d}").write_bytes(dice.randbytes(50_000))


def test_one_bad_byte_costs_a_few_files_not_the_pack(place):
    small_files(place)
    with place.create() as vault:
        place.backup(vault)
        (place.source / "later").write_bytes(b"later")
        place.backup(vault)
        one_bad_byte(place)
        report = vault.verify()
        (pack,) = report.damaged
        assert 1 <= pack.files < 40, "far fewer than the sixty files in it"
        assert pack.segments_lost == 1
        assert pack.needed_by == len(pack.snapshots) == len(report.costs) == 2
        assert [cost.files for cost in report.costs] == [pack.files] * 2
        assert not pack.paths
        assert not any(cost.paths for cost in report.costs), "names are shown to who asked for them only"
        checked = vault.check()
        assert [each.files for each in checked.damaged] == [pack.files], "a check of known damage says the same"
        assert checked.costs == report.costs


def test_without_a_key_what_it_costs_is_not_guessed(place):
    small_files(place)
    with place.create() as vault:
        place.backup(vault)
        name = one_bad_byte(place)
        vault.verify()
        (part,) = place.vault.glob("part/*/*")
        part.unlink()
        (pack,) = vault.check().damaged
        assert (pack.pack, pack.files, pack.key_missing, len(pack.snapshots)) == (name, -1, False, 1)
        assert [cost.files for cost in vault.check().costs] == [-1]


def test_while_a_store_is_away_all_of_a_pack_counts(place, monkeypatch):
    small_files(place)
    with place.create() as vault:
        place.backup(vault)
        one_bad_byte(place)
        (known,) = vault.verify().damaged

        def away(*_: object) -> None:
            raise StoreUnreachableError("a store does not answer")

        monkeypatch.setattr(engine, "unreadable", away)
        (pack,) = vault.check().damaged
        assert pack.segments_lost > known.segments_lost
        assert pack.files == 60


def test_a_lost_root_costs_what_the_snapshot_says_of_it(place):
    """The only node of a small tree: nothing but the part tells how many entries were under it."""
    small_files(place)
    with place.create() as vault:
        place.backup(vault)
        for path in place.vault.glob("meta/*/*"):
            path.unlink()
        report = vault.verify(show_paths=True)
        (cost,) = report.costs
        assert cost.files == 0
        assert cost.unnamed >= 61, "the files and their folders"
        assert cost.unnamed_bytes == 60 * 50_000
        assert sum(pack.unnamed for pack in report.damaged) == cost.unnamed
        assert vault.snapshot("latest").restore(place.target()).exit_code == 4


def test_sets_that_meet():
    a, b = b"a" * 16, b"b" * 16
    some = Segments.of([(a, 3), (a, 4), (b, 9)])
    assert some.meets(Segments.of([(a, 4)]))
    assert Segments.of([(a, 0), (b, 9)]).meets(some)
    assert not some.meets(Segments.of([(a, 2), (a, 5), (b, 8), (b, 10)]))
    assert not some.meets(Segments())


def without_oldest_run(place: Place) -> None:
    """Lose the first index run, and with it every line about what the first backup stored."""
    oldest = min(place.vault.glob("index/*"), key=lambda each: each.stat().st_mtime_ns)
    oldest.unlink()
    place.forget_local_state()


def test_what_the_index_alone_lacks_is_not_listed_and_not_lost(place):
    small_files(place)
    (place.source / "large").write_bytes(random.Random(SEED + 1).randbytes(6 << 20))
    with place.create() as vault:
        place.backup(vault)
        (place.source / "later").write_bytes(random.Random(SEED + 2).randbytes(50_000))
        place.backup(vault)
    without_oldest_run(place)
    with place.open() as vault:
        result = vault.snapshot("latest").restore(place.target())
        assert result.exit_code == 4
        said = [found.detail for found in result.findings]
        nodes = [text for text in said if "the index does not list the part of the tree" in text]
        assert said, (
            "where nodes of a tree end is chance: they are files of one that the second run lists, or whole nodes"
        )
        assert all("no index run lists" in text for text in said)
        assert not any(text.startswith("lost") or " are lost" in text for text in said)
        oldest = vault.snapshot(vault.snapshots()[0].id).restore(place.target())
        assert oldest.exit_code == 4
        assert all("the index does not list the root" in found.detail for found in oldest.findings)
        # A pack that the second run lists is damaged besides: what is lost, and what is not listed, stand apart.
        newest = max(place.vault.glob("data/*/*"), key=lambda each: each.stat().st_mtime_ns)
        newest.chmod(0o600)
        newest.write_bytes(newest.read_bytes()[:100])
        (cost,) = vault.verify(show_paths=True, mark_damaged=False).costs
        files = len(said) - len(nodes)
        assert (cost.files, cost.unlisted, len(cost.paths)) == (1, files, files + 1)
        assert cost.unnamed == sum(int(text.split()[0]) for text in nodes)
        vault.repair_index()
        assert [
            found.path.rpartition(b"/")[2] for found in vault.snapshot("latest").restore(place.target()).findings
        ] == [b"later"]
