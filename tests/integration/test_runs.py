"""Runs end to end through the public vault: what is acknowledged comes back, whatever happened around it."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import (
    AmbiguousSnapshotError,
    DamageError,
    HoldfastError,
    Interrupted,
    LocalStateError,
    NotPermittedError,
    PathMissingError,
    SnapshotMissingError,
    SourceMissingError,
    StoreFullError,
    TargetInsideVaultError,
    TargetNotEmptyError,
    UsageError,
    VaultExistsError,
    VaultMissingError,
    WrongKeyError,
)
from holdfast.runs.options import BackupOptions, ClassRule, Stream
from holdfast.stores.memory import MemoryStore
from holdfast.testing.trees import capture, differences

MIB = 1 << 20


@pytest.fixture
def source(tmp_path):
    """A small tree with a bit of everything: tiny, middling and large, text and noise, links, a hole."""
    root = tmp_path / "source"
    rng = random.Random(7)
    for folder in ("ehr/2025", "ehr/2026", "pacs", "empty"):
        (root / folder).mkdir(parents=True)
    for number in range(200):
        text = "".join(f"PID|{number}|{rng.randrange(10**6)}\r" for _ in range(rng.randrange(1, 80)))
        (root / f"ehr/{2025 + number % 2}/{number:04d}.hl7").write_text(text)
    for number in range(4):
        (root / f"pacs/{number}.dcm").write_bytes(rng.randbytes(300_000 + number))
    (root / "pacs/large.bin").write_bytes(rng.randbytes(9 * MIB))
    (root / "link").symlink_to("ehr/2025")
    os.link(root / "pacs/0.dcm", root / "pacs/same.dcm")
    with (root / "hole").open("wb") as file:
        file.truncate(3 * MIB)
        file.seek(2 * MIB)
        file.write(b"end of it")
    return root


def settle():
    """Let time pass: what was changed within two seconds before a run is read again by the next one."""
    time.sleep(3.2)


@pytest.fixture
def vault(tmp_path):
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key", label="test") as made:
        yield made


def restored(snapshot, tmp_path, source, name="out"):
    """Restore everything and return what differs from the source."""
    out = tmp_path / name
    result = snapshot.restore(to=out)
    assert not result.findings
    return differences(capture(str(source)), capture(str(out) + str(source)))


def stored(vault_path):
    return {p.relative_to(vault_path): p.stat().st_size for p in Path(vault_path).rglob("*") if p.is_file()}


class TestRoundTrip:
    def test_everything_comes_back(self, vault, source, tmp_path):
        result = vault.backup(source, label="ehr")
        assert not result.partial
        assert result.exit_code == 0
        assert result.stats.files >= 207
        assert restored(vault.snapshots().latest(), tmp_path, source) == []

    def test_nothing_changed_costs_little_and_is_still_a_snapshot(self, vault, source, tmp_path):
        settle()
        first = vault.backup(source, label="ehr")
        before = stored(tmp_path / "vault")
        second = vault.backup(source, label="ehr")
        after = stored(tmp_path / "vault")
        added = sum(size for name, size in after.items() if name not in before)
        assert added < 64 * 1024
        assert second.stats.stored_bytes == added
        assert second.stats.unchanged >= 212
        assert second.stats.new == second.stats.removed == 0
        assert second.stats.changed <= 4  # folders above the source, which others use
        assert second.snapshot.parent == first.snapshot.id
        assert not [name for name in after if name not in before and name.parts[0] == "data"]
        assert restored(vault.snapshot("latest"), tmp_path, source) == []

    def test_changes_come_back_and_old_snapshots_stay(self, vault, source, tmp_path):
        settle()
        vault.backup(source, label="ehr")
        old = capture(str(source))
        (source / "ehr/2025/0000.hl7").write_text("changed")
        (source / "ehr/2026/new.hl7").write_text("new")
        (source / "pacs/1.dcm").unlink()
        second = vault.backup(source, label="ehr")
        assert (second.stats.new, second.stats.removed) == (1, 1)
        assert second.stats.stored_bytes < MIB
        assert restored(vault.snapshot("latest"), tmp_path, source) == []
        first = vault.snapshots()[0]
        first.restore(to=tmp_path / "old")
        assert differences(old, capture(str(tmp_path / "old") + str(source))) == []

    def test_in_memory(self, source, tmp_path):
        name = f"memory:{tmp_path.name}"
        with holdfast.Vault.create(name, passphrase="correct horse battery staple") as made:
            made.backup([source])
            assert restored(made.snapshots().latest(), tmp_path, source) == []

    def test_open_by_every_secret(self, source, tmp_path):
        url, key = tmp_path / "vault", tmp_path / "key"
        with holdfast.Vault.create(url, key_file=key, passphrase="one two three four") as made:
            made.backup(source)
            kit = made.recovery_kit()
            made.add_passphrase("five six seven eight")
        kit_file = tmp_path / "kit"
        kit_file.write_bytes(kit)
        kit_file.chmod(0o600)
        for secret in (
            {"key_file": key},
            {"key_file": kit_file},
            {"passphrase": "one two three four"},
            {"passphrase": "five six seven eight"},
        ):
            with holdfast.Vault.open(url, **secret) as opened:
                assert len(opened.snapshots()) == 1
        with pytest.raises(WrongKeyError):
            holdfast.Vault.open(url, passphrase="none of them")

    def test_a_writer_adds_and_reads_nothing(self, vault, source, tmp_path):
        credential = tmp_path / "credential"
        credential.write_bytes(vault.enroll_writer("ward-7"))
        credential.chmod(0o600)
        with holdfast.Vault.open(tmp_path / "vault", credential=credential) as writer:
            result = writer.backup(source, label="ward")
            again = writer.backup(source, label="ward")
            assert again.stats.stored_bytes < 64 * 1024
            with pytest.raises(NotPermittedError):
                writer.snapshots().latest().restore(to=tmp_path / "no")
        assert vault.snapshot(result.snapshot.id).info.label == "ward"
        assert restored(vault.snapshot(result.snapshot.id), tmp_path, source) == []

    def test_classes_are_apart(self, vault, source, tmp_path):
        options = BackupOptions(class_rules=(ClassRule("pacs", "imaging"),))
        result = vault.backup(source, options=options)
        assert {row.class_name for row in result.stats.classes} == {"phi", "imaging"}
        assert restored(vault.snapshots().latest(), tmp_path, source) == []
        only = vault.snapshots().latest().restore(to=tmp_path / "images", classes=["imaging"])
        assert only.files == 6
        assert not (tmp_path / "images" / str(source).lstrip("/") / "ehr").exists()


class TestBrowse:
    def test_ls_find_read_diff(self, vault, source, tmp_path):
        vault.backup(source)
        one = vault.snapshots().latest()
        names = [entry.path.rpartition(b"/")[2] for entry in one.ls(source)]
        assert names == [b"ehr", b"empty", b"hole", b"link", b"pacs"]
        assert [entry.kind for entry in one.ls(source / "link")] == ["symlink"]
        assert len(list(one.find("*.hl7"))) == 200
        assert len(list(one.find(f"{source}/ehr/2025/*"))) == 100
        assert len(list(one.walk(source / "pacs"))) == 7
        with (tmp_path / "one").open("wb") as file:
            assert one.read(source / "pacs/large.bin", file.fileno()) == 9 * MIB
        assert (tmp_path / "one").read_bytes() == (source / "pacs/large.bin").read_bytes()
        with pytest.raises(PathMissingError):
            one.read(source / "pacs", 1)
        with pytest.raises(PathMissingError):
            list(one.ls("/nowhere"))
        (source / "pacs/1.dcm").unlink()
        (source / "ehr/2025/0000.hl7").write_text("changed")
        vault.backup(source)
        kinds = {change.path.rpartition(b"/")[2]: change.kind for change in one.diff(vault.snapshots().latest())}
        assert kinds[b"1.dcm"] == "removed"
        assert kinds[b"0000.hl7"] == "changed"

    def test_selectors(self, vault, source):
        with pytest.raises(SnapshotMissingError):
            vault.snapshots().latest()
        with pytest.raises(SnapshotMissingError):
            vault.snapshot("latest")
        first = vault.backup(source / "ehr", label="ehr").snapshot
        second = vault.backup(source / "pacs", label="pacs").snapshot
        assert vault.snapshot("latest").id == second.id
        assert vault.snapshot("latest:ehr").id == first.id
        assert vault.snapshot(first.id[:12]).id == first.id
        assert [s.id for s in vault.snapshots("pacs")] == [second.id]
        with pytest.raises((AmbiguousSnapshotError, SnapshotMissingError)):
            vault.snapshot("")

    def test_the_catalog_finds_over_all_snapshots(self, vault, source):
        vault.backup(source, label="ehr")
        settle()
        (source / "ehr/2025/0000.hl7").write_text("changed")
        (source / "pacs/1.dcm").unlink()
        vault.backup(source, label="ehr")
        assert len({row.entry.path for row in vault.find("*.dcm")}) == 5
        assert len(list(vault.find("*.hl7"))) == 201
        assert len(list(vault.find("*.hl7", limit=3))) == 3
        newest, oldest = vault.versions(source / "ehr/2025/0000.hl7")
        assert newest.entry.size == 7
        assert newest.snapshot == vault.snapshots()[-1].id
        assert oldest.snapshot == vault.snapshots()[0].id
        before = vault.snapshots()[0].finished
        assert [row.entry for row in vault.versions(source / "ehr/2025/0000.hl7", before=before)] == [oldest.entry]
        assert len(list(vault.versions(source / "pacs/1.dcm", source="ehr"))) == 1
        assert vault.catalog_update() == 0
        assert vault.catalog_rebuild() == 2


class TestRestore:
    def test_what_is_asked_for_and_nothing_else(self, vault, source, tmp_path):
        vault.backup(source)
        one = vault.snapshots().latest()
        one.restore(to=tmp_path / "a", include=[f"{source}/ehr/2025/**"])
        found = [p for p in (tmp_path / "a").rglob("*") if p.is_file()]
        assert len(found) == 100
        one.restore(to=tmp_path / "b", include=[f"{source}/ehr/*/000?.hl7", source / "hole"])
        assert len([p for p in (tmp_path / "b").rglob("*") if p.is_file()]) == 11
        one.restore(to=tmp_path / "c", exclude=["*.dcm", "large.bin"])
        assert not list((tmp_path / "c").rglob("*.dcm"))
        with pytest.raises(PathMissingError):
            one.restore(to=tmp_path / "d", include=["/not/there"])
        dry = one.restore(to=tmp_path / "e", dry_run=True)
        assert dry.files == 208
        assert not (tmp_path / "e").exists()

    def test_targets_that_are_refused(self, vault, source, tmp_path):
        vault.backup(source)
        one = vault.snapshots().latest()
        full = tmp_path / "full"
        full.mkdir()
        (full / "mine").write_text("mine")
        with pytest.raises(TargetNotEmptyError):
            one.restore(to=full)
        with pytest.raises(TargetInsideVaultError):
            one.restore(to=tmp_path / "vault" / "data")
        with pytest.raises(TargetInsideVaultError):
            one.restore(to=Path(vault.state_dir) / "x")
        with pytest.raises(UsageError):
            one.restore(to=full / "mine")
        assert (full / "mine").read_text() == "mine"

    def test_overwrite_rules(self, vault, source, tmp_path):
        vault.backup(source)
        one = vault.snapshots().latest()
        out = tmp_path / "out"
        one.restore(to=out)
        file = out / str(source).lstrip("/") / "ehr/2025/0000.hl7"
        content = file.read_text()
        file.write_text("mine")
        one.restore(to=out, in_place=True)
        assert file.read_text() == "mine"
        one.restore(to=out, overwrite="older")
        assert file.read_text() == "mine"
        os.utime(file, (1, 1))
        one.restore(to=out, overwrite="older")
        assert file.read_text() == content
        file.write_text("mine again")
        one.restore(to=out, overwrite="always")
        assert file.read_text() == content


class TestTrouble:
    def test_refusals(self, tmp_path, vault, source):
        with pytest.raises(VaultExistsError):
            holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key")
        with pytest.raises(VaultMissingError):
            holdfast.Vault.open(tmp_path / "none", key_file=tmp_path / "key")
        with pytest.raises(UsageError):
            holdfast.Vault.create(tmp_path / "other")
        with pytest.raises(UsageError):
            holdfast.Vault.open(tmp_path / "vault")
        with pytest.raises(SourceMissingError):
            vault.backup(tmp_path / "nowhere")
        with pytest.raises(UsageError):
            vault.backup([])
        with pytest.raises(UsageError):
            vault.backup(source, options=BackupOptions(default_class="no-such-class"))
        assert len(vault.snapshots()) == 0

    def test_an_unreadable_file_makes_the_run_partial_and_is_named(self, vault, source, monkeypatch):
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
        (source / "ehr/2025/0000.hl7").chmod(0)
        result = vault.backup(source)
        assert result.partial
        assert result.exit_code == 3
        assert [f.kind for f in result.findings] == ["unreadable"]
        assert result.snapshot.findings == 1

    def test_the_vault_is_never_backed_up_into_itself(self, vault, tmp_path, source):
        vault.backup(tmp_path)
        assert not [e for e in vault.snapshots().latest().walk() if b"/vault/data" in e.path]

    def test_a_dry_run_writes_nothing(self, vault, source, tmp_path):
        before = stored(tmp_path / "vault")
        result = vault.backup(source, dry_run=True)
        assert result.snapshot is None
        assert result.dry_run
        assert result.stats.files >= 207
        assert stored(tmp_path / "vault") == before

    def test_streams(self, vault, source, tmp_path):
        options = BackupOptions(
            streams=(Stream("dumps/db.sql", ("printf", "select 1;")), Stream("dumps/bad.sql", ("false",)))
        )
        result = vault.backup(source / "empty", options=options)
        assert result.partial
        assert [(f.path, f.kind, f.detail) for f in result.findings] == [
            (b"dumps/bad.sql", "stream-failed", "exit code 1")
        ]
        vault.snapshots().latest().restore(to=tmp_path / "out", include=["dumps"])
        assert (tmp_path / "out/dumps/db.sql").read_text() == "select 1;"
        assert not (tmp_path / "out/dumps/bad.sql").exists()

    def test_a_stream_inherits_what_it_is_given_and_no_more(self, vault, source, tmp_path, monkeypatch):
        monkeypatch.setenv("PGPASSFILE", "/etc/pg")
        monkeypatch.setenv("OUR_SECRET", "x")
        options = BackupOptions(streams=(Stream("env", ("env",), environment=("PGPASSFILE", "NOT_SET")),))
        vault.backup(source / "empty", options=options)
        vault.snapshots().latest().restore(to=tmp_path / "out", include=["env"])
        found = dict(line.split("=", 1) for line in (tmp_path / "out/env").read_text().splitlines())
        assert found["PGPASSFILE"] == "/etc/pg"
        assert found["LC_ALL"] == "C.UTF-8"
        assert found.keys() <= {"PATH", "HOME", "TZ", "XDG_RUNTIME_DIR", "LC_ALL", "PGPASSFILE"}

    @pytest.mark.parametrize("shown", [False, True])
    def test_what_a_command_says_is_not_passed_on_unless_asked_for(self, vault, source, capfd, shown):
        stream = Stream("dump", ("sh", "-c", "echo of a patient >&2; exit 7"))
        options = BackupOptions(streams=(stream,), show_stream_errors=shown)
        finding = vault.backup(source / "empty", options=options).findings[0]
        assert finding.detail.startswith("exit code 7")
        assert ("13 bytes on standard error" in finding.detail) == (not shown)
        assert ("of a patient" in capfd.readouterr().err) == shown
        assert "patient" not in finding.detail

    def test_an_interrupted_run_goes_on_without_storing_twice(self, vault, source, tmp_path):
        stop = threading.Event()
        options = BackupOptions(pack_bytes=MIB, checkpoint_bytes=MIB)
        held_back = replace(
            options, limits=holdfast.Limits(16 * MIB, None)
        )  # or a quick machine is done before it is told

        def events(event):
            if isinstance(event, holdfast.Progress) and event.stored_bytes > 3 * MIB:
                stop.set()

        rng = random.Random(1)
        for number in range(30):
            (source / f"pacs/more-{number}").write_bytes(rng.randbytes(2 * MIB))
        with pytest.raises(Interrupted):
            vault.backup(source, label="x", options=held_back, events=events, stop=stop)
        assert len(vault.snapshots()) == 0
        packs = {name: size for name, size in stored(tmp_path / "vault").items() if name.parts[0] == "data"}
        assert packs
        vault.backup(source, label="x", options=options)
        after = {name: size for name, size in stored(tmp_path / "vault").items() if name.parts[0] == "data"}
        content = sum(p.stat().st_size for p in (source / "pacs").iterdir())
        assert sum(after.values()) < content * 1.1
        assert restored(vault.snapshots().latest(), tmp_path, source) == []

    def test_a_full_store_stops_the_run_and_the_next_one_completes(self, vault, source, tmp_path, monkeypatch):
        from holdfast import engine

        real, count = engine.put_file, [0]

        def full(path, data, limits=None):
            count[0] += 1
            if count[0] > 4:
                raise OSError(errno.ENOSPC, "no space")
            real(path, data, limits)

        monkeypatch.setattr(engine, "put_file", full)
        with pytest.raises(StoreFullError):
            vault.backup(source, options=BackupOptions(pack_bytes=MIB))
        monkeypatch.setattr(engine, "put_file", real)
        vault.backup(source)
        assert restored(vault.snapshots().latest(), tmp_path, source) == []

    def test_two_runs_of_one_source_do_not_meet(self, vault, source):
        seen = []

        def events(event):
            if not seen:
                seen.append(1)
                with pytest.raises(LocalStateError):
                    vault.backup(source, label="x")

        vault.backup(source, label="x", events=events)

    def test_a_lost_cache_costs_time_and_no_space(self, vault, source, tmp_path):
        settle()
        vault.backup(source)
        before = stored(tmp_path / "vault")
        for file in (Path(vault.state_dir) / "cache").glob("*.cache"):
            file.unlink()
        vault.backup(source)
        added = [name for name in stored(tmp_path / "vault") if name not in before]
        assert not [name for name in added if name.parts[0] == "data"]

    def test_a_callback_that_raises_stops_the_run(self, vault, source):
        def events(event):
            raise RuntimeError("mine")

        with pytest.raises(RuntimeError, match="mine"):
            vault.backup(source, events=events)
        vault.backup(source)


class TestDamage:
    def flip(self, path, position=None):
        data = bytearray(path.read_bytes())
        at = len(data) // 2 if position is None else position
        data[at] ^= 0x10
        path.chmod(0o600)
        path.write_bytes(data)

    def packs(self, tmp_path, folder):
        return sorted(
            (p for p in (tmp_path / "vault" / folder).rglob("*") if p.is_file()), key=lambda p: p.stat().st_size
        )

    def test_damage_is_found_named_never_restored_and_healed(self, vault, source, tmp_path):
        vault.backup(source, label="ehr")
        pack = self.packs(tmp_path, "data")[-1]
        self.flip(pack)
        report = vault.verify(show_paths=True)
        assert report.exit_code == 4
        assert [row.pack for row in report.damaged] == [pack.name]
        assert report.damaged[0].class_name == "phi"
        assert report.damaged[0].snapshots == (vault.snapshots().latest().id,)
        assert report.damaged[0].files >= 1
        assert report.damaged_list.startswith("damaged/")
        result = vault.snapshots().latest().restore(to=tmp_path / "broken")
        assert result.damaged
        assert result.exit_code == 4
        for item in (tmp_path / "broken").rglob("*"):
            if item.is_file() and not item.is_symlink() and ".damaged" not in item.name:
                assert item.read_bytes() == Path("/", *item.relative_to(tmp_path / "broken").parts).read_bytes()
        vault.backup(source, label="ehr")
        assert restored(vault.snapshots().latest(), tmp_path, source) == []

    def test_a_missing_pack_is_found_and_stored_again(self, vault, source, tmp_path):
        vault.backup(source, label="ehr")
        for folder in ("data", "meta"):
            self.packs(tmp_path, folder)[0].unlink()
        assert vault.check().exit_code == 4
        assert vault.verify().exit_code == 4
        vault.backup(source, label="ehr")
        assert restored(vault.snapshots().latest(), tmp_path, source) == []

    def test_a_sound_vault_verifies_and_the_ledger_remembers(self, vault, source, tmp_path):
        vault.backup(source)
        assert vault.check().sound
        part = vault.verify(sample=0.1)
        assert part.sound
        assert part.packs < part.packs_total
        whole = vault.verify()
        assert whole.sound
        assert whole.packs == whole.packs_total
        assert whole.segments > 0
        assert whole.oldest_days < 1
        assert vault.verify(older_than_days=1).packs == 0

    def test_a_budget_of_bytes_or_time_is_spent_on_what_waited_longest(self, vault, source, tmp_path):
        for name in ("ehr", "papers", "images"):
            (source / "extra").mkdir(exist_ok=True)
            (source / "extra" / name).write_bytes(os.urandom(2_000_000))
            vault.backup(source)
        packs = vault.verify(bytes_max=1)
        total = packs.packs_total
        assert (packs.packs, packs.left) == (1, total - 1)  # one at least: every run goes on
        for left in range(total - 2, -1, -1):
            report = vault.verify(older_than_days=1, bytes_max=1)
            assert (report.packs, report.left) == (1, left)  # never one that was read before
        assert vault.verify(older_than_days=1, bytes_max=1).packs == 0
        late = vault.verify(seconds_max=1e-9)
        assert (late.packs, late.left, late.exit_code) == (0, total, 0)
        assert vault.verify(seconds_max=3600, bytes_max=1 << 40).left == 0
        for wrong in ({"bytes_max": 0}, {"seconds_max": 0.0}):
            with pytest.raises(UsageError, match="budget"):
                vault.verify(**wrong)

    def test_the_newest_snapshot_is_never_guessed(self, vault, source, tmp_path):
        first = vault.backup(source / "ehr").snapshot
        second = vault.backup(source / "ehr").snapshot
        self.flip(tmp_path / "vault/snapshot" / second.id)
        with pytest.raises(DamageError):
            vault.snapshot("latest")
        assert vault.snapshot(second.id).info.salvaged, "by its id, what is left of it"
        with pytest.raises(DamageError):
            vault.snapshots().latest()
        assert vault.snapshots().damaged == (second.id,)
        assert vault.snapshot(first.id).id == first.id

    def test_every_flipped_object_is_found(self, vault, source, tmp_path):
        vault.backup(source)
        (source / "ehr/2025/0000.hl7").write_text("changed")
        vault.backup(source)
        rng = random.Random(3)
        for name in sorted(stored(tmp_path / "vault")):
            path = tmp_path / "vault" / name
            good = path.read_bytes()
            self.flip(path, rng.randrange(len(good)))
            assert found_damage(vault), name
            path.write_bytes(good)
        assert vault.verify().sound


def found_damage(vault):
    """Return whether a verification finds damage, as a report or as the error of what it cannot do without."""
    try:
        return vault.verify(mark_damaged=False).exit_code == 4
    except DamageError:
        return True


class TestSpace:
    def test_stats_add_up(self, vault, source, tmp_path):
        vault.backup(source, label="ehr")
        (source / "pacs/new.dcm").write_bytes(os.urandom(MIB))
        vault.backup(source, label="ehr")
        vault.backup(source / "empty", label="other")
        stats = vault.stats()
        assert stats.bytes == sum(stored(tmp_path / "vault").values())
        assert stats.snapshots == 3
        assert {row.label for row in stats.sources} == {"ehr", "other"}
        newest = {row.snapshot: row for row in stats.by_snapshot}[vault.snapshot("latest:ehr").id]
        assert newest.exclusive_bytes > MIB
        assert newest.stored_bytes > newest.exclusive_bytes
        assert [row.class_name for row in stats.classes] == ["phi"]
        assert vault.stats(by_snapshot=False).by_snapshot == ()

    def test_forget_and_prune_give_space_back(self, vault, source, tmp_path):
        vault.backup(source, label="ehr")
        (source / "pacs/large.bin").unlink()
        shrunk = vault.backup(source, label="ehr")
        assert shrunk.anomaly.suspicious, "most of the source is gone: a person has to say that it was meant"
        vault.release_suspicious(shrunk.snapshot.id, reason="the file was not needed")
        before = sum(stored(tmp_path / "vault").values())
        plan = vault.plan_forget(holdfast.RetentionPolicy(last=1))
        assert len(plan.forget) == 1
        assert vault.forget(holdfast.RetentionPolicy(last=1), dry_run=True).dry_run
        assert len(vault.snapshots()) == 2
        assert vault.forget(holdfast.RetentionPolicy(last=1)).forgotten == plan.forget
        assert len(vault.snapshots()) == 1
        assert vault.prune(dry_run=True).phase == "dry-run"
        result = vault.prune(undo_days=0)
        assert result.phase == "closed"
        assert sum(stored(tmp_path / "vault").values()) < before - 8 * MIB
        assert vault.check().sound
        assert vault.verify().sound
        assert restored(vault.snapshots().latest(), tmp_path, source) == []
        vault.backup(source, label="ehr")

    def test_holds(self, vault, source):
        first = vault.backup(source, label="ehr").snapshot
        vault.backup(source, label="ehr")
        assert vault.hold(first.id, reason="court") == first.id
        with pytest.raises(HoldfastError):
            vault.forget(snapshots=[first.id])
        assert vault.forget(holdfast.RetentionPolicy(last=1)).forgotten == ()
        assert vault.release(first.id, reason="over") == first.id
        assert vault.forget(snapshots=[first.id]).forgotten == (first.id,)


def test_stores_are_shared_by_name_in_one_process():
    assert MemoryStore.shared("a") is MemoryStore.shared("a")
