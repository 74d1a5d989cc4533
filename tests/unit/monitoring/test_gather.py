"""Facts are gathered from a real vault in memory of nothing but its store; certificates, other hosts, and what cannot be seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.tiered import Tiered

import holdfast
from holdfast import config
from holdfast.base.environment import ManualClock
from holdfast.classes.policy import HOME
from holdfast.errors import EvidenceError, Safety, StoreUnreachableError
from holdfast.reliability.alerts import AlertBook
from holdfast.reliability.objectives import CopyFacts, ExpiryFacts, ProofFacts, SourceFacts, StoreFacts, endangered
from holdfast.runs import status
from holdfast.runs.alerting import open_book
from holdfast.runs.assembly import create_vault
from holdfast.runs.drill import drills
from holdfast.runs.monitoring import gather
from holdfast.runs.monitoring.facts import ClassFacts, StoreRoom, VaultFacts, vault_facts
from holdfast.runs.monitoring.gather import (
    capacities,
    certificate_expiry,
    certificate_files,
    make_report,
    source_facts,
    vault_alerts,
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
    record = SimpleNamespace(service="ehr", proves=True, ended="2026-11-20T03:00:00.000000Z")
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


def made_until(key, name, days: int) -> bytes:
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(days=days)).sign(key, hashes.SHA256())
    )  # fmt: skip
    return made.public_bytes(serialization.Encoding.PEM)


def test_certificates_expire(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
    path = tmp_path / "c.pem"
    path.write_bytes(made_until(key, name, 9))
    expires = certificate_expiry(str(path))
    assert expires == NOW + timedelta(days=9)
    (alert,) = endangered([ExpiryFacts("c.pem", "certificate", expires, 30)], NOW)
    assert "expires in 9 days" in alert.text
    later = made_until(key, name, 90)
    path.write_bytes(path.read_bytes() + later)
    assert certificate_expiry(str(path)) == NOW + timedelta(days=9)
    assert certificate_expiry(str(path), newest=True) == NOW + timedelta(days=90), "authorities that follow each other"
    path.write_text("nonsense")
    assert certificate_expiry(str(path)) == datetime.fromtimestamp(0, UTC)


def test_the_vault_has_the_last_word_on_what_is_in_it(settings):
    book = ScheduleBook(":memory:", ManualClock(NOW).environment())
    entries = entries_of(settings)
    book.since("nightly")
    facts = VaultFacts(NOW, "v", sources=(SourceStatus("ehr", NOW - timedelta(hours=1), None, None, "unwatched"),))
    assert source_facts(settings, entries, facts, book)[0].last_good == NOW - timedelta(hours=1)
    assert source_facts(settings, entries, VaultFacts(NOW, "v"), book)[0].last_good is None
    assert source_facts(settings, entries, VaultFacts(NOW, error="store"), book)[0] == SourceFacts(
        "ehr", None, 172_800.0, NOW
    )


def test_alerts_that_only_the_vault_can_tell_of(settings):
    clock = ManualClock(NOW)
    book = ScheduleBook(":memory:", clock.environment())
    facts = VaultFacts(
        NOW, "v", ages_days=(None, 3.0), first_days=40.0, rooms=(StoreRoom("vault", 10, 1000),), home_copies=0
    )
    codes = {alert.code for alert in vault_alerts(settings, facts, book)}
    assert codes == {"copies-missing", "verification-overdue"}
    assert vault_alerts(settings, VaultFacts(NOW, "v"), book) == ()
    alerts = AlertBook(":memory:", clock.environment())
    report = make_report(settings, (), facts, book, alerts.live(), NOW)
    assert report.verified_oldest_days is None
    assert (report.packs, report.packs_proved, report.verdict) == (2, 1, "critical")
    assert {type(fact) for fact in (CopyFacts("a", 1, 1), ProofFacts("a", "drill", 1, 2), StoreFacts("a", 1, 2))}


def test_the_copies_of_each_class_are_held_against_its_policy_and_the_site_s_word(settings):
    book = ScheduleBook(":memory:", ManualClock(NOW).environment())
    sound = ClassFacts("system", 3, 1, 1, oldest_days=2.0, within_days=180.0)
    short = ClassFacts("phi", 9, 1, 2, lacking=4, oldest_days=40.0, within_days=30.0)
    new = ClassFacts("imaging", 9, 2, 2, oldest_days=None, unproved_days=3.0, within_days=90.0)
    facts = VaultFacts(NOW, "v", classes=(sound, short, new), home_copies=2)
    found = {(alert.code, alert.subject): alert for alert in vault_alerts(settings, facts, book)}
    assert found.keys() == {("copies-missing", "phi"), ("verification-overdue", "phi")}
    assert "1 of 2 copies. 4 packs" in found["copies-missing", "phi"].text
    assert found["copies-missing", "phi"].safety is Safety.DEGRADED
    gone = replace(short, copies=0, nowhere=1)
    (alert,) = [
        alert
        for alert in vault_alerts(settings, replace(facts, classes=(gone,)), book)
        if alert.code == "copies-missing"
    ]
    assert alert.safety is Safety.AT_RISK
    late = replace(new, unproved_days=91.0)
    assert ("verification-overdue", "imaging") in {
        (alert.code, alert.subject) for alert in vault_alerts(settings, replace(facts, classes=(late,)), book)
    }
    two = config.loads(TEXT.replace("store_free_percent = 0", "copies = 2"), environ={}).settings
    codes = {(alert.code, alert.subject) for alert in vault_alerts(two, replace(facts, classes=(sound,)), book)}
    assert codes == {("copies-missing", "system")}, "the site asks for two copies of everything"
    assert (facts.copies, replace(facts, error="x").copies) == (1, 0)


def test_the_copies_of_packs_are_counted_on_real_stores(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    site = Tiered(tmp_path)
    site.tiers = replace(site.tiers, home_copy="third")
    site.fill()
    with site.create() as vault:
        site.down.add("second")
        site.backup(vault)
        facts = vault_facts(vault._vault, {"third": 1 << 30, HOME: 1 << 20})
        by_name = {each.name: each for each in facts.classes}
        assert (by_name["phi"].copies, by_name["phi"].copies_wanted, by_name["phi"].lacking) == (2, 2, 0), (
            "the third stood in"
        )
        database = by_name["database"]
        assert (database.copies, database.copies_wanted, database.nowhere) == (1, 2, 0)
        assert database.lacking == database.packs >= 1
        assert by_name["imaging"].copies == 0, "it lies in the spool alone"
        assert by_name["imaging"].nowhere == 0
        assert by_name["public"].oldest_days is None
        rooms = {room.name: room for room in facts.rooms}
        assert rooms.keys() == {"third", "vault"}, "stores in memory tell of no room"
        assert rooms["third"].total_bytes == 1 << 30
        assert 0 < (1 << 30) - rooms["third"].free_bytes < 1 << 24
        assert set(facts.sources[0].classes) >= {"phi", "imaging", "database"}
        site.down.clear()
        vault.migrate()
        vault.verify()
        site.backup(vault)
        facts = vault_facts(vault._vault)
        assert facts.home_copies == 2, "the home's objects are copied to another store"
        site.down.add("third")
        assert vault_facts(vault._vault).home_copies == 1, "a copy that does not answer is none"
        site.down.clear()
        assert all(each.lacking == 0 and each.oldest_days is not None for each in facts.classes)
        report = make_report(
            config.loads(TEXT, environ={}).settings, (), facts, ScheduleBook(":memory:", site.env), (), site.clock.now()
        )
        assert report.copies == min(each.copies for each in facts.classes)
        (source,) = report.sources
        assert (source.copies, source.copies_wanted, source.alerts) == (1, 2, 0)
        assert source.verified_oldest_days is not None


def test_capacities_and_certificates_come_from_the_configuration(tmp_path):
    text = """[vault]
url = "store:here"
[stores.here]
url = "s3://b/p"
endpoint = "https://x"
capacity_bytes = "1 TiB"
ca_file = "/a/ca.pem"
[stores.there]
url = "sftp://u@h/p"
capacity_bytes = "2 GiB"
[collectors.siem]
host = "x"
certificate = "/a/own.pem"
ca_file = "/a/ca2.pem"
[channels.mail]
kind = "mail"
host = "m"
sender = "a@b"
ca_file = "/a/ca3.pem"
[telemetry]
endpoint = "https://otel"
ca_file = "/a/ca4.pem"
[monitoring]
certificates = ["/etc/sql.pem"]
"""
    loaded = config.loads(text, environ={}).settings
    assert capacities(loaded) == {HOME: 1 << 40, "there": 2 << 30}
    assert capacities(config.loads(TEXT, environ={}).settings) == {}
    assert set(certificate_files(loaded)) == {
        ("sql.pem", "/etc/sql.pem", False),
        ("stores.here.ca_file", "/a/ca.pem", True),
        ("channels.mail.ca_file", "/a/ca3.pem", True),
        ("collectors.siem.ca_file", "/a/ca2.pem", True),
        ("collectors.siem.certificate", "/a/own.pem", False),
        ("telemetry.ca_file", "/a/ca4.pem", True),
    }


def test_a_credential_that_ends_is_told_before_it_does(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    clock = ManualClock(NOW)
    env = clock.environment()
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key", env=env) as vault:
        vault.issue_credential("auditor", "inspector", days=20)
        vault.enroll_writer("ward7")
        facts = vault_facts(vault._vault)
    assert facts.expiries == (("inspector", NOW + timedelta(days=20)),)
    alerts = [a for a in vault_alerts(settings, facts, ScheduleBook(":memory:", env)) if a.code == "key-expiring"]
    assert [(alert.subject, alert.text) for alert in alerts] == [("inspector", "The key expires in 20 days.")]


def test_each_source_shows_its_own_alerts_and_drills(settings):
    text = TEXT + '[services.ward]\nsource = "ehr"\nrpo = "2d"\n'
    loaded = config.loads(text, environ={}).settings
    env = ManualClock(NOW).environment()
    book, alerts = ScheduleBook(":memory:", env), AlertBook(":memory:", env)
    for subject in ("ehr", "nightly", "ward", "other"):
        alerts.report(holdfast.Alert("x", subject, "x"))
    known = SourceStatus("ehr", NOW - timedelta(hours=1), None, None, "unwatched", classes=("phi",))
    short = ClassFacts("phi", 2, 1, 2, 2, oldest_days=3.0)
    facts = VaultFacts(NOW, "v", sources=(known,), drills=(("ward", NOW - timedelta(days=4)),), classes=(short,))
    report = make_report(loaded, entries_of(loaded), facts, book, alerts.live(), NOW)
    assert report.nobody_told == (bool(loaded.schedule) and not loaded.contacts)
    (source,) = report.sources
    assert (source.alerts, source.copies, source.copies_wanted, source.verified_oldest_days) == (3, 1, 2, 3.0)
    assert source.drill_days == pytest.approx(4)
    assert [(each.name, each.lacking, each.verified_within_days) for each in report.classes] == [("phi", 2, 35.0)]


def test_the_room_of_a_store_that_is_away_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    vault = create_vault(tmp_path / "vault", key_file=tmp_path / "key", passphrase=None, label="", env=None)
    assert [room.name for room in vault_facts(vault).rooms] == ["vault"]

    def away():
        raise StoreUnreachableError("away")

    monkeypatch.setattr(vault.store, "room", away)
    assert vault_facts(vault).rooms == ()
    vault.close()


def test_a_job_that_a_timer_starts_has_its_objective_all_the_same():
    text = TEXT.replace('[schedule.nightly]\njob = "ehr"\nevery_seconds = "1d"\n', '[jobs.lab]\npaths = ["/x"]\n')
    loaded = config.loads(text, environ={}).settings
    clock = ManualClock(NOW)
    book = ScheduleBook(":memory:", clock.environment())
    alerts = AlertBook(":memory:", clock.environment())

    def verdicts(facts):
        report = make_report(loaded, entries_of(loaded), facts, book, alerts.live(), clock.now())
        return {source.name: source.verdict for source in report.sources}, set(report.dangers)

    known = SourceStatus("ehr", NOW - timedelta(days=3), None, None, "unwatched", 1)
    assert verdicts(VaultFacts(NOW, "v", sources=(known,))) == ({"ehr": "missed", "lab": "never"}, {"rpo-missed ehr"})
    fresh = replace(known, last_good=NOW)
    assert verdicts(VaultFacts(NOW, "v", sources=(fresh,)))[0]["ehr"] == "ok"
    assert verdicts(VaultFacts(NOW, "v"))[1] == set(), "it is watched from now on"
    assert verdicts(VaultFacts(NOW, error="store"))[0]["ehr"] == "unknown"
    clock.advance(timedelta(days=3))
    assert verdicts(VaultFacts(clock.now(), "v"))[1] == {"rpo-missed ehr"}
    assert verdicts(VaultFacts(clock.now(), error="store"))[1] == set(), "nobody knows of its age"


def test_two_entries_of_one_job_are_one_source(settings):
    loaded = config.loads(TEXT + '[schedule.noon]\njob = "ehr"\nevery_seconds = "1d"\n', environ={}).settings
    book = ScheduleBook(":memory:", ManualClock(NOW).environment())
    assert [fact.name for fact in source_facts(loaded, entries_of(loaded), VaultFacts(NOW, "v"), book)] == ["ehr"]
