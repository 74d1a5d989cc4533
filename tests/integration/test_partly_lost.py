"""What is damaged costs what it touches: the rest is restored, listed, searched, compared, mounted and drilled, and it is said.

Three kinds of damage: the sealed part of one class; a metadata pack's segment with nodes in the middle of a tree; a snapshot's
envelope. Each look yields all that can be read, and ends by saying that this is not all.
"""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from tests.rounds import Place

import holdfast
from holdfast.cli.main import main
from holdfast.errors import DamageError, PartlyLostError, PathMissingError
from holdfast.runs.options import BackupOptions, ClassRule
from holdfast.runs.results import RetentionPolicy

FOLDERS, FILES = 40, 60


def damage(path: Path, at: int) -> None:
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[at] ^= 8
    path.write_bytes(data)


@pytest.fixture
def two_classes(place):
    """A vault with one snapshot of two classes, `phi` and `public`."""
    place.options = BackupOptions(class_rules=(ClassRule(f"{place.source}/public", "public"),))
    for name in ("phi", "public"):
        (place.source / name).mkdir(parents=True)
        for n in range(5):
            (place.source / name / f"f{n}").write_text(f"{name} {n}" * 40)
    with place.create() as vault:
        place.backup(vault)
        yield place, vault


def lose_part(place: Place, vault: holdfast.Vault, class_name: str) -> str:
    """Damage the part of a class of the newest snapshot, and return the snapshot's id."""
    info = vault.snapshot().info
    (part,) = (part for part in info.classes if part.class_name == class_name)
    damage(place.vault / "part" / info.id / str(part.class_id), 120)
    return info.id


def lose_catalog(place: Place) -> None:
    for path in (place.root / "state").rglob("catalog.sqlite*"):
        path.unlink()


def names(entries) -> list[str]:
    return [entry.path.decode().rpartition("/")[2] for entry in entries]


def taken_from(walk) -> tuple[list, str]:
    """Return what an iteration gave, and the code of the error that ended it."""
    found: list = []
    try:
        for item in walk:
            found.append(item)  # noqa: PERF402 - what came before the error counts
    except DamageError as error:
        return found, error.code
    return found, ""


class TestOneClass:
    def test_the_other_classes_are_restored_and_the_lost_one_is_named(self, two_classes):
        place, vault = two_classes
        lose_part(place, vault, "public")
        target = place.target()
        heard: list[object] = []
        result = vault.snapshot().restore(target, events=heard.append)
        assert (result.exit_code, result.damaged, result.classes_missing) == (4, True, 0)
        (finding,) = result.findings
        assert finding in heard
        assert finding.kind == "damaged"
        assert "data class public" in finding.detail
        assert finding.path == b""
        root = target / str(place.source).lstrip("/")
        assert sorted(path.name for path in (root / "phi").iterdir()) == [f"f{n}" for n in range(5)]
        assert not (root / "public").exists()

    def test_it_can_be_looked_into(self, two_classes):
        place, vault = two_classes
        lose_part(place, vault, "public")
        root = str(place.source)
        snapshot = vault.snapshot()
        found, code = taken_from(snapshot.walk())
        assert code == "partly-lost"
        assert [name for name in names(found) if name.startswith("f")] == [f"f{n}" for n in range(5)]
        found, code = taken_from(snapshot.ls(f"{root}/phi"))
        assert (len(found), code) == (5, "partly-lost")
        assert taken_from(snapshot.ls(f"{root}/public")) == ([], "partly-lost")
        found, code = taken_from(snapshot.find("f3"))
        assert (names(found), code) == (["f3"], "partly-lost")
        assert len(list(snapshot.ls(f"{root}/phi/f1"))) == 1, "what is asked for is all there"
        assert taken_from(vault.find("f*"))[1] == "", "the catalog knew it before it was lost"
        lose_catalog(place)
        found, code = taken_from(vault.find("f*"))
        assert (len(found), code) == (5, "partly-lost")
        found, code = taken_from(vault.versions(f"{root}/phi/f1"))
        assert (len(found), code) == (1, "partly-lost")

    def test_a_lost_class_is_no_difference(self, two_classes):
        place, vault = two_classes
        before = vault.snapshot()
        (place.source / "phi" / "f1").write_text("changed")
        (place.source / "public" / "f1").write_text("changed")
        place.backup(vault)
        lose_part(place, vault, "public")
        found, code = taken_from(before.diff(vault.snapshot()))
        assert code == "partly-lost"
        root = str(place.source).lstrip("/")
        changed = {path.removeprefix(root) for change in found if (path := change.path.decode()).startswith(root)}
        assert changed == {"/phi/f1"}

    def test_includes_of_the_rest_are_restored_whole(self, two_classes):
        place, vault = two_classes
        lose_part(place, vault, "public")
        result = vault.snapshot().restore(place.target(), include=[f"{place.source}/phi/f1"], classes=["phi"])
        assert (result.exit_code, result.files) == (0, 1)
        result = vault.snapshot().restore(place.target(), include=[f"{place.source}/public", f"{place.source}/phi/f1"])
        assert (result.exit_code, result.files) == (4, 1)
        result = vault.snapshot().restore(place.target(), include=[f"{place.source}/*/f1"])
        assert (result.exit_code, result.files) == (4, 1)
        with pytest.raises(DamageError):
            vault.snapshot().restore(place.target(), classes=["public"])

    def test_verify_and_the_next_backup_go_on(self, two_classes):
        place, vault = two_classes
        lost = lose_part(place, vault, "public")
        assert vault.verify().exit_code == 4
        assert place.backup(vault).exit_code == 0
        assert vault.snapshot().restore(place.target()).exit_code == 0
        vault.forget(snapshots=[lost])
        assert vault.check().sound

    def test_the_catalog_takes_in_what_comes_back(self, two_classes):
        place, vault = two_classes
        info = vault.snapshot().info
        part = place.vault / "part" / info.id / str(next(p.class_id for p in info.classes if p.class_name == "public"))
        good = part.read_bytes()
        lose_part(place, vault, "public")
        lose_catalog(place)
        assert taken_from(vault.find("f1"))[1] == "partly-lost"
        part.write_bytes(good)
        found, code = taken_from(vault.find("f1"))
        assert (len(found), code) == (2, "")

    def test_the_command_line_shows_the_rest_and_exits_with_4(self, two_classes, capsys):
        place, vault = two_classes
        lose_part(place, vault, "public")
        given = ["--vault", str(place.vault), "--key-file", str(place.key)]
        assert main(["ls", *given, "latest", str(place.source), "-r"]) == 4
        shown = capsys.readouterr()
        assert shown.out.count("phi/f") == 5
        assert "SAFE: what was shown before this is right" in shown.err


@pytest.fixture
def deep(place):
    """A vault with two snapshots of a tree of many nodes in several segments."""
    for n in range(FOLDERS):
        folder = place.source / f"folder-{n:03}"
        folder.mkdir(parents=True)
        for m in range(FILES):
            (folder / f"file-{m:03}-with-a-name-of-some-length").write_bytes(b"%d %d" % (n, m))
    with place.create() as vault:
        place.backup(vault)
        (place.source / "folder-039" / "new").write_text("new")
        place.backup(vault)
        yield place, vault


def lose_nodes(place: Place) -> None:
    """Damage the first segment of the largest metadata pack: leaves, not the root."""
    packs = [path for path in place.vault.glob("meta/*/*") if path.read_bytes()[10] == 2]
    pack = max(packs, key=lambda path: path.stat().st_size)
    damage(pack, struct.unpack_from("<I", pack.read_bytes(), 68)[0] + 10)


class TestNodes:
    def test_what_is_under_other_nodes_is_restored(self, deep):
        place, vault = deep
        lose_nodes(place)
        place.forget_local_state()
        target = place.target()
        result = vault.snapshot().restore(target)
        assert result.exit_code == 4
        assert 0 < result.files < FOLDERS * FILES
        lost = [finding for finding in result.findings if "entries from this path on" in finding.detail]
        assert lost
        said = sum(int(finding.detail.split()[0]) for finding in lost)
        whole = sum(part.entries for part in _parts(vault))
        assert result.files + result.folders + said >= whole
        for path in target.rglob("file-*"):
            n, m = path.parent.name[-3:], path.name[5:8]
            assert path.read_bytes() == b"%d %d" % (int(n), int(m))

    def test_looks_end_with_the_word_that_this_is_not_all(self, deep):
        place, vault = deep
        older, newer = vault.snapshots()
        everything = list(newer.walk())
        lose_nodes(place)
        with place.open() as again:
            newer = again.snapshot(newer.id)
            found, code = taken_from(newer.walk())
            assert code == "partly-lost"
            assert 0 < len(found) < len(everything)
            assert set(found) < set(everything)
            named = {entry.path for entry in found if entry.path.rpartition(b"/")[2].startswith(b"file-001")}
            found, code = taken_from(newer.find("file-001*"))
            assert code == "partly-lost"
            assert {entry.path for entry in found} == named
            found, code = taken_from(again.snapshot(older.id).diff(newer))
            assert {change.path.rpartition(b"/")[2] for change in found} <= {b"new", b"folder-039"}
            seen = 0
            for n in range(FOLDERS):
                listed, code = taken_from(newer.ls(f"{place.source}/folder-{n:03}"))
                assert code == "partly-lost" or len(listed) == FILES + (n == FOLDERS - 1)
                seen += len(listed)
            assert 0 < seen < FOLDERS * FILES + 1
            with pytest.raises(PathMissingError):
                list(newer.ls(f"{place.source}/zzz"))

    def test_includes_end_where_a_part_is_lost(self, deep):
        """A search for an include met the lost part again and again."""
        place, vault = deep
        lose_nodes(place)
        includes = [f"{place.source}/folder-{n:03}" for n in range(FOLDERS)]
        result = vault.snapshot().restore(place.target(), include=includes)
        assert result.exit_code == 4
        assert 0 < result.files < FOLDERS * FILES

    def test_prune_and_verify_name_it(self, deep):
        place, vault = deep
        lose_nodes(place)
        report = vault.verify()
        assert report.exit_code == 4
        assert len(report.damaged) == 1
        assert report.damaged[0].snapshots
        vault.forget(RetentionPolicy(last=1))
        assert vault.repair().exit_code in {0, 4}


def _parts(vault: holdfast.Vault):
    from holdfast.repository.listing import read_part

    info = vault.snapshot().info
    return [read_part(vault._vault.repository, info, part.class_id) for part in info.classes]


class TestEnvelope:
    def test_a_snapshot_without_its_envelope_is_restored_by_its_id(self, two_classes):
        place, vault = two_classes
        snapshot = vault.snapshot().id
        damage(place.vault / "snapshot" / snapshot, 60)
        with pytest.raises(DamageError, match="cannot be read"):
            vault.snapshot("latest")
        found = vault.snapshot(snapshot[:12])
        assert (found.id, found.info.salvaged, found.info.label) == (snapshot, True, "rounds")
        target = place.target()
        result = found.restore(target)
        assert result.exit_code == 4
        assert [finding.detail for finding in result.findings] == [
            "the snapshot's envelope cannot be read: there may have been more data classes than these"
        ]
        assert result.files == 10
        assert len(names(entry for entry in found.walk() if entry.kind == "file")) == 10
        assert vault.check().exit_code == 4

    def test_with_a_part_lost_as_well_the_rest_is_restored(self, two_classes):
        place, vault = two_classes
        snapshot = lose_part(place, vault, "public")
        (place.vault / "snapshot" / snapshot).unlink()
        result = vault.snapshot(snapshot).restore(place.target())
        assert (result.exit_code, result.files) == (4, 5)
        assert any("data class public" in finding.detail for finding in result.findings)

    def test_without_its_decision_nothing_is_guessed(self, two_classes):
        place, vault = two_classes
        snapshot = vault.snapshot().id
        damage(place.vault / "snapshot" / snapshot, 60)
        for path in (*(place.vault / "decision" / snapshot).iterdir(), place.vault / "committed" / snapshot):
            assert vault.snapshot(snapshot).info.salvaged, "either of the two is enough"
            damage(path, 60)
        with pytest.raises(DamageError):
            vault.snapshot(snapshot)

    def test_a_part_that_another_writer_put_there_is_none_of_it(self, two_classes):
        place, vault = two_classes
        snapshot = vault.snapshot().id
        (place.vault / "snapshot" / snapshot).unlink()
        own = next((place.vault / "part" / snapshot).iterdir())
        (place.vault / "part" / snapshot / "9").write_bytes(own.read_bytes())
        assert len(vault.snapshot(snapshot).info.classes) == 2


def test_the_error_is_of_what_is_damaged():
    assert issubclass(PartlyLostError, DamageError)
    assert PartlyLostError("what").exit_code == 4
