"""Facts are gathered from a real vault in memory of nothing but its store; certificates, other hosts, and what cannot be seen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

import holdfast
from holdfast import config
from holdfast.base.environment import ManualClock
from holdfast.errors import EvidenceError, Safety, StoreUnreachableError
from holdfast.reliability.alerts import AlertBook
from holdfast.reliability.objectives import CopyFacts, ExpiryFacts, ProofFacts, SourceFacts, StoreFacts, endangered
from holdfast.runs import status
from holdfast.runs.alerting import open_book
from holdfast.runs.assembly import create_vault
from holdfast.runs.drill import drills
from holdfast.runs.monitoring import gather
from holdfast.runs.monitoring.gather import (
    VaultFacts,
    certificate_expiry,
    make_report,
    source_facts,
    vault_alerts,
    vault_facts,
)
from holdfast.runs.monitoring.report import SourceStatus
from holdfast.runs.schedule.book import ScheduleBook
from holdfast.runs.schedule.configured import entries_of, open_schedule_book

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
TEXT = """[vault]
url = "VAULT"
key_file = "file:KEY"
[jobs.ehr]
rpo_seconds = "2d"
paths = ["DATA"]
[schedule.nightly]
job = "ehr"
every_seconds = "1d"
[monitoring]
store_free_percent = 0
"""


@pytest.fixture
def settings():
    return config.loads(TEXT, environ={}).settings


def test_the_facts_of_a_real_vault(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"x" * 100_000)
    places = {"VAULT": tmp_path / "vault", "KEY": tmp_path / "key", "DATA": tmp_path / "data"}
    text = TEXT
    for name, path in places.items():
        text = text.replace(name, str(path))
    loaded = config.loads(text, environ={})
    with holdfast.Vault.create(places["VAULT"], key_file=places["KEY"]) as vault:
        vault.backup([places["DATA"]], label="ehr")
        vault.backup([places["DATA"]], label="ehr")
        monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
        vault.backup([places["DATA"]], label="ehr")
        vault.backup([places["DATA"]])
        monkeypatch.undo()
        monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
        vault.verify()
    assert status.status(loaded).scheduler_silent
    with open_schedule_book() as book:
        book.note_fact(gather.SERVICE_FACT)
    report = status.status(loaded)
    assert report.vault
    assert [source.snapshots for source in report.sources if source.name == "ehr"] == [2]
    assert {source.name.partition("@")[2] for source in report.sources} == {"", "elsewhere"}
    assert report.packs == report.packs_proved >= 1
    assert report.verified_oldest_days is not None
    assert (report.verdict, report.exit_code, report.copies) == ("ok", 0, 1)
    assert report.stores[0].total_bytes > report.stores[0].free_bytes > 0
    with open_book() as book:
        book.report(holdfast.Alert("damage", "ehr", "x", Safety.AT_RISK))
    assert status.status(loaded).verdict == "critical"


def test_a_vault_that_breaks_while_it_is_read_is_a_fact(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    vault = create_vault(tmp_path / "vault", key_file=tmp_path / "key", passphrase=None, label="", env=None)
    assert vault_facts(vault).sources == ()

    def refuse():
        raise StoreUnreachableError("away")

    monkeypatch.setattr(vault, "listing", refuse)
    facts = vault_facts(vault)
    assert facts.error == "store-unreachable"
    assert facts.alert is not None
    vault.close()


def test_what_drills_say_is_in_the_facts(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    text = TEXT + '[services.ehr]\nrpo = "2d"\n'
    for name, path in {"VAULT": tmp_path / "vault", "KEY": tmp_path / "key", "DATA": tmp_path / "data"}.items():
        text = text.replace(name, str(path))
    loaded = config.loads(text, environ={})
    holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key").close()
    env = ManualClock(NOW).environment()
    facts = status.read_vault(loaded, env)
    assert facts.drill_at is None
    assert [(alert.code, alert.subject) for alert in facts.alerts] == [("drill-stale", "ehr")]
    book = ScheduleBook(":memory:", env)
    assert "drill-stale" in {alert.code for alert in vault_alerts(loaded.settings, facts, book)}
    record = SimpleNamespace(proves=True, ended="2026-11-20T03:00:00.000000Z")
    evidence = SimpleNamespace(records=lambda: (record, SimpleNamespace(proves=False)))
    monkeypatch.setattr(drills, "evidence_of", lambda *_: evidence)
    monkeypatch.setattr(drills, "stands", lambda *_: ())
    facts = status.read_vault(loaded, env)
    assert facts.drill_at == NOW - timedelta(days=3)
    report = make_report(loaded.settings, (), facts, book, (), NOW)
    assert report.drill_days == pytest.approx(3)

    def refuse(*_):
        raise EvidenceError("a record is not what was signed")

    monkeypatch.setattr(drills, "evidence_of", refuse)
    assert [alert.subject for alert in status.read_vault(loaded, env).alerts] == ["drills"]


def test_certificates_expire(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=9)).sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path / "c.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    expires = certificate_expiry(str(path))
    assert expires == NOW + timedelta(days=9)
    (alert,) = endangered([ExpiryFacts("c.pem", "certificate", expires, 30)], NOW)
    assert "expires in 9 days" in alert.text
    path.write_text("nonsense")
    assert certificate_expiry(str(path)) == datetime.fromtimestamp(0, UTC)


def test_the_vault_has_the_last_word_on_what_is_in_it(settings):
    book = ScheduleBook(":memory:", ManualClock(NOW).environment())
    entries = entries_of(settings)
    book.since("nightly")
    facts = VaultFacts(NOW, "v", sources=(SourceStatus("ehr", NOW - timedelta(hours=1), None, None, "unwatched"),))
    assert source_facts(entries, facts, book, 7)[0].last_good == NOW - timedelta(hours=1)
    assert source_facts(entries, VaultFacts(NOW, "v"), book, 7)[0].last_good is None
    assert source_facts(entries, VaultFacts(NOW, error="store"), book, 7)[0] == SourceFacts("ehr", None, 172_800.0, NOW)


def test_alerts_that_only_the_vault_can_tell_of(settings):
    clock = ManualClock(NOW)
    book = ScheduleBook(":memory:", clock.environment())
    facts = VaultFacts(NOW, "v", ages_days=(None, 3.0), first_days=40.0, free_bytes=10, total_bytes=1000, copies=0)
    codes = {alert.code for alert in vault_alerts(settings, facts, book)}
    assert codes == {"copies-missing", "verification-overdue"}
    assert vault_alerts(settings, VaultFacts(NOW, "v"), book) == ()
    alerts = AlertBook(":memory:", clock.environment())
    report = make_report(settings, (), facts, book, alerts.live(), NOW)
    assert report.verified_oldest_days is None
    assert (report.packs, report.packs_proved, report.verdict) == (2, 1, "critical")
    assert {type(fact) for fact in (CopyFacts("a", 1, 1), ProofFacts("a", "drill", 1, 2), StoreFacts("a", 1, 2))}


def test_room_is_known_for_local_stores_only(tmp_path):
    assert gather._room(None) == (None, 0)
    assert gather._room(str(tmp_path / "none")) == (None, 0)
    free, total = gather._room(str(tmp_path))
    assert free is not None
    assert 0 < free <= total
