"""A backup with applications: captured as one consistency group, copied with the paths, checked, sealed with its evidence.

The order: every check before anything; capture; copy; the checks after; the logs that the capture rests on, stored as a
snapshot of their own; then the commit. A crash anywhere leaves no snapshot that claims more than it holds.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from holdfast.base.data_classes import class_rank
from holdfast.base.events import Alert, Finding, Note, ignore
from holdfast.base.patterns import literal
from holdfast.errors import ConfigError, DamageError, HoldfastError, RevokedError, Safety, UsageError
from holdfast.repository.listing import read_part
from holdfast.runs.backup import BackupRequest, run_backup
from holdfast.runs.conclusion import Conclusions, under
from holdfast.runs.configured import configured_resilience
from holdfast.runs.options import ClassRule, Stream
from holdfast.runs.results import BackupResult, BackupStats
from holdfast.runs.wal import store_log
from holdfast.sources.approach import Approach
from holdfast.sources.connectors.protocol import Beside, Budgets, Connection, Evidence, Member, Verdict
from holdfast.sources.consistency import consistent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.base.environment import Environment
    from holdfast.base.events import Events
    from holdfast.config import Settings
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import Cancel
    from holdfast.sources.connectors.postgresql.receiver import Receiver
    from holdfast.sources.connectors.protocol import Capture
    from holdfast.sources.consistency import Concluded, Group

__all__ = [
    "Sealed",
    "approach_of",
    "connection_of",
    "members_of",
    "read_evidence",
    "receiver_of",
    "run_application_backup",
    "spoiled",
    "spool_of",
    "with_captures",
]

DEGRADED = "application-degraded"
RUNS_MAX = 2


def connection_of(settings: Settings, name: str, state: str = "") -> Connection:
    """Return how a configured application is reached. `ConfigError` if there is none of that name."""
    found = settings.applications.get(name)
    if found is None:
        known = ", ".join(sorted(settings.applications)) or "none"
        raise ConfigError(f"the configuration has no application {name}", next=f"its applications are: {known}.")
    return Connection(
        name=name,
        host=found.host or "",
        port=found.port or 0,
        user=found.user or "",
        password=found.password,
        database=found.database or "",
        path=found.path or "",
        url=found.url or "",
        state=state,
        options=found.options,
    )


def spool_of(settings: Settings, name: str) -> str:
    """Return the WAL spool of a configured application. `ConfigError` if it has none."""
    spool = connection_of(settings, name).options.get("spool")
    if spool is None:
        raise ConfigError(
            f"the application {name} has no spool", next='set options = {spool = "/var/lib/holdfast/wal"}.'
        )
    return spool


def receiver_of(settings: Settings, name: str, env: Environment) -> Receiver:
    """Return what receives the WAL of a configured PostgreSQL application. `ConfigError`; connects to nothing."""
    from holdfast.sources.connectors.postgresql.receiver import Receiver

    connection = connection_of(settings, name)
    spool_of(settings, name)
    if connection.options.get("wal") != "stream":
        raise ConfigError(
            f"the application {name} does not get its WAL through a replication slot",
            next='set wal = "stream" in its options, or let PostgreSQL archive it: docs/postgresql.md.',
        )
    given = connection.options
    return Receiver(connection, env, slot=given.get("slot", ""), programs=given.get("programs", ""))


def members_of(vault: OpenVault, settings: Settings, names: Sequence[str]) -> tuple[Member, ...]:
    """Return new connectors to configured applications, with their budgets and policies. Connects to nothing."""
    from holdfast.sources.connectors import factory

    members = []
    for name in names:
        state = str(vault.folder("applications") / name)
        connection = connection_of(settings, name, state)
        found = settings.applications[name]
        budgets = Budgets(found.acquire_ms / 1000, found.hold_ms / 1000, found.attempts)
        made = factory(found.connector).make(connection, vault.env)
        members.append(Member(made, budgets, found.degrade, approach_of(vault, settings, name)))
    return tuple(members)


def approach_of(vault: OpenVault, settings: Settings, name: str) -> Approach:
    """Return how an application is approached: by `[retry]` and `[breaker]`, with the breaker's state in the local state."""
    how = configured_resilience(settings)
    keep = vault.folder("applications") / f"{name}.breaker"
    return Approach(vault.env, policies=how.policies, breaker=how.breaker, keep=keep)


def run_application_backup(
    vault: OpenVault,
    request: BackupRequest,
    members: Callable[[], tuple[Member, ...]],
    *,
    events: Events = ignore,
    stop: Cancel | None = None,
) -> BackupResult:
    """Back up paths, streams and applications as one snapshot; see `Vault.backup`. `members` makes new connectors.

    If a prune revokes the session, everything is captured anew: a copy is of one moment only.
    """
    if request.dry_run:
        return _dry_run(vault, request, members(), events, stop)
    for attempt in range(1, RUNS_MAX + 1):
        run = _Run(vault, request, events, stop)
        try:
            with consistent(members(), env=vault.env, folder=vault.folder("watchdog"), events=events) as group:
                return run.back_up(group)
        except RevokedError:
            if attempt == RUNS_MAX:
                raise
            events(Note("the session was revoked by a prune; the applications are captured anew"))
    raise AssertionError  # pragma: no cover - the loop returns or raises


def _dry_run(
    vault: OpenVault, request: BackupRequest, members: Sequence[Member], events: Events, stop: Cancel | None
) -> BackupResult:
    """Check the applications, which changes nothing, and count what the paths hold."""
    for member in members:
        try:
            member.connector.check()
        finally:
            member.connector.close()
    if not request.paths:
        return BackupResult(None, partial=False, stats=BackupStats(), dry_run=True)
    return run_backup(vault, request, events=events, stop=stop)


@dataclass(slots=True)
class _Run:
    """One capture on its way into a snapshot."""

    vault: OpenVault
    request: BackupRequest
    events: Events
    stop: Cancel | None
    captures: tuple[Capture, ...] = field(default=())

    def back_up(self, group: Group) -> BackupResult:
        """Store what the group captured; its checks come before the commit."""
        self.captures = group.captures

        def conclude(findings: Sequence[Finding]) -> Conclusions:
            return self._conclude(group.conclude(), findings)

        request = with_captures(self.request, self.captures)
        request = dataclasses.replace(request, conclude=conclude)
        return run_backup(self.vault, request, events=self.events, stop=self.stop)

    def _conclude(self, ends: Sequence[Concluded], findings: Sequence[Finding]) -> Conclusions:
        evidence: list[Evidence] = []
        beside: list[Beside] = []
        found: list[Finding] = []
        for end, capture in zip(ends, self.captures, strict=True):
            row = spoiled(end.evidence, capture, findings)
            for folder in end.follow:
                row = self._follow(row, folder)
            evidence.append(row)
            beside += end.beside
            found += [Finding(b"", "application-damage", problem) for problem in end.problems]
            for problem in end.problems:
                self.events(Alert("application-damage", row.application, problem, safety=Safety.DEGRADED))
            if row.error or row.verdict is Verdict.NONE:
                found.append(
                    Finding(
                        b"",
                        DEGRADED,
                        f"{row.application}: its copy is worth `{row.verdict}` ({row.error or 'unproved'})",
                    )
                )
        return Conclusions(tuple(evidence), tuple(beside), tuple(found))

    def _follow(self, evidence: Evidence, folder: bytes) -> Evidence:
        """Store the logs that a capture rests on. Without them it is worth nothing, and that is what is recorded."""
        try:
            result = store_log(self.vault, evidence.application, folder, self.request.options, stop=self.stop)
        except HoldfastError as error:
            self.events(Alert.of(error, evidence.application))
            return dataclasses.replace(evidence, verdict=Verdict.NONE, error=error.code)
        if result.snapshot is None or result.partial:
            return dataclasses.replace(evidence, verdict=Verdict.NONE, error="log-partial")
        return dataclasses.replace(evidence, follow=result.snapshot.id)


def with_captures(request: BackupRequest, captures: Sequence[Capture]) -> BackupRequest:
    """Return a request that stores what was captured as well. `UsageError` for a path that no rule can name. Pure."""
    options = request.options
    rules = []
    for capture in captures:
        if not capture.class_name:
            continue
        for path in capture.paths:
            try:
                rules.append(ClassRule(literal(path.decode()), capture.class_name))
            except UnicodeDecodeError:
                raise UsageError("an application's folder has a name that is no text") from None
    streams = tuple(Stream(row.path, row.command, row.class_name) for capture in captures for row in capture.streams)
    return dataclasses.replace(
        request,
        paths=(*request.paths, *(path for capture in captures for path in capture.paths)),
        moving=tuple(path for capture in captures for path in capture.moving),
        options=dataclasses.replace(
            options,
            exclude=(*options.exclude, *(pattern for capture in captures for pattern in capture.exclude)),
            class_rules=(*options.class_rules, *rules),
            streams=(*options.streams, *streams),
        ),
    )


def spoiled(evidence: Evidence, capture: Capture, findings: Sequence[Finding]) -> Evidence:
    """Return the evidence, taken back if something of the capture is not stored whole. Pure."""
    places = (*capture.paths, *(os.fsencode(stream.path) for stream in capture.streams))
    hit = [row.kind for row in findings if row.path and row.kind not in _HARMLESS and under(row.path, places)]
    if not hit:
        return evidence
    return dataclasses.replace(evidence, verdict=Verdict.NONE, error=hit[0])


_HARMLESS = frozenset({"socket-skipped", "silent-change"})


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a snapshot's sealed part keeps of its applications."""

    evidence: tuple[Evidence, ...] = ()
    beside: tuple[Beside, ...] = ()

    def of(self, application: str) -> Evidence | None:
        """Return the evidence of one application; None if the snapshot holds none."""
        return next((row for row in self.evidence if row.application == application), None)


def read_evidence(vault: OpenVault, info: SnapshotInfo) -> Sealed:
    """Return what a snapshot says of its applications; nothing for one without any.

    `NotPermittedError` without the key of its main class, `DamageError`.
    """
    main = min((part.class_id for part in info.classes), key=class_rank, default=0)
    raw: Any = read_part(vault.repository, info, main).evidence
    try:
        return Sealed(
            tuple(Evidence.decode(row) for row in raw.get("applications", ())),
            tuple(Beside.decode(row) for row in raw.get("beside", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DamageError("the evidence in a snapshot's sealed part is malformed") from None
