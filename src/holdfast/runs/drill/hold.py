"""A drill, held: place, snapshot, restore, comparison, application, questions, its own tools, clearing away. Each step is timed.

What the drill finds wrong with the backup is its verdict; an error means that the drill could not be held, and proves nothing.
Whatever happens, its folder, processes and mounts are gone when it returns, and are swept by the next if it was killed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.environment import format_time
from holdfast.base.events import Note, Progress, ignore
from holdfast.errors import (
    AccessError,
    DamageError,
    Interrupted,
    MissingError,
    RecoveryError,
    StoreError,
    TargetError,
)
from holdfast.repository.opening import read_keyring
from holdfast.runs.assembly import STATE_VARIABLE, open_vault
from holdfast.runs.drill.compare import base_backup, compare
from holdfast.runs.drill.data import give, move_data, open_way
from holdfast.runs.drill.hosts import HostDrill, is_host
from holdfast.runs.drill.options import DrillOptions, Setting
from holdfast.runs.drill.place import (
    DRILL_VARIABLE,
    DrillFolder,
    check_place,
    check_space,
    free_bytes,
    open_folder,
    sweep,
)
from holdfast.runs.drill.plan import Selected, choose, last_answers, locate, production_of
from holdfast.runs.drill.record import COUNTED, IN_PART, DrillRecord, Phase
from holdfast.runs.drill.verdict import forecast_of, verdict_of
from holdfast.runs.mounts.mount import mount_for
from holdfast.runs.reading import thaw
from holdfast.runs.restore import RestoreRequest, run_restore
from holdfast.runs.wal import LOG_SUFFIX
from holdfast.services.applications import named
from holdfast.services.applications.ground import Application, ApplicationFailed, Ground
from holdfast.services.isolation import Cell, open_cell, run_as
from holdfast.services.judge import Outcome, judge

if TYPE_CHECKING:
    from holdfast.base.events import Event, Events
    from holdfast.config import Settings
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import Cancel
    from holdfast.runs.results import RestoreResult
    from holdfast.services.catalogue import Service

__all__ = ["hold"]

THAW_DAYS = 1
THAW_LOOK_SECONDS, THAW_LOOK_SECONDS_MAX = 0.5, 60.0


@dataclass(slots=True)
class _Deadline:
    """Stops what runs when the caller says so, or when the drill has taken as long as it may."""

    monotonic: float
    vault: OpenVault
    stop: Cancel | None

    def is_set(self) -> bool:
        """Return whether to stop."""
        return self.passed() or (self.stop is not None and self.stop.is_set())

    def passed(self) -> bool:
        """Return whether the time is over."""
        return self.vault.env.monotonic() > self.monotonic


@dataclass(slots=True)
class _Drill:
    """One drill under way."""

    vault: OpenVault
    settings: Settings
    service: Service
    options: DrillOptions
    history: Sequence[DrillRecord]
    events: Events
    deadline: _Deadline
    began: float
    phases: list[Phase] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    first_byte: float | None = None
    fetch_began: float = 0.0
    compared: tuple[int, int] = (0, 0)
    data: str = ""
    """Where the application's data lies below what was restored; by default where the service says."""
    recovery: tuple[tuple[str, str], ...] = ()
    newest: datetime | None = None
    """When the newest data that came back was stored, where that is later than the snapshot."""
    host: HostDrill | None = None
    """The disks of a whole host, made as images."""
    until_end: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    isolation: str = "none needed"
    weaker: tuple[str, ...] = ()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a phase, whatever it ends with."""
        start = self.vault.env.monotonic() - self.began
        self.events(Progress(phase=name))
        try:
            yield
        finally:
            seconds = self.vault.env.monotonic() - self.began - start
            self.phases.append(Phase(name, start, seconds, name in COUNTED))

    def fail(self, name: str, cause: str, *, kind: str = "drill") -> None:
        """Note what is wrong with the backup."""
        self.outcomes.append(Outcome(name, kind, "failed", "", "", cause))

    @property
    def failed(self) -> bool:
        """Whether something is wrong already."""
        return any(outcome.state == "failed" for outcome in self.outcomes)


def hold(
    vault: OpenVault,
    settings: Settings,
    service: Service,
    options: DrillOptions,
    history: Sequence[DrillRecord],
    *,
    events: Events = ignore,
    stop: Cancel | None = None,
) -> DrillRecord:
    """Hold a drill; return its record but for its place in the chain.

    `DrillError`, or one of its kinds, if it cannot be held; `Interrupted` if stopped.
    """
    place = check_place(options.place or settings.drill.place, production=production_of(vault, settings))
    swept = sweep(place)
    if swept.folders:
        events(Note(f"swept what {swept.folders} killed drills left", "drill-swept"))
    env = vault.env
    began, moment = env.monotonic(), env.now()
    deadline = _Deadline(began + settings.drill.seconds_max, vault, stop)
    with open_folder(place, env) as folder, contextlib.ExitStack() as stack:
        drill = _Drill(vault, settings, service, options, history, events, deadline, env.monotonic())
        stack.enter_context(drill.until_end)
        with drill.phase("keys"):
            drill.vault = stack.enter_context(_working(vault, options, folder))
            # A recovery fetches and unwraps the keyring; an open vault has done so, and does it again to be timed.
            read_keyring(drill.vault.repository.home, drill.vault.repository.root_key)
        selected = _located(drill, folder)
        if selected is not None:
            _drilled(drill, folder, selected)
        cleared = env.monotonic() - drill.began
    drill.phases.append(Phase("clearing away", cleared, env.monotonic() - drill.began - cleared, counted=False))
    newest = drill.newest or (selected.info.started if selected else moment)
    return _record(drill, selected, format_time(moment), (moment - newest).total_seconds())


@contextmanager
def _working(vault: OpenVault, options: DrillOptions, folder: DrillFolder) -> Iterator[OpenVault]:
    """Yield the vault to restore from: this one, or for a bare site one opened anew with nothing but a copy and a kit."""
    if options.bare is None:
        yield vault
        return
    before = os.environ.get(STATE_VARIABLE)
    os.environ[STATE_VARIABLE] = os.path.join(folder.path, "state")
    try:
        site = options.bare
        opened = open_vault(
            site.url, key_file=site.key_file, passphrase=site.passphrase, credential=None, env=vault.env
        )
        try:
            yield opened
        finally:
            opened.close()
    finally:
        if before is None:
            del os.environ[STATE_VARIABLE]
        else:
            os.environ[STATE_VARIABLE] = before


def _located(drill: _Drill, folder: DrillFolder) -> Selected | None:
    """Find the snapshot, open its keys, and make sure that there is room. None if the vault does not give it."""
    vault, service = drill.vault, drill.service
    try:
        with drill.phase("locate"):
            info = choose(vault, service, drill.options.snapshot)
            selected = locate(vault, service, info, drill.options, drill.settings.drill.sample_files)
    except (DamageError, StoreError, AccessError, MissingError) as error:
        drill.fail("locate", error.what.splitlines()[0])
        return None
    check_space(selected.space_needed(drill.options), free_bytes(folder.path))
    return selected


def _drilled(drill: _Drill, folder: DrillFolder, selected: Selected) -> None:
    """Do the drill. What goes wrong with the backup becomes an outcome, and the rest is left out."""
    try:
        if drill.options.kind == "mounted":
            _mounted_and_asked(drill, folder, selected)
        else:
            _restored_and_proved(drill, folder, selected)
    except Interrupted:
        if not drill.deadline.passed():
            raise
        drill.fail("deadline", f"not done within {drill.settings.drill.seconds_max} s")
    except (DamageError, StoreError, AccessError, TargetError, RecoveryError, MissingError) as error:
        drill.fail("fetch", error.what.splitlines()[0])


def _restored_and_proved(drill: _Drill, folder: DrillFolder, selected: Selected) -> None:
    """Restore, compare, start, ask, verify."""
    _rehydrate(drill, selected)
    with drill.phase("fetch"):
        _fetch(drill, folder, selected)
    _go_on(drill)
    _inject(drill, "restored", Setting(folder.restored, folder.data))
    with drill.phase("verification"):
        _compare(drill, folder, selected)
    _go_on(drill)
    if drill.options.kind != "partial" and not drill.failed:
        _with_application(drill, folder, selected)


def _rehydrate(drill: _Drill, selected: Selected) -> None:
    """Ask for all that lies cold at once, and wait until it can be read."""
    if not drill.options.thaw:
        return
    logs = [row for row in drill.vault.snapshots() if row.label == drill.service.recovers + LOG_SUFFIX]
    needed = [(selected.info, selected.include), *((row, ()) for row in logs if drill.service.recovers)]
    awaited = [row for row in needed if thaw(drill.vault, row[0], include=row[1], days=THAW_DAYS).ready_after]
    if not awaited:
        return
    with drill.phase("rehydrate"):
        pause = THAW_LOOK_SECONDS
        while awaited:
            _go_on(drill)
            drill.vault.env.sleep(pause)
            pause = min(2 * pause, THAW_LOOK_SECONDS_MAX)
            awaited = [row for row in awaited if thaw(drill.vault, row[0], include=row[1], days=THAW_DAYS).ready_after]


def _mounted_and_asked(drill: _Drill, folder: DrillFolder, selected: Selected) -> None:
    """Start the application on a mount of the snapshot, and ask it. Each byte that is read was proved before."""
    _rehydrate(drill, selected)
    with contextlib.ExitStack() as stack:
        with drill.phase("fetch"):
            place = Path(folder.restored)
            mount = stack.enter_context(
                mount_for(drill.vault, selected.info, place, stop=drill.deadline, events=drill.events)
            )
            if drill.service.recovers:
                _recover(drill, folder, selected, drill.events)
        _go_on(drill)
        _with_application(drill, folder, selected)
        text = f"{mount.progress().fetched_bytes} of {selected.bytes} bytes were fetched"
        drill.outcomes.append(Outcome("touched", "drill", "passed", "what was asked for", text))


def _go_on(drill: _Drill) -> None:
    """Stop between two phases if that was asked for: a short restore may be over before it notices."""
    if drill.deadline.is_set():
        raise Interrupted(
            safe="the vault was only read, and nothing of the drill is left.", next="hold the drill again."
        )


def _fetch(drill: _Drill, folder: DrillFolder, selected: Selected) -> None:
    drill.fetch_began = drill.vault.env.monotonic()

    def passed_on(event: Event) -> None:
        if isinstance(event, Progress):
            if drill.first_byte is None and event.bytes:
                # By the mean rate since then: the first report of progress comes some time after the first byte.
                drill.first_byte = max(0.0, drill.vault.env.monotonic() - drill.fetch_began - event.seconds)
            event = replace(event, phase="fetch")
        drill.events(event)

    if drill.service.recovers and drill.options.kind != "partial":
        _recover(drill, folder, selected, passed_on)
        return
    result: RestoreResult
    if is_host(drill.service) and drill.options.kind != "partial":
        drill.host = HostDrill(drill.vault, folder, drill.until_end)
        result = drill.host.restore(selected, drill.outcomes.append, passed_on, drill.options.limits, drill.deadline)
    else:
        request = RestoreRequest(to=os.fsencode(folder.restored), include=selected.include)
        result = run_restore(
            drill.vault, selected.info, request, events=passed_on, limits=drill.options.limits, stop=drill.deadline
        )
    if result.damaged:
        drill.fail("fetch", f"{len(result.findings)} entries are damaged in the vault and did not come back")
    elif result.classes_missing:
        drill.fail("fetch", f"{result.classes_missing} data classes cannot be opened with this key")
    elif result.findings:
        drill.fail("fetch", f"{len(result.findings)} entries did not come back as they were")
    if selected.info.partial:
        drill.outcomes.append(
            Outcome("snapshot", "drill", "skipped", "a complete snapshot", f"{selected.info.findings} findings",
                    "the snapshot is partial: what could not be read then cannot come back")
        )  # fmt: skip


def _recover(drill: _Drill, folder: DrillFolder, selected: Selected, events: Events) -> None:
    """Fetch a base backup with all WAL that there is for it, and what brings it to its target."""
    from holdfast.runs.recovery import RecoveryTarget, prepare_recovery, recovery_settings

    moment = drill.options.at
    target = RecoveryTarget("latest") if moment is None else RecoveryTarget.at_time(moment)
    history = drill.vault.snapshots()
    prepared = prepare_recovery(
        drill.vault,
        history,
        drill.service.recovers,
        Path(folder.restored),
        target=target,
        selected=None if moment is not None else selected.info,
        mounted=drill.options.kind == "mounted",
        events=events,
        stop=drill.deadline,
    )
    drill.recovery = recovery_settings(target, prepared.wal, prepared.evidence)
    drill.data = os.fspath(prepared.data)[len(folder.restored) :]
    logs = [row.started for row in history if row.label == drill.service.recovers + LOG_SUFFIX]
    if logs and moment is None:
        drill.newest = max([selected.info.started, *logs])
    text = f"{prepared.wal_files} WAL files"
    drill.outcomes.append(Outcome("recovery-prepared", "drill", "passed", "a base backup and its WAL", text))


def _inject(drill: _Drill, stage: str, setting: Setting) -> None:
    injection = drill.options.injection
    action = getattr(injection, stage, None)
    if action is not None:
        action(setting)


def _compare(drill: _Drill, folder: DrillFolder, selected: Selected) -> None:
    if drill.failed:
        return
    began = drill.vault.env.monotonic()
    entries = selected.entries
    if drill.recovery:
        # Only the base backup is compared, without what the recovery itself writes: WAL proves itself by its checksums.
        entries = partial(base_backup, selected.entries, os.fsencode(drill.data.strip("/")))
    found = compare(selected.trees, folder.restored, entries, drill.vault.env, owners=os.geteuid() == 0)
    drill.compared = (found.entries, found.bytes)
    seconds = drill.vault.env.monotonic() - began
    state = "failed" if found.cause else "passed"
    text = f"{found.entries} entries, {found.bytes} bytes of content read back"
    drill.outcomes.append(Outcome("comparison", "drill", state, "as in the snapshot", text, found.cause, seconds))  # type: ignore[arg-type]


def _with_application(drill: _Drill, folder: DrillFolder, selected: Selected) -> None:
    service, settings = drill.service, drill.settings
    reached = open_way if drill.options.kind == "mounted" else move_data
    data = reached(folder, drill.data or service.data)
    if data is None:
        drill.fail("data", "the snapshot has no folder or file at the service's `data`")
        return
    user, group = run_as(data, selected.owner)
    conceal = (*production_of(drill.vault, settings), *settings.drill.conceal)
    setup = drill.phase("setting up")
    programs = [service.programs] if service.programs else []
    with contextlib.ExitStack() as stack:
        with setup:
            give(folder, folder.run if drill.host else data, user, group)  # a host's files keep their owners
            required = settings.drill.isolation == "required"
            cell = stack.enter_context(
                open_cell(
                    folder.path,
                    drill.vault.env,
                    user=user,
                    group=group,
                    conceal=conceal,
                    required=required,
                    programs=programs,
                )
            )
        drill.isolation, drill.weaker = cell.level, cell.weaker
        _proved(drill, _ground(drill, folder, data, cell))


def _ground(drill: _Drill, folder: DrillFolder, data: str, cell: Cell) -> Ground:
    return Ground(
        service=drill.service,
        cell=cell,
        restored=folder.restored,
        data=data,
        run=folder.run,
        recovery=drill.recovery,
        environ={DRILL_VARIABLE: folder.id},
        file_systems=drill.host.file_systems if drill.host else frozenset(),
    )


def _proved(drill: _Drill, ground: Ground) -> None:
    """Start the application, ask it, let it verify itself, stop it."""
    application = named(drill.service.application, ground)
    setting = Setting(ground.restored, ground.data, application)
    _inject(drill, "data", setting)
    try:
        with drill.phase("application recovery"):
            application.start()
        _inject(drill, "service", setting)
        with drill.phase("service check"):
            _ask(drill, application)
        if drill.options.deep and drill.options.kind != "mounted":
            with drill.phase("verification"):
                drill.outcomes += application.verify()
    except ApplicationFailed as error:
        drill.fail(drill.service.application, error.cause, kind="application")
    finally:
        application.stop()


def _ask(drill: _Drill, application: Application) -> None:
    last: Mapping[str, str] = last_answers(drill.history, drill.service.name)
    for check in drill.service.checks:
        if drill.options.checks and check.name not in drill.options.checks:
            continue
        began = drill.vault.env.monotonic()
        answer = application.ask(check)
        seconds = drill.vault.env.monotonic() - began
        drill.outcomes.append(judge(check, answer, last.get(check.name, ""), seconds))


def _record(drill: _Drill, selected: Selected | None, began: str, age: float) -> DrillRecord:
    """Put together what was measured, and judge it."""
    import holdfast

    vault, service, options = drill.vault, drill.service, drill.options
    counted = sum(phase.seconds for phase in drill.phases if phase.counted)
    fetch = sum(phase.seconds for phase in drill.phases if phase.name == "fetch")
    judged = not options.snapshot and options.at is None and options.injection is None
    verdict, cause = verdict_of(
        drill.outcomes,
        rto=float(service.rto),
        rto_achieved=0.0 if options.kind in IN_PART else counted,
        rpo=float(service.rpo),
        rpo_achieved=age,
        rpo_judged=judged,
    )
    size = selected.bytes if selected else 0
    record = DrillRecord(
        id=vault.env.random_id(),
        number=0,
        previous="",
        vault=vault.vault_id,
        vault_label=vault.repository.label,
        service=service.name,
        title=service.shown,
        kind="bare" if options.bare else options.kind,
        scenario=options.injection.name if options.injection else "",
        verdict=verdict,
        cause=cause,
        snapshot=selected.info.id if selected else "",
        snapshot_started=format_time(selected.info.started) if selected else "",
        began=began,
        ended=format_time(vault.env.now()),
        isolation=drill.isolation,
        weaker=drill.weaker,
        phases=tuple(drill.phases),
        rto=float(service.rto),
        rto_achieved=counted,
        rpo=float(service.rpo),
        rpo_achieved=max(0.0, age),
        rpo_judged=judged,
        files=selected.files if selected else 0,
        bytes=size,
        bytes_per_s=size / fetch if fetch > 0 else 0.0,
        first_byte=drill.first_byte or 0.0,
        compared_files=drill.compared[0],
        compared_bytes=drill.compared[1],
        outcomes=tuple(drill.outcomes),
        forecast=None,
        holdfast=holdfast.__version__,
    )
    own = [*(each for each in drill.history if each.service == service.name), record]
    return replace(record, forecast=forecast_of(own, max(size, service.size or 0)))
