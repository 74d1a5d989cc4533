"""The public door: each exported name is what the library hands out, in one pass through all that a vault can do."""

from __future__ import annotations

import os
from datetime import timedelta

import holdfast


def test_one_pass_through_the_whole_interface(tmp_path):
    source = tmp_path / "srv"
    (source / "ehr").mkdir(parents=True)
    (source / "ehr" / "a.hl7").write_text("MSH|^~\\&|" * 400)
    (source / "ehr" / "b.txt").write_text("short")
    os.mkfifo(source / "ehr" / "pipe")
    seen: list[holdfast.Event] = []
    callback: holdfast.Events = seen.append

    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key", label="site") as vault:
        assert isinstance(vault, holdfast.Vault)
        assert len(vault.id) == 32
        assert vault.url.endswith("vault")
        assert vault.label == "site"
        assert vault.id in vault.state_dir
        options = holdfast.BackupOptions(
            exclude=("*.txt",),
            class_rules=(holdfast.ClassRule("*.hl7", "phi"),),
            streams=(holdfast.Stream("dump.txt", ("echo", "dumped")),),
            limits=holdfast.Limits(read_bytes_per_s=10**9),
        )
        first = vault.backup(source, label="ehr", options=options, events=callback)
        assert isinstance(first, holdfast.BackupResult)
        assert isinstance(first.stats, holdfast.BackupStats)
        assert isinstance(first.snapshot, holdfast.SnapshotInfo)
        assert seen
        assert all(isinstance(event, holdfast.Progress | holdfast.Finding | holdfast.Note) for event in seen)

        (source / "ehr" / "a.hl7").write_text("changed")
        vault.backup(source, label="ehr", options=options)
        snapshots = vault.snapshots("ehr")
        assert isinstance(snapshots, holdfast.SnapshotList)
        assert len(snapshots) == 2
        older, newer = snapshots
        assert isinstance(newer, holdfast.Snapshot)
        assert newer.id == snapshots.latest().id == snapshots[-1].id == vault.snapshot("latest:ehr").id
        assert newer.finished >= older.finished

        path = f"{source}/ehr/a.hl7"
        assert all(isinstance(entry, holdfast.EntryInfo) for entry in newer.walk())
        assert [os.fsdecode(entry.path)[-5:] for entry in newer.ls(path)] == ["a.hl7"]
        assert [entry.size for entry in newer.find("*.hl7")] == [7]
        changes = list(older.diff(newer))
        assert all(isinstance(change, holdfast.Change) for change in changes)
        assert "changed" in {change.kind for change in changes}
        with (tmp_path / "content").open("wb") as file:
            newer.read(path, file.fileno())
        assert (tmp_path / "content").read_text() == "changed"
        restored = newer.restore(tmp_path / "out", include=["**/*.hl7"])
        assert isinstance(restored, holdfast.RestoreResult)

        assert vault.catalog_rebuild() == 2
        assert vault.catalog_update() == 0
        found = list(vault.find("*.hl7"))
        assert all(isinstance(item, holdfast.FoundEntry) for item in found)
        versions = list(vault.versions(path))
        assert [item.entry.size for item in versions] == [7, 3600]
        assert [i.entry.size for i in vault.versions(path, before=newer.finished - timedelta(microseconds=1))] == [3600]

        assert isinstance(vault.check(), holdfast.CheckReport)
        assert vault.check().sound
        assert isinstance(vault.verify(), holdfast.VerifyReport)
        assert vault.verify().sound
        assert isinstance(vault.stats(), holdfast.VaultStats)
        assert vault.stats().snapshots == 2

        policy = holdfast.RetentionPolicy(last=1)
        plan = vault.plan_forget(policy)
        assert isinstance(plan, holdfast.ForgetPlan)
        assert plan.forget == (older.id,)
        assert vault.hold(older.id, reason="court") == older.id
        assert not vault.forget(policy).forgotten
        assert vault.release(older.id, reason="over") == older.id
        forgotten = vault.forget(policy)
        assert isinstance(forgotten, holdfast.ForgetResult)
        assert forgotten.forgotten == (older.id,)
        pruned = vault.prune(undo_days=0)
        assert isinstance(pruned, holdfast.PruneResult)
        assert vault.check().sound

        assert vault.recovery_kit().startswith(b"HOLDFAST-KEY-1\n")
        vault.add_passphrase("correct horse battery staple")
        credential = tmp_path / "credential"
        credential.write_bytes(vault.enroll_writer("ward7"))
        vault.revoke_writer("ward7")
    assert issubclass(holdfast.errors.WrongKeyError, holdfast.HoldfastError)
    with holdfast.Vault.open(tmp_path / "vault", passphrase="correct horse battery staple") as vault:
        assert len(vault.snapshots()) == 1
        vault.close()
