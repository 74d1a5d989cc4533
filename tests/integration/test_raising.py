"""What is found in files raises their class, their folder's and the names above it; what did not change is not looked at again."""

from __future__ import annotations

import json
import os

import pytest

import holdfast
from holdfast.base.data_classes import CLASS_NAMES
from holdfast.cli import main
from holdfast.errors import Interrupted, SourceMissingError, UsageError
from holdfast.runs.raising import RaisedFolders

MESSAGE = "MSH|^~\\&|LAB|H|EHR|H|20261125||ORU^R01|1|P|2.5\rPID|1||7||Ash^Elm\rOBX|1|NM|718-7||13\r"
PROSE = "the quick brown fox jumps over the lazy dog\n" * 40
LOWER = holdfast.BackupOptions(default_class="operational", update_catalog=False)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "srv"
    for folder in ("share/ash", "share/plain", "tools"):
        (root / folder).mkdir(parents=True)
    (root / "share/ash/result.txt").write_text(MESSAGE)
    (root / "share/ash/letter.txt").write_text(PROSE)
    (root / "share/plain/notes.txt").write_text(PROSE + "plain")
    (root / "tools/large.bin").write_bytes(b"\0tool" * 100_000)
    (root / "tools/export.dat").write_text(MESSAGE * 20_000)
    os.link(root / "share/ash/result.txt", root / "share/ash/second-name.txt")
    return root


def classes_of(vault, root):
    """Return per path below the root the class that its entry is in."""
    below = str(root).lstrip("/") + "/"
    entries = ((os.fsdecode(entry.path).lstrip("/"), entry) for entry in vault.snapshot().walk())
    return {path.removeprefix(below): CLASS_NAMES[entry.class_id] for path, entry in entries if path.startswith(below)}


def test_content_raises_its_file_its_folder_and_the_names_above(tree, tmp_path, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        notes = []
        result = vault.backup(tree, options=LOWER, events=notes.append)
        assert classes_of(vault, tree) == {
            "share": "phi",
            "share/ash": "phi",
            "share/ash/letter.txt": "phi",
            "share/ash/result.txt": "phi",
            "share/ash/second-name.txt": "phi",
            "share/plain": "operational",
            "share/plain/notes.txt": "operational",
            "tools": "phi",
            "tools/export.dat": "phi",
            "tools/large.bin": "phi",
        }
        assert any(isinstance(event, holdfast.Note) and "raised" in event.text for event in notes)
        found = {row.rule: row for row in result.stats.detected}
        assert found["hl7v2"].files == found["hl7v2"].raised == 2
        assert vault.snapshot().restore(to=out).exit_code == 0
        assert (out / str(tree).lstrip("/") / "share/ash/letter.txt").read_text() == PROSE
        assert not vault.check().problems

        again = vault.backup(tree, options=LOWER)
        assert again.stats.detected == ()
        assert (again.stats.new, again.stats.new_bytes) == (0, 0)
        assert again.stats.stored_bytes < 64 << 10
        assert classes_of(vault, tree)["share/ash/letter.txt"] == "phi"

        (tree / "share/ash/result.txt").write_text(PROSE)
        vault.backup(tree, options=LOWER)
        assert classes_of(vault, tree)["share/ash/result.txt"] == "phi", "its folder is known to be sensitive"


def test_a_second_run_finds_what_came_and_raises_what_was_there(tree, tmp_path):
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        vault.backup(tree, options=LOWER)
        assert classes_of(vault, tree)["share/plain/notes.txt"] == "operational"
        (tree / "share/plain/scan.dcm").write_bytes(bytes(128) + b"DICM" + bytes(400))
        result = vault.backup(tree, options=LOWER)
        now = classes_of(vault, tree)
        assert now["share/plain/scan.dcm"] == now["share/plain/notes.txt"] == now["share/plain"] == "imaging"
        assert {row.rule: row.raised for row in result.stats.detected} == {"dicom": 1}


def test_a_path_rule_lowers_a_neighbour_and_never_a_signature(tree, tmp_path):
    rules = (holdfast.ClassRule("letter.txt", "public"), holdfast.ClassRule("result.txt", "public"))
    options = holdfast.BackupOptions(default_class="operational", class_rules=rules)
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        vault.backup(tree, options=options)
        now = classes_of(vault, tree)
        assert now["share/ash/letter.txt"] == "public"
        assert now["share/ash/result.txt"] == "phi"


def test_streams_are_looked_at_too_and_detection_can_be_turned_off(tree, tmp_path):
    stream = holdfast.Stream("dumps/ehr.hl7", ("printf", "%s", MESSAGE))
    silent = holdfast.Stream("dumps/empty", ("true",))
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        options = holdfast.BackupOptions(default_class="system", streams=(stream, silent), detect=False)
        vault.backup(tree, options=options)
        assert [part.class_name for part in vault.snapshot().info.classes] == ["system"]
        options = holdfast.BackupOptions(default_class="system", streams=(stream, silent))
        vault.backup(tree, options=options)
        where = {entry.path.rpartition(b"/")[2]: CLASS_NAMES[entry.class_id] for entry in vault.snapshot().walk()}
        assert where[b"ehr.hl7"] == where[b"empty"] == "phi", "they lie beside each other"


def test_a_writer_without_the_class_raises_to_none(tree, tmp_path):
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        credential = tmp_path / "credential"
        credential.write_bytes(vault.enroll_writer("ward", ["operational"]))
        credential.chmod(0o600)
        with holdfast.Vault.open(tmp_path / "vault", credential=credential) as writer:
            result = writer.backup(tree, options=LOWER)
        assert [part.class_name for part in result.snapshot.classes] == ["operational"]


def test_the_list_of_folders_is_passed_over_where_it_cannot_be_read(tmp_path):
    place = tmp_path / "a.raised"
    assert RaisedFolders.read(place).rows() == []
    place.write_bytes(b"\xff\xfe")
    assert RaisedFolders.read(place).rows() == []
    place.write_text("zz 1\n61 x\n62 3\n")
    folders = RaisedFolders.read(place)
    assert folders.rows() == [(b"b", 3)]
    assert not folders.learn([(b"b", 4)])
    assert folders.learn([(b"b", 1), (b"c\xff", 4)])
    assert RaisedFolders.read(place).rows() == [(b"b", 1), (b"c\xff", 4)]


class TestClassify:
    def test_counts_are_what_a_backup_would_give(self, tree, tmp_path):
        report = holdfast.classify(tree, options=LOWER)
        assert isinstance(report, holdfast.Classification)
        assert report.files() == 6
        assert report.files("phi") == 5
        assert report.exit_code == 0
        assert [(kind.class_name, kind.rule) for kind in report.kinds] == [
            ("phi", ""),
            ("phi", "hl7v2"),
            ("operational", ""),
        ]
        with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
            stats = vault.backup(tree, options=LOWER).stats
        assert {row.class_name: row.files for row in stats.classes} == {"phi": 5, "operational": 1}

    def test_it_says_what_it_cannot_do(self, tree, tmp_path):
        with pytest.raises(SourceMissingError, match="1 of the 2 paths"):
            holdfast.classify([tree, tmp_path / "gone"])
        with pytest.raises(UsageError, match="no data class 'secret'"):
            holdfast.classify(tree, options=holdfast.BackupOptions(default_class="secret"))

        class Now:
            def is_set(self):
                return True

        many = tmp_path / "many"
        many.mkdir()
        for number in range(3000):
            (many / f"{number}").write_text("x")
        with pytest.raises(Interrupted):
            holdfast.classify(many, stop=Now())

    def test_the_command_shows_counts_and_no_name(self, tree, capsys):
        code = main(["classify", str(tree), "--default-class", "operational", "--class", "*.bin=system", "--json"])
        out = capsys.readouterr().out
        record = json.loads(out)
        assert code == record["exit_code"] == 0
        assert {kind["class_name"] for kind in record["kinds"]} <= set(CLASS_NAMES.values())
        assert "letter" not in out
        assert main(["classify", str(tree)]) == 0
        assert "phi" in capsys.readouterr().out
        assert main(["classify", str(tree), "--class", "no-rule"]) == 2
        assert "PATTERN=CLASS" in capsys.readouterr().err
