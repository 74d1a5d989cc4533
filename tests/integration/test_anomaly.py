"""Ransomware signs on real trees: encryption of 5, 25 and 100 % is stored, told, pinned and released; ordinary churn is not.

One vault, one source per part of the tree that is encrypted: what pins one lets the others go on.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import HeldError, PinnedError, Safety, UsageError
from holdfast.runs.drill.lastgood import last_good
from holdfast.runs.monitoring.facts import vault_facts
from holdfast.runs.options import BackupOptions
from holdfast.runs.results import RetentionPolicy

SEED = 11
FILES = 120
CHURNED = 4
DAYS = 4
OPTIONS = BackupOptions(update_catalog=False, paranoid=True)
"""Every file is read again: nothing here waits until a file's times can be told apart."""


def text(rng, lines):
    return "".join(
        f"PID|{rng.randrange(10**6)}|{rng.choice(('AB', 'CD'))}|19{rng.randrange(99)}\r" for _ in range(lines)
    )


class Ward:
    """A folder of messages, backed up under a label."""

    def __init__(self, vault, root: Path, label: str) -> None:
        self.vault, self.root, self.label = vault, root, label
        self.rng = random.Random(f"{SEED} {label}")
        self.events: list[object] = []
        root.mkdir()
        for number in range(FILES):
            (root / f"{number:03}.hl7").write_text(text(self.rng, self.rng.randrange(300, 700)))

    def backup(self):
        return self.vault.backup(self.root, label=self.label, options=OPTIONS, events=self.events.append)

    def churn(self):
        for file in self.rng.sample(sorted(self.root.iterdir()), CHURNED):
            file.write_bytes(file.read_bytes() + text(self.rng, 60).encode())

    def encrypt(self, part):
        for file in self.rng.sample(sorted(self.root.glob("*.hl7")), int(FILES * part)):
            file.write_bytes(self.rng.randbytes(file.stat().st_size))
            file.rename(f"{file}.locked")

    def alerts(self):
        return [event for event in self.events if isinstance(event, holdfast.Alert) and event.code == "anomaly"]

    def snapshots(self):
        return [snapshot.info for snapshot in self.vault.snapshots(self.label)]


@pytest.fixture(scope="module")
def vault(tmp_path_factory):
    root = tmp_path_factory.mktemp("anomaly")
    with holdfast.Vault.create(root / "vault", key_file=root / "key") as made:
        yield made


@pytest.fixture
def ward(vault, tmp_path, request):
    return Ward(vault, tmp_path / "ward", request.node.name)


def history_file(vault, source):
    (found,) = Path(vault.state_dir).rglob(f"{source}.history")
    return found


@pytest.mark.parametrize("part", [0.05, 0.25, 1.0])
def test_encryption_is_stored_told_pinned_and_released(vault, ward, part):
    for _ in range(DAYS):
        assert ward.backup().anomaly.score == 0
        ward.churn()
    good = ward.snapshots()[-1].id
    ward.encrypt(part)
    result = ward.backup()
    print(f"seed {SEED}, {part:.0%} encrypted: {result.anomaly}")  # noqa: T201 - a figure of docs/anomaly.md
    assert result.anomaly.suspicious
    assert result.exit_code == 0
    assert result.snapshot.anomaly == result.anomaly.score
    (alert,) = ward.alerts()
    assert alert.safety is Safety.AT_RISK
    assert good[:12] in alert.safe
    assert str(ward.root) not in repr(alert)
    assert alert.subject == ward.label

    if part < 1:
        ward.churn()  # of what is left; whatever is made of encrypted files is doubted, too
    ward.backup()
    (found,) = [row for row in vault.suspicions() if row.label == ward.label]
    assert (found.snapshot, found.last_good, found.kept) == (result.snapshot.id, good, DAYS + 2)
    assert last_good(vault._vault, ward.snapshots()).id == good

    policy = RetentionPolicy(last=1)
    assert vault.plan_forget(policy, source=ward.label).forget == ()
    with pytest.raises(PinnedError):
        vault.forget(snapshots=[good])
    assert len(ward.snapshots()) == DAYS + 2

    vault.hold(found.snapshot, reason="evidence")
    with pytest.raises(HeldError):
        vault.release_suspicious(found.snapshot, reason="it was a test")
    vault.release(found.snapshot, reason="evidence is kept elsewhere")
    assert not [row for row in vault.suspicions() if row.label == ward.label]
    with pytest.raises(UsageError):
        vault.release_suspicious(found.snapshot, reason="again")
    assert len(vault.forget(policy, source=ward.label).forgotten) == DAYS + 1


def test_a_release_counts_for_the_next_run_and_is_in_the_audit_log(vault, ward):
    good = ward.backup()
    ward.encrypt(0.25)
    first = ward.backup()
    assert first.anomaly.suspicious
    (source,) = [row for row in vault_facts(vault._vault).sources if row.snapshot == first.snapshot.id]
    assert (source.last_good, source.snapshots, source.suspicious) == (good.snapshot.finished, 2, 1), (
        "it is no good backup"
    )
    assert vault.release_suspicious(first.snapshot.id[:10], reason="a migration") == first.snapshot.id
    (source,) = [row for row in vault_facts(vault._vault).sources if row.snapshot == first.snapshot.id]
    assert (source.last_good, source.suspicious) == (first.snapshot.finished, 0)
    ends = [row.record for row in vault.audit.records() if row.record.kind == "release" and row.record.phase == "end"]
    assert (ends[-1].outcome, ends[-1].subject) == ("success", first.snapshot.id)
    for file in sorted(ward.root.glob("*.locked"))[:10]:
        file.write_bytes(ward.rng.randbytes(file.stat().st_size))
    assert not ward.backup().anomaly.suspicious, "what was released once is ordinary"


def test_a_history_that_is_lost_or_torn_costs_judgement_and_no_run(vault, ward):
    first = ward.backup()
    place = history_file(vault, first.snapshot.source)
    (line,) = place.read_text().splitlines()
    assert str(ward.root) not in line
    place.write_text(f"torn\n[]\n{json.dumps({'snapshot': 'x'})}\n{line}\n")
    ward.churn()
    assert ward.backup().anomaly.compared == 1
    place.unlink()
    for file in ward.root.iterdir():
        file.write_text("")
    wiped = ward.backup()
    assert wiped.anomaly.compared == 0
    assert [sign.name for sign in wiped.anomaly.signs] == ["collapsed"]
    assert wiped.anomaly.suspicious
    place.unlink()
    place.mkdir()
    ward.events.clear()
    assert ward.backup().snapshot is not None
    assert [event.code for event in ward.events if isinstance(event, holdfast.Note)] == ["history"]


def test_ordinary_days_of_a_real_tree_raise_nothing(ward):
    scores = [ward.backup().anomaly.score]
    for _ in range(12):
        ward.churn()
        scores.append(ward.backup().anomaly.score)
    assert max(scores) == 0
    assert not ward.alerts()


def other_file(ward, number):
    return ward.root / f"{number:03}.hl7"


def test_renames_are_counted_by_content_and_by_what_stands_in_their_place(vault, ward):
    """A moved folder is renamed and nothing else; files that were encrypted and renamed are veiled and defaced."""
    ward.backup()
    for number in range(60):
        other_file(ward, number).rename(ward.root / f"{number:03}-old.hl7")
    moved = ward.backup()
    assert [(sign.name, sign.share) for sign in moved.anomaly.signs] == [("renamed", pytest.approx(60 / 127, abs=0.02))]
    assert not moved.anomaly.suspicious
    for number in range(60, 90):
        file = other_file(ward, number)
        file.write_bytes(ward.rng.randbytes(file.stat().st_size))
        file.rename(ward.root / f"{number:03}")
    attacked = {sign.name: sign.share for sign in ward.backup().anomaly.signs}
    assert {"veiled", "replaced", "scrambled"} <= attacked.keys()
    assert "renamed" not in attacked
    assert attacked["veiled"] == pytest.approx(30 / 127, abs=0.02)


def test_names_of_ransomware_are_counted_and_never_told(vault, ward):
    ward.backup()
    for number in range(3):
        other_file(ward, number).rename(ward.root / f"{number:03}.hl7.LockBit")
    (ward.root / "HOW_TO_DECRYPT.txt").write_text("pay")
    (ward.root / "sub").mkdir()
    (ward.root / "sub" / "how_to_decrypt.html").write_text("pay")
    found = ward.backup()
    assert {sign.name: sign.share for sign in found.anomaly.signs}["named"] == 8, "three files and two notes"
    assert found.anomaly.suspicious
    (alert,) = ward.alerts()
    told = repr(alert) + history_file(vault, found.snapshot.source).read_text()
    assert "lockbit" not in told.lower()
    assert "decrypt" not in told.lower()
    assert "restore" in alert.next


def test_a_site_says_which_names_are_its_own(vault, ward):
    before = vault._vault.watch
    vault._vault.watch = holdfast.runs.watch.Watch.of(ignored=(".LOCKED",), extensions=("odd",), notes=("pay us",))
    try:
        for number in range(9):
            other_file(ward, number).rename(ward.root / f"{number:03}.hl7.locked")
        assert ward.backup().anomaly.signs == ()
        for number in range(10, 16):
            other_file(ward, number).rename(ward.root / f"{number:03}.ODD")
        (ward.root / "PAY US.txt").write_text("pay")
        assert {sign.name: sign.share for sign in ward.backup().anomaly.signs}["named"] == 8.5
    finally:
        vault._vault.watch = before


def test_a_large_compressed_file_written_over_is_no_alarm_and_an_encrypted_database_is(vault, ward):
    export, database = ward.root / "export.zip", ward.root / "ehr.mdf"
    export.write_bytes(b"PK\x03\x04" + ward.rng.randbytes(3_000_000))
    database.write_bytes(
        b"".join(bytes([1, 15]) + bytes(30) + f"{n:08}".encode() * 508 + bytes(96) for n in range(700))
    )
    for _ in range(2):
        assert ward.backup().anomaly.score == 0
    export.write_bytes(b"PK\x03\x04" + ward.rng.randbytes(3_100_000))
    assert ward.backup().anomaly.score == 0
    whole = database.read_bytes()
    stripes = [
        ward.rng.randbytes(65536) if at % 131072 == 0 else whole[at : at + 65536] for at in range(0, len(whole), 65536)
    ]
    database.write_bytes(b"".join(stripes))
    found = ward.backup().anomaly
    assert found.suspicious
    assert "scrambled" in {sign.name for sign in found.signs}
