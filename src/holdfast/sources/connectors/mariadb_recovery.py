"""Bring a captured MariaDB back to a moment: settle what was prepared, then replay the binary log up to a time or a position.

A commit that stood before the freeze is prepared in InnoDB and not in the binary log: it was acknowledged to nobody, and is rolled
back (`settle`), as MariaDB's own tool does. Then the events between the captured position and the target are replayed
(`plan_replay`, `replay`). `--stop-datetime` of `mariadb-binlog` has whole seconds: every transaction acknowledged before the
second is in, none that began in it or later; a position stops at the event.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from holdfast.errors import ApplicationUnsuitableError, CaptureError, DriverMissingError
from holdfast.sources.programs import Programs

__all__ = ["Position", "Replay", "plan_replay", "replay", "settle"]

SETTLE_SECONDS = 3600.0
_NUMBERED = re.compile(rb"^(.+)\.(\d{6,})$")
_SETTLED = b"Please restart"


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the binary log, as `holdfast_binlog_info` beside a capture holds it."""

    file: str
    offset: int

    @classmethod
    def read(cls, content: bytes) -> Position:
        """Read what a capture put beside its files. `CaptureError` if it is none."""
        parts = content.decode(errors="replace").strip("\n").split("\t")
        if len(parts) < 2 or not parts[1].isdigit():  # noqa: PLR2004 - name, position, GTID
            raise CaptureError("the position of the binary log beside the capture cannot be read")
        return cls(parts[0], int(parts[1]))


@dataclass(frozen=True, slots=True)
class Replay:
    """What is to be replayed: whole files from a position on, up to a moment, a position, or the end."""

    files: tuple[bytes, ...]
    start: int
    stop_time: str = ""
    """`YYYY-MM-DD hh:mm:ss` in UTC; empty without a limit."""
    stop_offset: int = 0
    """An offset in the last file; 0 without a limit."""

    def command(self, program: str) -> list[str]:
        """Return the command that prints the events; run it with `TZ=UTC`."""
        limits = [f"--stop-datetime={self.stop_time}"] if self.stop_time else []
        limits += [f"--stop-position={self.stop_offset}"] if self.stop_offset else []
        return [program, f"--start-position={self.start}", *limits, *map(os.fsdecode, self.files)]


def plan_replay(
    names: Iterable[bytes], start: Position, *, until: datetime | None = None, to: Position | None = None
) -> Replay:
    """Decide which of the files at hand are replayed. `ApplicationUnsuitableError` names how many are missing in between."""
    if until is not None and until.tzinfo is None:
        raise ApplicationUnsuitableError("the moment to recover to has no time zone")
    wanted = _NUMBERED.match(start.file.encode())
    if wanted is None:
        raise CaptureError("the position of the binary log beside the capture names no numbered file")
    numbers = {int(match[2]): name for name in names if (match := _NUMBERED.match(name)) and match[1] == wanted[1]}
    first = int(wanted[2])
    last = max(numbers, default=first)
    if to is not None:
        match = _NUMBERED.match(to.file.encode())
        last = int(match[2]) if match else first
    missing = sum(number not in numbers for number in range(first, last + 1))
    if missing or last < first:
        raise ApplicationUnsuitableError(
            f"{missing or 'some'} files of the binary log between capture and target are missing"
        )
    files = tuple(numbers[number] for number in range(first, last + 1))
    moment = until.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if until else ""
    return Replay(files, start.offset, moment, to.offset if to else 0)


def settle(programs: Programs, server: str, data: bytes, *options: str) -> bool:
    """Roll back what was prepared and never acknowledged; return whether there was any. The server is not left running.

    `options` are the server's own (`--user`); it listens on nothing. `CaptureError` if it does not come up.
    """
    command = [server, "--no-defaults", f"--datadir={os.fsdecode(data)}", "--skip-networking", *options]
    # It reads statements from an empty input, and so ends by itself once it has recovered.
    done = programs.run([*command, "--bootstrap", "--tc-heuristic-recover=ROLLBACK"], timeout=SETTLE_SECONDS)
    if not done.ok and (done.timed_out or _SETTLED not in done.err + done.out):
        raise CaptureError(f"the captured files did not come up (the server ended with {done.code})")
    return b"in prepared state" in done.err + done.out


def replay(plan: Replay, folder: bytes, client: Sequence[str], *, seconds: float = SETTLE_SECONDS) -> None:
    """Print the events and feed them to a server through its client program, whose options hold no secret.

    `CaptureError` if either ends with an error: the server then holds a state between capture and target.
    """
    program = shutil.which("mariadb-binlog") or shutil.which("mysqlbinlog")
    if program is None:
        raise DriverMissingError("the program mariadb-binlog is not installed", next="install the package that has it.")
    environ = {**os.environ, "TZ": "UTC"}
    with (
        subprocess.Popen(
            plan.command(program), cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as events,
        subprocess.Popen(
            list(client), stdin=events.stdout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as into,
    ):
        if events.stdout is not None:
            events.stdout.close()
        try:
            codes = (into.wait(seconds), events.wait(seconds))
        except subprocess.TimeoutExpired:
            into.kill()
            events.kill()
            raise CaptureError("replaying the binary log took longer than it may") from None
    if any(codes):
        raise CaptureError(f"the binary log could not be replayed (client {codes[0]}, mariadb-binlog {codes[1]})")
