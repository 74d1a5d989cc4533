"""What all tests share: isolation from the machine's own settings, and the gate that every error code is raised by some test."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from tests.watched import WATCHED

from holdfast import errors

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = str(ROOT / "src" / "holdfast") + os.sep
ERRORS = str(ROOT / "src" / "holdfast" / "errors") + os.sep
GATES = pytest.StashKey[set[str]]()

settings.register_profile("holdfast", deadline=None, print_blob=True)
settings.load_profile("holdfast")


@pytest.fixture(autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test away from the caller's vaults, keys and state."""
    for name in tuple(os.environ):
        if name.startswith("HOLDFAST_") and not name.startswith("HOLDFAST_TEST"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path_factory.getbasetemp() / "state"))


@pytest.fixture(autouse=True)
def _claims_are_true(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which an error claimed something that was not so; note what was said in HOLDFAST_TEST_CLAIMS, a file."""
    path = request.path.relative_to(ROOT / "tests").as_posix()
    if not path.startswith(WATCHED):
        yield
        return
    from holdfast.testing.claim_watch import watching
    from holdfast.testing.claims import Tally

    tally = Tally()
    with watching(tally):
        yield
    noted = os.environ.get("HOLDFAST_TEST_CLAIMS", "")
    if noted and tally.said:
        with Path(noted).open("a") as file:
            file.write(json.dumps({"said": tally.said, "held": tally.held, "broken": tally.broken}) + "\n")
    assert not tally.broken, "\n".join(tally.broken)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape names that are not UTF-8: a worker could not hand the report of a failure to the controller."""
    report = yield
    if report.longrepr is not None and not isinstance(report.longrepr, tuple):
        report.longrepr = _printable(str(report.longrepr))
    report.sections = [(name, _printable(text)) for name, text in report.sections]
    return report


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


# The gate on error codes. An error counts when the package raises it, not when a test makes one. Workers of a parallel run
# hand what they saw to the controller; the gate applies to runs of the whole suite that passed.

_seen: set[str] = set()
_plain_init = errors.HoldfastError.__init__


def _noting_init(self: errors.HoldfastError, *args: object, **kwargs: object) -> None:
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(ERRORS):
        frame = frame.f_back
    if frame.f_code.co_filename.startswith(PACKAGE):
        _seen.add(type(self).code)
    _plain_init(self, *args, **kwargs)  # type: ignore[arg-type]


errors.HoldfastError.__init__ = _noting_init  # type: ignore[method-assign]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[GATES] = set()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Collect what a worker saw."""
    output = getattr(node, "workeroutput", {})
    _seen.update(output.get("error_codes", ()))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    config = session.config
    if hasattr(config, "workeroutput"):
        config.workeroutput["error_codes"] = sorted(_seen)
        return
    whole = not config.option.keyword and not config.option.markexpr and not getattr(config.option, "lf", False)
    whole = whole and config.args_source is not pytest.Config.ArgsSource.ARGS
    if not whole or exitstatus != pytest.ExitCode.OK:
        return
    parents = {cls.code for cls in errors.error_classes() if cls.__subclasses__()}
    config.stash[GATES] = {cls.code for cls in errors.error_classes()} - _seen - (parents - {"usage", "damage"})
    if config.stash[GATES]:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    missing = config.stash.get(GATES, set())
    if missing:
        terminalreporter.section("error codes that no test makes the package raise", red=True)
        terminalreporter.line(", ".join(sorted(missing)))
