"""Every operation is recorded, in one place: who, what, when, with which outcome and counts; never a path.

`begin` is durable before the operation starts and `end` before it returns. When the log cannot be written, what destroys or
hands out keys does not start (`AuditUnavailableError`, `AuditDamagedError`); a restore, a check and a verification go on with
an alert; a backup goes on, too, and its result says that it is not recorded (exit code 3).
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from holdfast.base.environment import Environment, format_time, system
from holdfast.base.events import Alert, Events
from holdfast.errors import AccessError, HoldfastError, Interrupted, PausedError
from holdfast.reliability.audit import AuditLog, AuditRecord
from holdfast.reliability.audit.kinds import kind_of
from holdfast.reliability.audit.log import Room
from holdfast.reliability.audit.record import Fact, digest_of, this_actor
from holdfast.repository import names
from holdfast.repository.objects import parse_control
from holdfast.repository.opening import header_bytes
from holdfast.runs.approvals import authorise
from holdfast.runs.assembly import state_root
from holdfast.runs.results import BackupResult, ForgetResult
from holdfast.runs.trail import AUDIT_LOG, FOLDER, AuditFailure
from holdfast.stores.assembly import locate

if TYPE_CHECKING:
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import PathLike

_ID = re.compile(r"[0-9a-f]{32}")
_PHRASES = {"phase", "snapshot", "source", "round"}
"""Fields whose texts are ours or opaque; other texts of a result do not enter the log."""
_COMPLETE, _PARTIAL = 0, 3
_KEY_KINDS = {"key", "enroll", "revoke"}
"""Kinds whose calls are approved as they stand; others resolve what they are about first, and ask themselves."""
R = TypeVar("R")
_Params = ParamSpec("_Params")


class Operation:
    """An operation under way. Made by :func:`operation`."""

    def __init__(self, vault: OpenVault, kind: str, events: Events, subject: str, facts: Mapping[str, Fact]) -> None:
        """Begin nothing yet."""
        self._vault = vault
        self._trail = vault.trail
        self._events = events
        self._kind = kind_of(kind)
        self.id = vault.env.random_id()
        self._facts: dict[str, Fact] = dict(facts)
        self._subject = subject
        self._ended = False
        self.recorded = True
        """Whether all of it is in the log."""

    @property
    def _guarded(self) -> bool:
        return self._kind.guarded and not self._facts.get("dry_run")

    def begin(self) -> None:
        """Record that it starts. Raises for a guarded operation if that cannot be done, or the log has lost what was anchored."""
        if self._guarded:
            self._trail.check_newest()
        self._append(self._trail.record(self._kind.name, "begin", self.id, subject=self._subject, facts=self._facts))
        self._trail.begin_span(self.id)

    def done(self, result: R) -> R:
        """Record how it ended; return the result, of a backup marked if that could not be recorded."""
        facts = facts_of(result)
        code = getattr(result, "exit_code", _COMPLETE)
        outcome = "success" if code == _COMPLETE else "partial" if code == _PARTIAL else "failure"
        subject = result_subject(result) or self._subject
        if isinstance(result, ForgetResult):
            for snapshot in result.forgotten:
                self._append(
                    self._trail.record("forget.snapshot", "event", self.id, outcome="success", subject=snapshot)
                )
        self._end(outcome, subject, facts=facts)
        if not self.recorded and isinstance(result, BackupResult):
            return dataclasses.replace(result, recorded=False)
        return result

    def say(self, reason: str) -> None:
        """Add the digest of a reason that somebody gave."""
        self._facts["reason_digest"] = digest_of(reason)

    def failed(self, error: BaseException) -> None:
        """Record how it failed. Never raises in place of the error itself."""
        if self._ended:
            return
        outcome = (
            "denied"
            if isinstance(error, AccessError)
            else "interrupted"
            if isinstance(error, Interrupted | PausedError | KeyboardInterrupt)
            else "failure"
        )
        code = error.code if isinstance(error, HoldfastError) else "internal"
        try:
            self._end(outcome, self._subject, code=code)
        except AuditFailure as failure:
            error.add_note(f"the audit log does not know of it: {failure.what}")

    def finish(self) -> None:
        """Record a plain success, if nothing else was recorded."""
        if not self._ended:
            self._end("success", self._subject)

    def _end(self, outcome: str, subject: str, *, code: str = "", facts: Mapping[str, Fact] | None = None) -> None:
        self._ended = True
        ended = self._vault.env.now()
        try:
            self._record_end(outcome, subject, code=code, facts=facts or {})
        finally:
            # Last, and whatever came of the record: telemetry may take its time, the record may not wait for it.
            said = {**self._facts, **(facts or {}), **({"code": code} if code else {})}
            self._trail.end_span(self._kind.name, outcome, said, ended)

    def _record_end(self, outcome: str, subject: str, *, code: str, facts: Mapping[str, Fact]) -> None:
        self._append(
            self._trail.record(
                self._kind.name,
                "end",
                self.id,
                outcome=outcome,
                subject=subject,
                code=code,
                facts={**self._facts, **facts},
            )
        )
        if self.recorded and outcome in {"success", "partial"} and not self._facts.get("dry_run"):
            self._trail.anchor(always=self._kind.guarded, events=self._events)
        if self.recorded:
            self.recorded = self._trail.send(events=self._events)

    def _append(self, record: Any) -> None:  # noqa: ANN401 - a record of the trail's own making
        room = Room.NONE
        if self._guarded:
            # Nothing is destroyed unless the disk has room for the record of how it ended.
            room = Room.KEEP if record.phase == "begin" else Room.SPEND
        try:
            self._trail.append([record], room)
        except AuditFailure as error:
            if self._guarded:
                if record.phase != "begin":
                    error.safe = "what was asked was done; only its record is missing."
                raise
            if self.recorded:
                self._events(Alert.of(error, AUDIT_LOG))
            self.recorded = False


@contextmanager
def operation(
    vault: OpenVault, kind: str, *, events: Events | None = None, subject: str = "", **facts: Fact
) -> Iterator[Operation]:
    """Record an operation around a block: its beginning, and its end however it ends."""
    found = Operation(vault, kind, events or vault.trail.hear, subject, facts)
    found.begin()
    try:
        yield found
    except BaseException as error:
        found.failed(error)
        raise
    found.finish()


@contextmanager
def denials_noted(url: PathLike, env: Environment | None) -> Iterator[None]:
    """Record that a vault refused a credential, if it is one that this host has a log of. Never in the way of the refusal."""
    try:
        yield
    except AccessError as error:
        with suppress(HoldfastError, ValueError, KeyError, OSError):
            _note_denial(os.fsdecode(url), env or system(), error)
        raise


def _note_denial(url: str, env: Environment, error: AccessError) -> None:
    """Append the denial to the log of the vault whose header lies there. Nothing is begun for a vault not seen before."""
    header = parse_control(header_bytes(locate(url)), names.VAULT, "").body
    vault = str(header["vault"])
    folder = state_root() / vault / FOLDER
    if not _ID.fullmatch(vault) or not folder.exists():
        return
    record = AuditRecord(
        kind="open.denied",
        phase="event",
        operation=env.random_id(),
        time=env.now(),
        actor=this_actor(os.uname().nodename),
        vault=vault,
        outcome="denied",
        code=error.code,
    )
    AuditLog.open(folder, env).append([record])


def noted_by_all(kind: str, env: Environment, facts: Mapping[str, Fact]) -> None:
    """Record what holds for the whole machine in the log of each vault that this host has one of.

    It was done already, and may have been urgent: a log that cannot be written becomes an alert in the book.
    """
    from holdfast.runs.alerting import keep_alert

    operation_id, root = env.random_id(), state_root()
    try:
        vaults = sorted(path.name for path in root.iterdir() if _ID.fullmatch(path.name) and (path / FOLDER).is_dir())
    except OSError:
        return
    for vault in vaults:
        record = AuditRecord(
            kind=kind_of(kind).name,
            phase="event",
            operation=operation_id,
            time=env.now(),
            actor=this_actor(os.uname().nodename),
            vault=vault,
            outcome="success",
            facts=facts,
        )
        try:
            AuditLog.open(root / vault / FOLDER, env).append([record])
        except AuditFailure as error:
            with suppress(HoldfastError):
                keep_alert(Alert.of(error, AUDIT_LOG))


@contextmanager
def noted_unopened(vault: str, kind: str, env: Environment, *, subject: str) -> Iterator[None]:
    """Record an operation about a vault that is not opened for it, in the log that this host has of the vault, if it has one.

    A log that cannot be written becomes an alert in the book: nothing is destroyed, and what is done may be urgent.
    """
    folder, operation_id = state_root() / vault / FOLDER, env.random_id()

    def note(phase: str, outcome: str = "", code: str = "") -> None:
        if not _ID.fullmatch(vault) or not folder.is_dir():
            return
        record = AuditRecord(
            kind=kind_of(kind).name,
            phase=phase,
            operation=operation_id,
            time=env.now(),
            actor=this_actor(os.uname().nodename),
            vault=vault,
            outcome=outcome,
            subject=subject,
            code=code,
        )
        try:
            AuditLog.open(folder, env).append([record])
        except AuditFailure as error:
            from holdfast.runs.alerting import keep_alert

            with suppress(HoldfastError):
                keep_alert(Alert.of(error, "audit-log"))

    note("begin")
    try:
        yield
    except BaseException as error:
        note("end", "failure", error.code if isinstance(error, HoldfastError) else "internal")
        raise
    note("end", "success")


class _Holder(Protocol):
    """What has an open vault: `Vault` and `Snapshot`."""

    _vault: OpenVault


H = TypeVar("H", bound=_Holder)


def _subject_of(holder: object, vault: OpenVault) -> str:
    """Return the id of the snapshot whose method is called; empty for a vault's."""
    found = getattr(holder, "id", "")
    return "" if found == vault.vault_id else str(found)


def audited(
    kind: str,
) -> Callable[[Callable[Concatenate[H, _Params], R]], Callable[Concatenate[H, _Params], R]]:
    """Make a method of `Vault` or `Snapshot` a recorded operation."""

    def wrap(method: Callable[Concatenate[H, _Params], R]) -> Callable[Concatenate[H, _Params], R]:
        @functools.wraps(method)
        def call(self: H, /, *args: _Params.args, **kwargs: _Params.kwargs) -> R:
            vault = self._vault
            subject = _subject_of(self, vault)
            events: Any = kwargs.get("events")
            name = "restore.break-glass" if kwargs.get("break_glass") else kind
            with operation(vault, name, events=events, subject=subject, **asked(kwargs)) as found:
                if kind in _KEY_KINDS:
                    authorise(vault, kind, _called(method, self, args, kwargs))
                return found.done(method(self, *args, **kwargs))

        return call

    return wrap


def browsed(
    method: Callable[Concatenate[H, _Params], R],
) -> Callable[Concatenate[H, _Params], R]:
    """Make a method that shows names one that is recorded: one event, before anything is shown. It never stops the method."""

    @functools.wraps(method)
    def call(self: H, /, *args: _Params.args, **kwargs: _Params.kwargs) -> R:
        vault = self._vault
        subject = _subject_of(self, vault)
        facts: dict[str, Fact] = {"call": method.__name__}
        record = vault.trail.record(
            "browse", "event", vault.env.random_id(), outcome="success", subject=subject, facts=facts
        )
        try:
            vault.trail.append([record])
        except AuditFailure as error:
            vault.trail.hear(Alert.of(error, AUDIT_LOG))
        return method(self, *args, **kwargs)

    return call


def _called(
    method: Callable[..., object], holder: object, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> dict[str, object]:
    """Return what people approve of a call that changes keys: the method and its arguments, secrets left out."""
    bound = inspect.signature(method).bind(holder, *args, **kwargs).arguments
    said = {name: value for name, value in bound.items() if name not in {"self", "passphrase", "reason", "events"}}
    plain = {name: list(value) if isinstance(value, tuple | list) else str(value) for name, value in said.items()}
    return {"call": method.__name__, "arguments": plain}


def asked(arguments: Mapping[str, object]) -> dict[str, Fact]:
    """Return what a record says of a call's arguments: flags that are set, and digests of what people wrote."""
    found: dict[str, Fact] = {}
    for name, value in arguments.items():
        if value is True:
            found[name] = True
        elif name in {"reason", "break_glass"} and isinstance(value, str) and value:
            found[f"{name}_digest"] = digest_of(value)
    return found


def result_subject(result: object) -> str:
    """Return the opaque id that a result is about, if it has one."""
    found = getattr(result, "snapshot", result)
    found = getattr(found, "id", found)
    return found if isinstance(found, str) and _ID.fullmatch(found) else ""


def facts_of(result: object) -> dict[str, Fact]:
    """Return what a record says of a result: its numbers, flags and times, the lengths of its lists; no text of others."""
    if not dataclasses.is_dataclass(result):
        return {"count": result} if isinstance(result, int) and not isinstance(result, bool) else {}
    found: dict[str, Fact] = {}
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if isinstance(value, bool | int | float):
            found[field.name] = value
        elif isinstance(value, datetime):
            found[field.name] = format_time(value)
        elif isinstance(value, tuple | list | frozenset):
            found[f"{field.name}_count"] = len(value)
        elif isinstance(value, str) and field.name in _PHRASES:
            found[field.name] = value
        elif dataclasses.is_dataclass(value) and field.name == "stats":
            found |= facts_of(value)
    return found
