"""A snapshot that was made while a clock was ahead does not switch the watch over its source off: neither RPO nor silence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import holdfast
from holdfast import config
from holdfast.base.environment import ManualClock
from holdfast.reliability.objectives import ProofFacts, SourceFacts, endangered
from holdfast.runs.ahead import not_followed
from holdfast.runs.ledger import Ledger
from holdfast.runs.monitoring.facts import VaultFacts, vault_facts
from holdfast.runs.monitoring.gather import make_report, source_facts, vault_alerts
from holdfast.runs.schedule.book import ScheduleBook
from holdfast.runs.schedule.configured import entries_of
from holdfast.runs.verify import VerifyRequest, choose

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)
TEXT = """[vault]
url = "/v"
[jobs.ehr]
paths = ["/srv"]
rpo_seconds = "2d"
[schedule.nightly]
job = "ehr"
every_seconds = "1d"
"""


class House:
    """A vault with a source, on a clock that a test sets."""

    def __init__(self, folder) -> None:
        self.clock = ManualClock(NOW)
        self.data = folder / "data"
        self.data.mkdir()
        (self.data / "a").write_bytes(b"x" * 10_000)
        self.env = self.clock.environment()
        self.vault = holdfast.Vault.create(folder / "vault", key_file=folder / "key", env=self.env)
        self.book = ScheduleBook(":memory:", self.env)
        self.settings = config.loads(TEXT, environ={}).settings
        self.entries = entries_of(self.settings)
        self.heard: list[str] = []

    def backup(self, label: str = "ehr") -> str:
        self.heard.clear()
        result = self.vault.backup([self.data], label=label, events=self.hear)
        assert result.snapshot is not None
        return result.snapshot.id

    def hear(self, event: object) -> None:
        if isinstance(event, holdfast.Alert):
            self.heard.append(event.code)

    def facts(self) -> VaultFacts:
        return vault_facts(self.vault._vault)

    def codes(self) -> set[str]:
        facts = self.facts()
        found = endangered(source_facts(self.settings, self.entries, facts, self.book), self.clock.now())
        return {alert.code for alert in (*found, *vault_alerts(self.settings, facts, self.book))}

    def verdict(self) -> str:
        facts = self.facts()
        report = make_report(self.settings, self.entries, facts, self.book, (), self.clock.now())
        return report.sources[0].verdict


@pytest.fixture
def house(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    found = House(tmp_path)
    yield found
    found.vault.close()
    found.book.close()


@pytest.mark.parametrize("by", [timedelta(hours=1), DAY, 400 * DAY], ids=str)
def test_a_snapshot_of_a_time_to_come_is_an_alert_and_no_good_backup(house, by):
    house.clock._now += by
    house.backup()
    assert "snapshot-ahead" not in house.codes(), "nobody can tell while the clock is ahead"
    house.clock._now -= by
    assert house.codes() == {"snapshot-ahead"}
    assert house.verdict() == "never"
    house.clock.advance(10 * DAY)
    expected = {"snapshot-ahead", "rpo-missed"} if by > 10 * DAY else {"rpo-missed"}
    assert house.codes() - {"verification-overdue"} == expected
    house.backup()
    assert house.codes() <= {"verification-overdue"}
    assert house.verdict() == "ok"


def test_the_newest_good_backup_is_the_one_before(house):
    first = house.backup()
    house.clock._now += 400 * DAY
    ahead = house.backup()
    house.clock._now -= 399 * DAY
    (source,) = house.facts().sources
    assert source.last_good == NOW
    assert source.snapshot == first
    assert [info.id for info in not_followed(house.vault._vault.listing()[0], house.clock.now())] == [ahead]
    house.clock.advance(2 * DAY)
    assert "rpo-missed" in house.codes()


def test_a_source_of_another_host_whose_clock_was_ahead_falls_silent_all_the_same(house):
    house.clock._now += 400 * DAY
    house.backup("ward")
    house.clock._now -= 400 * DAY
    assert "source-silent" not in house.codes()
    house.clock.advance(timedelta(days=house.settings.monitoring.host_silent_days + 1))
    assert "source-silent" in house.codes()


def test_a_backup_tells_of_a_time_to_come_until_one_with_a_right_time_follows(house):
    house.backup()
    assert not house.heard
    house.clock._now += 400 * DAY
    house.backup()
    house.backup()
    assert not house.heard
    house.clock._now -= 400 * DAY
    house.backup()
    assert house.heard == ["clock-stepped"]
    house.backup()
    assert not house.heard


def test_a_book_s_word_of_a_time_to_come_is_no_good_backup_either():
    fact = SourceFacts("ehr", NOW + 400 * DAY, 86400.0, NOW - 2 * DAY)
    (alert,) = endangered([fact], NOW)
    assert alert.code == "rpo-missed"
    assert "has not come" in alert.text
    assert not endangered([SourceFacts("ehr", NOW + timedelta(minutes=5), 86400.0, NOW - 2 * DAY)], NOW)


def test_a_proof_of_a_time_to_come_is_none(tmp_path):
    (alert,) = endangered([ProofFacts("services", "drill", -300.0, 90, 91.0)], NOW)
    assert "never succeeded" in alert.text
    ledger = Ledger.load(tmp_path / "ledger")
    ledger.note(["a"], NOW + 400 * DAY)
    ledger.note(["b"], NOW - DAY)
    ages = {pack: ledger.age_days(pack, NOW) for pack in ("a", "b")}
    assert ages == {"a": None, "b": 1.0}
    assert choose(["a", "b"], ledger, ages, VerifyRequest(sample=0.5)) == ["a"], "it is read first"


def test_of_a_chain_of_a_time_to_come_only_what_nothing_follows_is_told(house):
    house.clock._now += 400 * DAY
    house.backup()
    house.backup()
    house.clock._now -= 400 * DAY
    assert len(not_followed(house.vault._vault.listing()[0], house.clock.now())) == 2
    house.backup()
    assert not not_followed(house.vault._vault.listing()[0], house.clock.now())
