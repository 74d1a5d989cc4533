"""The desk: takes alerts in, and tells people by the plan, until somebody answers.

A message goes by a contact's first channel that works. Where none does, the contact is tried again later; where nobody of a
level could be reached, the next level is told at once. A channel that fails is tried again every ten minutes; one that is away
for an hour is an alert that is told by the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from holdfast.base.environment import Environment
from holdfast.base.events import Alert
from holdfast.errors import ChannelError, HoldfastError, RecipientMissingError, ReplyRefusedError, Retry, Safety
from holdfast.reliability.alerts.book import AlertBook
from holdfast.reliability.alerts.messages import (
    closing_message,
    digest_message,
    heartbeat_message,
    told_message,
    trial_message,
)
from holdfast.reliability.alerts.plan import Notice, make_plan
from holdfast.reliability.alerts.records import AlertRecord, Delivery
from holdfast.reliability.alerts.replies import take_replies
from holdfast.reliability.alerts.table import Contact, Policy
from holdfast.reliability.notify.delivery import Deliveries
from holdfast.reliability.notify.protocol import Channel, Message, Receipt
from holdfast.reliability.retry import RetryPolicy

__all__ = ["AlertDesk", "Outlet", "Round"]

CHANNEL_FAILED = "channel-failed"
_KEEP_CHECK_SECONDS = 86400
_PROBE_SECONDS = 600.0
_AWAY_SECONDS = 3600.0
"""A channel that is away so long does not come back by itself."""
ROUND_SECONDS_MAX = 300.0
"""No message begins later in a round than this: what is left is told in the next one."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """A channel with how often and how long it is tried; `fault` says why it could not even be made."""

    channel: Channel | None
    attempts: int | None = None
    """None: as the retry policy of deliveries says."""
    seconds: float = 20.0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of the desk did."""

    sent: int
    """Messages that were accepted by a channel."""
    failed: int
    """Messages that no channel took."""
    held: int
    """Alerts and contacts that quiet hours or a storm hold back."""
    refused: int = 0
    """Files in the folder of replies that were not accepted."""


class AlertDesk:
    """Escalates what is in the book. Call :meth:`round` every minute or so, and after each run."""

    def __init__(
        self,
        book: AlertBook,
        policy: Policy,
        outlets: Mapping[str, Outlet],
        env: Environment,
        *,
        heartbeat: tuple[str, float] | None = None,
        reply_folder: str = "",
        retry: RetryPolicy | None = None,
    ) -> None:
        """Take the book, the policy and the channels by name; `heartbeat` is a channel and its interval in seconds."""
        self.book = book
        self.policy = policy
        self._outlets = outlets
        self._env = env
        self._deliveries = Deliveries(env, retry)
        self._heartbeat = heartbeat
        self._reply_folder = reply_folder
        self.alive: Callable[[], None] = lambda: None
        """Called before each try of a channel: a round in which many are away takes minutes."""
        self._dropped_old = -float(_KEEP_CHECK_SECONDS)
        self._silent: set[str] = set()
        """Channels that gave no sign in this round: they are not waited for again before the next one."""
        self._began = 0.0

    def report(self, alert: Alert, *, origin: str = "run") -> int:
        """Take an alert in; return its number."""
        return self.book.report(alert, origin=origin, quiet_return_seconds=self.policy.quiet_return_seconds)

    def reconcile(self, alerts: Iterable[Alert], *, origin: str = "objective") -> None:
        """Take in all that an origin sees now, and resolve what it saw before and sees no more."""
        seen = tuple(alerts)
        for alert in seen:
            self.report(alert, origin=origin)
        self.book.settle(origin=origin, keep=frozenset((alert.code, alert.subject) for alert in seen))

    def round(self) -> Round:
        """Take signed replies, tell what is due (what is at risk first), tell what is over, send the sign of life.

        Each channel that fails is waited for once a round, and no message begins after five minutes: however many channels
        are dead, a round ends.
        """
        self._silent.clear()
        self._began = self._env.monotonic()
        refused = 0
        if self._reply_folder:
            _, refused = take_replies(self._reply_folder, self.book, self.policy, self._reply_refused)
        self.book.heed_clock()
        self.book.reopen_overdue(self.policy.acknowledged_seconds)
        self._probe()
        sent = failed = held = 0
        # A level that cannot be reached hands over to the next one within the same round.
        for _ in range(len(self.policy.levels) + 1):
            notices, held = self._plan()
            if not notices:
                break
            for notice, records in sorted(notices, key=lambda pair: not pair[0].urgent):
                if self._late():
                    break
                if self._tell(notice, records):
                    sent += 1
                else:
                    failed += 1
        sent += self._tell_closing()
        self._beat()
        now = self._env.monotonic()
        if now - self._dropped_old >= _KEEP_CHECK_SECONDS:
            self.book.drop_old(self.policy.keep_days)
            self._dropped_old = now
        return Round(sent, failed, held, refused)

    def _reply_refused(self, why: str) -> None:
        """Tell people that a reply was refused: whoever sent it believes that the alert is answered."""
        kind = ReplyRefusedError
        self.report(
            Alert(
                kind.code, "replies", f"a reply was refused: {why}", Safety.INTACT, Retry.NEVER, kind.safe, kind.next
            ),
            origin="reply",
        )

    def _plan(self) -> tuple[list[tuple[Notice, list[AlertRecord]]], int]:
        now = self._env.now()
        live = {record.number: record for record in self.book.live()}
        sent = self.book.sent_since(now - timedelta(hours=1))
        plan = make_plan(live.values(), self.book.tellings(), self.policy, sent, now)
        levels = {number: level for number, level in plan.levels.items() if live[number].level != level}
        if levels:
            self.book.note_levels(levels)
        return [(notice, [live[number] for number in notice.alerts]) for notice in plan.notices], len(plan.held)

    def _late(self) -> bool:
        return self._env.monotonic() - self._began > ROUND_SECONDS_MAX

    def _tell(self, notice: Notice, records: list[AlertRecord]) -> bool:
        contact = self.policy.contacts[notice.contact]
        message = told_message(records, site=self.policy.site, level=notice.level, now=self._env.now(), contact=contact)
        return self._send(contact, message)

    def _send(self, contact: Contact, message: Message) -> bool:
        """Send by the contact's channels until one works (or by all), and note every try."""
        tries = self._tries(contact, message)
        # One note for all tries: the contact was told if one of them worked.
        self.book.note_deliveries(sorted(tries, key=lambda each: each.delivered))
        return any(each.delivered for each in tries)

    def _tries(self, contact: Contact, message: Message) -> list[Delivery]:
        tries = []
        for name in contact.channels:
            tries.append(self._try(name, message, contact.name))
            if tries[-1].delivered and not contact.every_channel:
                break
        return tries

    def _try(self, name: str, message: Message, contact: str) -> Delivery:
        self.alive()
        outlet = self._outlets.get(name, Outlet(None, fault="there is no such channel"))
        try:
            if outlet.channel is None:
                raise ChannelError(f"the channel {name} cannot be used: {outlet.fault}")
            if name in self._silent:
                raise ChannelError(f"the channel {name} failed a moment ago")
            receipt = self._hand_over(name, outlet.channel, outlet, message, contact)
        except RecipientMissingError as error:  # says nothing of the channel
            delivered, said = False, error.what
        except HoldfastError as error:
            self._silent.add(name)
            retry = Retry.EXHAUSTED if self._away_seconds(name) >= _AWAY_SECONDS else Retry.LATER
            self.report(
                Alert(CHANNEL_FAILED, name, error.what, Safety.INTACT, retry, error.safe, error.next), origin="channel"
            )
            delivered, said = False, error.what
        else:
            self.book.settle(origin="channel", subject=name)
            delivered, said = True, receipt.reference
        return Delivery(self._env.now(), contact, name, message.kind, message.level, delivered, said, message.numbers)

    def _hand_over(self, name: str, channel: Channel, outlet: Outlet, message: Message, contact: str) -> Receipt:
        """Hand a message over; one to nobody in particular goes to a contact where the channel has no recipients of its own."""
        try:
            return self._deliveries.send(name, channel, message, attempts=outlet.attempts, seconds=outlet.seconds)
        except RecipientMissingError:
            address = self._address_for(name)
            if contact or message.address or not address:
                raise
            message = replace(message, address=address)
        return self._deliveries.send(name, channel, message, attempts=outlet.attempts, seconds=outlet.seconds)

    def _away_seconds(self, name: str) -> float:
        """Return for how long a channel has failed; 0 if it has not."""
        since = [
            min(record.opened, record.waiting_since)
            for record in self.book.live()
            if (record.code, record.subject) == (CHANNEL_FAILED, name)
        ]
        return (self._env.now() - since[0]).total_seconds() if since else 0.0

    def _probe(self) -> None:
        """Try channels that failed a while ago: what works again is no alert any more."""
        now = self._env.now()
        for record in self.book.live():
            if (
                record.code == CHANNEL_FAILED
                and not self._late()
                and (now - record.last_seen).total_seconds() >= _PROBE_SECONDS
            ):
                self.test(record.subject)

    def _tell_closing(self) -> int:
        """Tell those who were told of an alert that it is over; once, in one message, and not in their quiet hours."""
        over = {record.number: record for record in self.book.closing()}
        if not over:
            return 0
        now = self._env.now()
        told: dict[str, list[AlertRecord]] = {}
        for (number, contact), telling in self.book.tellings().items():
            if number in over and telling.told_at is not None and contact in self.policy.contacts:
                told.setdefault(contact, []).append(over[number])
        waiting = {
            record.number
            for contact, records in told.items()
            if self.policy.is_quiet(contact, now)
            for record in records
        }
        sent = 0
        for contact, records in told.items():
            ready = [record for record in records if record.number not in waiting]
            if ready:
                person = self.policy.contacts[contact]
                message = closing_message(ready, site=self.policy.site, now=now, contact=person)
                sent += self._send(person, message)
        self.book.note_closing([number for number in over if number not in waiting])
        return sent

    def _beat(self) -> None:
        if self._heartbeat is None:
            return
        name, seconds = self._heartbeat
        last = self.book.last_delivery("heartbeat")
        now = self._env.now()
        if last is None or not 0 <= (now - last).total_seconds() < seconds:
            message = heartbeat_message(site=self.policy.site, now=now, live=len(self.book.live()))
            self.book.note_deliveries([self._try(name, message, "")])

    def send_digest(self, contact: str, day: date, verdict: str, text: str) -> tuple[Delivery, ...]:
        """Send a digest to a contact, by the first of their channels that works; return every try. Quiet hours do not hold it."""
        person = self.policy.contacts[contact]
        self._silent.clear()
        now, site = self._env.now(), self.policy.site
        message = digest_message(site=site, day=day, verdict=verdict, text=text, now=now, address=person.address)
        tries = self._tries(person, message)
        self.book.note_deliveries(tries)
        return tuple(tries)

    def test(self, channel: str, address: str = "") -> Delivery:
        """Send a test by a channel; return its receipt, or why there is none. It is noted like any delivery.

        Without an address it goes to the channel's own recipients, else to the first contact that it reaches by an address.
        """
        self._silent.discard(channel)
        delivery = self._try(channel, trial_message(site=self.policy.site, now=self._env.now(), address=address), "")
        self.book.note_deliveries([delivery])
        return delivery

    def _address_for(self, channel: str) -> str:
        """Return the address of the first contact that names a channel and has one; empty: nobody does."""
        people = self.policy.contacts.values()
        return next((person.address for person in people if channel in person.channels and person.address), "")
