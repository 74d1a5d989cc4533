"""`holdfast wal`: what PostgreSQL calls to hand its WAL over and to get it back, and what an administrator looks at."""

from __future__ import annotations

import click

from holdfast.base.units import format_bytes
from holdfast.cli.options import Place, Size, output_options, vault_options
from holdfast.cli.output import Output
from holdfast.errors import UsageError

__all__ = ["get_command", "push_command", "receive_command", "status_command", "store_command", "wal_command"]

EXIT_GAP = 4


@click.group("wal")
def wal_command() -> None:
    """Keep PostgreSQL's WAL: `push` and `get` for PostgreSQL, `receive` as a service, `status` for people."""


@wal_command.command("push")
@click.argument("source", type=click.Path())
@click.option(
    "--spool", required=True, metavar="DIR", help="The folder that the WAL is kept in until a backup stores it."
)
@click.option(
    "--protect",
    type=click.Choice(["pitr", "primary"]),
    default="pitr",
    show_default=True,
    help="When the spool takes no more: keep the WAL in PostgreSQL (it stops when its disk is full), or let it go.",
)
@click.option(
    "--queue-max",
    type=Size(),
    default="0",
    metavar="SIZE",
    help="With `primary`: let WAL go once more than this waits.",
)
@output_options
def push_command(*, source: str, spool: str, protect: str, queue_max: int, out: Output) -> int:
    """Take one WAL file into the spool; durable when it returns 0, nothing ever overwritten.

    In postgresql.conf: archive_command = 'holdfast wal push --quiet --spool /var/lib/holdfast/wal %p'
    """
    from pathlib import Path

    from holdfast.base.environment import system
    from holdfast.sources.spool import Spool

    pushed = Spool(Path(spool), system()).push(
        Path(source), protect="primary" if protect == "primary" else "pitr", queue_bytes_max=queue_max
    )
    if pushed.outcome == "dropped":
        click.echo("holdfast: ALERT: WAL was let go to protect the primary; make a new base backup now", err=True)
    return out.result("wal-pushed", pushed, 0, [f"{Path(source).name}: {pushed.outcome}."])


@wal_command.command("get")
@click.argument("name")
@click.argument("target", type=click.Path())
@click.option("--spool", required=True, metavar="DIR", help="Where the WAL is: a spool, or a folder that was restored.")
@output_options
def get_command(*, name: str, target: str, spool: str, out: Output) -> int:  # noqa: ARG001 - every command takes it
    """Put one WAL file to TARGET, whole or not at all; exits 5 if it is not there.

    In postgresql.conf: restore_command = 'holdfast wal get --quiet --spool /restore/wal %f %p'
    """
    from pathlib import Path

    from holdfast.base.environment import system
    from holdfast.sources.spool import Spool

    Spool(Path(spool), system()).get(name, Path(target))
    return 0


@wal_command.command("store")
@click.argument("application")
@vault_options
def store_command(*, application: str, place: Place, out: Output) -> int:
    """Store the spool of a configured application in the vault, and empty it of what is stored.

    Run it between base backups, as often as the recovery point asks for. Example: holdfast wal store ehr-db
    """
    from holdfast.cli.backup import summary
    from holdfast.cli.signals import interruptible

    with place.open() as vault, interruptible() as stop, out.events("wal store") as events:
        result = vault.store_wal(application, events=events, stop=stop)
    return out.result("backup", result, result.exit_code, summary(result))


@wal_command.command("receive")
@click.argument("application")
@vault_options
def receive_command(*, application: str, place: Place, out: Output) -> int:
    """Receive the WAL of a configured application through a replication slot, until it is told to end.

    For an application with `wal = "stream"`: run it as a service. It makes the slot, keeps the spool filled to the last moment,
    and goes on by itself when the server comes back. Opens no vault. Example: holdfast wal receive ehr-db
    """
    from holdfast.base.environment import system
    from holdfast.cli.signals import interruptible
    from holdfast.runs.applications import receiver_of

    config = place.load()
    if config is None:
        raise UsageError("no configuration was named", next="give --config FILE (or HOLDFAST_CONFIG).")
    receiver = receiver_of(config.settings, application, system())
    with interruptible() as stop, out.events("wal receive") as events:
        received = receiver.run(stop, events=events)
    line = f"Received {received.segments} segments, {format_bytes(received.bytes)}, in {received.starts} connections."
    return out.result("wal-received", received, 0, [line])


@wal_command.command("status")
@click.option("--spool", required=True, metavar="DIR", help="The spool.")
@output_options
def status_command(*, spool: str, out: Output) -> int:
    """Show what lies in a spool and every gap in the sequence; exits 4 if there is a gap.

    Example: holdfast wal status --spool /var/lib/holdfast/wal
    """
    from pathlib import Path

    from holdfast.base.environment import system
    from holdfast.sources.spool import Spool

    state = Spool(Path(spool), system()).state()
    lines = [f"{state.segments} segments, {format_bytes(state.bytes)}, {state.others} other files"]
    if state.segments:
        lines.append(f"  from {state.first} to {state.last}")
    lines += [f"  GAP: {gap.segments} segments from {gap.first}" for gap in state.gaps]
    if state.dropped:
        lines.append(f"  LET GO: {len(state.dropped)} files, to protect the primary")
    return out.result("wal-status", state, EXIT_GAP if state.gaps or state.dropped else 0, lines)
