"""A double of an application that can be frozen: a folder, a journal that grows, and a file that says that it stands still.

It behaves as databases do where it matters: writers wait while it is frozen, it stays frozen when whoever froze it dies, a
second freeze is refused, and thawing what is not frozen is said. `faults` makes a step fail as the real ones fail.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import (
    ApplicationBusyError,
    ApplicationChangedError,
    ApplicationUnreachableError,
    FreezeOverrunError,
    StillFrozenError,
)
from holdfast.sources.connectors.protocol import (
    Beside,
    Capture,
    Conclusion,
    Connection,
    Facts,
    Found,
    ThawOrder,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.base.environment import Environment

__all__ = ["FACTORY", "FileApplication", "FileConnector"]


@dataclass(frozen=True, slots=True)
class FileApplication:
    """The application itself: what stands in `folder`."""

    folder: Path

    @property
    def flag(self) -> Path:
        """The file that is there while it stands still."""
        return self.folder / "frozen"

    @property
    def journal(self) -> Path:
        """One line per acknowledged write."""
        return self.folder / "journal"

    def create(self) -> FileApplication:
        """Make it, empty and running."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.journal.touch()
        return self

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return self.flag.exists()

    def write(self, line: str) -> bool:
        """Write and acknowledge a line; False while it stands still."""
        if self.frozen:
            return False
        with self.journal.open("a") as file:
            file.write(f"{line}\n")
        return True


@dataclass(slots=True)
class FileConnector:
    """A connector to :class:`FileApplication`. `faults` are called before the step of their name and may raise or wait."""

    application: FileApplication
    name: str = "files"
    kind: str = "files-double"
    freezes: bool = True
    unfrozen: Verdict = Verdict.NONE
    faults: Mapping[str, Callable[[], None]] = field(default_factory=dict)
    fallback: FileConnector | None = None
    steps: list[str] = field(default_factory=list)
    """Every step that was called, in order."""
    _mine: bool = False

    def _step(self, name: str) -> None:
        self.steps.append(name)
        if name in self.faults:
            self.faults[name]()

    def check(self) -> Facts:
        """Look whether it runs, and is not frozen by somebody else."""
        self._step("check")
        if not self.application.journal.exists():
            raise ApplicationUnreachableError("the application does not run")
        if self.application.frozen:
            raise ApplicationBusyError("the application is frozen already")
        return Facts("1.0", (("lines", str(len(self.application.journal.read_bytes().splitlines()))),))

    def thaw_orders(self) -> tuple[ThawOrder, ...]:
        """Remove the flag, from another process."""
        self._step("thaw_orders")
        return (ThawOrder("command", argv=("rm", "-f", str(self.application.flag))),)

    def freeze(self, seconds: float) -> None:
        """Raise the flag."""
        self._step("freeze")
        if seconds <= 0:
            raise FreezeOverrunError("no time was left to freeze the application")
        try:
            os.close(os.open(self.application.flag, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except FileExistsError:
            raise ApplicationBusyError("the application is frozen already") from None
        self._mine = True

    def verify_frozen(self) -> None:
        """Look whether the flag is up."""
        self._step("verify_frozen")
        if not self.application.frozen:
            raise ApplicationChangedError("somebody thawed the application")

    def capture(self, seconds: float) -> Capture:  # noqa: ARG002 - it takes no time
        """Name the folder; the copy is made of the journal as it is now."""
        self._step("capture")
        copied = self.application.folder / "captured"
        copied.write_bytes(self.application.journal.read_bytes())
        return Capture(paths=(os.fsencode(copied),))

    def thaw(self) -> None:
        """Take the flag down."""
        self._step("thaw")
        if self._mine:
            self.application.flag.unlink(missing_ok=True)

    def verify_thawed(self) -> None:
        """Look whether the flag is down."""
        self._step("verify_thawed")
        if self._mine and self.application.frozen:
            raise StillFrozenError("the application is still frozen")
        self._mine = False

    def conclude(self) -> Conclusion:
        """Count the captured lines."""
        self._step("conclude")
        lines = (self.application.folder / "captured").read_bytes().splitlines()
        place = os.fsencode(self.application.folder / "captured.count").lstrip(b"/")
        return Conclusion(
            Verdict.APPLICATION, (("lines", str(len(lines))),), (Beside(place, str(len(lines)).encode()),)
        )

    def close(self) -> None:
        """Remove the copy."""
        self._step("close")
        (self.application.folder / "captured").unlink(missing_ok=True)

    def without_freeze(self) -> FileConnector | None:
        """Return the other connector that was given."""
        return self.fallback


class _Factory:
    """Makes connectors to a :class:`FileApplication` in the folder `path`."""

    kind = "files-double"

    def make(self, connection: Connection, env: Environment) -> FileConnector:  # noqa: ARG002 - it needs no clock
        """Make one."""
        return FileConnector(FileApplication(Path(connection.path)), connection.name)

    def grants(self, connection: Connection) -> str:
        """Say who has to own the folder."""
        return f"chown holdfast {connection.path}"

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - it needs no clock
        """Find none."""
        return ()


FACTORY = _Factory()
