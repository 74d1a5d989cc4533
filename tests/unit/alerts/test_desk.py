"""The desk tells people until somebody answers: by another channel where one fails, by the next level where nobody is reached."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast import Alert, config
from holdfast.base.calendar import Window
from holdfast.base.environment import ManualClock
from holdfast.errors import ChannelError, RecipientMissingError, Retry, Safety
from holdfast.reliability.alerts import AlertBook, AlertDesk, AlertState, Contact, Level, Policy
from holdfast.reliability.alerts.configured import make_desk, policy_of
from holdfast.reliability.alerts.desk import CHANNEL_FAILED, Outlet
from holdfast.reliability.alerts.messages import reference
from holdfast.reliability.alerts.table import TABLE, Row
from holdfast.reliability.notify.protocol import Message, Receipt
from holdfast.runs.approvals import break_glass_alert

DAMAGE = Alert("damage", "ehr", "a pack is damaged", Safety.DEGRADED, Retry.NEVER, "the rest.", "verify.")
RISK = Alert("copies-missing", "ehr", "no copy", Safety.AT_RISK, Retry.NEVER)


class Recorder:
    """A channel that keeps what it gets, and fails while it is told to."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.error: BaseException | None = None
        self.tries = 0

    def send(self, message: Message) -> Receipt:
        self.tries += 1
        if self.error is not None:
            raise self.error
        self.messages.append(message)
        return Receipt(f"r{len(self.messages)}")


class Site:
    """A desk on a manual clock, with three channels and three contacts."""

    def __init__(self, **policy) -> None:
        self.clock = ManualClock()
        self.channels = {name: Recorder() for name in ("mail", "sms", "log")}
        contacts = {
            "anna": Contact("anna", ("mail", "sms"), address="anna@x"),
            "berta": Contact("berta", ("mail",)),
            "chief": Contact("chief", ("sms", "log"), every_channel=True),
        }
        levels = (Level(("anna",)), Level(("berta",), 1800), Level(("chief",), 3600))
        self.book = AlertBook(":memory:", self.clock.environment())
        self.desk = AlertDesk(
            self.book,
            replace(Policy(levels, contacts, site="North"), **policy),
            {name: Outlet(channel, 2, 5.0) for name, channel in self.channels.items()},
            self.clock.environment(),
        )

    def later(self, **by) -> int:
        self.clock.advance(timedelta(**by))
        return self.desk.round().sent

    def kinds(self, channel: str) -> list[str]:
        return [message.kind for message in self.channels[channel].messages]


@pytest.fixture
def site():
    found = Site()
    yield found
    found.book.close()


def test_the_first_channel_that_works_is_used_and_its_receipt_kept(site):
    number = site.desk.report(DAMAGE)
    assert site.desk.round().sent == 1
    (message,) = site.channels["mail"].messages
    assert message.address == "anna@x"
    assert message.subject == "[Holdfast North] DEGRADED: damage (ehr)"
    for text in ("a pack is damaged", "SAFE: the rest.", "NEXT: verify.", reference(site.book.get(number))):
        assert text in message.body
    assert not site.channels["sms"].messages
    (delivery,) = site.book.deliveries(number)
    assert (delivery.contact, delivery.channel, delivery.delivered, delivery.reference) == ("anna", "mail", True, "r1")
    assert site.desk.round().sent == 0


def test_a_channel_that_fails_is_replaced_and_is_an_alert_itself(site):
    site.channels["mail"].error = ChannelError("the mail server is dead")
    site.desk.report(DAMAGE)
    site.desk.round()
    assert site.channels["mail"].tries >= 2
    assert site.kinds("sms")[0] == "alert"
    (failed,) = [record for record in site.book.live() if record.code == CHANNEL_FAILED]
    assert (failed.subject, failed.retry) == ("mail", Retry.LATER)
    assert not any(CHANNEL_FAILED in message.codes for message in site.channels["sms"].messages), "it may be back soon"
    site.later(minutes=61)
    assert site.book.get(failed.number).retry is Retry.EXHAUSTED
    assert any(CHANNEL_FAILED in message.codes for message in site.channels["sms"].messages), "its failure is told too"
    site.channels["mail"].error = None
    site.later(minutes=11)
    assert site.book.get(failed.number).state is AlertState.RESOLVED, "it is tried, and works again"
    assert site.kinds("mail")[0] == "test"


def test_where_nobody_is_reached_the_next_level_is_told_at_once(site):
    site.channels["mail"].error = site.channels["sms"].error = ChannelError("dead")
    site.desk.report(RISK)
    done = site.desk.round()
    assert done.failed
    (message,) = [message for message in site.channels["log"].messages if "copies-missing" in message.codes]
    assert message.level == 3
    assert site.book.live()[0].level == 3


def test_levels_climb_until_somebody_answers(site):
    number = site.desk.report(DAMAGE)
    site.desk.round()
    assert site.kinds("mail") == ["alert"]
    site.later(minutes=29)
    assert len(site.kinds("mail")) == 1
    site.later(minutes=1)
    assert [message.level for message in site.channels["mail"].messages] == [1, 2]
    site.book.acknowledge(number, "berta")
    for _ in range(20):
        site.later(hours=1)
    assert len(site.kinds("mail")) == 2
    assert not site.kinds("sms")
    site.later(hours=4)
    assert site.book.get(number).state is AlertState.OPEN, "still there a day after it was taken on"
    assert len(site.kinds("mail")) == 3


def test_every_channel_and_repeats(site):
    site.desk.report(DAMAGE)
    site.later(minutes=91)
    site.later(minutes=0)
    assert site.kinds("sms") == site.kinds("log") == ["alert"]
    site.later(minutes=61)
    assert site.kinds("sms") == site.kinds("log") == ["alert", "alert"]


def test_the_end_is_told_once_and_not_in_quiet_hours(site):
    number = site.desk.report(DAMAGE)
    site.desk.round()
    quiet = replace(site.desk.policy, quiet=(Window.parse("03:00-06:00"),))
    site.desk.policy = quiet
    site.book.resolve(number)
    assert site.desk.round().sent == 0
    assert site.later(hours=3) == 1
    assert site.kinds("mail") == ["alert", "resolved"]
    assert "over: damage (ehr)" in site.channels["mail"].messages[1].subject
    assert site.later(hours=1) == 0


def test_a_storm_is_one_message_that_lists_what_matters_first(site):
    for number in range(80):
        site.desk.report(Alert("store-unreachable", f"job-{number}", "x"))
    site.desk.report(DAMAGE)
    site.desk.round()
    (message,) = site.channels["mail"].messages
    assert (message.kind, message.subject) == ("collected", "[Holdfast North] DEGRADED: 81 alerts")
    assert message.body.splitlines()[0].endswith("DEGRADED  damage (ehr)")
    assert "and 31 more" in message.body
    assert len(message.numbers) == 81
    for record in site.book.live():
        site.book.resolve(record.number)
    site.desk.round()
    assert site.channels["mail"].messages[-1].subject == "[Holdfast North] over: 81 alerts"


def test_an_origin_is_reconciled(site):
    site.desk.reconcile([Alert("rpo-missed", "ehr", "x"), Alert("rpo-missed", "pacs", "x")])
    site.desk.reconcile([Alert("rpo-missed", "pacs", "x")])
    assert [record.subject for record in site.book.live()] == ["pacs"]
    site.desk.reconcile([Alert("rpo-missed", "ehr", "x")])
    assert [(record.subject, record.count) for record in site.book.live()] == [("ehr", 2)]


def test_a_sign_of_life_is_sent_and_its_failure_is_an_alert(site):
    desk = AlertDesk(site.book, site.desk.policy, site.desk._outlets, site.clock.environment(), heartbeat=("log", 600))
    desk.round()
    desk.round()
    assert site.kinds("log") == ["heartbeat"]
    site.clock.advance(timedelta(minutes=10))
    site.channels["log"].error = ChannelError("gone")
    desk.round()
    assert [record.code for record in site.book.live()] == [CHANNEL_FAILED]
    site.clock.advance(-timedelta(days=10))
    site.channels["log"].error = None
    desk.round()
    assert site.kinds("log") == ["heartbeat", "heartbeat"], "a clock that went back does not silence it"


def test_a_test_gives_a_receipt_or_a_reason(site):
    assert site.desk.test("mail", "x@y").reference == "r1"
    assert site.channels["mail"].messages[0].address == "x@y"
    found = site.desk.test("nothing")
    assert not found.delivered
    assert "no such channel" in found.reference


def test_a_channel_without_recipients_is_tried_at_a_contact_and_recovers(site):
    mail, send = site.channels["mail"], site.channels["mail"].send

    def to_somebody(message):
        if not message.address:
            raise RecipientMissingError("the channel mail has no recipient for the message")
        return send(message)

    mail.send = to_somebody
    assert site.desk.test("mail").delivered
    assert mail.messages[-1].address == "anna@x"
    mail.error = ChannelError("the mail server is dead")
    site.desk.report(DAMAGE)
    site.desk.round()
    assert [record.subject for record in site.book.live() if record.code == CHANNEL_FAILED] == ["mail"]
    mail.error = None
    site.later(minutes=11)
    assert not [record for record in site.book.live() if record.code == CHANNEL_FAILED]


def test_who_has_no_address_is_no_failure_of_the_channel(site):
    site.channels["sms"].error = RecipientMissingError("the channel sms has no recipient for the message")
    site.desk.policy = replace(site.desk.policy, contacts={"chief": site.desk.policy.contacts["chief"]})
    found = site.desk.test("sms")
    assert (found.delivered, "no recipient" in found.reference) == (False, True)
    assert not site.book.live()


def test_what_a_plug_in_raises_is_contained(site):
    site.channels["mail"].error = ValueError("password=hunter2")
    found = site.desk.test("mail")
    assert not found.delivered
    assert "ValueError" in found.reference
    assert "hunter2" not in found.reference


def test_a_channel_that_hangs_is_left_behind():
    release = threading.Event()

    class Hanging:
        def send(self, _message: Message) -> Receipt:
            release.wait(30)
            return Receipt("late")

    clock = ManualClock()
    book = AlertBook(":memory:", clock.environment())
    outlets = {"hanging": Outlet(Hanging(), 1, -4.9)}
    desk = AlertDesk(book, Policy((), {}), outlets, clock.environment())
    assert "no answer within" in desk.test("hanging").reference
    assert "still hangs" in desk.test("hanging").reference
    release.set()
    book.close()


def test_old_entries_are_dropped_once_a_day(site):
    number = site.desk.report(DAMAGE)
    site.book.resolve(number)
    site.desk.round()
    site.later(days=401)
    assert not site.book.everything()


def test_the_desk_of_a_configuration(tmp_path):
    text = """[vault]
url = "/v"
[channels.log]
kind = "file"
path = "LOG"
[channels.hook]
kind = "webhook"
url = "env:NOT_SET"
[contacts.anna]
channels = ["hook", "log"]
quiet_hours = ["22:00-23:00"]
[contacts.berta]
channels = ["log"]
[alerts]
heartbeat_channel = "log"
"""
    settings = config.loads(text.replace("LOG", str(tmp_path / "log")), environ={}).settings
    clock = ManualClock()
    policy = policy_of(settings)
    assert policy.levels == (Level(("anna", "berta")),), "without levels all contacts are one"
    assert policy.contacts["anna"].quiet == (Window.parse("22:00-23:00"),)
    assert policy.site
    assert policy_of(config.loads('[vault]\nurl = "/v"', environ={}).settings).levels == ()
    desk = make_desk(settings, ":memory:", clock.environment(), {})
    desk.report(DAMAGE)
    assert desk.round().sent == 2
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "log").read_text().splitlines()]
    assert kinds == ["alert", "alert", "heartbeat"]
    assert {record.subject for record in desk.book.live()} == {"ehr", "hook"}
    levels = (
        text
        + 'digest_contacts = ["anna"]\n[[escalation.levels]]\ncontacts = ["berta"]\n'
        + '[[escalation.rows]]\nsafety = "intact"\nretry = "never"\n'
    )
    policy = policy_of(config.loads(levels, environ={}).settings)
    assert [level.contacts for level in policy.levels] == [("berta",)]
    assert policy.table[Safety.INTACT, Retry.NEVER].first_level == 1
    desk.book.close()


def test_a_dead_channel_is_waited_for_once_a_round_whoever_it_would_reach(site):
    site.channels["mail"].error = ChannelError("the mail server is dead")
    site.desk.policy = replace(site.desk.policy, levels=(Level(("anna", "berta")),), collected_above=100)
    for number in range(5):
        site.desk.report(Alert("damage", f"ehr-{number}", "x", Safety.DEGRADED, Retry.NEVER))
    site.desk.round()
    assert site.channels["mail"].tries == 2, "the two attempts of one message, not of ten"
    assert len(site.kinds("sms")) == 5, "anna was told of each by her other channel"
    assert not [delivery for delivery in site.book.deliveries() if delivery.contact == "berta" and delivery.delivered]
    site.channels["mail"].error = None
    site.later(minutes=3)
    assert {d.contact for d in site.book.deliveries() if d.delivered} == {"anna", "berta"}


def test_a_round_ends_and_what_is_at_risk_goes_first(site):
    """Each message takes four minutes: no more than two begin in a round, and the urgent one is the first."""
    slow = site.channels["mail"].send

    def send(message):
        site.clock.advance(timedelta(minutes=4))
        return slow(message)

    site.channels["mail"].send = send
    site.desk.policy = replace(site.desk.policy, levels=(Level(("anna", "berta")),), collected_above=100)
    for number in range(4):
        site.desk.report(Alert("damage", f"ehr-{number}", "x", Safety.DEGRADED, Retry.NEVER))
    site.desk.report(RISK)
    assert site.desk.round().sent == 2
    assert [message.codes for message in site.channels["mail"].messages] == [("copies-missing",)] * 2
    for _ in range(10):
        site.desk.round()
    assert {subject for message in site.channels["mail"].messages for subject in message.subjects} >= {"ehr-0", "ehr-3"}


def test_an_emergency_restore_is_told_at_once_each_time(site):
    """Neither quiet hours, nor a storm, nor a site's patience, nor an answer to an earlier one holds it back."""
    patient = {**TABLE, (Safety.INTACT, Retry.NEVER): Row(1, 1, 4 * 3600.0)}
    quiet = (Window.parse("00:00-24:00"),)
    site.desk.policy = replace(site.desk.policy, quiet=quiet, table=patient, messages_per_hour=1)
    assert site.book.report(DAMAGE)
    assert site.later(seconds=60) == 0, "it is quiet"
    number = site.book.report(break_glass_alert("ab" * 16))
    assert site.later(seconds=60) == 2
    assert [message.codes for message in site.channels["mail"].messages] == [("break-glass",)] * 2
    site.book.acknowledge(number, "anna")
    assert site.later(seconds=60) == 0
    assert site.book.report(break_glass_alert("ab" * 16)) == number
    assert site.later(seconds=60) == 2, "somebody broke the glass again"
