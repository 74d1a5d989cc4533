"""Parity end to end: what one group can lose comes back byte for byte, from a bare `repair`; what it cannot is said exactly."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.rounds import Place
from tests.tiered import Tiered, book

import holdfast
from holdfast import config
from holdfast.classes.policy import ClassPolicy
from holdfast.repository.parity.frame import META, Stored, parity_name
from holdfast.repository.rounds import read_rounds
from holdfast.runs.options import BackupOptions
from holdfast.runs.protection import shelf_of
from holdfast.runs.results import RetentionPolicy
from holdfast.stores.layers import CountingStore
from holdfast.stores.memory import MemoryStore
from holdfast.testing.faults import Crash, FaultStore

STEP = int(os.environ.get("HOLDFAST_PARITY_STEPS", "2"))
OPERATIONS_MAX = 300
OPTIONS = BackupOptions(pack_bytes=1_300_000)


def write(place: Place, name: str, size: int = 250_000) -> None:
    (place.source / name).write_bytes(random.Random(name).randbytes(size))


def backup(place: Place, vault: holdfast.Vault) -> holdfast.BackupResult:
    return vault.backup([place.source], label="p", options=OPTIONS)


def source(place: Place) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.source.iterdir()}


def restored(place: Place, vault: holdfast.Vault, snapshot: str = "latest") -> dict[str, bytes]:
    target = place.target()
    result = vault.snapshot(snapshot).restore(target)
    assert result.exit_code == 0, result
    found = {path.name: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    shutil.rmtree(target)
    return found


def packs(place: Place, *folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((place.vault / folder).glob("*/*"))]


def flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if at < 0 else at] ^= 4
    path.chmod(0o600)
    path.write_bytes(data)


def groups(vault: holdfast.Vault) -> list[Stored]:
    return sorted(shelf_of(vault._vault).groups()[0], key=lambda one: -len(one.group.members))


@pytest.fixture
def full(place: Place) -> Iterator[tuple[Place, holdfast.Vault]]:
    """A vault with small groups and one of more than four packs, by four runs."""
    with place.create() as vault:
        for number in range(28):
            write(place, f"f{number}", 300_000)
        backup(place, vault)
        for number in range(3):
            write(place, f"new{number}")
            assert backup(place, vault).exit_code == 0
        assert vault.check().notes == ()
        yield place, vault


def test_every_pack_lost_or_flipped_in_turn_comes_back(full: tuple[Place, holdfast.Vault]) -> None:
    place, vault = full
    every = packs(place, "data", "meta")
    assert len(every) > 10
    for path in every:
        good = path.read_bytes()
        for lose in (True, False):
            path.unlink() if lose else flip(path)
            would = vault.repair(dry_run=True)
            assert (would.exit_code, [pack.source for pack in would.packs]) == (4, ["parity"])
            assert not path.exists() if lose else path.read_bytes() != good, "a dry run changes nothing"
            report = vault.repair()
            assert isinstance(report, holdfast.RepairReport)
            assert (report.exit_code, report.healed, report.lost) == (0, 1, ())
            assert report.packs[0].reason == ("missing" if lose else "hash")
            assert path.read_bytes() == good
    assert vault.check().sound
    assert vault.check().notes == ()
    assert restored(place, vault) == source(place)


def test_a_group_with_two_rows_gives_two_packs_back(full: tuple[Place, holdfast.Vault]) -> None:
    place, vault = full
    group = groups(vault)[0].group
    assert len(group.members) > 4
    assert group.rows == 2
    folder = "meta" if group.folder == META else "data"
    first, second = (place.vault / folder / m.name[:2] / m.name for m in group.members[1:3])
    good = first.read_bytes(), second.read_bytes()
    first.unlink()
    flip(second, 50)
    assert vault.repair().healed == 2
    assert (first.read_bytes(), second.read_bytes()) == good


def test_what_is_beyond_parity_is_said_and_everything_else_restored(full: tuple[Place, holdfast.Vault]) -> None:
    place, vault = full
    alone = [one.group for one in groups(vault) if one.group.rows == 1 and one.group.folder != META]
    group = next(group for group in alone if len(group.members) > 1)
    lost = [place.vault / "data" / m.name[:2] / m.name for m in group.members[:2]]
    lost[0].unlink()
    flip(lost[1])
    bad = lost[1].read_bytes()
    would = vault.repair(dry_run=True)
    assert {pack.pack for pack in would.lost} == {path.name for path in lost}
    report = vault.repair(show_paths=True)
    assert (report.exit_code, report.healed) == (4, 0)
    assert {(pack.pack, pack.source, pack.done) for pack in report.packs} == {(path.name, "", False) for path in lost}
    told = {pack.pack: pack for pack in report.lost}
    assert told.keys() == {path.name for path in lost}
    for pack in told.values():
        assert (pack.class_name, pack.files) == ("phi", len(pack.paths))
        assert pack.files >= 1
        assert pack.snapshots
    named = {os.path.basename(os.fsdecode(path)) for pack in told.values() for path in pack.paths}
    assert lost[1].read_bytes() == bad, "what is beyond repair stays where it is"
    assert report.damaged_list
    checked = vault.check(show_paths=True)
    assert {pack.pack for pack in checked.damaged} == told.keys()
    assert checked.exit_code == 4
    target = place.target()
    result = vault.snapshot().restore(target)
    assert result.exit_code == 4
    found = {path.name: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    whole = {name: data for name, data in found.items() if ".damaged" not in name}
    assert whole == {name: data for name, data in source(place).items() if name in whole}
    assert source(place).keys() - whole.keys() <= named
    assert backup(place, vault).stats.new_bytes > 0, "the next backup stores it again"
    assert restored(place, vault) == source(place)


def test_damaged_and_lost_parity_is_found_and_made_again(full: tuple[Place, holdfast.Vault]) -> None:
    place, vault = full
    flipped, lost = packs(place, "parity")[:2]
    flip(flipped)
    lost.unlink()
    report = vault.verify()
    assert report.parity > 1
    assert [problem for problem in report.problems if flipped.name in problem]
    flipped.write_bytes(flipped.read_bytes()[:-1])
    checked = vault.check()
    assert any(flipped.name in problem for problem in checked.problems)
    shutil.rmtree(vault._vault.folder("parity"))
    flipped.write_bytes(b"no parity object at all")
    assert any(flipped.name in problem for problem in vault.check().problems)
    repaired = vault.repair()
    assert (repaired.exit_code, repaired.parity_damaged, repaired.packs) == (0, 1, ())
    assert repaired.parity_groups >= 1
    assert vault.check().sound
    assert vault.check().notes == ()
    assert vault.verify().sound
    one = packs(place, "data")[0]
    good = one.read_bytes()
    one.unlink()
    assert vault.repair().healed == 1
    assert one.read_bytes() == good


def test_known_only_reads_what_is_known(full: tuple[Place, holdfast.Vault]) -> None:
    place, vault = full
    path = packs(place, "data")[1]
    good = path.read_bytes()
    flip(path)
    assert vault.repair(known_only=True).packs == (), "nobody has found it yet"
    assert not vault.verify().sound
    report = vault.repair(known_only=True)
    assert (report.packs_read, report.healed) == (1, 1)
    assert report.damaged_list, "it is taken off the list"
    assert path.read_bytes() == good
    assert vault.check().sound


def test_a_lost_index_and_a_lost_pack_at_once(full: tuple[Place, holdfast.Vault]) -> None:
    place, vault = full
    for run in (place.vault / "index").iterdir():
        flip(run, 200)
    path = packs(place, "meta")[0]
    good = path.read_bytes()
    path.unlink()
    report = vault.repair()
    assert (report.exit_code, report.healed, report.index.packs_damaged) == (0, 1, 0)
    assert report.index.runs_dropped > 0
    assert report.catalog == "current"
    assert path.read_bytes() == good
    assert restored(place, vault) == source(place)


def test_prune_leaves_every_live_pack_protected(full: tuple[Place, holdfast.Vault]) -> None:
    place, vault = full
    for number in range(9):
        (place.source / f"f{number}").unlink()
    write(place, "last")
    backup(place, vault)
    vault.forget(RetentionPolicy(last=1))
    before = {path.name for path in packs(place, "parity")}
    for _ in range(3):
        vault.prune(undo_days=0.0)
    after = packs(place, "parity")
    assert {path.name for path in after} != before
    checked = vault.check()
    assert (checked.problems, checked.notes) == ((), ())
    assert sum(len(one.rows) for one in groups(vault)) == len(after), "no row is left over"
    for path in packs(place, "data", "meta"):
        good = path.read_bytes()
        path.unlink()
        assert vault.repair().healed == 1
        assert path.read_bytes() == good
    assert restored(place, vault) == source(place)


def test_a_backup_goes_on_without_parity_if_there_is_no_room_for_its_rows(place: Place) -> None:
    told: list[object] = []
    with place.create() as vault:
        write(place, "a")
        folder = vault._vault.folder("parity")

        def take_away(event: object) -> None:
            told.append(event)
            if folder.exists():
                folder.rmdir()

        result = vault.backup([place.source], options=OPTIONS, events=take_away)
        assert result.exit_code == 0
        assert [event.code for event in told if isinstance(event, holdfast.Note)] == ["parity-missing"]
        assert any("no parity" in note for note in vault.check().notes)
        assert vault.check().sound
        folder.mkdir(exist_ok=True)
        vault.prune()
        assert vault.check().notes == ()


def test_none_is_made_where_none_is_wanted(place: Place) -> None:
    settings = place.root / "holdfast.toml"
    settings.write_text(f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.key}"\nparity = 0\n')
    place.create().close()
    write(place, "a")
    with holdfast.Vault.open(settings) as vault:
        backup(place, vault)
        assert packs(place, "parity") == []
        assert vault.check().notes == ()
        assert config.load(settings).settings.vault.parity == 0
    with place.open() as vault:
        assert any("no parity" in note for note in vault.check().notes)
        assert vault.repair().parity_groups == 2
    with holdfast.Vault.open(settings) as vault:
        vault.prune()
        assert packs(place, "parity") == [], "what is not wanted any more goes"


def test_a_writer_that_can_only_add_makes_parity_and_deletes_none(place: Place) -> None:
    with place.create() as vault:
        credential = place.root / "writer"
        credential.touch(0o600)
        credential.write_bytes(vault.enroll_writer("host"))
    write(place, "a")
    with holdfast.Vault.open(place.vault, credential=credential) as vault:
        backup(place, vault)
        first = {path.name for path in packs(place, "parity")}
        assert first
        write(place, "b")
        backup(place, vault)
        assert first <= {path.name for path in packs(place, "parity")}
    with place.open() as vault:
        assert vault.check().notes == ()
        vault.prune()
        assert not first & {path.name for path in packs(place, "parity")}, "what others protect, a prune takes away"
        path = packs(place, "data")[0]
        path.unlink()
        assert vault.repair().healed == 1


# --- damaged files ------------------------------------------------------------------------------------------------------


def test_a_file_with_lost_bytes_comes_back_under_another_name_with_a_map(place: Place) -> None:
    with place.create() as vault:
        vault._vault.parity_rows = 0
        write(place, "large", 4_000_000)
        write(place, "small", 1000)
        backup(place, vault)
        large = max(packs(place, "data"), key=lambda path: path.stat().st_size)
        flip(large)
        target = place.target()
        result = vault.snapshot().restore(target)
        assert result.exit_code == 4
        folder = target / str(place.source).lstrip("/")
        assert sorted(path.name for path in folder.iterdir()) == ["large.damaged", "large.damaged.map", "small"]
        told = json.loads((folder / "large.damaged.map").read_text())
        assert told["format"] == "holdfast-damaged-1"
        assert told["size"] == 4_000_000
        whole = bytearray((place.source / "large").read_bytes())
        for lost in told["lost"]:
            whole[lost["offset"] : lost["offset"] + lost["length"]] = bytes(lost["length"])
        assert (folder / "large.damaged").read_bytes() == whole
        assert 0 < sum(lost["length"] for lost in told["lost"]) < 4_000_000
        (folder / "large").write_bytes(b"good")
        vault.snapshot().restore(target, overwrite="older")
        assert (folder / "large").read_bytes() == b"good", "what is there is not touched"
        skipped = place.target()
        assert vault.snapshot().restore(skipped, damaged="skip").exit_code == 4
        assert [path.name for path in skipped.rglob("*") if path.is_file()] == ["small"]


def test_neither_a_damaged_file_nor_its_map_replaces_anything(place: Place) -> None:
    with place.create() as vault:
        vault._vault.parity_rows = 0
        write(place, "large", 4_000_000)
        backup(place, vault)
        flip(max(packs(place, "data"), key=lambda path: path.stat().st_size))
        target = place.target()
        folder = target / str(place.source).lstrip("/")
        folder.mkdir(parents=True)
        (folder / "large.damaged").write_bytes(b"mine")
        (folder / "large.damaged.1.map").write_bytes(b"mine, too")
        vault.snapshot().restore(target, overwrite="older")
        found = {path.name: path.stat().st_size for path in folder.iterdir()}
        assert found.pop("large.damaged.2.map") > 0
        assert found == {"large.damaged": 4, "large.damaged.1.map": 9, "large.damaged.2": 4_000_000}


# --- several stores -----------------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiered:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    made = Tiered(tmp_path)
    made.fill()
    return made


def parity_on(site: Tiered) -> dict[str, set[tuple[int, int]]]:
    """Return class and folder of the parity objects of each store."""
    found: dict[str, set[tuple[int, int]]] = {}
    for store, bare in site.bare.items():
        for name, data in bare.objects.items():
            if name.startswith("parity/"):
                found.setdefault(store, set()).add((data[28], data[30]))
    return found


def test_parity_lies_where_its_class_may_and_only_for_single_copies(site: Tiered) -> None:
    with site.create() as vault:
        assert site.backup(vault).exit_code == 0
        on = parity_on(site)
        assert on["second"] == {(3, 1)}, "images have one copy, on the second store"
        assert on["home"] == {(7, 1), (1, 2), (3, 2), (4, 2), (7, 2)}, "public data, and everybody's metadata"
        assert "third" not in on
        assert vault.check().problems == ()
        assert vault.check().notes == ()
        for store, prefix in (("second", "data/"), ("home", "meta/"), ("home", "data/")):
            for name in [name for name in site.bare[store].objects if name.startswith(prefix)]:
                kept = dict(site.bare[store].objects)
                del site.bare[store].objects[name]
                report = vault.repair()
                assert report.exit_code == 0, report
                assert site.bare[store].objects[name] == kept[name], "from parity, or from another copy"
        site.nothing_misplaced()
        site.pass_days(40)
        vault.migrate()
        assert site.by_class()["imaging"] == {"cold"}
        (name,) = [name for name in site.bare["cold"].objects if name.startswith("data/")][:1]
        del site.bare["cold"].objects[name]
        assert vault.repair().healed == 1, "its group is protected wherever its packs went"
        assert site.restored(vault) == site.content()


def test_a_policy_may_ask_for_parity_or_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    rules = book(
        None,
        imaging=ClassPolicy("imaging", ("second",), parity=0),
        database=ClassPolicy("database", ("second", "third"), copies=2, parity=1),
    )
    site = Tiered(tmp_path, rules)
    site.fill()
    with site.create() as vault:
        site.backup(vault)
        assert parity_on(site)["second"] == {(4, 1)}
        site.down.add("second")
        site.write("database", "more", 30_000)
        site.backup(vault)
        assert parity_on(site)["third"] == {(4, 1)}, "the next store of the class stands in"
        assert (
            not [name for name in site.bare["home"].objects if name.startswith("parity/")]
            or (3, 2) not in parity_on(site)["home"]
        )


# --- faults -------------------------------------------------------------------------------------------------------------


class Sweep:
    """A vault in memory that is put back before each attempt, and whose k-th change of the store fails."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.place = Place(root)
        self.place.source.mkdir()
        self.url = f"memory:{root}/sweep"
        self.bare = MemoryStore.shared(f"{root}/sweep")
        self.kept: dict[str, bytes] = {}

    def create(self) -> holdfast.Vault:
        return holdfast.Vault.create(self.url, key_file=self.root / "key")

    def open(self, fault: FaultStore | None = None) -> holdfast.Vault:
        vault = holdfast.Vault.open(self.url, key_file=self.root / "key")
        if fault is not None:
            store = CountingStore(fault)
            vault._vault.store = store
            vault._vault.repository.use_store(store)
        return vault

    def remember(self) -> None:
        self.kept = dict(self.bare.objects)
        shutil.copytree(self.root / "state", self.root / "state-kept")

    def attempts(self) -> Iterator[FaultStore]:
        """Yield a store that fails at 0, STEP, 2·STEP, … before and after the effect, until it does not fail any more."""
        for after in (False, True):
            at, over = 0, False
            while not over:
                assert at < OPERATIONS_MAX
                self.bare.objects.clear()
                self.bare.objects.update(self.kept)
                shutil.rmtree(self.root / "state")
                shutil.copytree(self.root / "state-kept", self.root / "state")
                fault = FaultStore(self.bare, fail_at=at, after=after, writes_only=True)
                yield fault
                over = fault.operations <= at
                at += STEP
            assert at > STEP


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    made = Sweep(tmp_path)
    with made.create() as vault:
        for number in range(5):
            # Packs of one power of four, whatever their padding: they share a group.
            write(made.place, f"f{number}", 48_000)
            vault.backup([made.place.source], label="p", options=OPTIONS)
    return made


def living(sweep: Sweep, vault: holdfast.Vault) -> list[str]:
    """Return the packs that are in the index and that no plan deletes."""
    listed = {row.name.hex() for row in vault._vault.refresh_index().packs()}
    listed -= read_rounds(vault._vault.repository.home).deleted
    return sorted(name for name in sweep.bare.objects if name.rpartition("/")[2] in listed)


def healed_by_repair(sweep: Sweep, dice: random.Random) -> None:
    """After any crash: a repair leaves every pack protected, and any one lost pack comes back."""
    with sweep.open() as vault:
        report = vault.repair()
        assert (report.exit_code, report.lost) == (0, ())
        checked = vault.check()
        assert checked.problems == ()
        assert not [note for note in checked.notes if "no parity" in note]
        name = dice.choice(living(sweep, vault))
        good = sweep.bare.objects.pop(name)
        assert vault.repair().healed == 1
        assert sweep.bare.objects[name] == good


def test_a_backup_that_dies_at_any_change_of_the_store(sweep: Sweep) -> None:
    dice = random.Random(1)
    with sweep.open() as vault:
        known = [snapshot.id for snapshot in vault.snapshots()]
    sweep.remember()
    write(sweep.place, "more", 60_000)
    for fault in sweep.attempts():
        with suppress(Crash), sweep.open(fault) as vault:
            vault.backup([sweep.place.source], label="p", options=OPTIONS)
        healed_by_repair(sweep, dice)
        with sweep.open() as vault:
            assert set(known) <= {snapshot.id for snapshot in vault.snapshots()}


def test_a_prune_that_dies_at_any_change_of_the_store(sweep: Sweep) -> None:
    dice = random.Random(2)
    with sweep.open() as vault:
        for number in range(3):
            (sweep.place.source / f"f{number}").unlink()
        vault.backup([sweep.place.source], label="p", options=OPTIONS)
        vault.forget(RetentionPolicy(last=1))
        vault.prune(undo_days=0.0001)
        truth = source(sweep.place)
    sweep.remember()
    for fault in sweep.attempts():
        with suppress(Crash), sweep.open(fault) as vault:
            for _ in range(2):
                vault.prune(undo_days=0.0)
        with sweep.open() as vault:
            checked = vault.check()
            assert checked.problems == ()
            if not [note for note in checked.notes if "no parity" in note]:
                name = dice.choice(living(sweep, vault))
                good = sweep.bare.objects.pop(name)
                assert vault.repair().healed == 1, "a pack that no check called unprotected comes back"
                assert sweep.bare.objects[name] == good
        healed_by_repair(sweep, dice)
        with sweep.open() as vault:
            for _ in range(3):
                vault.prune(undo_days=0.0)
            assert vault.check().notes == ()
            assert restored(sweep.place, vault) == truth


def test_a_repair_that_dies_at_any_change_of_the_store(sweep: Sweep) -> None:
    truth = source(sweep.place)
    dice = random.Random(3)
    data = sorted(name for name in sweep.bare.objects if name.startswith("data/"))
    meta = sorted(name for name in sweep.bare.objects if name.startswith("meta/"))
    with sweep.open() as vault:
        of_data = next(one for one in groups(vault) if data[0].rpartition("/")[2] in one.group.names)
    assert of_data.group.rows == 2
    row = parity_name(of_data.rows[0][1])
    good = dict(sweep.bare.objects)
    del sweep.bare.objects[data[0]]
    changed = bytearray(good[meta[0]])
    changed[100] ^= 1
    sweep.bare.objects[meta[0]] = bytes(changed)
    sweep.bare.objects[row] = good[row][:-1] + bytes([good[row][-1] ^ 1])
    sweep.remember()
    for fault in sweep.attempts():
        with suppress(Crash), sweep.open(fault) as vault:
            vault.repair()
        with sweep.open() as vault:
            assert vault.repair().exit_code == 0
            assert {name: sweep.bare.objects[name] for name in (*data, *meta)} == {n: good[n] for n in (*data, *meta)}
            assert restored(sweep.place, vault) == truth
        healed_by_repair(sweep, dice)


def test_a_repair_by_sectors_that_dies_at_any_change_of_the_store_loses_nothing(sweep: Sweep) -> None:
    """Damaged packs of one group are needed for each other: what goes before it is put back must lie somewhere."""
    truth = source(sweep.place)
    good = dict(sweep.bare.objects)
    with sweep.open() as vault:
        one = max(groups(vault), key=lambda each: len(each.group.members) - len(each.rows))
    folder = "meta" if one.group.folder == META else "data"
    struck = [f"{folder}/{m.name[:2]}/{m.name}" for m in one.group.members[: len(one.rows) + 1]]
    assert len(struck) > len(one.rows)
    for number, name in enumerate(struck):
        changed = bytearray(good[name])
        changed[(number + 1) * len(changed) // (len(struck) + 2)] ^= 1
        sweep.bare.objects[name] = bytes(changed)
    sweep.remember()
    for fault in sweep.attempts():
        with suppress(Crash), sweep.open(fault) as vault:
            vault.repair()
        with sweep.open() as vault:
            assert vault.repair().exit_code == 0
            assert {name: sweep.bare.objects[name] for name in struck} == {name: good[name] for name in struck}
            assert restored(sweep.place, vault) == truth
            assert vault.check().problems == ()


def test_lightly_damaged_packs_of_one_group_come_back_together(full: tuple[Place, holdfast.Vault]) -> None:
    """More packs than rows, each with a bad sector of its own: none counts as lost as a whole."""
    place, vault = full
    every = {path.name: path for path in packs(place, "data", "meta")}
    good = {name: path.read_bytes() for name, path in every.items()}
    spoiled: set[str] = set()
    for one in groups(vault):
        members = [member for member in one.group.members if member.size > 3 * 4096]
        for number, member in enumerate(members[: 2 * one.group.rows + 1]):
            flip(every[member.name], member.size * (number + 1) // (len(members) + 2))
            spoiled.add(member.name)
    assert len(spoiled) > sum(one.group.rows for one in groups(vault) if len(one.group.members) > one.group.rows)
    would = vault.repair(dry_run=True)
    assert {(pack.pack, pack.source) for pack in would.packs} == {(name, "parity") for name in spoiled}
    report = vault.repair()
    assert (report.exit_code, report.healed, report.lost) == (0, len(spoiled), ())
    assert {name: path.read_bytes() for name, path in every.items()} == good


def test_a_torn_pack_beside_one_with_a_bad_sector_comes_back(full: tuple[Place, holdfast.Vault]) -> None:
    place, vault = full
    some = [one.group for one in groups(vault) if one.group.rows == 1 and len(one.group.members) > 1]
    group = max(some, key=lambda each: each.length)  # what is cut off must not reach to the other's bad sector
    folder = "meta" if group.folder == META else "data"
    largest = sorted(group.members, key=lambda member: member.size, reverse=True)
    first, second = (place.vault / folder / m.name[:2] / m.name for m in largest[:2])
    good = first.read_bytes(), second.read_bytes()
    first.chmod(0o600)
    first.write_bytes(good[0][: len(good[0]) - 3000])
    flip(second, 100)
    assert vault.repair().healed == 2
    assert (first.read_bytes(), second.read_bytes()) == good


def test_a_row_that_is_wrong_from_the_start_is_found_and_made_anew(full: tuple[Place, holdfast.Vault]) -> None:
    """A parity object whose bytes hash to its name, and that is not what its packs make: forged, or a machine's fault."""
    place, vault = full
    assert vault.verify().sound
    one = next(each for each in groups(vault) if each.group.rows == 1)
    (row, sha) = one.rows[0]
    path = place.vault / parity_name(sha)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    forged = hashlib.sha256(data).hexdigest()
    path.unlink()
    (place.vault / parity_name(forged)).parent.mkdir(exist_ok=True)
    (place.vault / parity_name(forged)).write_bytes(bytes(data))
    report = vault.verify()
    assert [problem for problem in report.problems if forged in problem] == [
        f"parity is wrong: object {parity_name(forged)} is not what its packs make"
    ]
    assert not vault.verify().sound, "it is not taken for proved"
    repaired = vault.repair()
    assert (repaired.exit_code, repaired.parity_damaged) == (0, 1)
    assert row == 0
    assert vault.verify().sound
    assert vault.verify(content=True).sound
