"""The one catalogue of failures: every kind, the phase it strikes in, how it is injected, and what must come of it.

It is the denominator of "how many failures are recovered without a person" and of "how many are escalated": a simulation draws
from it by `per_thousand_runs`, a test walks over it. Rates are judgements for a hospital of a few dozen hosts (stated, not
measured); expectations are promises that tests hold.

`inject` names how: a `store:` injection is built by :func:`failing_store` around any store; the others say which file, process
or peer is struck. `recovery` says what gets over it:

* `retry` the call is repeated and the run notices nothing but time,
* `self` the operation itself goes on around it (a finding, a fresh copy, a torn tail set aside),
* `rerun` the run ends and the next one, started by the schedule, does it,
* `person` nobody but a person can: then `code` is the alert, and `safety` how much is at stake.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from holdfast.errors import (
    HoldfastError,
    Retry,
    Safety,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
    error_classes,
)
from holdfast.stores.layers import HookedStore
from holdfast.stores.protocol import Data, Store

__all__ = ["FAILURES", "PHASES", "FailingStore", "Failure", "codes", "failing_store", "of_phase", "unrecovered"]

Recovery = Literal["retry", "self", "rerun", "person"]
PHASES = ("open", "scan", "freeze", "store", "commit", "prune", "verify", "restore", "audit", "alert", "host")


@dataclass(frozen=True, slots=True)
class Failure:
    """One kind of failure in one phase."""

    name: str
    """Stable and unique: `PHASE.kind`."""
    phase: str
    inject: str
    """`store:VERB:HOW:TIMES`, or what is struck in words."""
    recovery: Recovery
    code: str
    """The code of the error, finding or alert; empty if nobody hears of it but the log."""
    safety: Safety = Safety.INTACT
    retry: Retry = Retry.NEVER
    per_thousand_runs: float = 1.0
    """How often it is met."""

    @property
    def escalates(self) -> bool:
        """Whether a person must hear of it."""
        return self.recovery == "person"


def _failure(name: str, inject: str, recovery: Recovery, code: str = "", rate: float = 1.0, **more: object) -> Failure:
    safety, retry = more.get("safety", Safety.INTACT), more.get("retry")
    if retry is None:
        retry = Retry.LATER if recovery == "rerun" else Retry.NEVER
    assert isinstance(safety, Safety)
    assert isinstance(retry, Retry)
    return Failure(name, name.partition(".")[0], inject, recovery, code, safety, retry, rate)


_DEGRADED, _AT_RISK = Safety.DEGRADED, Safety.AT_RISK

FAILURES: tuple[Failure, ...] = (
    _failure("open.store-away-briefly", "store:get:unreachable:2", "retry", rate=4),
    _failure("open.store-away", "store:get:unreachable:all", "rerun", "store-unreachable", 2),
    _failure("open.mount-missing", "the store's folder is not mounted", "person", "vault-missing", 0.3),
    _failure("open.key-unreadable", "the key file has another mode or is gone", "person", "key-wrong", 0.1),
    _failure("open.writer-revoked", "the writer's certificate is revoked", "person", "not-permitted", 0.05),
    _failure("open.newer-format", "a vault of a newer release", "person", "version", 0.02),
    _failure("open.config-broken", "a faulty line in the configuration", "person", "config-invalid", 0.2),
    _failure("scan.source-missing", "a path to back up is gone", "person", "source-missing", 0.3),
    _failure("scan.file-vanished", "a file is deleted between listing and reading", "self", "vanished", 30),
    _failure("scan.file-changed", "a file grows while it is read", "self", "changed", 20),
    _failure("scan.file-unreadable", "one file gives EIO", "rerun", "unreadable", 0.5),
    _failure("scan.permission-denied", "a folder that the user may not read", "person", "unreadable", 0.2),
    _failure("scan.stream-failed", "a dump command ends with 1", "rerun", "stream-failed", 1),
    _failure("freeze.application-busy", "the application refuses a checkpoint for a while", "retry", "", 5),
    _failure(
        "freeze.application-away",
        "the application does not accept connections for a minute",
        "rerun",
        "application-unreachable",
        2,
    ),
    _failure(
        "freeze.deadline",
        "the application does not thaw in time: the watchdog thaws it",
        "rerun",
        "freeze-overrun",
        0.2,
    ),
    _failure("store.away-briefly", "store:put:unreachable:3", "retry", rate=10),
    _failure("store.away", "store:put:unreachable:all", "rerun", "store-unreachable", 2),
    _failure("store.throttled", "store:put:throttled:4", "retry", rate=8),
    _failure("store.reset-in-the-middle", "store:put:reset:2", "retry", rate=5),
    _failure("store.answer-lost", "store:put:answer-lost:1", "retry", rate=3),
    _failure("store.kept-something-else", "store:put:torn:1", "retry", rate=0.2),
    _failure("store.full", "store:put:full:all", "person", "store-full", 0.4),
    _failure("store.refused", "store:put:refused:all", "person", "store-refused", 0.3),
    _failure("store.creation-answer-lost", "store:put_new:answer-lost:1", "retry", rate=2),
    _failure("store.listing-away", "store:list:unreachable:2", "retry", rate=3),
    _failure("commit.killed-before", "SIGKILL before the decision", "rerun", "", 0.5),
    _failure("commit.killed-after", "SIGKILL after the decision", "self", "", 0.1),
    _failure("commit.session-revoked", "a prune revoked the session", "self", "session-revoked", 0.2),
    _failure("commit.decision-answer-lost", "store:put_new:answer-lost:1", "retry", rate=0.5),
    _failure("prune.killed", "SIGKILL between plan and closed", "rerun", "", 0.3),
    _failure("prune.silent-session", "a writer that never answers", "self", "", 0.5),
    _failure("prune.store-away-briefly", "store:delete:unreachable:2", "retry", rate=2),
    _failure("prune.held", "a snapshot under legal hold is asked to be forgotten", "person", "held", 0.05),
    _failure(
        "verify.pack-damaged", "a bit of a pack is flipped, its source lives", "self", "damage", 0.1, safety=_DEGRADED
    ),
    _failure("verify.pack-lost-for-good", "a pack and its source are gone", "person", "damage", 0.02, safety=_AT_RISK),
    _failure("verify.index-run-lost", "an index run is deleted", "person", "damage", 0.02, safety=_DEGRADED),
    _failure("restore.store-away-briefly", "store:get_range:unreachable:2", "retry", rate=1),
    _failure("restore.target-full", "the target's disk is full", "person", "target", 0.1),
    _failure("restore.segment-damaged", "a segment does not verify", "person", "damage", 0.02, safety=_AT_RISK),
    _failure("restore.class-without-key", "a credential without one class", "person", "not-permitted", 0.05),
    _failure("audit.torn-tail", "the last line of the log is cut", "self", "", 0.3),
    _failure("audit.disk-full", "the state directory takes no more", "person", "audit-unavailable", 0.2),
    _failure("audit.tampered", "a record is changed", "person", "audit-damaged", 0.01, safety=_DEGRADED),
    _failure("audit.collector-away", "the syslog collector does not accept", "self", "", 3),
    _failure("audit.anchor-refused", "the home takes no anchor", "self", "audit-not-anchored", 0.5),
    _failure("alert.channel-away", "the mail server does not accept", "self", "", 2),
    _failure("host.terminated", "SIGTERM while reading", "rerun", "interrupted", 2),
    _failure("host.power-lost", "everything not synced is gone", "rerun", "", 0.3),
    _failure("host.state-lost", "the state directory is gone", "self", "", 0.2),
    _failure("host.catalog-broken", "the catalog's file is damaged", "self", "", 0.1),
    _failure("host.state-full", "the state directory's disk is full", "person", "local-state", 0.2),
    _failure("host.clock-jumped", "the clock jumps a day forward, or back", "self", "", 0.3),
)


def of_phase(phase: str) -> tuple[Failure, ...]:
    """Return the failures of a phase."""
    return tuple(failure for failure in FAILURES if failure.phase == phase)


def unrecovered() -> float:
    """Return the part of all failures, by their rates, that only a person gets over."""
    total = sum(failure.per_thousand_runs for failure in FAILURES)
    return sum(failure.per_thousand_runs for failure in FAILURES if failure.escalates) / total


_ERRORS: dict[str, Callable[[], HoldfastError]] = {
    "unreachable": lambda: StoreUnreachableError("the store does not answer (injected)"),
    "throttled": lambda: StoreUnreachableError("slow down (injected)", retry_after_seconds=7),
    "reset": lambda: StoreUnreachableError("connection reset (injected)"),
    "full": lambda: StoreFullError("no room (injected)"),
    "refused": lambda: StoreRefusedError("not allowed (injected)"),
    "answer-lost": lambda: StoreUnreachableError("the answer was lost (injected)"),
}


class FailingStore(HookedStore):
    """A store that fails as an injection says: the first calls of a verb, or all of them. `struck` counts."""

    def __init__(self, inner: Store, verb: str, how: str, times: int) -> None:
        """Wrap a store."""
        late = how == "answer-lost"
        super().__init__(inner, None if late else self._strike, self._strike if late else None)
        self.struck = 0
        self._verb, self._how, self._times = verb, how, times
        self._lock = threading.Lock()

    def _due(self, verb: str) -> bool:
        with self._lock:
            due = verb == self._verb and self.struck < self._times
            self.struck += due
        return due

    def _strike(self, verb: str, _name: str) -> None:
        if self._how != "torn" and self._due(verb):
            error = _ERRORS[self._how]()
            raise error

    def put(self, name: str, data: Data) -> None:
        """Put, or keep nothing and say that it is kept."""
        if self._how == "torn" and self._due("put"):
            return
        super().put(name, data)


def failing_store(failure: Failure, inner: Store) -> FailingStore:
    """Return a store that fails as the failure says. `ValueError` if it is none of a store."""
    parts = failure.inject.split(":")
    if parts[0] != "store":
        raise ValueError(failure.name)
    _, verb, how, times = parts
    return FailingStore(inner, verb, how, 1 << 60 if times == "all" else int(times))


def codes() -> frozenset[str]:
    """Return every code that an error has; a failure's code is one of these, a finding's kind, or an alert's word."""
    return frozenset(cls.code for cls in error_classes())
