"""Which commands there are, in which module, in one line each. The only list; help and dispatch come from it."""

from __future__ import annotations

import importlib

import click

from holdfast.base.values import dataclass

__all__ = ["COMMANDS", "Entry", "HoldfastGroup"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One command: the module that holds it under its own name, and its line in `holdfast --help`."""

    module: str
    line: str


COMMANDS = {
    "init": Entry("vault", "Make a vault and its key file."),
    "backup": Entry("backup", "Back up files, folders and streams; commit a snapshot."),
    "snapshots": Entry("browse", "List snapshots."),
    "ls": Entry("browse", "List a folder of a snapshot."),
    "find": Entry("browse", "Find files by name over all snapshots, or the versions of one."),
    "diff": Entry("browse", "Show what changed between two snapshots."),
    "restore": Entry("restore", "Restore a snapshot, or parts of it; every byte is verified."),
    "host": Entry("host", "Restore a whole host to empty disks."),
    "mount": Entry("mount", "Mount snapshots as a file system, read-only or to work on."),
    "forget": Entry("retention", "Forget snapshots by retention rules, or by id."),
    "prune": Entry("retention", "Give back the space that no snapshot needs."),
    "hold": Entry("retention", "Put a snapshot under legal hold, or end the hold."),
    "findings": Entry("findings", "List and release snapshots that look like ransomware's work."),
    "check": Entry("integrity", "Check the structure of the vault; needs no key to content."),
    "classify": Entry("classify", "Report the data classes of files, in counts only."),
    "verify": Entry("integrity", "Read packs back and prove every byte."),
    "repair": Entry("repair", "Make whole what can be made whole."),
    "migrate": Entry("migrate", "Bring packs to the stores that their class and age want."),
    "policy": Entry("policy", "Show, check and explain where data goes, by class and age."),
    "courier": Entry("courier", "Carry the vault across an air gap on disks."),
    "stats": Entry("integrity", "Show where the space goes."),
    "catalog": Entry("catalog", "Bring the catalog up to date, or make it anew."),
    "discover": Entry("discover", "Find databases on this host; propose a configuration for them."),
    "connectors": Entry("connectors", "List connectors, print the grants they need, check applications."),
    "recover": Entry("recover", "Bring a database back to a moment, and try it out."),
    "wal": Entry("wal", "Keep PostgreSQL's WAL: what its archive command calls."),
    "key": Entry("keys", "Keys: kits, shares, tokens, credentials; rotation and erasure."),
    "enroll": Entry("enroll", "Let hosts join: each can add backups and read none."),
    "schedule": Entry("schedule", "Run scheduled jobs as a service; list them and their next times."),
    "status": Entry("status", "Show at one glance how everything stands."),
    "alerts": Entry("alerts", "List, acknowledge, resolve and test alerts."),
    "approval": Entry("approval", "Who must agree to deletions and key changes, and how."),
    "audit": Entry("audit", "The audit log: list, verify, prove, sign, export, send."),
    "drill": Entry("drill", "Prove that services come back, in time and whole."),
    "report": Entry("report", "Write reports and runbooks, and prove them offline."),
    "limits": Entry("governor", "Show the limits of runs, or change them while they run."),
    "pause": Entry("governor", "Pause the runs of this machine, or one of them."),
    "resume": Entry("governor", "Let paused runs go on."),
    "serve": Entry("serve", "Serve a vault's folder to one client over SSH."),
    "config": Entry("settings", "Show, explain, check or sample the configuration."),
    "explain": Entry("settings", "Explain the code of an error or of an alert."),
    "demo": Entry("demo", "Build a small hospital, back it up, damage, heal and restore."),
    "completion": Entry("settings", "Print the completion script for a shell."),
}


class HoldfastGroup(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Return the commands in the order of the manual."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's interface
        """Import and return a command; None if there is none of that name."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"holdfast.cli.{entry.module}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's interface
        """Write the list of commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.line) for name, entry in COMMANDS.items()])
