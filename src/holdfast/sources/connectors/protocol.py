"""What a connector is: one object that knows how to make one application still, for how long, and what to store of it.

Life of a capture, as `holdfast.sources.consistency` drives it::

    check → (arm watchdog → freeze → verify_frozen) → capture → (thaw → verify_thawed) → [the run copies] → conclude → close

The part in brackets happens only for a connector that `freezes`. Rules that every connector keeps (`ConnectorSuite` of
`holdfast.testing.connectors` proves them):

- `check` changes nothing in the application, and names every missing right with the statement that grants it.
- Nothing stands still before the watchdog holds `thaw_orders()`. They must work when the run is dead, stopped by SIGSTOP or
  cut off, be harmless on an application that is not frozen, and need nothing from what is frozen.
- `thaw` may be called any number of times, frozen or not, after a failure of any other step.
- `close` releases everything: sessions, backup mode, volume snapshots. It never raises, and may be called twice.
- No error, proof or note carries a path, a table name or content of the application, and no credential.
- Everything takes the seconds that it may last; a driver call without a timeout is a defect.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from dataclasses import field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, runtime_checkable

from holdfast.base.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.base.environment import Environment
    from holdfast.config.secrets import SecretRef
    from holdfast.sources.approach import Approach

__all__ = [
    "ACQUIRE_SECONDS",
    "ENTRY_POINT_GROUP",
    "HOLD_SECONDS",
    "Attempt",
    "Beside",
    "Budgets",
    "Capture",
    "CapturedStream",
    "Conclusion",
    "Connection",
    "Connector",
    "ConnectorFactory",
    "Degrade",
    "Evidence",
    "Facts",
    "Found",
    "Member",
    "ThawOrder",
    "Verdict",
    "worst",
]

ENTRY_POINT_GROUP = "holdfast.connectors"
"""Entry points of this group are factories: `name = "package.module:Factory"`."""
ACQUIRE_SECONDS = 0.25
HOLD_SECONDS = 0.5
BESIDE_BYTES_MAX = 1 << 20


class Verdict(StrEnum):
    """What a restore of the capture is worth."""

    APPLICATION = "application"
    """The application itself vouched for it: it comes back as at one moment, with every transaction acknowledged before."""
    CRASH = "crash"
    """As after a power cut at one moment: the application recovers it by its own means."""
    NONE = "none"
    """Nobody knows: parts of different moments."""


_RANK = (Verdict.NONE, Verdict.CRASH, Verdict.APPLICATION)


def worst(*verdicts: Verdict) -> Verdict:
    """Return the least of some verdicts; `APPLICATION` of none."""
    return min(verdicts, key=_RANK.index, default=Verdict.APPLICATION)


Degrade = Literal["fail", "crash", "fallback"]
"""After an overrun: fail the application's part; store what a crash would leave; capture without a freeze."""


@dataclass(frozen=True, slots=True)
class Budgets:
    """How long the application may stand: waiting to be frozen (queued writers wait too), and frozen. Never extended."""

    acquire_seconds: float = ACQUIRE_SECONDS
    hold_seconds: float = HOLD_SECONDS
    attempts: int = 2
    """Freezes that are tried before `degrade` decides."""


@dataclass(frozen=True, slots=True)
class Connection:
    """How an application is reached: one table `[applications.NAME]` of the configuration. Nothing here is secret."""

    name: str
    host: str = ""
    port: int = 0
    user: str = ""
    password: SecretRef | None = None
    """Where the secret is; `secret.reveal(os.environ)` at the moment of use, kept nowhere."""
    database: str = ""
    path: str = ""
    """The application's folder, file or socket, by its kind."""
    url: str = ""
    state: str = ""
    """A folder of this host's own state that the connector may keep things in; it can be lost."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Settings of one kind of connector; a factory refuses those it does not know."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a check before found: what the application is, and what an administrator should know. Changed nothing."""

    version: str
    facts: tuple[tuple[str, str], ...] = ()
    """For people and evidence: role, edition, settings. No names of databases, tables or files."""
    notes: tuple[str, ...] = ()
    """Sentences about what is not as it should be, though the capture can go on."""


@dataclass(frozen=True, slots=True)
class ThawOrder:
    """One thing the watchdog does to set an application going again. It must be harmless on one that is not frozen.

    `shutdown`: end a connection whose socket is `fd`: locks that belong to a session go with it.
    `fithaw`: thaw the file system of the open folder `fd` (`target` is its path, for the sweeper).
    `command`: run `argv`; exit codes in `succeeds` are success. `environ` may hold secrets: it reaches the watchdog through
    a pipe and is never written down, so the sweeper runs the command without it.
    `http`: send `argv[0]` (a method) to `target`, with `environ` as headers.
    """

    kind: Literal["shutdown", "fithaw", "command", "http"]
    fd: int = -1
    target: str = ""
    argv: tuple[str, ...] = ()
    environ: tuple[tuple[str, str], ...] = ()
    succeeds: tuple[int, ...] = (0,)
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class CapturedStream:
    """The standard output of a command, stored as one file of the snapshot. Credentials go by file, never in `command`."""

    path: str
    command: tuple[str, ...]
    class_name: str = ""


@dataclass(frozen=True, slots=True)
class Capture:
    """What the run has to store of the application, valid until `close`. Folders may be mounts of volume snapshots."""

    paths: tuple[bytes, ...] = ()
    exclude: tuple[str, ...] = ()
    """gitignore-like patterns from `/` of what must not be stored (a live `pg_control`, locks, caches)."""
    streams: tuple[CapturedStream, ...] = ()
    moving: tuple[bytes, ...] = ()
    """Folders whose files may change, grow or vanish while they are read without harm: the application's log repairs that."""
    class_name: str = ""
    """The data class of `paths`; empty: by the job's rules."""


@dataclass(frozen=True, slots=True)
class Beside:
    """A small file that is known only after the copy and belongs to it: `backup_label`, a binlog position, a manifest.

    It is sealed with the snapshot's evidence, and a restore puts it to `path` (without a leading slash).
    """

    path: bytes
    content: bytes

    def encode(self) -> dict[str, object]:
        """Return it as JSON in a sealed part holds it."""
        return {"path": b64encode(self.path).decode(), "content": b64encode(self.content).decode()}

    @classmethod
    def decode(cls, raw: Mapping[str, Any]) -> Self:
        """Read what `encode` wrote. `ValueError`, `KeyError` or `TypeError` for anything else."""
        return cls(b64decode(raw["path"], validate=True), b64decode(raw["content"], validate=True))


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What the check after the copy established."""

    verdict: Verdict
    proofs: tuple[tuple[str, str], ...] = ()
    """Tokens by which anybody can check the capture: LSN, binlog position, SCN, journal, checksum, exit codes."""
    beside: tuple[Beside, ...] = ()
    follow: tuple[bytes, ...] = ()
    """Folders that are to be stored now, as a snapshot of their own, for this one to be restorable (logs)."""
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """Sentences about what is wrong with the application's own data (a page that fails its checksum): the run is partial."""


@dataclass(frozen=True, slots=True)
class Found:
    """An application that discovery saw on this host, and the settings it proposes."""

    connector: str
    name: str
    settings: tuple[tuple[str, str], ...]
    live_paths: tuple[bytes, ...] = ()
    """Folders and files that a plain file backup would store torn."""


@runtime_checkable
class Connector(Protocol):
    """One application, for one capture. Made by its factory; not used again after `close`."""

    name: str
    """The name in the configuration."""
    kind: str
    """The connector's name in the registry."""
    freezes: bool
    """Whether anybody has to wait: False means that freeze and thaw are never called."""
    unfrozen: Verdict
    """What a capture is worth that was not frozen, or not to the end: `CRASH` if it is atomic, else `NONE`."""

    def check(self) -> Facts:
        """Look whether a capture can succeed: reachable, version, role, rights, room. Changes nothing.

        `ApplicationUnreachableError`, `ApplicationAccessError`, `ApplicationUnsuitableError`, `ApplicationBusyError`.
        """
        ...

    def thaw_orders(self) -> tuple[ThawOrder, ...]:
        """Return what the watchdog has to do if the run cannot. Called once, after `check`, before `freeze`."""
        ...

    def freeze(self, seconds: float) -> None:
        """Make the application still, waiting at most `seconds`. `FreezeOverrunError` if it does not come to that.

        After an error it may be half frozen: `thaw` is called in any case.
        """
        ...

    def verify_frozen(self) -> None:
        """Prove that it stands still now and that it is we who hold it. `ApplicationChangedError` otherwise."""
        ...

    def capture(self, seconds: float) -> Capture:
        """Take hold of a state: a snapshot, a position, the start of a backup. With a freeze, within `seconds`.

        Called again after a failed attempt: what was captured before is let go. Called without a freeze too, after an
        overrun, if the policy is to store what a crash would leave.
        """
        ...

    def thaw(self) -> None:
        """Set it going again. Idempotent. `StillFrozenError` if it cannot."""
        ...

    def verify_thawed(self) -> None:
        """Prove that it works again. `StillFrozenError` otherwise.

        `ApplicationChangedError` if somebody else had thawed it before us: the capture is then not consistent.
        """
        ...

    def conclude(self) -> Conclusion:
        """Check after the copy, end backup mode, and hand over what belongs to the copy. Called once, only after a copy.

        `ApplicationChangedError`, `CaptureError`.
        """
        ...

    def close(self) -> None:
        """Release everything. Never raises; may be called at any time and again."""
        ...

    def without_freeze(self) -> Connector | None:
        """Return a connector that captures the same without a freeze (from logs, as a stream); None if there is none."""
        ...


class ConnectorFactory(Protocol):
    """What the registry holds for one kind of connector: makes them, and knows what needs no connection."""

    kind: str

    def make(self, connection: Connection, env: Environment) -> Connector:
        """Make a connector; connects to nothing. `ConfigError` for options it does not know or lacks."""
        ...

    def grants(self, connection: Connection) -> str:
        """Return every statement that the least-privileged account needs, to be pasted by an administrator."""
        ...

    def discover(self, env: Environment) -> tuple[Found, ...]:
        """Look for applications of this kind on this host, without connecting to any."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """One application of a consistency group, with its budgets and policy."""

    connector: Connector
    budgets: Budgets = field(default_factory=Budgets)
    degrade: Degrade = "fail"
    approach: Approach | None = None
    """How it is asked for the first time; None: once."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One freeze, measured. Milliseconds of 0 for a connector that does not freeze."""

    acquire_ms: float = 0.0
    """From the first request until it stood still: whoever writes may wait from the beginning of it."""
    hold_ms: float = 0.0
    """From standing still until thawed."""
    thaw_ms: float = 0.0
    """How long the thaw itself took, within `hold_ms`."""
    verdict: Verdict = Verdict.NONE
    cut: str = ""
    """Why it was cut short: an error's code; `hold` (over budget); `watchdog` (thawed by it). Empty: it was not."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is recorded of one application in the snapshot: how it was captured, for how long it stood, what proves it."""

    application: str
    connector: str
    version: str
    verdict: Verdict
    attempts: tuple[Attempt, ...] = ()
    """The freezes, the last one last."""
    proofs: tuple[tuple[str, str], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    error: str = ""
    """The code of the error that spoiled it; empty if none did."""
    seconds: float = 0.0
    """From the check before to the check after."""
    follow: str = ""
    """The snapshot that holds the logs without which this one cannot be restored to a consistent state."""

    @property
    def hold_ms(self) -> float:
        """The longest time the application stood still in any attempt."""
        return max((attempt.hold_ms for attempt in self.attempts), default=0.0)

    def encode(self) -> dict[str, object]:
        """Return it as JSON in a sealed part holds it (docs/format/objects.md). Whole microseconds: JSON there has no fractions."""
        return {
            "application": self.application,
            "connector": self.connector,
            "version": self.version,
            "verdict": str(self.verdict),
            "attempts": [
                {
                    "acquire_us": round(row.acquire_ms * 1000),
                    "hold_us": round(row.hold_ms * 1000),
                    "thaw_us": round(row.thaw_ms * 1000),
                    "verdict": str(row.verdict),
                    "cut": row.cut,
                }
                for row in self.attempts
            ],
            "proofs": [list(pair) for pair in self.proofs],
            "facts": [list(pair) for pair in self.facts],
            "notes": list(self.notes),
            "error": self.error,
            "took_us": round(self.seconds * 1e6),
            "follow": self.follow,
        }

    @classmethod
    def decode(cls, raw: Mapping[str, Any]) -> Self:
        """Read what `encode` wrote. `ValueError`, `KeyError` or `TypeError` for anything else; unknown keys are ignored."""
        return cls(
            application=str(raw["application"]),
            connector=str(raw["connector"]),
            version=str(raw["version"]),
            verdict=Verdict(raw["verdict"]),
            attempts=tuple(
                Attempt(
                    row["acquire_us"] / 1000,
                    row["hold_us"] / 1000,
                    row["thaw_us"] / 1000,
                    Verdict(row["verdict"]),
                    str(row["cut"]),
                )
                for row in raw["attempts"]
            ),
            proofs=tuple((str(name), str(value)) for name, value in raw["proofs"]),
            facts=tuple((str(name), str(value)) for name, value in raw["facts"]),
            notes=tuple(map(str, raw["notes"])),
            error=str(raw["error"]),
            seconds=raw["took_us"] / 1e6,
            follow=str(raw["follow"]),
        )
