"""An isolated place for a drilled application: namespaces of its own for mounts, network, processes and IPC.

With root (or user namespaces) an application in a cell cannot write anywhere but in the drill's folder, has no network but a
loopback of its own, sees no other process and none of the concealed folders, holds no capability, and dies with the drill,
however that dies. Without namespaces a cell is *weaker*: processes run as the drill's user with the drill's folders and
sockets, and are killed with it; nothing but their own configuration keeps them from the network. `Cell.level` and
`Cell.weaker` say which.

Programs of util-linux do it (unshare, nsenter, setpriv: on every Linux); see namespaces(7), mount_namespaces(7).
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Literal

from holdfast.base.environment import Environment
from holdfast.errors import DrillError, DrillProgramError, IsolationError
from holdfast.services import keeper

__all__ = ["Cell", "Concealed", "Ran", "Server", "concealable", "found_program", "open_cell", "run_as"]

Level = Literal["namespaces", "user namespaces", "processes"]
READY_SECONDS = 20.0
END_SECONDS = 20.0
OUTPUT_MAX = 1 << 20
UNSHARED = ("--mount", "--net", "--pid", "--ipc", "--uts")
ENTERED = ("--mount", "--net", "--pid", "--ipc", "--uts")
NEEDED = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/dev", "/sys", "/opt")
"""What programs live on; concealing it would conceal the application itself."""
WEAKER: Mapping[str, tuple[str, ...]] = {
    "namespaces": (),
    "user namespaces": (),
    "processes": (
        "no network namespace: only its own configuration keeps the application from the network",
        "no mount namespace: the application could write wherever its user may",
        "no process namespace: it is ended by its process group",
    ),
}


@dataclass(frozen=True, slots=True)
class Concealed:
    """Which folders a cell hides, and how many it cannot because something needed lies in them."""

    folders: tuple[str, ...]
    open: int


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended: its exit code (negative: the signal), and the beginnings of what it wrote."""

    code: int
    out: str
    err: str
    timed_out: bool = False


@dataclass(slots=True)
class Server:
    """A process that keeps running in a cell, in a process group of its own. `log` is where its output goes."""

    process: subprocess.Popen[bytes]
    log: str

    def poll(self) -> int | None:
        """Return its exit code, or None while it runs."""
        return self.process.poll()

    def said(self, limit: int = 65536) -> str:
        """Return the end of its log. It may hold content of the drilled data: look at it, never pass it on."""
        with contextlib.suppress(OSError), open(self.log, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit))
            return file.read().decode(errors="replace")
        return ""


@dataclass(slots=True)
class Cell:
    """Where a drilled application runs. Made by :func:`open_cell`, and gone after it with everything in it."""

    level: Level
    env: Environment
    user: int
    group: int
    prefix: tuple[str, ...]
    failed: tuple[str, ...] = ()
    concealed: Concealed = field(default_factory=lambda: Concealed((), 0))
    servers: list[Server] = field(default_factory=list)

    @property
    def weaker(self) -> tuple[str, ...]:
        """In which ways it isolates less than it should; empty if it does."""
        return (*WEAKER[self.level], *self.failed)

    def run(
        self,
        command: Sequence[str],
        *,
        seconds: float,
        environ: Mapping[str, str] | None = None,
        cwd: str = "/",
        stdin: bytes = b"",
    ) -> Ran:
        """Run a command to its end as the drill's user. `DrillProgramError` if there is no such program."""
        process = self._start(command, environ, cwd, subprocess.PIPE, subprocess.PIPE, subprocess.PIPE)
        try:
            out, err = process.communicate(stdin, timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill(process, signal.SIGKILL)
            process.communicate()
            return Ran(-signal.SIGKILL, "", "", timed_out=True)
        return Ran(process.returncode, _text(out), _text(err))

    def serve(
        self, command: Sequence[str], *, log: str, environ: Mapping[str, str] | None = None, cwd: str = "/"
    ) -> Server:
        """Start a process that keeps running. It is ended with the cell at the latest."""
        with open(log, "ab") as file:
            server = Server(self._start(command, environ, cwd, subprocess.DEVNULL, file, file), log)
        self.servers.append(server)
        return server

    def end(self, server: Server, *, seconds: float = END_SECONDS, number: int = signal.SIGTERM) -> None:
        """Ask a server to end, and kill it if it does not in time."""
        for each in (number, signal.SIGKILL):
            if not _kill(server.process, each):
                break
            deadline = self.env.monotonic() + seconds
            while _alive(server.process) and self.env.monotonic() < deadline:
                self.env.sleep(0.05)
            if not _alive(server.process):
                break
        server.process.wait()
        if server in self.servers:
            self.servers.remove(server)

    def _start(
        self,
        command: Sequence[str],
        environ: Mapping[str, str] | None,
        cwd: str,
        stdin: int,
        stdout: int | IO[bytes],
        stderr: int | IO[bytes],
    ) -> subprocess.Popen[bytes]:
        program = found_program(command[0])
        inside = [*self.prefix, *([f"--wdns={cwd}"] if self.level != "processes" else []), *self._as_user()]
        return subprocess.Popen(
            [*inside, program, *command[1:]],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd if self.level == "processes" else "/",
            env=_environ(environ or {}),
            start_new_session=True,
        )

    def _as_user(self) -> list[str]:
        setpriv = [found_program("setpriv"), "--no-new-privs"]
        if self.level == "namespaces":
            user = [f"--reuid={self.user}", f"--regid={self.group}", "--clear-groups", "--bounding-set=-all"]
            return [*setpriv, *user, "--inh-caps=-all", "--"]
        if os.geteuid() == 0 and self.level == "processes":
            user = [f"--reuid={self.user}", f"--regid={self.group}", "--clear-groups"]
            return [*setpriv, "--pdeathsig=KILL", *user, "--"]
        return [*setpriv, *(["--pdeathsig=KILL"] if self.level == "processes" else []), "--"]


def found_program(name: str, *folders: str) -> str:
    """Return the path of a program. `DrillProgramError` if there is none."""
    places = os.pathsep.join((*folders, os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    found = shutil.which(name, path=places)
    if found is None:
        raise DrillProgramError(f"the program {os.path.basename(name)} is not on this machine")
    return found


def concealable(folders: Sequence[str], keep: Sequence[str]) -> Concealed:
    """Decide which folders a cell can hide: those in or above which nothing lies that it needs. Pure but for links."""
    needed = [os.path.realpath(path) for path in (*keep, *NEEDED, sys.prefix, sys.base_prefix)]
    hidden, shown = [], 0
    for folder in dict.fromkeys(os.path.realpath(folder) for folder in folders):
        inside = folder.rstrip("/") + "/"
        if any(path == folder or path.startswith(inside) for path in needed):
            shown += 1
        else:
            hidden.append(folder)
    return Concealed(tuple(hidden), shown)


@contextmanager
def open_cell(
    folder: str,
    env: Environment,
    *,
    user: int,
    group: int,
    conceal: Sequence[str] = (),
    required: bool = True,
    programs: Sequence[str] = (),
) -> Iterator[Cell]:
    """Yield a cell that may write to `folder` only; afterwards nothing of it runs or is mounted.

    `IsolationError` if the system gives no namespaces and they are required.
    """
    hidden = concealable(conceal, (folder, *programs))
    started = _namespaces(folder, hidden.folders)
    if started is None:
        if required:
            raise IsolationError("the system gives this drill no namespaces of its own")
        cell = Cell("processes", env, user, group, (), concealed=Concealed((), len(hidden.folders) + hidden.open))
        process = None
    else:
        process, level, failed = started
        try:
            pid = _inner(process.pid)
        except (OSError, DrillError):
            _close(process)
            raise DrillError("the isolated place ended while it was made") from None
        own = ["--user", "--preserve-credentials"] if level == "user namespaces" else []
        prefix = (found_program("nsenter"), f"--target={pid}", *own, *ENTERED)
        cell = Cell(level, env, user, group, prefix, failed, hidden)
    try:
        yield cell
    finally:
        for server in [*cell.servers]:
            cell.end(server, number=signal.SIGKILL)
        if process is not None:
            _close(process)


def _namespaces(folder: str, conceal: Sequence[str]) -> tuple[subprocess.Popen[bytes], Level, tuple[str, ...]] | None:
    """Start the keeper in namespaces of its own: with root's rights, else with a user namespace; None if neither can be."""
    tries: list[tuple[Level, tuple[str, ...]]] = [("namespaces", ())]
    if os.geteuid() != 0:
        tries = [("user namespaces", ("--user", "--map-current-user", "--keep-caps"))]
    for level, more in tries:
        try:
            unshare = [found_program("setpriv"), "--pdeathsig=KILL", found_program("unshare"), *more, *UNSHARED]
        except DrillProgramError:
            return None
        process = subprocess.Popen(
            [*unshare, "--fork", "--kill-child=SIGKILL", "--mount-proc", sys.executable, "-I", keeper.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        answer = _told(process, {"writable": [os.path.realpath(folder)], "conceal": [*conceal]})
        if answer is not None and answer.get("ok"):
            counted = tuple(dict.fromkeys(f"not all could be shut off ({why})" for why in answer.get("failed", ())))
            return process, level, counted
        _close(process)
    return None


def _told(process: subprocess.Popen[bytes], wanted: Mapping[str, object]) -> dict[str, list[str]] | None:
    """Tell the keeper what to do; return its answer, None if it gives none."""
    if process.stdin is None or process.stdout is None:  # pragma: no cover - both are pipes
        return None
    try:
        process.stdin.write(json.dumps(wanted).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return None
    if not select.select([process.stdout], [], [], READY_SECONDS)[0]:
        return None
    row = process.stdout.readline()
    answer: dict[str, list[str]] | None = json.loads(row) if row else None
    return answer


def _inner(unshare: int) -> int:
    """Return the keeper's process id: the only child of `unshare`."""
    with open(f"/proc/{unshare}/task/{unshare}/children") as file:
        children = file.read().split()
    if len(children) != 1:
        raise DrillError("the isolated place ended while it was made")
    return int(children[0])


def _close(process: subprocess.Popen[bytes]) -> None:
    """Close the keeper's pipe, which ends it and everything in its namespaces."""
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
    try:
        process.wait(END_SECONDS)
    except subprocess.TimeoutExpired:  # pragma: no cover - a keeper that does not end at the end of its pipe
        process.kill()
        process.wait()


def _environ(more: Mapping[str, str]) -> dict[str, str]:
    """Return what a drilled process may know: nothing of this one's environment but where programs are and how to write."""
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TZ") if name in os.environ}
    return {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **kept, **more}


def _kill(process: subprocess.Popen[bytes], number: int) -> bool:
    """Signal a process group; return whether anything of it was there."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    return _kill(process, 0)


def _text(data: bytes) -> str:
    return data[:OUTPUT_MAX].decode(errors="replace")


def run_as(path: str, owner: int = -1) -> tuple[int, int]:
    """Return whom an application on this data runs as: the data's owner, never root (then `nobody`).

    `owner` is the one that the snapshot names, which counts where the data itself is root's.
    """
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    status = os.stat(path)
    user = status.st_uid or owner
    try:
        known = pwd.getpwuid(user) if user > 0 else pwd.getpwnam("nobody")
    except KeyError:
        return user, status.st_gid or user
    return known.pw_uid, known.pw_gid
