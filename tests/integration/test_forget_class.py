"""Forgetting one data class of a snapshot leaves its other trees whole; retention may differ by class."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import holdfast_rescue
import pytest

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.errors import ClassForgottenError, HeldError, NotPermittedError, SnapshotMissingError, UsageError
from holdfast.repository import forget
from holdfast.runs.options import BackupOptions, ClassRule

OPTIONS = BackupOptions(class_rules=(ClassRule("*.log", "operational"),), default_class="phi", detect=False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    source = tmp_path / "srv"
    source.mkdir()
    clock = ManualClock()
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key", env=clock.environment()) as vault:
        yield vault, source, clock


def back_up(vault: holdfast.Vault, source: Path, version: int) -> holdfast.BackupResult:
    (source / "patient").write_bytes(b"record %d" % version * 5000)
    (source / "access.log").write_bytes(b"line %d\n" % version * 9000)
    return vault.backup([source], label="ehr", options=OPTIONS)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_a_class_goes_and_the_rest_is_whole(place, tmp_path: Path) -> None:
    vault, source, _ = place
    first, second = (back_up(vault, source, version).snapshot for version in (1, 2))
    assert first is not None
    assert second is not None
    result = vault.forget(snapshots=[first.id], classes=["operational"])
    assert result.plan.dropped == ((first.id, "operational"),)
    assert vault.prune(undo_days=0).phase == "closed"
    assert vault.check().problems == ()
    report = vault.verify()
    assert (report.problems, report.damaged) == ((), ())
    info = vault.snapshot(first.id).info
    assert [part.class_name for part in info.classes] == ["phi"]
    assert [part.class_name for part in info.dropped] == ["operational"]
    assert info.label == "ehr"
    notes: list[object] = []
    vault.snapshot(first.id).restore(to=tmp_path / "out", events=notes.append)
    assert names(tmp_path / "out") == {"patient"}
    assert any("forgotten by retention" in str(note) for note in notes)
    with pytest.raises(ClassForgottenError) as caught:
        vault.snapshot(first.id).restore(to=tmp_path / "out2", classes=["operational"])
    assert (caught.value.code, caught.value.exit_code) == ("class-forgotten", 5)
    vault.snapshot(second.id).restore(to=tmp_path / "out3")
    assert names(tmp_path / "out3") == {"patient", "access.log"}
    arguments = [str(tmp_path / "vault"), "--key-file", str(tmp_path / "key"), "restore", first.id, "--to"]
    assert holdfast_rescue.main([*arguments, str(tmp_path / "out4")]) == 0
    assert names(tmp_path / "out4") == {"patient"}


def test_the_main_class_goes_and_the_snapshot_keeps_its_label(place, tmp_path: Path) -> None:
    vault, source, _ = place
    first = back_up(vault, source, 1).snapshot
    back_up(vault, source, 2)
    vault.forget(snapshots=[first.id], classes=["phi"])
    vault.prune(undo_days=0)
    assert vault.check().problems == ()
    info = vault.snapshot(first.id).info
    assert (info.label, [part.class_name for part in info.classes]) == ("ehr", ["operational"])
    vault.snapshot(first.id).restore(to=tmp_path / "out")
    assert names(tmp_path / "out") == {"access.log"}
    # The last class takes the snapshot with it.
    result = vault.forget(snapshots=[first.id], classes=["operational"])
    assert result.forgotten == (first.id,)
    assert first.id not in {snapshot.id for snapshot in vault.snapshots()}
    assert vault.check().problems == ()


def test_retention_counts_by_class(place) -> None:
    vault, source, clock = place
    made = []
    for version in range(4):
        made.append(back_up(vault, source, version).snapshot.id)
        clock.sleep(86400)
    policy = holdfast.RetentionPolicy(last=4, classes={"operational": holdfast.RetentionPolicy(last=2)})
    plan = vault.plan_forget(policy)
    assert plan.forget == ()
    assert sorted(plan.dropped) == sorted((snapshot, "operational") for snapshot in made[:2])
    vault.forget(policy)
    assert vault.plan_forget(policy).dropped == ()
    # The rest shorter than the class: a snapshot stays for what is kept longer.
    shorter = holdfast.RetentionPolicy(last=1, classes={"operational": holdfast.RetentionPolicy(last=2)})
    plan = vault.plan_forget(shorter)
    assert sorted(plan.forget) == sorted(made[:2])
    assert plan.dropped == ((made[2], "phi"),)
    vault.forget(shorter)
    vault.prune(undo_days=0)
    assert vault.check().problems == ()
    with pytest.raises(UsageError):
        vault.plan_forget(holdfast.RetentionPolicy(last=1, classes={"phi": holdfast.RetentionPolicy()}))


def test_what_may_not_be_forgotten_keeps_its_classes(place) -> None:
    vault, source, _ = place
    first = back_up(vault, source, 1).snapshot
    back_up(vault, source, 2)
    vault.hold(first.id, reason="court")
    with pytest.raises(HeldError):
        vault.forget(snapshots=[first.id], classes=["operational"])
    vault.release(first.id, reason="over")
    with pytest.raises(UsageError):
        vault.forget(snapshots=[first.id], classes=["no-such-class"])
    with pytest.raises(UsageError):
        vault.forget(holdfast.RetentionPolicy(last=1), classes=["phi"])
    repository = vault._vault.repository
    with pytest.raises(SnapshotMissingError):
        forget.plan_ids(repository, ["ab" * 16], frozenset({"phi"}))
    forget.drop_class(repository, first.id, repository.class_id("operational"), reason="once")
    forget.drop_class(repository, first.id, repository.class_id("operational"), reason="twice")
    with pytest.raises(ClassForgottenError):
        forget.plan_ids(repository, [first.id], frozenset({"operational"}))


def test_the_next_backup_of_a_dropped_class_is_whole(place, tmp_path: Path) -> None:
    """The parent has no such class any more: its reference set is no base for a difference, and its content is read again."""
    vault, source, _ = place
    first = back_up(vault, source, 1).snapshot
    vault.forget(snapshots=[first.id], classes=["operational"])
    assert vault.prune(undo_days=0).phase == "closed"
    result = vault.backup([source], label="ehr", options=dataclasses.replace(OPTIONS, paranoid=False))
    assert result.exit_code == 0
    assert vault.check().problems == ()
    vault.snapshot(result.snapshot.id).restore(to=tmp_path / "out")
    assert names(tmp_path / "out") == {"patient", "access.log"}


def test_a_writer_drops_nothing(place, tmp_path: Path) -> None:
    vault, source, _ = place
    first = back_up(vault, source, 1).snapshot
    credential = tmp_path / "writer"
    credential.write_bytes(vault.enroll_writer("ward"))
    credential.chmod(0o600)
    with holdfast.Vault.open(tmp_path / "vault", credential=credential) as writer, pytest.raises(NotPermittedError):
        writer.forget(snapshots=[first.id], classes=["operational"])
