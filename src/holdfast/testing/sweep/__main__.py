"""`python -m holdfast.testing.sweep [--step N] [NAME …]`: strike commands, and end with 1 if one breaks a promise."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from holdfast.testing.sweep.commands import COMMANDS
from holdfast.testing.sweep.run import sweep
from holdfast.testing.sweep.strike import WAYS

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m holdfast.testing.sweep", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(command.name for command in COMMANDS)}")
    parser.add_argument("--step", type=int, default=1, help="strike every so many operations only")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    asked = parser.parse_args(arguments)
    chosen = [command for command in COMMANDS if not asked.names or command.name in asked.names]
    if len(chosen) < len(set(asked.names)):
        sys.stderr.write("there is no such command\n")
        return 2
    broken = 0
    for command in chosen:
        try:
            report = sweep(command, ways=asked.ways, step=asked.step)
        except Exception as error:  # noqa: BLE001 - whatever breaks, the next command is tried, too
            broken += 1
            sys.stdout.write(f"{command.name}: BROKEN: {error} {' '.join(getattr(error, '__notes__', ()))}\n")
            continue
        sys.stdout.write(
            f"{command.name}: {report.strikes} strikes: {report.died} died, {report.failed} failed,"
            f" {report.carried_on} carried on; {report.restores} restores, all as acknowledged\n"
        )
        sys.stdout.flush()
    return 1 if broken else 0


if __name__ == "__main__":  # pragma: no cover - the line that calls main
    sys.exit(main())
