"""A seeded world: several hosts and pruners on one vault, over lines that fail, with crashes, suspensions and clocks that jump.

The protocol's own code runs (`repository`: sessions, forget, prune, index, checks) with the retry and verification layers of every
store, on the stand-in engine, whose packs are bytes with segments and no content. Each operation on the store is a point where
another actor may go on, the actor may be killed, or it may sleep through simulated days; a faulty answer may be any of
:data:`holdfast.testing.simulation.store.FAULTS`. Everything is drawn from the seed: the same seed gives the same world.

What must hold is said by the :class:`~holdfast.testing.simulation.oracle.Oracle` at each moment, and at the end by the product's
own `check`: when all faults are over, the next run of every host completes, a prune closes, and every acknowledged snapshot is
whole.
"""

from __future__ import annotations

import functools
import hashlib
import random
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from holdfast.base.environment import Environment
from holdfast.errors import DamageError, HoldfastError, RevokedError
from holdfast.repository import forget, writers
from holdfast.repository.check import check
from holdfast.repository.credentials import Credential, KeyFile
from holdfast.repository.listing import read_envelopes
from holdfast.repository.marking import SetReader
from holdfast.repository.prune import PruneOptions, prune
from holdfast.repository.repository import Repository
from holdfast.stores.assembly import layered
from holdfast.stores.memory import MemoryStore
from holdfast.testing.fake_engine import FakeEngine, Segment
from holdfast.testing.faults import Crash
from holdfast.testing.hosts import FakeHost, at_its_word, check_vault
from holdfast.testing.simulation.baton import Actor, Baton
from holdfast.testing.simulation.oracle import Oracle, ViolationError
from holdfast.testing.simulation.quick import verified_once
from holdfast.testing.simulation.store import Disk, Line, Rates

__all__ = ["AT_ONCE", "HOSTS_MAX", "PATIENT", "World", "WorldReport", "simulate"]

START = datetime(2026, 1, 1, tzinfo=UTC)
HOSTS_MAX = 3
FILES = 6
TURNS_MAX = 60_000
"""Beyond it a world is thought to hang, which is a violation."""
RUNS_AGAIN_MAX = 3
"""How often the last run of a host may be begun again when nothing fails any more: each revocation is one."""
TRACE_KEPT = 60
AT_ONCE = PruneOptions(unsafe_undo_delay=timedelta(0), patience=timedelta(0), repack_below=0.8, compare=at_its_word)
PATIENT = PruneOptions(repack_below=0.8, compare=at_its_word)


@dataclass(slots=True)
class WorldReport:
    """What happened in a world that held."""

    seed: int
    lies: bool
    operations: int = 0
    acknowledged: int = 0
    runs_failed: int = 0
    killed: int = 0
    slept: int = 0
    prunes: int = 0
    packs_deleted: int = 0
    repacked: int = 0
    revoked: int = 0
    forgotten: int = 0
    power_cuts: int = 0
    clock_jumps: int = 0
    told_lost: int = 0
    """Snapshots that a lying disk lost, each of which `check` told."""
    faults: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    """The protocol's steps that were taken, by the objects they write."""
    digest: str = ""
    """Of the whole trace: equal for equal seeds."""


@functools.lru_cache(maxsize=1)
def _template() -> tuple[dict[str, bytes], KeyFile, tuple[Credential, ...]]:
    """Make a vault with its writers once; every world begins with a copy."""
    dice = random.Random(0)
    env = Environment(lambda: START, lambda: 0.0, lambda _seconds: None, dice.randbytes)
    store, key = MemoryStore(), KeyFile.new(env)
    repository = Repository.create(store, env, secrets=[key], label="simulation")
    credentials = tuple(writers.enrol(repository, f"host-{n}", [1]) for n in range(HOSTS_MAX))
    return dict(store.objects), key, credentials


@dataclass(slots=True)
class _Host:
    """A machine that backs up: what it has, and what it remembers of earlier runs."""

    name: str
    credential: Credential
    source: str
    files: dict[str, int]
    runs: int
    known: dict[tuple[str, int], Segment] = field(default_factory=dict)
    caches: int = 0
    skew: timedelta = timedelta(0)
    actor: Actor | None = None
    wakes: int = 0
    """The turn before which it sleeps."""


class World:
    """One simulated world. `run` it once; it raises `ViolationError`, or whatever the product should not have raised.

    Within :func:`verified_once` it takes a third of the time.
    """

    def __init__(self, seed: int, folder: Path) -> None:
        """Draw the world from its seed. `folder` holds the hosts' caches."""
        self.seed = seed
        self.folder = folder
        self.dice = random.Random(seed)
        dice = self.dice
        objects, self.key, credentials = _template()
        lies = dice.random() < 0.2
        self.disk = Disk(dice, objects, lies=lies)
        self.oracle = Oracle(self.disk.objects)
        self.disk.watch = self.oracle.gone
        self.baton = Baton()
        self.now = START
        self.seconds = 0.0
        self.turns = 0
        self.report = WorldReport(seed, lies)
        self.trace: deque[str] = deque(maxlen=TRACE_KEPT)
        self._digest = hashlib.sha256()
        self.hosts = [
            _Host(
                f"host-{n}", credentials[n], f"{n:032x}", {f"f{i}": 1 for i in range(FILES)}, dice.choice((1, 2, 2, 3))
            )
            for n in range(dice.choice((1, 1, 2, 2, 2, HOSTS_MAX)))
        ]
        self.pruners = [
            _Host(f"pruner-{n}", self.key, "", {}, dice.choice((1, 1, 2))) for n in range(dice.choice((1, 1, 2)))
        ]
        self.rates = Rates(
            away=dice.choice((0.0, 0.01, 0.05)),
            dropped=dice.choice((0.0, 0.02)),
            answer_lost=dice.choice((0.0, 0.02, 0.1)),
            late=dice.choice((0.0, 0.02, 0.1)),
            twice=dice.choice((0.0, 0.02, 0.1)),
        )
        self.kill_rate = dice.choice((0.0, 0.002, 0.01))
        self.sleep_rate = dice.choice((0.0, 0.003, 0.01))
        self.switch_rate = dice.choice((0.05, 0.2, 0.5))
        self._durable: set[str] = set()
        self._fate = ""

    # --- what actors are given -----------------------------------------------------------------------------------------

    def note(self, what: str, outcome: str) -> None:
        """Keep a line of the trace."""
        actor = self.baton.current
        line = f"{actor.name if actor else 'world'}: {what[:60]} {outcome}".rstrip()
        self.trace.append(line)
        self._digest.update(line.encode())
        if not outcome and what.startswith("put"):
            self.report.actions[what.split()[1].partition("/")[0]] += 1

    def environment(self, host: _Host) -> Environment:
        """Return a host's clock, and dice for its nonces."""

        def sleep(seconds: float) -> None:
            self.seconds += seconds
            self.now += timedelta(seconds=seconds)
            self.baton.pause()

        return Environment(lambda: self.now + host.skew, lambda: self.seconds, sleep, self.dice.randbytes)

    def repository(self, host: _Host) -> Repository:
        """Open the vault through the host's line."""
        env = self.environment(host)
        store = layered(Line(self.disk, self.baton, self.note), env)
        return Repository.open(store, host.credential, env)

    def fake_host(self, host: _Host) -> FakeHost:
        """Open the vault for a backup, with the host's memory."""
        cache = self.folder / f"{host.name}-{host.caches}"
        return FakeHost(self.repository(host), cache, host.source, known=host.known)

    # --- actors ----------------------------------------------------------------------------------------------------------

    def backups(self, host: _Host) -> None:
        """Back up again and again; an error ends one run."""
        while host.runs > 0:
            host.runs -= 1
            for name in self.dice.sample(sorted(host.files), self.dice.randint(0, 3)):
                host.files[name] = self.dice.randint(1, 4)
            try:
                self.backup(host)
            except HoldfastError as error:
                self._judge(error)
                self.report.runs_failed += 1

    def backup(self, host: _Host) -> None:
        """Run one backup, from its announcement to its acknowledgement."""
        fake = self.fake_host(host)
        files = dict(host.files)
        session = fake.begin()
        where = fake.store(session, files, checkpoints=self.dice.randint(1, 3))
        info = fake.commit(session, where)
        self.oracle.acknowledge(info.id, dict(where))
        self.note(f"acknowledged {info.id}", "")

    def prunes(self, host: _Host) -> None:
        """Forget and prune again and again; an error ends one run."""
        while host.runs > 0:
            host.runs -= 1
            try:
                repository = self.repository(host)
                listed = repository.snapshots()
                for info in self.dice.sample(listed, min(len(listed), self.dice.randint(0, 2))):
                    self.oracle.forget(info.id)
                    forget.forget(repository, info.id, reason="simulation")
                    self.report.forgotten += 1
                self.prune(repository, PATIENT if self.disk.lies else self.dice.choice((AT_ONCE, AT_ONCE, PATIENT)))
            except HoldfastError as error:
                self._judge(error)
                self.report.runs_failed += 1

    def prune(self, repository: Repository, options: PruneOptions) -> str:
        """Prune once; return the phase that was reached."""
        done = prune(repository, options, FakeEngine())
        self.report.prunes += 1
        self.report.packs_deleted += done.packs_deleted
        self.report.repacked += done.packs_repacked
        self.report.revoked += done.sessions_revoked
        return done.phase

    def _judge(self, error: HoldfastError) -> None:
        """An error is no violation, but exit code 4 where nothing is damaged is a lie."""
        self.note(f"failed: {error.code}", "")
        if isinstance(error, DamageError) and not self.report.power_cuts:
            raise ViolationError(f"damage was told where there is none: {error.what}") from error

    # --- the world ---------------------------------------------------------------------------------------------------------

    def run(self) -> WorldReport:
        """Let everything happen, then let everything come to rest, and judge."""
        try:
            self.disk.rates = self.rates
            self._happen()
            self._rest()
            self._final()
        except Crash:  # pragma: no cover - a kill never leaves its actor
            raise
        except BaseException as error:
            error.add_note(self.story())
            raise
        finally:
            self._end()
        report, disk = self.report, self.disk
        report.operations, report.faults, report.acknowledged = disk.operations, disk.faults, self.oracle.acknowledged
        report.digest = self._digest.hexdigest()[:16]
        return report

    def story(self) -> str:
        """Return the last lines of what happened, for people."""
        return "\n".join((f"seed {self.seed}; the last operations:", *self.trace))

    def _end(self) -> None:
        for host in (*self.hosts, *self.pruners):
            if host.actor is not None and not host.actor.over:
                self.baton.kill(host.actor)

    def _start(self, host: _Host) -> Actor:
        action = self.prunes if host in self.pruners else self.backups
        return self.baton.start(host.name, lambda: action(host))

    def _happen(self) -> None:
        everyone = [*self.hosts, *self.pruners]
        for host in everyone:
            host.actor = self._start(host)
            host.wakes = self.dice.randint(0, 200)
        self.baton.goes_on = self._goes_on
        while going := [h for h in everyone if h.actor is not None and not h.actor.over]:
            awake = [h for h in going if h.wakes <= self.turns]
            if not awake:
                self.turns = min(h.wakes for h in going)
                continue
            host = self.dice.choice(awake)
            assert host.actor is not None
            self._fate = ""
            self.baton.turn(host.actor)
            self._strike(host)

    def _goes_on(self) -> bool:
        """Decide at a pause what becomes of the actor; the weather changes meanwhile."""
        self._count_turn()
        self._weather()
        fate = self.dice.random()
        for name, rate in (
            ("killed", self.kill_rate),
            ("asleep", self.sleep_rate),
            ("power cut", 0.001 if self.disk.lies else 0.0),
            ("others", self.switch_rate),
        ):
            if fate < rate:
                self._fate = name
                return False
            fate -= rate
        return True

    def _count_turn(self) -> None:
        self.turns += 1
        if self.turns > TURNS_MAX:
            raise ViolationError("the world does not come to rest")

    def _strike(self, host: _Host) -> None:
        """Kill an actor, or put it to sleep for days, or cut the power of all."""
        if self._fate == "power cut":
            self._power_cut()
        elif self._fate == "killed" and host.actor is not None and not host.actor.over:
            self.note(f"{host.name} is killed", "")
            self.report.killed += 1
            self.baton.kill(host.actor)
            host.caches += self.dice.random() < 0.3
            host.actor = self._start(host)
        elif self._fate == "asleep":
            self.report.slept += 1
            host.wakes = self.turns + self.dice.randint(50, 800)
            self._pass_days(self.dice.choice((0.1, 2, 30)))

    def _pass_days(self, days: float) -> None:
        self.now += timedelta(days=days)
        self.seconds += days * 86400
        self.disk.flush()
        self._durable = set(self.oracle.must_hold)

    def _weather(self) -> None:
        """Change what is around the actors."""
        dice, disk = self.dice, self.disk
        if disk.on_the_way and dice.random() < 0.02:
            disk.arrive()
        fate = dice.random()
        if fate < 0.001:
            disk.storm = dice.randint(5, 60)
        elif fate < 0.0015:
            disk.full = dice.randint(1, 10)
        elif fate < 0.0025 and not disk.lies:
            host = dice.choice([*self.hosts, *self.pruners])
            host.skew = timedelta(days=dice.choice((-4000, -40, -1, 0, 1, 40, 4000)))
            self.report.clock_jumps += 1

    # --- a disk that lied ----------------------------------------------------------------------------------------------------

    def _power_cut(self) -> None:
        """Everything stops, what was not durable is gone; then an operator looks after the vault, and life goes on."""
        self.report.power_cuts += 1
        self.note("power cut", "")
        everyone = [*self.hosts, *self.pruners]
        left = [h for h in everyone if h.actor is not None and not h.actor.over]
        for host in left:
            assert host.actor is not None
            self.baton.kill(host.actor)
        self.disk.on_the_way.clear()
        promised = self.oracle.must_hold
        doubtful = {snapshot: promised[snapshot] for snapshot in promised.keys() - self._durable}
        for snapshot in doubtful:
            del promised[snapshot]
        self.disk.power_cut()
        from holdfast.testing.simulation.care import look_after

        self.report.told_lost += look_after(self._direct(), self.oracle, doubtful)
        self._durable = set(self.oracle.must_hold)
        for host in left:
            host.actor = self._start(host)

    def _direct(self) -> Repository:
        """Open the vault as root, past all faults."""
        env = self.environment(_Host("operator", self.key, "", {}, 0))
        return Repository.open(self.disk, self.key, env)

    # --- the end ---------------------------------------------------------------------------------------------------------------

    def _rest(self) -> None:
        """No fault any more: what is on its way arrives, each host runs once more, and the vault is pruned."""
        disk = self.disk
        disk.rates, disk.storm, disk.full = Rates(), 0, 0
        self.baton.goes_on = lambda: True
        disk.arrive(everything=True)
        for host in self.hosts:
            host.skew = timedelta(0)
            self._alone(host, lambda host=host: self._last_run(host))  # type: ignore[misc]
        for _ in range(2):
            self._alone(self.pruners[0], self._last_prune)
        self.now += timedelta(days=8)
        self._alone(self.pruners[0], self._last_prune)

    def _alone(self, host: _Host, action: Callable[[], None]) -> None:
        host.actor = self.baton.start(host.name, action)
        self.baton.turn(host.actor)

    def _last_run(self, host: _Host) -> None:
        for _ in range(RUNS_AGAIN_MAX):
            try:
                self.backup(host)
            except RevokedError:
                continue
            return
        raise ViolationError("the next run does not complete although nothing fails any more")

    def _last_prune(self) -> None:
        phase = self.prune(self.repository(self.pruners[0]), AT_ONCE)
        if phase not in {"closed", "nothing", "waiting"}:
            raise ViolationError(f"a prune stays {phase} although no session runs")

    def _final(self) -> None:
        repository = self._direct()
        found = check(repository, read_packs_too=True)
        problems = [finding for finding in found.findings if finding.object not in self.disk.torn]
        if problems:
            raise ViolationError(f"check finds {len(problems)} problems: {problems[:3]}")
        check_vault(repository, self.oracle.must_hold)
        envelopes = read_envelopes(repository.home)
        if envelopes.problems:
            raise ViolationError(f"{len(envelopes.problems)} snapshots cannot be read")
        carried, reader = self.oracle.carried(), SetReader(repository)
        for snapshot in envelopes.committed:
            for part in snapshot.body.classes:
                if any(segment not in carried for segment in reader.read(part.refs)):
                    raise ViolationError(f"listed snapshot {snapshot.id} lacks segments")
        if back := self.oracle.forgotten & {s.id for s in envelopes.committed} - self._half_forgotten(repository):
            raise ViolationError(f"{len(back)} forgotten snapshots are back")

    @staticmethod
    def _half_forgotten(repository: Repository) -> set[str]:
        """Return the snapshots that have no tombstone: whoever began to forget them died before."""
        stones = set(repository.home.ids("forgotten"))
        return {s.id for s in repository.snapshots()} - stones


def simulate(seed: int) -> WorldReport:
    """Run the world of a seed. `ViolationError` with the story of its last operations if an invariant breaks."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-simulation-"))
    try:
        with verified_once():
            return World(seed, folder).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
