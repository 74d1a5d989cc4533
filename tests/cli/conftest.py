"""A vault that records what it is asked and answers with set results, so that the command line is tested by itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

import pytest

import holdfast
from holdfast.base.events import Finding, Note, Progress
from holdfast.cli import main
from holdfast.runs import results

MOMENT = datetime(2026, 11, 23, 3, tzinfo=UTC)
ID = "ab" * 16
SECRET_PATH = b"srv/ehr/M\xfcller, Erika.hl7"

INFO = results.SnapshotInfo(
    id=ID,
    source="cd" * 16,
    parent="",
    writer="ef" * 16,
    started=MOMENT,
    finished=MOMENT,
    partial=True,
    findings=1,
    anomaly=0,
    retain_until=None,
    admitted=None,
    held=True,
    classes=(results.ClassPart(1, "phi", 1, "r", "p", 3, 1024, 2),),
    label="ehr",
    host="ward7",
    paths=(b"/srv/ehr",),
    tags=("nightly",),
)


def entry(path: bytes = SECRET_PATH, kind: str = "file", **more: Any) -> results.EntryInfo:
    shape: dict[str, Any] = {
        "size": 5,
        "mode": 0o640,
        "uid": 0,
        "gid": 0,
        "user": "root",
        "group": "",
        "mtime_ns": 10**18,
        "class_id": 1,
    }
    return results.EntryInfo(path=path, kind=kind, **(shape | more))


FINDING = Finding(SECRET_PATH, "unreadable", "permission denied", 1)
EVENTS = (
    Progress("read", seconds=2.0, files=3, bytes=100, new_bytes=40, stored_bytes=30, bytes_total=200, findings=1),
    Progress("read", seconds=2.1, files=3, bytes=110),
    Note("a session was resumed"),
    FINDING,
)


class FakeSnapshot:
    def __init__(self, vault: FakeVault) -> None:
        self.vault = vault
        self.info = INFO

    def _call(self, name: str, **arguments: Any) -> Any:
        return self.vault.answer(name, **arguments)

    def ls(self, path):
        return iter(self._call("ls", path=path))

    def walk(self, prefix):
        return iter(self._call("walk", path=prefix))

    def find(self, pattern):
        return iter(self._call("snapshot.find", pattern=pattern))

    def diff(self, other):
        return iter(self._call("diff", other=other))

    def read(self, path, fd, **given):
        return self._call("read", path=path, fd=fd, **given)

    def restore(self, to, **arguments):
        return self._call("restore", to=to, **arguments)


class FakeList(list):
    damaged = ()


class FakeVault:
    """Answers by name: a value, or something to call with the arguments. `calls` keeps what was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Any] = {}
        self.id = "12" * 16
        self.url = "/vault"

    def answer(self, name: str, **arguments: Any) -> Any:
        self.calls.append((name, arguments))
        events = arguments.get("events")
        if events is not None:
            for event in EVENTS:
                events(event)
        found = self.answers.get(name)
        if isinstance(found, BaseException):
            raise found
        return found(**arguments) if callable(found) else found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.calls.append(("close", {}))

    def create(self, url, **arguments):
        self.answer("create", url=url, **arguments)
        return self

    def open(self, url, **arguments):
        self.answer("open", url=url, **arguments)
        return self

    def snapshot(self, selector):
        self.answer("snapshot", selector=selector)
        return FakeSnapshot(self)

    def snapshots(self, source=""):
        return FakeList([FakeSnapshot(self)] if self.answer("snapshots", source=source) is None else [])

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **arguments: Any) -> Any:
            if args:
                arguments["args"] = args
            return self.answer(name, **arguments)

        return call

    def asked(self, name: str) -> dict[str, Any]:
        """Return the arguments of the only call of that name."""
        (found,) = [arguments for called, arguments in self.calls if called == name]
        return found


@pytest.fixture
def vault(monkeypatch: pytest.MonkeyPatch) -> FakeVault:
    found = FakeVault()
    monkeypatch.setitem(vars(holdfast), "Vault", found)
    monkeypatch.setenv("HOLDFAST_VAULT", "/vault")
    monkeypatch.setenv("HOLDFAST_KEY_FILE", "/key")
    return found


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line; return exit code, standard output and standard error. JSON is checked against its shapes."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        captured = capfd.readouterr()
        if "--json" in arguments:
            from holdfast.cli.shapes import problems

            for line in captured.out.splitlines():
                assert not problems(json.loads(line)), line
        return code, captured.out, captured.err

    return call
