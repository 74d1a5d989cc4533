"""The status of a configured host, and the service that keeps it: everything put together."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.base import environment
from holdfast.base.environment import parse_time
from holdfast.base.events import Alert
from holdfast.base.logs import LogWriter
from holdfast.config.notes import channel_notes
from holdfast.errors import HoldfastError, KitNotRehearsedError, LocalStateError
from holdfast.reliability.alerts.configured import make_desk
from holdfast.runs.alerting import book_path, open_book, open_desk, tell_by
from holdfast.runs.assembly import open_vault
from holdfast.runs.configured import access, configured_resilience, telemetry_endpoint
from holdfast.runs.monitoring.facts import VaultFacts, unreadable, vault_facts
from holdfast.runs.monitoring.gather import capacities, make_report
from holdfast.runs.schedule.configured import entries_of, open_schedule_book, runs_folder
from holdfast.runs.schedule.exporter import Exporter
from holdfast.runs.schedule.launch import ProcessLauncher
from holdfast.runs.schedule.sdnotify import Supervisor
from holdfast.runs.schedule.service import BackgroundReader, Service, Stop, service_lock, state_alert
from holdfast.runs.schedule.teller import Direct, Teller

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.config import Config
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.monitoring.report import StatusReport

STATE_SECONDS = 30.0
"""How long the service waits before it tries to open a local state again that could not be used."""

_SAID_SECONDS, _SAID_SECONDS_MAX = 60.0, 86400.0

__all__ = ["Said", "read_vault", "run_service", "status", "with_drills"]


class Said:
    """What is logged time and again while it lasts: at once, then after a minute, two, four, and so on, once a day at the rarest."""

    def __init__(self, env: Environment) -> None:
        """Nothing was said yet."""
        self._env = env
        self._text = ""
        self._next_at = self._pause = 0.0

    def again(self, text: str) -> bool:
        """Return whether to say it now."""
        now = self._env.monotonic()
        if text == self._text and now < self._next_at:
            return False
        self._pause = min(_SAID_SECONDS_MAX, self._pause * 2) if text == self._text else _SAID_SECONDS
        self._text, self._next_at = text, now + self._pause
        return True


def read_vault(config: Config, env: Environment) -> VaultFacts:
    """Open the configured vault and return its facts; what keeps it from being read is a fact too."""
    try:
        known = access(config, os.environ)
        vault = open_vault(
            known.url,
            key_file=known.key_file,
            passphrase=known.passphrase,
            credential=known.credential,
            key_service=known.key_service,
            env=env,
            stores=known.stores,
            resilience=configured_resilience(config.settings),
            tiers=known.tiers,
        )
    except HoldfastError as error:
        return unreadable(error, env.now())
    with closing(vault):
        facts = vault_facts(vault, capacities(config.settings))
        return with_drills(facts, vault, config) if config.settings.services and not facts.error else facts


def with_drills(facts: VaultFacts, vault: OpenVault, config: Config) -> VaultFacts:
    """Return the facts with what the drills of the configured services say."""
    from holdfast.runs.drill import drills
    from holdfast.runs.drill.verdict import stale_alerts

    try:
        records = drills.evidence_of(vault, config.settings).records()
        stale = tuple(stale_alerts(drills.stands(vault, config)))
    except HoldfastError as error:
        return replace(facts, alerts=(*facts.alerts, Alert.of(error, "drills")))
    passed = {record.service: parse_time(record.ended) for record in records if record.proves}
    drills_of = tuple((name, at) for name, at in passed.items() if name in config.settings.services)
    return replace(facts, drill_at=max(passed.values(), default=None), drills=drills_of, alerts=(*facts.alerts, *stale))


def status(config: Config, *, env: Environment | None = None) -> StatusReport:
    """Return how everything stands on this host: sources, schedule, verification, copies, alerts.

    A vault that cannot be read is no exception: the report says so, with what is known without it. `LocalStateError`.
    """
    env = env or environment.system()
    facts = read_vault(config, env)
    with open_schedule_book(env, "read") as book, open_book(env) as alerts:
        return make_report(config.settings, entries_of(config.settings), facts, book, alerts.live(), env.now())


def _require_rehearsal(config: Config, env: Environment) -> None:
    """Refuse to run unattended while nobody knows that a recovery kit opens the vault. `KitNotRehearsedError`.

    A vault that cannot be read now is no reason: the service is there to tell people.
    """
    if config.settings.scheduler.unsafe_unrehearsed:
        return
    facts = read_vault(config, env)
    if not facts.error and facts.kit_rehearsed is None:
        raise KitNotRehearsedError("no recovery kit ever opened this vault, so nothing runs unattended yet")


def run_service(config: Config, path: str, stop: Stop, *, env: Environment | None = None) -> None:
    """Run the schedule until `stop` is set. `path` is the configuration's file, which runs are started with.

    `ScheduleBusyError` if it runs on this host already; `KitNotRehearsedError`. A local state that cannot be used is told by the
    configured channels, at most once an hour, and tried again until it can: a service that ended would tell nobody.
    """
    env = env or environment.system()
    settings = config.settings

    def write(line: str) -> None:
        sys.stderr.write(line)
        sys.stderr.flush()

    _require_rehearsal(config, env)
    endpoint = telemetry_endpoint(settings, os.environ)
    log = LogWriter(write, env, as_json=settings.scheduler.log == "json")
    direct = Direct(lambda alert: tell_by(settings, alert, env), env)

    def serve(stack: ExitStack) -> None:
        stack.enter_context(service_lock(runs_folder()))
        service = Service(
            settings=settings,
            entries=entries_of(settings),
            book=stack.enter_context(open_schedule_book(env, "own")),
            desk=stack.enter_context(open_desk(settings, env)),
            launcher=ProcessLauncher(runs_folder(), os.path.abspath(path), env),
            env=env,
            log=log,
            read_vault=BackgroundReader(lambda: read_vault(config, env), env),
            exporter=Exporter(endpoint, env.now()) if endpoint is not None else None,
            direct=direct,
            teller=Teller(lambda: make_desk(settings, book_path(), env, os.environ).round),
        )
        service.run(stop)

    for note in channel_notes(settings, os.environ):
        log.say("warning", "channel-lacks", note)
    said = Said(env)
    while True:
        try:
            with ExitStack() as stack:
                serve(stack)
        except LocalStateError as error:
            if said.again(error.what):
                log.say("critical", "state-unusable", error.what, code=error.code)
            direct(state_alert(error))
            Supervisor(os.environ).tell(READY=1, WATCHDOG=1, STATUS="the local state cannot be used")
            stop.wait(STATE_SECONDS)
            if not stop.is_set():
                continue
            direct.wait()
        return
