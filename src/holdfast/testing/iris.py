"""A double of the program `iris`, as an executable: a write daemon that is suspended and resumed, with exit codes 5 and 3.

It holds its state in files of its folder, so the watchdog's own process meets the same instance. Files that a test makes there:
`fail-freeze`, `fail-thaw`, `down`. What it does not know it refuses with 64 and writes to `unknown`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["IrisDouble"]

SCRIPT = r"""#!/bin/sh
cd "$(dirname "$0")" || exit 70
echo "$@" >> calls
case "$*" in
  "qlist IRIS")
    [ -e down ] && state=down || state=running
    echo "IRIS^/usr/irissys^2024.1.0^$state, since now" ;;
  *IsWDSuspendedExt*) [ -e suspended ] && exit 5; exit 3 ;;
  *ExternalFreeze*)
    [ -e fail-freeze ] && exit 3
    [ -e suspended ] && exit 3
    : > suspended; exit 5 ;;
  *ExternalThaw*)
    [ -e fail-thaw ] && exit 3
    [ -e suspended ] || exit 3
    rm -f suspended; exit 5 ;;
  *ExternalSetHistory*) exit 5 ;;
  "stat IRIS -W") [ -e fail-stat ] && exit 1; rm -f suspended ;;
  *) echo "$@" >> unknown; exit 64 ;;
esac
"""


@dataclass(frozen=True, slots=True)
class IrisDouble:
    """An instance in a folder."""

    folder: Path

    def install(self) -> str:
        """Write the program; return its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        program = self.folder / "iris"
        program.write_text(SCRIPT)
        program.chmod(0o755)
        return str(program)

    @property
    def suspended(self) -> bool:
        """Whether its write daemon stands still."""
        return (self.folder / "suspended").exists()

    @property
    def calls(self) -> list[str]:
        """What it was asked."""
        path = self.folder / "calls"
        return path.read_text().splitlines() if path.exists() else []
