"""The sweep itself: strike, look, judge; then once more without a fault.

What is judged after each strike: every acknowledged snapshot restores byte for byte on a host that opens the vault afresh; a run
that ended without an error did what was asked; what an error said after `SAFE:` is true; the next run of the command completes,
and `check` finds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from holdfast.errors import HoldfastError, Safety
from holdfast.testing.claims import State, Tally, row_of, said_by, same
from holdfast.testing.faults import Crash
from holdfast.testing.sweep.command import Command
from holdfast.testing.sweep.ground import Ground, ground
from holdfast.testing.sweep.strike import WAYS, Strike

__all__ = ["SweepReport", "SweptError", "sweep", "ways_of"]

OPERATIONS_MAX = 2_000


class SweptError(AssertionError):
    """A strike broke what must hold."""


@dataclass(slots=True)
class SweepReport:
    """What one command went through."""

    command: str
    operations: dict[str, int] = field(default_factory=dict)
    """Operations that each way could strike, in a run without a fault."""
    strikes: int = 0
    died: int = 0
    """Strikes after which the process was gone."""
    failed: int = 0
    """Strikes after which the run ended with an error, of which the `SAFE:` line was then proved."""
    carried_on: int = 0
    """Strikes that the run got over: it did what was asked."""
    claims: Counter[str] = field(default_factory=Counter)
    """What was said after `SAFE:`, and how often; all of it was so."""
    restores: int = 0


def sweep(
    command: Command, *, ways: Iterable[str] = WAYS, step: int = 1, first: int = 0, strikes_max: int | None = None
) -> SweepReport:
    """Strike a command at every operation (every `step`-th from `first`) in each way. `SweptError` at the first broken promise.

    With `strikes_max` the step of each way is such that it has about so many strikes.
    """
    report, ways = SweepReport(command.name), frozenset(ways)
    with ground(command.layout) as place:
        if not command.creates:
            _lived_in(place)
        command.prepare(place)
        kept = place.keep()
        for way in (way for way in ways_of(command) if way in ways):
            place.put_back(kept)
            counted = Strike(way)
            _do(place, command, counted)
            report.operations[way] = counted.count
            if counted.count > OPERATIONS_MAX:
                raise SweptError(f"{command.name} takes {counted.count} operations")
            if strikes_max is not None:
                step = max(1, -(-counted.count // strikes_max))
            for at in range(first % step, OPERATIONS_MAX, step):
                place.put_back(kept)
                if not _Try(place, command, Strike(way, at), report).judge() and at >= counted.count:
                    break  # names are hashes of what is sealed anew, so that one run has a few operations more than another
    return report


def _lived_in(place: Ground) -> None:
    """Make a vault with two snapshots that share some of their files."""
    for name in ("phi/a", "phi/b", "phi/c", "imaging/d"):
        place.write(name)
    place.create()
    with place.open() as vault:
        place.backup(vault)
        place.write("phi/a", 1)
        place.pass_days(1)
        place.backup(vault)


def _do(place: Ground, command: Command, strike: Strike | None) -> object:
    """Do the command; opening the vault is not struck, unless the command does that itself."""
    if command.creates or command.alone:
        place.strike(strike)
        return command.do(place, None)  # type: ignore[arg-type]
    with command.open(place) as vault:
        place.strike(strike)
        try:
            return command.do(place, vault)
        finally:
            place.strike(None)


def ways_of(command: Command) -> tuple[str, ...]:
    """Return the ways in which a command can be struck: that one store is away means something where there are others."""
    return tuple(way for way in WAYS if way != "away" or command.layout != "one")


class _Try:
    """One strike and what came of it."""

    def __init__(self, place: Ground, command: Command, strike: Strike, report: SweepReport) -> None:
        self.place = place
        self.command = command
        self.strike = strike
        self.report = report
        self.before = place.objects()
        self.gives_up = command.gives_up(place)
        self.promised = {s: c for s, c in place.acknowledged.items() if s not in self.gives_up}
        self.known = frozenset(place.acknowledged)

    def judge(self) -> bool:
        """Strike, then judge everything. Return whether the operation to strike came."""
        try:
            error = self._struck()
            if not self.strike.struck:
                return False
            self.report.strikes += 1
            self._look(error)
            self._again()
        except BaseException as broken:
            at = self.strike.log[self.strike.at] if self.strike.struck else "?"
            broken.add_note(
                f"{self.command.name}: {self.strike.way} at operation {self.strike.at} ({at.split('/')[0]}/…)"
            )
            raise
        return True

    def _struck(self) -> HoldfastError | None:
        """Do it under the strike; return the error it ended with. A crash leaves nothing to say."""
        try:
            result = _do(self.place, self.command, self.strike)
        except Crash:
            self.report.died += 1
            return None
        except HoldfastError as error:
            self.report.failed += 1
            return error
        finally:
            self.place.strike(None)
        self.report.carried_on += self.strike.struck
        with self.place.open() as vault:
            if getattr(result, "exit_code", 0) == 0 and not self.command.done(self.place, vault):
                raise SweptError("the run said that it did what was asked, and did not")
        return None

    def _look(self, error: HoldfastError | None) -> None:
        """Judge what is there now, as another host sees it."""
        if self.command.creates and "home/vault" not in self.place.objects():
            return
        after = self.place.objects()
        if error is not None:
            self._claims(error, after)
        if not self.command.heals:
            # What is on the stores byte for byte as before was restored then: one snapshot shows that this host still can.
            self._restores(newest_only=after == self.before)

    def _restores(self, *, newest_only: bool = False) -> None:
        """Restore every acknowledged snapshot that nobody asked to forget, or the newest of them."""
        with self.place.open() as vault:
            for snapshot, content in [*self.promised.items()][-1 if newest_only else 0 :]:
                self.report.restores += 1
                if self.place.restored(vault, snapshot) != content:
                    raise SweptError("an acknowledged snapshot does not restore as it was")

    def _claims(self, error: HoldfastError, after: Mapping[str, bytes]) -> None:
        """Prove what the error said is safe. What was acknowledged is restored by who called this."""
        said = said_by(error)
        if error.safety not in {Safety.UNTOUCHED, Safety.INTACT}:
            raise SweptError(f"damage is told where there is none: {error.what}")
        if row_of(said) is None:
            raise SweptError(f"nothing proves the claim: {said}")
        if error.safety is Safety.UNTOUCHED and not same(self.before, after):
            raise SweptError("the error says that nothing was touched, and something was")
        # That snapshots are as they were is proved by who called this, that what was uploaded is kept by the next run.
        tally = Tally()
        tally.take(error, State(self.before), State(after, restored=True, whole=self.place.left_whole))
        if tally.broken:
            raise SweptError(f"the claim is not true: {'; '.join(tally.broken)}")
        self.report.claims += tally.said

    def _again(self) -> None:
        """Do it once more without a fault: it completes, and leaves a sound vault."""
        at_failure = self.place.objects()
        try:
            _do(self.place, self.command, None)
        except HoldfastError as error:
            if error.code not in self.command.again:
                raise SweptError(f"the next run ends with: {error.what}") from error
        with self.place.open() as vault:
            if not (self.command.done(self.place, vault) and self.command.then(self.place, vault)):
                raise SweptError("the next run does not do what was asked")
            problems = [p for p in vault.check().problems if not self._torn(p)]
            if problems and not self.command.incurable:
                raise SweptError(f"check finds: {'; '.join(problems[:3])}")
            listed = {s.id for s in vault.snapshots()}
        if self.command.heals:
            self._restores()
        if self.promised.keys() - listed:
            raise SweptError("an acknowledged snapshot is not listed any more")
        if self.command.name.startswith("backup"):
            lost = {n for n in at_failure if "/data/" in n} - self.place.objects().keys()
            if lost:
                raise SweptError("what was uploaded before the fault was thrown away")

    def _torn(self, problem: str) -> bool:
        """Whether a problem is the object that a torn write left: `check` names it, and nothing rests on it."""
        if self.strike.way != "torn":
            return False
        return self.strike.log[self.strike.at].split()[1].rpartition("/")[2] in problem
