"""The suite that every connector passes: it proves, step by step, what `sources.connectors.protocol` promises.

A connector's own test is a few lines::

    class TestMyConnector(ConnectorSuite):
        budgets = Budgets(acquire_seconds=5, hold_seconds=5)   # generous: a busy machine proves no budget

        @pytest.fixture
        def make(self, server):
            return lambda: FACTORY.make(Connection("x", port=server.port), system())

        def frozen(self, server) -> bool: ...   # asked of the application itself, not through the connector

Tests of freezing are only for connectors that freeze; one that claims to and does not fails.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.base.environment import system
from holdfast.errors import ApplicationError, FreezeOverrunError
from holdfast.sources.connectors.protocol import Budgets, Connector, Evidence, Member, Verdict
from holdfast.sources.consistency import consistent
from holdfast.sources.watchdog import Watchdog, sweep

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["STEPS", "ConnectorSuite", "Failing", "InjectedError"]

STEPS = ("freeze", "verify_frozen", "capture", "verify_thawed", "conclude")
"""Steps that may fail once the application has been touched."""
PATIENCE_SECONDS = 30.0


class Failing:
    """A connector with the same interface whose step `step` does its work, then raises (or stops the process)."""

    def __init__(self, connector: Connector, step: str, fail: Callable[[], object]) -> None:
        """Wrap a connector."""
        self._connector = connector
        self._step = step
        self._fail = fail

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - as the connector's own
        """Pass everything on; fail after the step."""
        found = getattr(self._connector, name)
        if name != self._step:
            return found

        def then_fail(*arguments: object) -> object:
            answer = found(*arguments)
            self._fail()
            return answer

        return then_fail


class InjectedError(ApplicationError):
    """A failure that a test injects."""

    code = "application"


def _inject() -> None:
    raise InjectedError("a test made this step fail")


class ConnectorSuite:
    """Subclass it in a test module; give the fixture `make` (a function that makes a new connector) and `frozen`."""

    budgets = Budgets(acquire_seconds=10.0, hold_seconds=10.0, attempts=1)
    verdict = Verdict.APPLICATION
    """What a capture of this connector is worth at its best."""

    def frozen(self, make: Callable[[], Connector]) -> bool:
        """Return whether the application stands still, asked of itself by other means than the connector."""
        raise NotImplementedError

    def _thawed_in_time(self, make: Callable[[], Connector]) -> bool:
        end = time.monotonic() + PATIENCE_SECONDS
        while self.frozen(make):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True

    def test_is_a_connector(self, make: Callable[[], Connector]) -> None:
        """It has every method and a name; making it touches nothing."""
        connector = make()
        assert isinstance(connector, Connector)
        assert connector.name
        assert connector.kind
        connector.close()
        connector.close()

    def test_a_check_says_the_version_and_leaves_everything_as_it_was(self, make: Callable[[], Connector]) -> None:
        """Checking twice gives the same, and nothing stands still."""
        connector = make()
        try:
            facts = connector.check()
            assert facts.version
            assert connector.check().version == facts.version
            assert not self.frozen(make)
        finally:
            connector.close()

    def test_a_capture_is_measured_proved_and_leaves_nothing_behind(
        self, make: Callable[[], Connector], tmp_path: Path
    ) -> None:
        """The whole life: something to store, the best verdict, proofs, times; thawed while it is copied and after."""
        connector = make()
        with consistent([Member(connector, self.budgets)], env=system(), folder=tmp_path / "watchdog") as group:
            assert not self.frozen(make)
            assert group.captures
            assert group.captures[0].paths or group.captures[0].streams
            (end,) = group.conclude()
        evidence = end.evidence
        assert evidence.verdict is self.verdict
        assert evidence.proofs
        assert not evidence.error
        if connector.freezes:
            assert evidence.attempts[-1].hold_ms > 0
            assert not evidence.attempts[-1].cut
        else:
            assert evidence.hold_ms == 0
        assert Evidence.decode(evidence.encode()).proofs == evidence.proofs
        assert not list((tmp_path / "watchdog").glob("*"))

    def test_a_copy_that_fails_releases_everything(self, make: Callable[[], Connector], tmp_path: Path) -> None:
        """An error between capture and conclusion: nothing is frozen, and the next capture succeeds."""
        with (
            pytest.raises(ZeroDivisionError),
            consistent([Member(make(), self.budgets)], env=system(), folder=tmp_path / "watchdog"),
        ):
            raise ZeroDivisionError
        assert not self.frozen(make)
        self.test_a_capture_is_measured_proved_and_leaves_nothing_behind(make, tmp_path)

    @pytest.mark.parametrize("step", STEPS)
    def test_a_failure_at_any_step_leaves_it_thawed(
        self, step: str, make: Callable[[], Connector], tmp_path: Path
    ) -> None:
        """With the policy `fail` the error comes out, and the application goes on."""
        connector = Failing(make(), step, _inject)
        if not connector.freezes and step in {"freeze", "verify_frozen", "verify_thawed"}:
            step = "capture"
            connector = Failing(connector, step, _inject)
        raised = False
        try:
            with consistent([Member(connector, self.budgets)], env=system(), folder=tmp_path / "watchdog") as group:
                group.conclude()
        except ApplicationError:
            raised = True
        assert raised
        assert not self.frozen(make)
        self.test_a_capture_is_measured_proved_and_leaves_nothing_behind(make, tmp_path)

    def test_thawing_is_harmless_at_any_time(self, make: Callable[[], Connector], tmp_path: Path) -> None:
        """Thaw without a freeze, twice, and the watchdog's orders on an application that is not frozen."""
        connector = make()
        if not connector.freezes:
            assert connector.thaw_orders() == ()
            return
        try:
            connector.check()
            orders = connector.thaw_orders()
            connector.thaw()
            connector.freeze(self.budgets.acquire_seconds)
            connector.verify_frozen()
            assert self.frozen(make)
            connector.thaw()
            connector.thaw()
            connector.verify_thawed()
            assert not self.frozen(make)
            with Watchdog.arm(orders, PATIENCE_SECONDS, env=system(), folder=tmp_path) as watchdog:
                assert not watchdog.fire().failed
            assert not self.frozen(make)
        finally:
            connector.close()

    def test_no_time_left_is_an_overrun_and_thawed_first(self, make: Callable[[], Connector], tmp_path: Path) -> None:
        """With a hold budget of nothing every attempt is cut; the policy `crash` says what the capture is worth."""
        connector = make()
        if not connector.freezes:
            return
        budgets = Budgets(self.budgets.acquire_seconds, 0.000_001, attempts=1)
        with (
            pytest.raises(ApplicationError) as caught,
            consistent([Member(connector, budgets)], env=system(), folder=tmp_path / "watchdog"),
        ):
            pass
        assert isinstance(caught.value, FreezeOverrunError) or caught.value.retry.value == "later"
        assert self._thawed_in_time(make)
        connector = make()
        with consistent([Member(connector, budgets, "crash")], env=system(), folder=tmp_path / "watchdog") as group:
            (end,) = group.conclude()
        assert end.evidence.verdict is not Verdict.APPLICATION
        assert end.evidence.attempts[-1].cut
        assert end.evidence.error

    @pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGSTOP])
    @pytest.mark.parametrize("step", ["freeze", "verify_frozen", "capture", "thaw"])
    def test_a_run_that_dies_or_stops_leaves_it_thawed(
        self, step: str, ending: signal.Signals, make: Callable[[], Connector], tmp_path: Path
    ) -> None:
        """The run is killed, or stopped, right after the step: the watchdog thaws."""
        if not make().freezes:
            return
        budgets = Budgets(min(2.0, self.budgets.acquire_seconds), 1.0, attempts=1)
        child = os.fork()
        if child == 0:  # pragma: no cover - it is killed
            try:
                connector = Failing(make(), step, lambda: os.kill(os.getpid(), ending))
                with consistent([Member(connector, budgets)], env=system(), folder=tmp_path / "watchdog"):
                    pass
            finally:
                os._exit(99)
        try:
            _, status = os.waitpid(child, os.WUNTRACED)
            assert os.WIFSIGNALED(status) if ending == signal.SIGKILL else os.WIFSTOPPED(status)
            assert self._thawed_in_time(make)
        finally:
            if ending == signal.SIGSTOP:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
        sweep(tmp_path / "watchdog")
        self.test_a_capture_is_measured_proved_and_leaves_nothing_behind(make, tmp_path / "again")
