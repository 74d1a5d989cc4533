"""A vault's audit log on this host: opened when first written, stamped with who and which policy, anchored in the vault.

The log lies in the local state (`audit/`). A head of it goes to the vault after whatever destroys or changes keys, and
otherwise once per interval: from then on the host itself cannot change what it recorded before without being found out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.alert_codes import next_of
from holdfast.base.environment import parse_time
from holdfast.base.events import Alert, Event, Note
from holdfast.base.values import dataclass
from holdfast.errors import (
    AuditDamagedError,
    AuditUnavailableError,
    HoldfastError,
    LocalStateError,
    Retry,
    Safety,
    StoreError,
)
from holdfast.reliability.audit import AuditLog, AuditRecord
from holdfast.reliability.audit.files import read_meta
from holdfast.reliability.audit.log import Room
from holdfast.reliability.audit.read import records_back
from holdfast.reliability.audit.record import Fact, this_actor
from holdfast.reliability.telemetry import TRACE_VARIABLE, Endpoint, Span, parent_of, post, traces_body
from holdfast.repository.anchors import anchor_retained_until, newest_size, put_anchor, retain_anchor, retain_newest

if TYPE_CHECKING:
    from datetime import datetime

    from holdfast.reliability.audit import SignedHead
    from holdfast.reliability.audit.collect import Collector
    from holdfast.runs.assembly import OpenVault

FOLDER = "audit"
ANCHORED, POLICY, VERIFIED, WANTED = "anchored", "policy", "verified", "anchor-wanted"
UNSOUND = "unsound"
AUDIT_LOG, AUDIT_UNSOUND = "audit-log", "audit-unsound"
"""What alerts about the log are about."""
NOT_ANCHORED = "audit-not-anchored"
ANCHOR_SECONDS = 3600.0
UNANCHORED_MAX = 24
"""How many intervals may pass without a head in the vault until that is an alert: a store may be away for a day."""
RETAIN_SECONDS = 6 * 365 * 86400
"""How long an anchored head is retained: six years, as documentation under 45 CFR 164.316(b)(2)(i) is."""
AWAY_SECONDS = 60.0
"""How long a collector that was away is not asked again."""
SENT_RECORDS_MAX = 5000
"""Sent after one operation at the most: `holdfast audit send` sends the rest."""
_TELEMETRY = "telemetry"
AuditFailure = (AuditUnavailableError, AuditDamagedError, LocalStateError)


@dataclass(frozen=True, slots=True)
class TrailOptions:
    """How the log is kept."""

    anchor_seconds: float = ANCHOR_SECONDS
    algorithm: str = "ed25519"
    retain_seconds: int = RETAIN_SECONDS
    """How long a head in the vault is retained by its store, where that can; 0: not at all."""
    policy: str = ""
    """The digest of the configuration in force."""
    site: str = "holdfast"
    collectors: tuple[Collector, ...] = ()
    """Where records are sent after each operation."""
    telemetry: Endpoint | None = None
    """Where a span of each operation is sent; None: nowhere."""


class Trail:
    """The log of one open vault. What nobody listens to is kept in `unheard`."""

    def __init__(self, vault: OpenVault) -> None:
        """Open nothing yet."""
        self._vault = vault
        self._log: AuditLog | None = None
        self.options = TrailOptions()
        self.unheard: list[Alert] = []
        self._listener: Callable[[Event], None] = self._keep
        self._spans: list[tuple[str, str, str, datetime]] = []
        """Operations under way: trace, span, the span above it, and when it began."""

    @property
    def folder(self) -> Path:
        """Where the log lies."""
        return self._vault.state_dir / FOLDER

    def hear(self, event: Event) -> None:
        """Give an alert that no callback was given for to who listens; keep it if nobody does."""
        if isinstance(event, Alert):
            self._listener(event)

    def listen(self, events: Callable[[Event], None]) -> None:
        """Give `events` what nobody heard, so far and from now on."""
        self._listener = events
        waiting, self.unheard = self.unheard, []
        for alert in waiting:
            events(alert)

    def _keep(self, event: Event) -> None:
        if isinstance(event, Alert):
            self.unheard.append(event)

    def log(self) -> AuditLog:
        """Return the log, opened or begun. `AuditUnavailableError`; `AuditDamagedError`, also if it has less than was anchored."""
        if self._log is None:
            try:
                folder = self._vault.folder(FOLDER)
            except LocalStateError as error:
                raise AuditUnavailableError(error.what, next=error.next) from error
            log = AuditLog.open(folder, self._vault.env, algorithm=self.options.algorithm)
            _whole(log, self.anchored())
            self._log = log
        return self._log

    def check_newest(self) -> None:
        """Compare the log with the newest head of it in the vault, before something is destroyed. `AuditDamagedError` if it has less.

        A vault whose heads cannot be read now is none of the log's faults: that no head can be added is said afterwards.
        """
        log = self.log()
        with suppress(StoreError):
            _whole(log, newest_size(self._vault.repository, log.id, log.public))

    def forget(self) -> None:
        """Let go of the log: it is another folder from now on."""
        self._log = None

    def record(
        self,
        kind: str,
        phase: str,
        operation: str,
        *,
        outcome: str = "",
        subject: str = "",
        code: str = "",
        facts: Mapping[str, Fact] | None = None,
    ) -> AuditRecord:
        """Return a record of now, by this process and credential."""
        repository = self._vault.repository
        return AuditRecord(
            kind=kind,
            phase=phase,
            operation=operation,
            time=self._vault.env.now(),
            actor=this_actor(os.uname().nodename, repository.role, repository.writer_id),
            vault=self._vault.vault_id,
            outcome=outcome,
            subject=subject,
            code=code,
            policy=self.options.policy,
            facts=facts or {},
        )

    def append(self, records: Sequence[AuditRecord], room: Room = Room.NONE) -> int:
        """Append durably; return the number of the last record. `AuditUnavailableError`, `AuditDamagedError`."""
        position = self.log().append([*self._policy_change(), *records], room)
        if self.options.policy:
            self._note_file(POLICY, self.options.policy)
        return position.size - 1

    def _policy_change(self) -> list[AuditRecord]:
        """Return a record of the configuration's change, if it is another than at the last record."""
        policy = self.options.policy
        if not policy:
            return []
        before = self._read_file(POLICY)
        if before == policy:
            return []
        facts: dict[str, Fact] = {"before": before, "after": policy}
        return [
            self.record("config.change", "event", self._vault.env.random_id(), outcome="success", facts=facts),
        ]

    def anchor(self, *, always: bool, events: Callable[[Event], None]) -> None:
        """Put a signed head into the vault, if one is due: `always` after what destroys.

        A failure is a note, and the next operation tries again; after what destroys, or without a head for long, it is an alert.
        """
        if not always and not self._due():
            return
        try:
            log = self.log()
            head = log.head()
            put_anchor(self._vault.repository, head, log.public, os.uname().nodename)
        except HoldfastError as error:
            self._note_file(WANTED, "1")
            if always or self._unanchored_long():
                events(_not_anchored(error))
            else:
                events(Note(f"the audit log's head could not be anchored in the vault: {error.what}", NOT_ANCHORED))
            return
        self._note_file(ANCHORED, f"{head.size} {self._vault.env.timestamp()}")
        with suppress(OSError):
            (self.folder / WANTED).unlink(missing_ok=True)
        self._retain(head, events)

    def _retain(self, head: SignedHead, events: Callable[[Event], None]) -> None:
        """Have the store retain an anchored head."""
        self._kept(lambda until: retain_anchor(self._vault.repository, head, until), events)

    def retain_all(self, events: Callable[[Event], None]) -> None:
        """Have the store retain the newest anchored head of every host: a host that may only add cannot do that itself."""
        self._kept(lambda until: retain_newest(self._vault.repository, until), events)

    def _kept(self, retain: Callable[[datetime], object], events: Callable[[Event], None]) -> None:
        """Have something retained. A failure is an alert: the next head covers this one."""
        if not self.options.retain_seconds:
            return
        until = self._vault.env.now() + timedelta(seconds=self.options.retain_seconds)
        try:
            retain(until)
        except HoldfastError as error:
            events(
                Alert(
                    "audit-not-retained",
                    "vault",
                    f"the store does not retain the audit log's head ({error.code})",
                    Safety.DEGRADED,
                    Retry.LATER,
                    "the head is in the vault, and the log on this host; only the store would let the head be deleted.",
                    "let this credential set retention on the store, or set `audit.retain_seconds = 0`.",
                )
            )

    def retained_until(self) -> datetime | None:
        """Ask the store until when it retains the newest head of this log; None if it does not, or cannot say."""
        try:
            meta = read_meta(self.folder)
        except (OSError, AuditDamagedError):
            return None
        return anchor_retained_until(self._vault.repository, meta.log, meta.public)

    def anchored(self) -> int:
        """Return how many records the last head counted that this host put into the vault; 0 if it does not know of any."""
        size, _, _ = self._read_file(ANCHORED).partition(" ")
        return int(size) if size.isdecimal() else 0

    def note_verified(self, record: int | None, *, sound: bool) -> None:
        """Remember where the log says that it was verified; without a record, that it is unsound now."""
        if record is not None:
            self._note_file(VERIFIED, str(record))
        elif not sound:
            self._note_file(VERIFIED, f"{UNSOUND} {self._vault.env.timestamp()}")

    def verified(self) -> tuple[datetime | None, bool]:
        """Return when this host last verified the log (None: it does not know), and whether it was sound then.

        The log's own record says so. A log that cannot be read back to that record is not sound.
        """
        word, _, text = self._read_file(VERIFIED).partition(" ")
        if word == UNSOUND:
            with suppress(ValueError):
                return parse_time(text), False
            return None, False
        if not word.isdecimal():
            return None, True
        number = int(word)
        try:
            for each in records_back(self.folder):
                if each.number <= number:
                    record = each.record
                    known = each.number == number and record.kind == "audit.verify"
                    return (record.time, record.outcome == "success") if known else (None, True)
        except AuditDamagedError:
            return None, False
        except AuditUnavailableError:
            pass
        return None, True

    def send(self, *, events: Callable[[Event], None]) -> bool:
        """Send each collector what it has not got, unless it was away a moment ago; return whether the log could be read.

        Nothing is lost by an outage; it is an alert, and so is a log that cannot be read: never an error, for what was asked is done.
        """
        if not self.options.collectors:
            return True
        try:
            return self._send(events)
        except AuditFailure as error:
            events(Alert.of(error, AUDIT_LOG))
        except (ValueError, TypeError, KeyError):
            events(Alert.of(AuditDamagedError("a record of the audit log is none that can be sent"), AUDIT_LOG))
        return False

    def _send(self, events: Callable[[Event], None]) -> bool:
        from holdfast.reliability.audit.collect import send

        for collector in self.options.collectors:
            if self._was_away(collector):
                events(_collector_away(collector.name, "it was away a moment ago"))
                continue
            sent = send(
                self.folder,
                self.log().id,
                collector,
                records_max=SENT_RECORDS_MAX,
                seconds_max=collector.send_seconds,
                env=self._vault.env,
            )
            if sent.damaged:
                events(Alert.of(AuditDamagedError(sent.failure), AUDIT_LOG))
                return False
            if sent.failure:
                self._note_file(f"away-{collector.name}", self._vault.env.timestamp())
                events(_collector_away(collector.name, sent.failure))
        return True

    def begin_span(self, operation: str) -> None:
        """Note that an operation begins: a part of the one around it, or of what this process was started under."""
        if self.options.telemetry is None:
            return
        trace, parent, *_ = self._spans[-1] if self._spans else parent_of(os.environ.get(TRACE_VARIABLE, ""))
        self._spans.append((trace or operation, operation[:16], parent, self._vault.env.now()))

    def end_span(self, name: str, outcome: str, facts: Mapping[str, Fact], ended: datetime) -> None:
        """Send the span of an operation that ended. A collector that is away is left alone for a minute, and never an error."""
        endpoint = self.options.telemetry
        if endpoint is None or not self._spans:
            return
        trace, own, parent, began = self._spans.pop()
        if self._is_away(_TELEMETRY):
            return
        said = {f"holdfast.{key}": value for key, value in facts.items()}
        failed = outcome not in {"success", "partial"}
        span = Span(
            trace,
            own,
            parent,
            f"holdfast {name}",
            began,
            ended,
            failed,
            {"holdfast.outcome": outcome, **said},
        )
        if post(endpoint, "traces", traces_body(endpoint, [span])):
            self._note_file(f"away-{_TELEMETRY}", self._vault.env.timestamp())

    def _was_away(self, collector: Collector) -> bool:
        return self._is_away(collector.name)

    def _is_away(self, name: str) -> bool:
        with suppress(ValueError):
            since = self._vault.env.now() - parse_time(self._read_file(f"away-{name}"))
            return 0 <= since.total_seconds() < AWAY_SECONDS
        return False

    def _unanchored_long(self) -> bool:
        """Return whether the last head was put into the vault long ago; without any, whether the log was begun long ago."""
        _, _, text = self._read_file(ANCHORED).partition(" ")
        with suppress(ValueError):
            age = (self._vault.env.now() - parse_time(text or self.log().meta.created)).total_seconds()
            return not 0 <= age <= UNANCHORED_MAX * self.options.anchor_seconds
        return True

    def _due(self) -> bool:
        if self._read_file(WANTED):
            return True
        _, _, text = self._read_file(ANCHORED).partition(" ")
        with suppress(ValueError):
            age = (self._vault.env.now() - parse_time(text)).total_seconds()
            return not 0 <= age < self.options.anchor_seconds
        return True

    def _read_file(self, name: str) -> str:
        try:
            return (self.folder / name).read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            return ""

    def _note_file(self, name: str, text: str) -> None:
        """Remember a line; losing it costs an anchor or a record of a change too many."""
        with suppress(OSError):
            new = self.folder / f"{name}.new"
            new.unlink(missing_ok=True)
            with open(
                os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="ascii"
            ) as file:
                file.write(f"{text}\n")
            os.replace(new, self.folder / name)


def _whole(log: AuditLog, anchored: int) -> None:
    """See that a log has all that a head counts which is in the vault: its size is read after the head, as others append."""
    size = log.position().size
    if size < anchored:
        raise AuditDamagedError(
            f"the audit log has {size} records, and the vault a signed head of {anchored}: the rest was taken away",
            size=size,
        )


def _collector_away(name: str, reason: str) -> Alert:
    """Return the alert of a collector that takes nothing: whoever watches there sees a quiet night, not an outage."""
    return Alert(
        "collector-away",
        name,
        f"the audit collector {name} takes nothing ({reason}); the log keeps what it lacks",
        Safety.UNTOUCHED,
        Retry.LATER,
        "every record is in the log of this host, and is sent when the collector answers.",
        "see to the collector and the way to it; `holdfast audit send` sends what it lacks.",
    )


def _not_anchored(error: HoldfastError) -> Alert:
    """Return the alert of a head that is not in the vault, where this host could not change what it recorded unnoticed."""
    return Alert(
        NOT_ANCHORED,
        AUDIT_LOG,
        f"the audit log's head could not be put into the vault ({error.code}): nothing beyond this host proves its newest records",
        Safety.DEGRADED,
        Retry.LATER,
        "what was asked was done, and is recorded on this host.",
        next_of(NOT_ANCHORED),
    )


def unsound_alert(problems: int = 0) -> Alert:
    """Return the alert of a log that does not verify: from here on nobody can say what was done on this host."""
    count = f" ({problems} faults)" if problems else ""
    return Alert(
        AUDIT_UNSOUND,
        AUDIT_LOG,
        f"the audit log does not verify{count}: records were changed, removed or cut off, or nothing proves them",
        Safety.DEGRADED,
        Retry.NEVER,
        "every backup is as it was; the heads in the vault prove the records before the first fault.",
        next_of(AUDIT_UNSOUND),
    )
