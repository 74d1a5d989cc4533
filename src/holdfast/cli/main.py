"""The console script: one group, one place where errors become text and exit codes."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

import click
from click.shell_completion import shell_complete

from holdfast import errors
from holdfast.base.defaults import LOCK_VARIABLE
from holdfast.cli.commands import HoldfastGroup

__all__ = ["cli", "main", "report"]

GC_OBJECTS = 50_000


@click.group(
    cls=HoldfastGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 complete, 1 failed, 2 usage, 3 partial, 4 damage, 5 no such vault or snapshot, 6 wrong key, 7 store,"
    " 8 drill missed its objective, 9 paused, 130 and 143 interrupted.",
)
@click.version_option(package_name="holdfast", prog_name="holdfast")
def cli() -> None:
    """Backups that a hospital can rely on: encrypted, deduplicated, proved to come back."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code. Every failure is three lines on standard error, never a traceback."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _hold_alone()
    # A command makes its classes and ends: looking for cycles among them every 700 objects was a tenth of its start.
    gc.set_threshold(GC_OBJECTS)
    try:
        instruction = os.environ.get("_HOLDFAST_COMPLETE")
        if instruction:
            return shell_complete(cli, {}, "holdfast", "_HOLDFAST_COMPLETE", instruction)
        # Not `cli.main`: it ends the process itself when a pipe breaks, and calls that a failure of the command.
        with cli.make_context("holdfast", arguments) as context:
            code = cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        return error.exit_code
    except BrokenPipeError:
        return _end_of_pipe()
    except BaseException as error:  # noqa: BLE001 - the last resort says so itself
        return report(_as_holdfast_error(error), as_json="--json" in arguments)
    return code if isinstance(code, int) else 0


def _hold_alone() -> None:
    """Keep the lock that the schedule gave this run from the programs that it starts: they may live longer than it."""
    with suppress(KeyError, ValueError, OSError):
        os.set_inheritable(int(os.environ.pop(LOCK_VARIABLE)), False)


def _end_of_pipe() -> int:
    """Whoever read the output has enough; what is left of it must not raise again at exit."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    return 141


def report(error: errors.HoldfastError, *, as_json: bool) -> int:
    """Print an error for people and, if asked, for programs; return its exit code."""
    from holdfast.cli.output import Output

    code = Output(as_json=as_json, quiet=False, show_paths=None).failure(error)
    if os.environ.get("HOLDFAST_TRACEBACK"):
        traceback.print_exception(error)
    return code


def _as_holdfast_error(error: BaseException) -> errors.HoldfastError:
    """Give any exception its place in the tree."""
    match error:
        case errors.HoldfastError():
            return error
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "holdfast"
            return errors.UsageError(error.format_message(), next=f"see `{command} --help`.")
        case click.ClickException():
            return errors.UsageError(error.format_message())
        case click.Abort() | KeyboardInterrupt():
            return errors.Interrupted()
        case _:
            return _internal(error)


def _internal(error: BaseException) -> errors.InternalError:
    """Describe a fault without its message, which may hold a path: kind, place in the code, error number."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    reason = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    found = errors.InternalError(f"unexpected {type(error).__name__}{place}{reason}")
    found.__cause__ = error
    return found
