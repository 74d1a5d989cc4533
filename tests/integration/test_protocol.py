"""The protocol on real vaults: what is compared before a prune, who deduplicates against whom, prunes beside backups."""

from __future__ import annotations

import contextlib
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

import holdfast
from holdfast import engine
from holdfast.errors import DamageError, NotComparedError, ReferencesMismatchError, RevokedError, UsageError
from holdfast.repository.compared import not_compared
from holdfast.repository.forget import forget
from holdfast.repository.listing import read_envelopes
from holdfast.repository.prune import PruneOptions
from holdfast.repository.prune import prune as prune_repository
from holdfast.repository.refsets import Segments, parse
from holdfast.repository.session import Session
from holdfast.runs import parents
from holdfast.runs.compare import compare_all
from holdfast.runs.options import BackupOptions, Limits

FILES = 24
FILE_BYTES = 120_000
SMALL = BackupOptions(pack_bytes=1 << 20, checkpoint_bytes=1 << 20, checkpoint_seconds=0.0)


def write(folder: Path, numbers: range | list[int], version: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        file = folder / f"f{number:03d}"
        file.write_bytes(random.Random(number * 1000 + version).randbytes(FILE_BYTES))
        os.utime(file, ns=(10**18 + version, 10**18 + version))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "srv"
    write(folder, range(FILES))
    return folder


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as made:
        yield made


def restored(vault: holdfast.Vault, source: Path, out: Path, snapshot: str = "latest") -> bool:
    result = vault.snapshot(snapshot).restore(to=out)
    inside = out / str(source).lstrip("/")
    names = sorted(path.name for path in source.iterdir())
    assert result.exit_code == 0
    assert sorted(path.name for path in inside.iterdir()) == names
    return all((source / name).read_bytes() == (inside / name).read_bytes() for name in names)


# --- reference sets and trees -----------------------------------------------------------------------------------------


def test_what_a_tree_needs_is_what_its_reference_set_says(vault: holdfast.Vault, source: Path) -> None:
    """Small files, cut files, piece lists elsewhere and page maps: the walk and the writer count alike."""
    (source / "cut").write_bytes(random.Random(1).randbytes(60_000_001))
    (source / "paged").write_bytes(random.Random(2).randbytes(80 << 20))
    vault.backup([source], label="ehr")
    report = vault.verify()
    assert report.sound
    assert report.sets_compared > 0
    open_vault = vault._vault
    info = vault.snapshots()[0].info
    part = open_vault.repository.part(info, info.classes[0].class_id)
    with engine.translated():
        needed = open_vault.reader(info.id).tree(part.root).references()
    stored = parse(needed.encode_full()).added
    from holdfast.repository.marking import read_set

    assert read_set(open_vault.repository, info.classes[0].refs) == stored


def test_a_verify_compares_each_set_once_and_a_prune_only_what_is_new(vault: holdfast.Vault, source: Path) -> None:
    vault.backup([source], label="ehr")
    home = vault._vault.repository.home
    assert len(not_compared(home, read_envelopes(home).committed)) == 1
    assert vault.verify().sets_compared == 1
    assert vault.verify().sets_compared == 0
    write(source, [1, 2], 1)
    vault.backup([source], label="ehr")
    assert vault.prune(undo_days=0).phase in {"closed", "nothing"}
    assert not_compared(home, read_envelopes(home).committed) == []
    assert vault.verify().sets_compared == 0


def test_a_pruner_that_reads_no_tree_relies_on_signed_records_only(vault: holdfast.Vault, source: Path) -> None:
    vault.backup([source], label="ehr")
    repository = vault._vault.repository
    with pytest.raises(NotComparedError) as caught:
        prune_repository(repository, PruneOptions())
    assert caught.value.code == "not-compared"
    vault.verify()
    assert prune_repository(repository, PruneOptions()).phase == "nothing"


def test_a_set_that_lacks_something_stops_every_prune(
    vault: holdfast.Vault, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer with a fault commits a set without one pack's segments: nothing is deleted, and what to do is said."""
    first = vault.backup([source], label="ehr").snapshot
    assert first is not None
    write(source, list(range(0, FILES, 2)), 1)
    put_class = Session._put_class

    def lossy(self, draft, part, *, main):
        segments = parse(part.refs_payload or Segments().encode()).added
        origin, ordinal = next(iter(segments))
        lacking = segments.minus(Segments.of([(origin, ordinal)]))
        return put_class(self, draft, replace(part, refs_payload=lacking.encode(), refs_same=""), main=main)

    with monkeypatch.context() as patch:
        patch.setattr("holdfast.runs.backup.stored_refs", lambda repository, row, parent: _full(row))
        patch.setattr(Session, "_put_class", lossy)
        bad = vault.backup([source], label="ehr").snapshot
    assert bad is not None
    forget(vault._vault.repository, first.id, reason="test")
    before = {info.name for info in vault._vault.store.list("data/")}
    with pytest.raises(ReferencesMismatchError) as caught:
        vault.prune(undo_days=0)
    assert (caught.value.code, caught.value.exit_code) == ("references-mismatch", 4)
    assert {info.name for info in vault._vault.store.list("data/")} == before
    report = vault.verify()
    assert report.exit_code == 4
    assert any(bad.id in problem for problem in report.problems)
    assert restored(vault, source, tmp_path / "out")
    vault.backup([source], label="ehr")
    forget(vault._vault.repository, bad.id, reason="test")
    assert vault.prune(undo_days=0).phase == "closed"
    assert vault.verify().sound
    assert restored(vault, source, tmp_path / "out2")


def _full(row):
    from holdfast.runs.draft import StoredRefs

    return StoredRefs(row.refs.encode_full())


# --- groups of writers ------------------------------------------------------------------------------------------------


def enrol(vault: holdfast.Vault, folder: Path, label: str, group: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / f"{label}.credential"
    file.write_bytes(vault.enroll_writer(label, group=group))
    file.chmod(0o600)
    return file


def test_writers_of_a_group_share_what_a_verifier_countersigned(
    vault: holdfast.Vault, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (enrol(vault, tmp_path, label, "wards") for label in ("one", "two"))
    lone = enrol(vault, tmp_path, "lone", "")

    def back_up(credential: Path, label: str) -> int:
        monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / f"state-{credential.stem}"))
        with holdfast.Vault.open(tmp_path / "vault", credential=credential) as writer:
            return writer.backup([source], label=label, options=SMALL).stats.new_bytes

    everything = FILES * FILE_BYTES
    assert back_up(one, "a") == everything
    assert back_up(two, "b") == everything, "nothing is shared before a verifier has seen it"
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    report = vault.verify()
    assert report.sound
    assert report.runs_countersigned > 0
    assert vault.verify().runs_countersigned == 0
    assert back_up(lone, "d") == everything, "a writer that is alone shares nothing"
    three = enrol(vault, tmp_path, "three", "wards")
    assert back_up(three, "c") == 0
    # What a prune rewrote keeps the word of the verifier.
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    for snapshot in vault.snapshots():
        if snapshot.info.source != vault.snapshots()[0].info.source:
            forget(vault._vault.repository, snapshot.id, reason="test")
    vault.prune(undo_days=0, repack_below=1.0)
    four = enrol(vault, tmp_path, "four", "wards")
    assert back_up(four, "e") == 0
    # A revoked writer's runs count for nobody any more.
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))


def test_a_revoked_writer_s_runs_are_stored_again(
    vault: holdfast.Vault, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (enrol(vault, tmp_path, label, "wards") for label in ("one", "two"))
    with holdfast.Vault.open(tmp_path / "vault", credential=one) as writer:
        writer.backup([source], label="a", options=SMALL)
    assert vault.verify().runs_countersigned > 0
    vault.revoke_writer("one")
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "other"))
    with holdfast.Vault.open(tmp_path / "vault", credential=two) as writer:
        assert writer.backup([source], label="b", options=SMALL).stats.new_bytes == FILES * FILE_BYTES
        assert restored(vault, source, tmp_path / "out")


def test_a_planted_run_is_never_countersigned(
    vault: holdfast.Vault, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stolen writer lists its own pack with the ids of content that is not in it: no verifier vouches for that."""
    one, two = (enrol(vault, tmp_path, label, "wards") for label in ("one", "two"))
    other = tmp_path / "other"
    write(other, range(100, 104))
    with holdfast.Vault.open(tmp_path / "vault", credential=two) as writer:
        writer.backup([source], label="real", options=SMALL)
    vault.verify()
    put_run = Session._put_run

    def planting(self, run):
        """Exchange one byte of an id in the directory of the first pack."""
        payload = bytearray(run.payload)
        payload[-5] ^= 1
        try:
            self.indexes.engine.run_segments(bytes(payload))
        except Exception:  # noqa: BLE001 - a run that does not parse is planted as it was
            payload = bytearray(run.payload)
        return put_run(self, replace(run, payload=bytes(payload)))

    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "thief"))
    with monkeypatch.context() as patch, holdfast.Vault.open(tmp_path / "vault", credential=one) as thief:
        patch.setattr(Session, "_put_run", planting)
        with contextlib.suppress(DamageError, RevokedError):
            thief.backup([other], label="planted", options=SMALL)
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    signers = {}
    repository = vault._vault.repository
    for name in repository.home.listed("index"):
        signers[name.partition("/")[2]] = repository.home.read_sealed(name).signer_name
    vault.verify()
    thief_id = next(w.id for w in holdfast.repository.writers.list_writers(repository) if w.label == "one")
    signed = {name.partition("/")[2] for name in repository.home.listed("countersign")}
    assert not [run for run, signer in signers.items() if signer == thief_id and run in signed]


# --- prune beside a backup ----------------------------------------------------------------------------------------------


def once_at_checkpoint(monkeypatch: pytest.MonkeyPatch, at: int, action) -> list[object]:
    """Let something happen right before the n-th checkpoint of a session, and return what it returned."""
    original, seen, results = Session.checkpoint, [0], []

    def checkpoint(self, *args, **named):
        seen[0] += 1
        if seen[0] == at:
            results.append(action())
        return original(self, *args, **named)

    monkeypatch.setattr(Session, "checkpoint", checkpoint)
    return results


def test_a_running_backup_acknowledges_a_round_and_is_not_revoked(
    vault: holdfast.Vault, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dead packs of a forgotten source are condemned while another source's first backup runs: it says it needs none."""
    old = tmp_path / "old"
    write(old, range(200, 230))
    gone = vault.backup([old], label="old", options=SMALL).snapshot
    assert gone is not None
    forget(vault._vault.repository, gone.id, reason="test")
    acknowledged: list[int] = []
    settle = Session.settle

    def settled(self, references):
        acknowledged.extend(self._acknowledged)
        return settle(self, references)

    monkeypatch.setattr(Session, "settle", settled)
    write(source, range(FILES, 160))

    # Slow enough that most of it is still to be read when the round begins.
    slow = replace(SMALL, limits=Limits(read_bytes_per_s=2_000_000))
    with holdfast.Vault.open(tmp_path / "vault", key_file=tmp_path / "key") as pruner:

        def prune() -> object:
            # The run holds still meanwhile: however long it takes here, most of it is still to be read afterwards.
            (row,) = holdfast.run_status()
            holdfast.pause_runs(row.run, reason="a prune begins")
            try:
                return pruner.prune(undo_days=0)
            finally:
                holdfast.resume_runs(row.run)

        began = once_at_checkpoint(monkeypatch, 2, prune)
        result = vault.backup([source], label="ehr", options=slow)
    assert result.snapshot is not None
    assert [getattr(row, "phase", "") for row in began] == ["condemned"]
    assert acknowledged, "no list was acknowledged while the run went on"
    done = vault.prune(undo_days=0)
    assert (done.phase, done.packs_deleted > 0) == ("closed", True)
    assert vault.check().problems == ()
    assert restored(vault, source, tmp_path / "out")


def test_a_backup_whose_references_are_condemned_stores_them_again(
    vault: holdfast.Vault, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent is forgotten and everything it had is condemned in the middle of the run that rests on it."""
    parent = vault.backup([source], label="ehr", options=SMALL).snapshot
    assert parent is not None
    write(source, range(FILES, 100))
    phases: list[str] = []

    def other() -> object:
        with holdfast.Vault.open(tmp_path / "vault", key_file=tmp_path / "key") as pruner:
            forget(pruner._vault.repository, parent.id, reason="test")
            phases.append(pruner.prune(undo_days=0).phase)
        return None

    once_at_checkpoint(monkeypatch, 2, other)
    notes: list[object] = []
    result = vault.backup([source], label="ehr", options=SMALL, events=notes.append)
    assert result.snapshot is not None
    assert phases == ["condemned"]
    assert not result.partial
    monkeypatch.undo()
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    assert vault.prune(undo_days=0).phase == "closed"
    assert vault.check().problems == ()
    assert vault.verify().sound
    assert restored(vault, source, tmp_path / "out")


def test_a_rewrite_beside_a_backup_costs_it_nothing(
    vault: holdfast.Vault, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half-dead packs are rewritten in the middle of a run that rests on them: it finds the copies, and stores nothing again."""
    first = vault.backup([source], label="ehr", options=SMALL).snapshot
    assert first is not None
    write(source, list(range(0, FILES, 2)), 1)
    vault.backup([source], label="ehr", options=SMALL)
    forget(vault._vault.repository, first.id, reason="test")
    new = range(FILES, 100)
    write(source, new)
    phases: list[tuple[str, int]] = []

    def other() -> object:
        with holdfast.Vault.open(tmp_path / "vault", key_file=tmp_path / "key") as pruner:
            done = pruner.prune(undo_days=0, repack_below=0.9)
            phases.append((done.phase, done.packs_repacked))
        return None

    once_at_checkpoint(monkeypatch, 2, other)
    result = vault.backup([source], label="ehr", options=SMALL)
    assert phases[0][1] > 0
    assert result.stats.new_bytes == len(new) * FILE_BYTES
    assert vault.prune(undo_days=0).phase in {"closed", "nothing"}
    assert vault.check().problems == ()
    assert restored(vault, source, tmp_path / "out")


def test_a_revoked_session_whose_packs_are_gone_is_begun_again(
    vault: holdfast.Vault, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pruner that does not wait revokes the session and deletes what it rested on, right before its commit.

    That once ended with exit code 4: the run looked for its packs before it looked whether it was revoked.
    """
    parent = vault.backup([source], label="ehr", options=SMALL).snapshot
    assert parent is not None
    (source / "new").write_bytes(b"x" * 1000)
    original, done = Session._check_references, []

    def late(self, draft):
        if not done:
            with holdfast.Vault.open(tmp_path / "vault", key_file=tmp_path / "key") as pruner:
                forget(pruner._vault.repository, parent.id, reason="test")
                done.append(pruner.prune(undo_days=0, revoke_silent=True))
        return original(self, draft)

    monkeypatch.setattr(Session, "_check_references", late)
    result = vault.backup([source], label="ehr", options=SMALL)
    assert (done[0].phase, done[0].sessions_revoked) == ("closed", 1)
    assert result.snapshot is not None
    assert result.exit_code == 0
    assert vault.check().problems == ()
    assert restored(vault, source, tmp_path / "out")


def test_what_a_parent_has_stays_from_the_moment_the_session_is_announced(
    vault: holdfast.Vault, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parent is forgotten and a prune collects its reference set right after the run has chosen it.

    With the parent chosen before the announcement the run would commit a snapshot that names a set which is gone.
    """
    parent = vault.backup([source], label="ehr", options=SMALL).snapshot
    assert parent is not None
    original, phases = parents.history, []

    def history(open_vault, of, events):
        found = original(open_vault, of, events)
        if not phases:
            phases.append("")
            with holdfast.Vault.open(tmp_path / "vault", key_file=tmp_path / "key") as pruner:
                forget(pruner._vault.repository, parent.id, reason="test")
                phases.append(pruner.prune(undo_days=0).phase)
        return found

    monkeypatch.setattr(parents, "history", history)
    result = vault.backup([source], label="ehr", options=SMALL)
    assert result.snapshot is not None
    monkeypatch.undo()
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    for _ in range(2):
        vault.prune(undo_days=0)
    assert vault.check().problems == ()
    assert restored(vault, source, tmp_path / "out")


def test_a_tree_that_cannot_be_read_is_taken_at_its_word_and_compared_later(
    vault: holdfast.Vault, source: Path, tmp_path: Path
) -> None:
    first = vault.backup([source], label="ehr", options=SMALL).snapshot
    assert first is not None
    meta = tmp_path / "vault" / "meta"
    meta.rename(tmp_path / "away")
    meta.mkdir()
    found = compare_all(vault._vault)
    assert (found.wanting, found.unread > 0) == ((), True)
    repository = vault._vault.repository
    assert prune_repository(repository, PruneOptions()).phase == "nothing"
    meta.rmdir()
    (tmp_path / "away").rename(meta)
    assert compare_all(vault._vault).sets == 1
    assert compare_all(vault._vault).sets == 0


def test_what_a_prune_rewrote_is_vouched_for_like_the_rest(
    vault: holdfast.Vault, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs that a prune wrote for one writer are put again for its group once their packs are proved."""
    one, two = (enrol(vault, tmp_path, label, "wards") for label in ("one", "two"))
    with holdfast.Vault.open(tmp_path / "vault", credential=one) as writer:
        first = writer.backup([source], label="a", options=SMALL).snapshot
        write(source, list(range(0, FILES, 2)), 1)
        writer.backup([source], label="a", options=SMALL)
    assert first is not None
    forget(vault._vault.repository, first.id, reason="test")
    assert vault.prune(undo_days=0, repack_below=0.9).packs_repacked > 0
    assert vault.verify().runs_countersigned > 0
    assert vault.check().problems == ()
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "other"))
    with holdfast.Vault.open(tmp_path / "vault", credential=two) as writer:
        assert writer.backup([source], label="b", options=SMALL).stats.new_bytes == 0


@pytest.mark.parametrize("group", ["a" * 65, "ab" * 16])
def test_a_group_has_a_name_that_is_no_id(vault: holdfast.Vault, group: str) -> None:
    with pytest.raises(UsageError):
        vault.enroll_writer("ward", group=group)
