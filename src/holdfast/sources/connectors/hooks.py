"""Anything else: commands and HTTP calls of the site before, during and after the capture, with their exit codes understood.

Options name the steps: `check`, `freeze`, `frozen` (asks whether it stands), `thaw`, `after`. Each is a command line (split as a shell
would, no shell involved) or `METHOD http://…`. `EXIT-MAP` options say which codes mean success: `freeze-succeeds = "0 5"`. With
`freeze` there must be a `thaw`, which the watchdog carries out if the run cannot; it must be harmless on an application that
runs. Commands get `HOLDFAST_APPLICATION`, `HOLDFAST_STEP`, and the account in `HOLDFAST_USER` and `HOLDFAST_PASSWORD`.

What is captured: `path`, the paths of `paths`, or a volume snapshot of them where `volume` is given. The verdict is `application` only
if the site says so by `vouches = "yes"`: nobody else can know.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import (
    ApplicationBusyError,
    ApplicationChangedError,
    ApplicationError,
    ApplicationUnreachableError,
    ApplicationUnsuitableError,
    CaptureError,
    ConfigError,
    FreezeOverrunError,
    StillFrozenError,
    VolumeSnapshotError,
    VolumeUnsuitableError,
)
from holdfast.sources.connectors.options import options_of, password_of
from holdfast.sources.connectors.protocol import Capture, Conclusion, Connection, Facts, Found, ThawOrder, Verdict
from holdfast.sources.programs import Done, Programs, SystemPrograms
from holdfast.sources.volumes.choose import VOLUME_OPTIONS, provider_of
from holdfast.sources.volumes.held import HeldVolumes

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["FACTORY", "Hook", "HookConnector", "HookFactory"]

STEPS = ("check", "freeze", "frozen", "thaw", "after")
OPTIONS = {
    **VOLUME_OPTIONS,
    **dict.fromkeys(STEPS, ""),
    **{f"{step}-succeeds": "0" for step in STEPS},
    "timeout": "30",
    "paths": "",
    "version": "",
    "vouches": "no",
}


@dataclass(frozen=True, slots=True)
class Hook:
    """One step: a command, or an HTTP call whose success is any status below 400."""

    step: str
    words: tuple[str, ...]
    succeeds: tuple[int, ...] = (0,)
    timeout: float = 30.0

    @property
    def http(self) -> bool:
        """Whether it is an HTTP call."""
        return len(self.words) == 2 and self.words[1].startswith(("http://", "https://"))  # noqa: PLR2004 - method and address

    @classmethod
    def read(cls, step: str, text: str, succeeds: str, timeout: str) -> Hook | None:
        """Read it from options; None without one. `ValueError` for what cannot be read."""
        if not text:
            return None
        return cls(step, tuple(shlex.split(text)), tuple(int(code) for code in succeeds.split()), float(timeout))

    def run(self, programs: Programs, environ: dict[str, str], seconds: float | None = None) -> Done:
        """Do it, within its own time and `seconds`."""
        limit = self.timeout if seconds is None else max(0.05, min(self.timeout, seconds))
        if not self.http:
            return programs.run(self.words, timeout=limit, environ=environ)
        return _call(self.words[0], self.words[1], environ, limit)

    def good(self, done: Done) -> bool:
        """Whether it ended as it should."""
        return not done.timed_out and (done.code == 0 if self.http else done.code in self.succeeds)


def _call(method: str, url: str, environ: dict[str, str], seconds: float) -> Done:
    """Make the call; the code is 0 or the status."""
    import urllib.error
    import urllib.request

    data = b"" if method != "GET" else None
    request = urllib.request.Request(url, data, _headers(environ), method=method)  # noqa: S310 - `Hook.http` checked it
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310 - as above
            return Done(0, answer.read(65536))
    except urllib.error.HTTPError as error:
        error.close()
        return Done(error.code)
    except OSError as error:
        return Done(-1, timed_out=isinstance(getattr(error, "reason", error), TimeoutError))


def _word(done: Done) -> str:
    return "timeout" if done.timed_out else str(done.code)


def _headers(environ: dict[str, str]) -> dict[str, str]:
    secret = environ.get("HOLDFAST_PASSWORD", "")
    return {"Authorization": f"Bearer {secret}"} if secret else {}


class HookConnector:
    """One application that the site's own hooks know."""

    kind = "hooks"

    def __init__(
        self,
        connection: Connection,
        hooks: dict[str, Hook],
        *,
        options: dict[str, str],
        paths: tuple[bytes, ...],
        volumes: HeldVolumes | None,
        programs: Programs,
    ) -> None:
        """Run nothing yet."""
        self.name = connection.name
        self.freezes = "freeze" in hooks
        self.unfrozen = Verdict.NONE if volumes is None else Verdict.CRASH
        self._connection, self._hooks, self._options, self._paths = connection, hooks, options, paths
        self._volumes, self._programs = volumes, programs
        self._frozen = False
        self._codes: list[tuple[str, str]] = []

    def _environ(self, step: str) -> dict[str, str]:
        secret = password_of(self._connection)
        return {
            "HOLDFAST_APPLICATION": self.name,
            "HOLDFAST_STEP": step,
            **({"HOLDFAST_USER": self._connection.user} if self._connection.user else {}),
            **({"HOLDFAST_PASSWORD": secret} if secret else {}),
        }

    def _run(self, step: str, seconds: float | None = None) -> tuple[bool, Done]:
        hook = self._hooks.get(step)
        if hook is None:
            return True, Done(0)
        done = hook.run(self._programs, self._environ(step), seconds)
        self._codes.append((f"{step}-code", "timeout" if done.timed_out else str(done.code)))
        return hook.good(done), done

    def check(self) -> Facts:
        """Run the check; see that the paths are there and that it does not stand still already."""
        missing = sum(not os.path.lexists(path) for path in self._paths)
        if missing:
            raise ApplicationUnsuitableError(f"{missing} of {len(self._paths)} paths of the application do not exist")
        good, done = self._run("check")
        if not good:
            raise ApplicationUnreachableError(f"the application's check did not succeed ({_word(done)})")
        if "frozen" in self._hooks and self._run("frozen")[0]:
            raise ApplicationBusyError("the application stands still already: somebody else froze it")
        if self._volumes is not None:
            try:
                self._volumes.prepare()
            except VolumeUnsuitableError as error:
                raise ApplicationUnsuitableError(error.what) from error
        return Facts(self._options["version"] or "unknown", (("hooks", " ".join(sorted(self._hooks))),))

    def thaw_orders(self) -> tuple[ThawOrder, ...]:
        """The thaw hook, from the watchdog."""
        hook = self._hooks.get("thaw")
        if hook is None or not self.freezes:
            return ()
        environ = tuple(self._environ("thaw").items())
        if hook.http:
            headers = tuple(_headers(dict(environ)).items())
            return (
                ThawOrder(
                    "http", target=hook.words[1], argv=(hook.words[0],), environ=headers, timeout_seconds=hook.timeout
                ),
            )
        return (
            ThawOrder(
                "command", argv=hook.words, environ=environ, succeeds=hook.succeeds, timeout_seconds=hook.timeout
            ),
        )

    def freeze(self, seconds: float) -> None:
        """Run the freeze hook."""
        if seconds <= 0:
            raise FreezeOverrunError("no time was left to freeze the application")
        self._frozen = True
        good, done = self._run("freeze", seconds)
        if done.timed_out:
            raise FreezeOverrunError("the freeze hook took longer than it may")
        if not good:
            raise ApplicationError(f"the freeze hook ended with {done.code}")

    def verify_frozen(self) -> None:
        """Ask, where there is a hook to ask."""
        if not self._run("frozen")[0]:
            raise ApplicationChangedError("the application does not stand still after its freeze hook")

    def capture(self, seconds: float) -> Capture:  # noqa: ARG002 - the provider keeps its own limit
        """Name the paths, or take their volume snapshot."""
        if self._volumes is None:
            return Capture(paths=self._paths)
        try:
            paths = self._volumes.take()
            if not self._frozen:
                self._volumes.show()
        except VolumeSnapshotError as error:
            raise CaptureError(error.what, next=error.next) from error
        return Capture(paths=paths)

    def thaw(self) -> None:
        """Run the thaw hook if the freeze hook was."""
        if not self._frozen:
            return
        good, done = self._run("thaw")
        if not good:
            raise StillFrozenError(f"the thaw hook did not succeed ({_word(done)})")
        self._frozen = False

    def verify_thawed(self) -> None:
        """Ask, where there is a hook to ask."""
        if "frozen" in self._hooks and self._run("frozen")[0]:
            raise StillFrozenError("the application stands still after its thaw hook")
        if self._volumes is not None and self._volumes.snapshot is not None:
            self._volumes.show()

    def conclude(self) -> Conclusion:
        """Run the hook after; say what the site vouches for."""
        good, done = self._run("after")
        if not good:
            raise CaptureError(f"the hook after the copy did not succeed ({_word(done)})")
        vouched = self._options["vouches"] == "yes"
        verdict = Verdict.APPLICATION if vouched else self.unfrozen
        proofs = (("vouched-by", "the site" if vouched else "nobody"), *self._codes)
        return Conclusion(verdict, proofs + (self._volumes.proofs if self._volumes else ()))

    def close(self) -> None:
        """Thaw what is still frozen; let go of the snapshot."""
        with contextlib.suppress(ApplicationError):
            self.thaw()
        if self._volumes is not None:
            with contextlib.suppress(VolumeSnapshotError, OSError):
                self._volumes.release()

    def without_freeze(self) -> None:
        """There is no other way that Holdfast knows."""
        return


class HookFactory:
    """Makes connectors out of hooks."""

    kind = "hooks"

    def __init__(self, programs: Programs | None = None) -> None:
        """Use the programs of the machine, or doubles."""
        self._programs = programs

    def make(self, connection: Connection, env: Environment) -> HookConnector:
        """Make one. `ConfigError` for a freeze without a thaw, and for what cannot be read."""
        options = options_of(connection, OPTIONS)
        problems, hooks = [], {}
        for step in STEPS:
            try:
                hook = Hook.read(step, options[step], options[f"{step}-succeeds"], options["timeout"])
            except ValueError:
                problems.append(f"{step}, {step}-succeeds or timeout cannot be read")
                continue
            if hook is not None:
                hooks[step] = hook
        if "freeze" in hooks and "thaw" not in hooks:
            problems.append("thaw is missing: nothing is frozen that the watchdog cannot thaw")
        paths = tuple(
            os.fsencode(path)
            for path in (*([connection.path] if connection.path else []), *shlex.split(options["paths"]))
        )
        if not paths:
            problems.append("path or paths is missing: there is nothing to capture")
        if problems:
            raise ConfigError(f"the application {connection.name} has faults", problems=tuple(problems))
        programs = self._programs or SystemPrograms(env)
        volumes = None
        if options["volume"]:
            provider = provider_of(options, paths, env=env, programs=programs)
            volumes = HeldVolumes(provider, paths, name=connection.name, env=env, programs=programs)
        return HookConnector(connection, hooks, options=options, paths=paths, volumes=volumes, programs=programs)

    def grants(self, connection: Connection) -> str:
        """Say what the hooks' account needs."""
        return (
            f"# {connection.name}: the hooks run as the account of the backup. Give it just the commands they name, as in sudoers:\n"
            "# holdfast ALL=(root) NOPASSWD: /usr/local/sbin/freeze-application, /usr/local/sbin/thaw-application"
        )

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - hooks are not found
        """Find none."""
        return ()


FACTORY = HookFactory()
