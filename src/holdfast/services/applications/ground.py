"""What an application works with in a drill, and what it promises."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.errors import DrillProgramError
from holdfast.services.catalogue import Check, Service
from holdfast.services.isolation import Cell, Ran, Server, found_program
from holdfast.services.judge import Answer, Outcome

__all__ = [
    "Application",
    "ApplicationFailed",
    "Ground",
    "any_answer",
    "command_answer",
    "file_answer",
    "http_answer",
    "interpreter",
    "wait_ready",
]

ANSWER_SECONDS = 120.0
POLL_SECONDS = 0.05


class ApplicationFailed(Exception):  # noqa: N818 - a result of the drill, not an error of Holdfast
    """The application does not come up on the restored data, or breaks down. The drill fails with `cause`.

    `cause` is a sentence that names the defect as precisely as the application does, and holds neither content nor paths.
    """

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(slots=True)
class Ground:
    """One drilled service's folders and its cell. All folders are the drill's own."""

    service: Service
    cell: Cell
    restored: str
    """What was restored, with the snapshot's paths below it."""
    data: str
    """The application's data: moved out of `restored`, so that its user reaches it."""
    run: str
    """For sockets, configuration and temporary files; the application's user owns it."""
    recovery: tuple[tuple[str, str], ...] = ()
    """Settings that recover a base backup with its WAL to a target; empty: the data is started as it is."""
    environ: Mapping[str, str] = field(default_factory=dict)
    file_systems: frozenset[str] = frozenset()
    """Of a whole host: the names of the file systems that were made for it."""

    def program(self, name: str, *folders: str) -> str:
        """Return the path of one of the application's programs. `DrillProgramError`."""
        own = [self.service.programs] if self.service.programs else []
        return found_program(name, *own, *folders)

    def run_program(self, command: Sequence[str], *, seconds: float = ANSWER_SECONDS, stdin: bytes = b"") -> Ran:
        """Run a command in the cell."""
        return self.cell.run(command, seconds=seconds, environ=self.variables(), cwd=self.run, stdin=stdin)

    def serve(self, command: Sequence[str], *, cwd: str = "") -> Server:
        """Start the application's process in the cell."""
        log = os.path.join(self.run, "log")
        return self.cell.serve(command, log=log, environ=self.variables(), cwd=cwd or self.run)

    def variables(self) -> dict[str, str]:
        """Return the environment of the application's processes."""
        return {"HOME": self.run, "TMPDIR": self.run, "HOLDFAST_DRILL": "1", **self.environ}


class Application(Protocol):
    """A real application on restored data. In this order: start, ask (any number), verify, stop.

    Each may raise :class:`ApplicationFailed`; `DrillProgramError` means that the drill could not be held. `stop` never raises
    for an application that is not running. Nothing outside the ground's folders is written, whatever happens.
    """

    def start(self) -> None:
        """Make the data safe to start (no archiving, no replication, own sockets), start, and wait until it answers."""
        ...

    def ask(self, check: Check) -> Answer:
        """Ask a running application a check's question."""
        ...

    def verify(self) -> Iterator[Outcome]:
        """Let the application's own tools look for damage: while it runs, and stopping it if they need that."""
        ...

    def stop(self) -> None:
        """Stop it."""
        ...


def wait_ready(ground: Ground, server: Server, ready: Callable[[], bool], why: Callable[[], str]) -> None:
    """Wait until the application answers. :class:`ApplicationFailed` with `why()` if it ends or takes too long."""
    env = ground.cell.env
    deadline = env.monotonic() + ground.service.ready_seconds
    while not ready():
        if server.poll() is not None:
            raise ApplicationFailed(why() or f"the application ended by itself (exit code {server.poll()})")
        if env.monotonic() > deadline:
            raise ApplicationFailed(why() or f"the application did not answer within {ground.service.ready_seconds} s")
        env.sleep(POLL_SECONDS)


def interpreter() -> str:
    """Return a Python that the application's user may run: this one, or the system's where this one lies in a closed folder."""
    real = os.path.realpath(sys.executable)
    folder = os.path.dirname(real)
    while folder != "/":
        if os.geteuid() == 0 and not os.stat(folder).st_mode & stat.S_IXOTH:
            return found_program("python3", "/usr/bin")
        folder = os.path.dirname(folder)
    return sys.executable


ASKER = """
import json, sys, urllib.error, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    with opener.open(sys.argv[1], timeout=30) as answer:
        print(json.dumps([answer.status, answer.read(1 << 20).decode(errors="replace")]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, ""]))
except OSError as error:
    print(json.dumps([0, ""]))
"""
HTTP_OK = range(200, 300)


def http_answer(ground: Ground, url: str) -> Answer:
    """Ask an HTTP server inside the cell, where alone it can be reached. A status other than 2xx is a problem."""
    ran = ground.run_program([interpreter(), "-I", "-c", ASKER, url], seconds=60.0)
    try:
        status, body = json.loads(ran.out)
    except ValueError:
        return Answer(problem="the question could not be asked")
    if status == 0:
        return Answer(problem="nobody answers there")
    return Answer(str(body)) if status in HTTP_OK else Answer(problem=f"the answer is HTTP status {status}")


def command_answer(ground: Ground, check: Check) -> Answer:
    """Run a check's command in the cell; its output is the answer."""
    try:
        ran = ground.run_program(check.command)
    except DrillProgramError as error:
        return Answer(problem=error.what)
    if ran.timed_out:
        return Answer(problem=f"the command did not end within {ANSWER_SECONDS:.0f} s")
    return Answer(ran.out) if ran.code == 0 else Answer(problem=f"the command ended with exit code {ran.code}")


def file_answer(ground: Ground, check: Check) -> Answer:
    """Return the size of a restored file."""
    place = os.path.join(ground.restored, check.path.lstrip("/"))
    data = ground.service.data.rstrip("/")
    if data and (check.path == data or check.path.startswith(data + "/")):
        place = ground.data + check.path[len(data) :]
    try:
        size = os.lstat(place).st_size
    except OSError:
        return Answer(problem="the file is not there")
    return Answer(str(size)) if size else Answer(problem="the file is empty")


def any_answer(ground: Ground, check: Check, *, what: str) -> Answer:
    """Answer the kinds of checks that every application has; say so of the others."""
    match check.kind:
        case "command":
            return command_answer(ground, check)
        case "file":
            return file_answer(ground, check)
        case _:
            return Answer(problem=f"{what} answers no check of kind {check.kind}")
