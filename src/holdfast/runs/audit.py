"""The audit log as callers hold it: list, sign, prove, verify, export, send, and begin anew after damage."""

from __future__ import annotations

import heapq
import json
import os
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.environment import parse_time
from holdfast.base.events import Alert, Events
from holdfast.errors import AuditDamagedError, AuditUnavailableError, MissingError, UsageError
from holdfast.reliability.audit import PublicKey, SignedHead, files
from holdfast.reliability.audit.atna import audit_message
from holdfast.reliability.audit.collect import Collector, Sent, send
from holdfast.reliability.audit.daily import daily_digest
from holdfast.reliability.audit.fhir import Version, audit_event
from holdfast.reliability.audit.read import Listed, prove_growth, prove_record, records, records_back
from holdfast.reliability.audit.record import Fact
from holdfast.reliability.audit.verify import LogProblem, LogReport, verify_log
from holdfast.repository.anchors import Anchor, anchor_numbers, anchors_of, logs_of_host, put_anchor, read_anchors
from holdfast.runs.operations import facts_of, operation
from holdfast.runs.trail import AUDIT_LOG, AuditFailure, unsound_alert

if TYPE_CHECKING:
    from holdfast.runs.assembly import OpenVault

__all__ = ["AuditTrail", "Renewed", "anchors_file", "heads_of_file"]

SITE = "holdfast"


@dataclass(frozen=True, slots=True)
class Renewed:
    """A log that was begun anew."""

    log: str
    """The new log's id."""
    previous: str
    """The old one's."""
    kept: str
    """The folder that the old one was moved to, beside the new one."""


class AuditTrail:
    """The audit log of one vault on this host.

    Reading it is itself recorded. Every method may raise `AuditUnavailableError` (it cannot be read or written) and
    `AuditDamagedError`; :meth:`verify` reports damage and raises for none.
    """

    def __init__(self, vault: OpenVault, *, site: str = SITE) -> None:
        """Use `Vault.audit`."""
        self._vault = vault
        self._trail = vault.trail
        self._site = site

    @property
    def folder(self) -> str:
        """Where it lies."""
        return str(self._trail.folder)

    @property
    def public_key(self) -> str:
        """The key that checks its heads, as PEM: give it to the auditor before it is needed."""
        return self._trail.log().public.pem

    def records(
        self, *, since: datetime | None = None, until: datetime | None = None, kind: str = "", newest: int = 0
    ) -> Generator[Listed]:
        """Yield records in their order; the newest so many if a number is given, which then are held, and no others.

        The reading is recorded when the first record is asked for. Whoever stops before the last one closes the iterator.
        """
        folder = self._existing()
        with operation(self._vault, "audit.read") as reading:
            if newest:
                back = islice(records_back(folder, since=since, until=until, kind=kind), newest)
                found = reversed([*back])
            else:
                found = records(folder, since=since, until=until, kind=kind)
            count = 0
            try:
                for count, each in enumerate(found, 1):  # noqa: B007 - how many there were is recorded
                    yield each
            except GeneratorExit:  # enough was read
                reading.done(count)
                raise
            reading.done(count)

    def head(self, *, anchor: bool = True) -> SignedHead:
        """Sign the log as it is now, and keep the head in the vault, too. Any store error if that fails."""
        log = self._trail.log()
        head = log.head()
        if anchor:
            put_anchor(self._vault.repository, head, log.public, os.uname().nodename)
        return head

    def anchors(self) -> tuple[Anchor, ...]:
        """Return the heads that the vault keeps of this log."""
        return read_anchors(self._vault.repository, self._log_in(self._existing()))[0]

    def verify(
        self, *, public: PublicKey | None = None, heads: Sequence[SignedHead] = (), events: Events | None = None
    ) -> LogReport:
        """Verify every stored byte against chain, tree, the log's own heads, those in the vault, and those given.

        A log of this host that the vault has heads of, and that is neither this one nor one that a renewal names, is a
        problem, too: it was taken away. So is a head that this host put into the vault and that is not there: the store was put
        back to an older state. That it was verified is recorded afterwards, if the log still takes records; what was found goes
        into `status`, and is an alert if it is not sound.
        """
        report = self.examine(public=public, heads=heads)
        found = facts_of(report)
        outcome = "success" if report.sound else "failure"
        record = self._trail.record("audit.verify", "event", self._vault.env.random_id(), outcome=outcome, facts=found)
        tell = events or self._trail.hear
        number: int | None = None
        try:
            number = self._trail.append([record])
        except AuditFailure as error:
            if report.sound:
                tell(Alert.of(error, AUDIT_LOG))
        self._trail.note_verified(number, sound=report.sound)
        if not report.sound:
            tell(unsound_alert(len(report.problems)))
        return report

    def examine(self, *, public: PublicKey | None = None, heads: Sequence[SignedHead] = ()) -> LogReport:
        """Do what :meth:`verify` does, and leave no trace of it."""
        if not (self._trail.folder / files.META).exists() and (gone := self._of_this_host()):
            return _nothing_left(gone)
        folder = self._existing()
        log = self._log_in(folder)
        # In this order: a run beside this one puts its head into the vault before it remembers that it did.
        own = self._trail.anchored()
        numbers = anchor_numbers(self._vault.repository, log)
        anchored = (anchor.head for anchor in anchors_of(self._vault.repository, log, numbers))
        given = sorted(heads, key=lambda head: head.size)
        merged = heapq.merge(anchored, given, key=lambda head: head.size)
        report = verify_log(folder, self._vault.env, public=public, anchored=merged, living=True)
        gone = self._of_this_host() - {report.log}
        if gone:
            with suppress(AuditDamagedError):
                gone -= {each.record.facts.get("previous") for each in records(folder, kind="audit.renewed")}
        lost = _gone(gone)
        if own > max(numbers, default=0):
            text = f"a signed head of {own} records that this host put into the vault is gone: the store shows an older state"
            lost = (*lost, LogProblem("rolled-back", own, text))
        return replace(report, problems=(*report.problems, *lost))

    def prove(self, number: int) -> bytes:
        """Return a proof that a record is in the log, which stands by itself."""
        return prove_record(self._existing(), number, self.head(anchor=False))

    def prove_growth(self, old: SignedHead) -> bytes:
        """Return a proof that the log of an earlier head was only added to."""
        return prove_growth(self._existing(), old, self.head(anchor=False))

    def export(
        self, version: Version, *, since: datetime | None = None, until: datetime | None = None
    ) -> Generator[dict[str, object]]:
        """Yield records as FHIR AuditEvent resources, each made when it is asked for."""
        log = self._trail.log().id
        with closing(self.records(since=since, until=until)) as found:
            for each in found:
                yield audit_event(each.record, each.number, log, version=version, site=self._site)

    def messages(self, *, since: datetime | None = None, until: datetime | None = None) -> Generator[bytes]:
        """Yield records as DICOM audit messages (PS3.15 A.5, XML, one line each), each made when it is asked for."""
        log = self._trail.log().id
        with closing(self.records(since=since, until=until)) as found:
            for each in found:
                yield audit_message(each.record, each.number, log, site=self._site)

    def daily(self, day: date) -> str:
        """Return the digest of a day (UTC), for people. `UsageError` if the day has not begun.

        Records are read from the last head on that was signed a day before it: so far a clock may have been set back.
        """
        if day > self._vault.env.now().date():
            raise UsageError("that day has not begun yet", next="name a day up to today, in UTC.")
        folder = self._existing()
        head = self.head(anchor=False)
        began = parse_time(files.read_meta(folder).created).date()
        before = files.newest_head_before(folder, datetime.combine(day, time(), UTC) - timedelta(days=1))
        start, offset = (before.head.size, before.offset) if before is not None else (0, 0)
        listed = records(folder, start=start, offset=offset)
        return daily_digest(day, listed, log=head.log, size=head.size, root=head.root, began=began)

    def send(self, collectors: Sequence[Collector]) -> list[Sent]:
        """Send each collector what it has not got. A collector that is away is a result, not an error."""
        folder, log = self._existing(), self._trail.log().id
        return [send(folder, log, collector, env=self._vault.env) for collector in collectors]

    def renew(self, reason: str) -> Renewed:
        """Move a damaged log aside, whole, and begin a new one, whose first record names the old one."""
        folder = self._existing()
        previous = self._id_of(folder)
        before = self._renewed(folder)
        stamp = self._vault.env.now().strftime("%Y%m%dt%H%M%Sz")
        kept = folder.with_name(f"{folder.name}-{stamp}")
        while kept.exists():  # begun anew a moment ago
            kept = kept.with_name(f"{kept.name}-again")
        os.rename(folder, kept)
        self._trail.forget()
        with operation(self._vault, "audit.renewed", previous=previous) as renewed:
            renewed.say(reason)
        named = [self._trail.record("audit.renewed", "event", renewed.id, facts={"previous": each}) for each in before]
        if named:
            self._trail.append(named)
        self.head()
        return Renewed(self._trail.log().id, previous, str(kept))

    def _renewed(self, folder: Path) -> list[str]:
        """Return the logs that a log was begun in place of: the next one names them, too, for it takes the place of all."""
        found: set[str] = set()
        with suppress(AuditDamagedError, AuditUnavailableError):
            for each in records(folder, kind="audit.renewed"):
                found.add(str(each.record.facts.get("previous", "")))
        return sorted(found - {""})

    def _id_of(self, folder: Path) -> str:
        try:
            return str(json.loads((folder / files.META).read_bytes())["log"])
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    @staticmethod
    def _log_in(folder: Path) -> str:
        """Return the id of the log that lies there."""
        try:
            return files.read_meta(folder).log
        except FileNotFoundError:
            raise AuditDamagedError("the description of the audit log was taken away") from None

    def _of_this_host(self) -> frozenset[str]:
        """Return the logs of this host that the vault has heads of. Any store error."""
        return logs_of_host(self._vault.repository, os.uname().nodename)

    def _existing(self) -> Path:
        folder = self._trail.folder
        if not folder.exists():
            if self._of_this_host():
                raise MissingError(
                    "the audit log was taken away: the vault has signed heads of it, and this host no record",
                    next="`holdfast audit verify` says which; the next operation begins another log.",
                )
            raise MissingError("this host has no audit log of the vault yet", next="the first operation begins it.")
        if not os.access(folder, os.R_OK | os.X_OK):
            raise AuditUnavailableError("the audit log cannot be read", next="read it as the user that writes it.")
        return folder


_NOT_HERE = "the vault has signed heads of log {} of this host, which is not here and was not renewed"


def _gone(logs: Iterable[str | Fact | None]) -> tuple[LogProblem, ...]:
    """Return what is wrong if the vault has heads of logs that are not here."""
    return tuple(LogProblem("other-log", 0, _NOT_HERE.format(log)) for log in sorted(map(str, logs)))


def _nothing_left(logs: frozenset[str]) -> LogReport:
    """Return the report of a log that was taken away whole."""
    return LogReport(
        log="", fingerprint="", records=0, heads=0, anchored=0, signed=0, proved=0, root="", problems=_gone(logs)
    )


def anchors_file(heads: Sequence[SignedHead]) -> str:
    """Return heads as a file for an auditor: one per line."""
    return "".join(f"{head.encode()}\n" for head in heads)


def heads_of_file(path: Path) -> list[SignedHead]:
    """Read such a file. `UsageError` if it has no head; `AuditDamagedError` for a line that is none among others.

    `MissingError` if it cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise MissingError("the file of heads cannot be read") from None
    written = [line for line in lines if line.strip()]
    found = []
    bad: AuditDamagedError | None = None
    for line in written:
        try:
            found.append(SignedHead.decode(line))
        except AuditDamagedError as error:
            bad = error
    if not found:
        raise UsageError(
            "the file holds no head of an audit log", next="give one that `holdfast audit head --heads` wrote."
        )
    if bad is not None:
        raise bad
    return found
