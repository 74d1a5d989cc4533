"""`holdfast backup`."""

from __future__ import annotations

import dataclasses
import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from holdfast.base.units import format_bytes, format_seconds
from holdfast.cli.exits import combined
from holdfast.cli.options import Place, Size, vault_options
from holdfast.cli.output import Output
from holdfast.cli.signals import interruptible
from holdfast.errors import ApplicationError, UsageError

if TYPE_CHECKING:
    from holdfast.config import Config
    from holdfast.runs.options import BackupOptions, ClassRule, Stream
    from holdfast.runs.results import BackupResult

__all__ = ["backup_command", "summary"]


@click.command("backup")
@click.argument("paths", nargs=-1, type=click.Path(path_type=bytes))
@click.option(
    "--job", "jobs", multiple=True, metavar="NAME", help="Run a job of the configuration; without paths: all of them."
)
@click.option("--label", default="", help="Name of the source; same host, label and paths continue the same history.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Leave out what matches a gitignore-like pattern.")
@click.option("--exclude-larger-than", type=Size(), help="Leave out larger files.")
@click.option("--include-caches", is_flag=True, help="Do not leave out folders tagged by CACHEDIR.TAG.")
@click.option("--one-file-system", is_flag=True, help="Stay on the file systems of the paths.")
@click.option(
    "--class-rule", "class_rules", multiple=True, metavar="PATTERN=CLASS", help="Give files their data class."
)
@click.option("--default-class", metavar="CLASS", help="The class of files that no rule matches (phi).")
@click.option("--tag", "tags", multiple=True, help="Tag the snapshot.")
@click.option("--paranoid", is_flag=True, help="Read every file again, whatever its times say.")
@click.option(
    "--stdin-command", "streams", multiple=True, metavar="NAME=CMD", help="Store a command's output as the file NAME."
)
@click.option("--stdin-env", "variables", multiple=True, metavar="NAME", help="Let those commands inherit a variable.")
@click.option("--host-root", default="", metavar="DIR", type=click.Path(),
              help="Store an inventory of the host whose root this is (/): a whole host is restored by it.")  # fmt: skip
@click.option("--limit-read", type=Size(), help="Read at most so many bytes per second.")
@click.option("--limit-write", type=Size(), help="Write at most so many bytes per second.")
@click.option("--dry-run", is_flag=True, help="Say what would be read, and store nothing.")
@vault_options
def backup_command(
    *,
    paths: Sequence[bytes],
    jobs: Sequence[str],
    label: str,
    dry_run: bool,
    place: Place,
    out: Output,
    **given: Any,  # noqa: ANN401 - the options of one run, checked in `_options`
) -> int:
    """Back up files, folders and streams; commit a snapshot.

    Exit code 0: everything selected is stored and named by a committed snapshot. 3: the same, but for what the findings list.
    """
    from holdfast.runs import configured
    from holdfast.runs.options import BackupOptions

    config = place.load()
    if jobs and config is None:
        raise UsageError("--job needs a configuration", next="give --config FILE (or HOLDFAST_CONFIG).")
    if jobs and paths:
        raise UsageError("either paths or --job")
    plans: list[tuple[Sequence[str | bytes], str, BackupOptions, Sequence[str]]] = []
    if config is not None and not paths and not given["streams"]:
        for job in jobs or config.settings.jobs:
            options = (
                _options(configured.backup_options(config.settings, job), given, out)
                if job in config.settings.jobs
                else None
            )
            paths_of_job = configured.job_paths(config.settings, job)
            applications = config.settings.jobs[job].applications
            plans.append((paths_of_job, label or job, options or BackupOptions(), applications))
    else:
        if config is not None:
            _refuse_names_of_jobs(config, paths)
        base = BackupOptions(limits=configured.limits(config.settings)) if config else BackupOptions()
        plans.append((paths, label, _options(base, given, out), ()))
    if not plans or not any(source or options.streams or found for source, _, options, found in plans):
        raise UsageError("nothing to back up", next="give paths, --stdin-command, or a configuration with jobs.")

    codes = []
    with place.open(config) as vault, interruptible() as stop:
        for source, name, options, named in plans:
            more = {"applications": named} if named else {}
            try:
                with out.events("backup") as events:
                    result = vault.backup(
                        source, label=name, options=options, dry_run=dry_run, events=events, stop=stop, **more
                    )
            except (UsageError, ApplicationError) as error:
                if len(plans) == 1:
                    raise
                # What is wrong with one job's source keeps no other job from its backup.
                error.add_note(f"this was the job {name}")
                codes.append(out.failure(error))
                continue
            codes.append(out.result("backup", result, result.exit_code, summary(result)))
    return combined(*codes)


def _refuse_names_of_jobs(config: Config, paths: Sequence[bytes]) -> None:
    """Say what was meant where a path that is not there is the name of a job."""
    for name in map(os.fsdecode, paths):
        if name in config.settings.jobs and not os.path.lexists(name):
            raise UsageError(
                f"there is no path {name}; the configuration has a job of that name", next=f"write `--job {name}`."
            )


def _options(base: BackupOptions, given: dict[str, Any], out: Output) -> BackupOptions:
    """Lay what the command line says over a job's options: lists are added to, flags switch on."""
    streams = (dataclasses.replace(_stream(text), environment=given["variables"]) for text in given["streams"])
    limits = dataclasses.replace(
        base.limits,
        read_bytes_per_s=given["limit_read"] or base.limits.read_bytes_per_s,
        write_bytes_per_s=given["limit_write"] or base.limits.write_bytes_per_s,
    )
    return dataclasses.replace(
        base,
        exclude=(*base.exclude, *given["exclude"]),
        exclude_caches=base.exclude_caches and not given["include_caches"],
        exclude_larger_than=given["exclude_larger_than"] or base.exclude_larger_than,
        one_file_system=base.one_file_system or given["one_file_system"],
        class_rules=(*base.class_rules, *map(_rule, given["class_rules"])),
        default_class=given["default_class"] or base.default_class,
        paranoid=base.paranoid or given["paranoid"],
        tags=(*base.tags, *given["tags"]),
        streams=(*base.streams, *streams),
        host_root=given["host_root"] or base.host_root,
        show_stream_errors=out.show_paths,
        limits=limits,
    )


def _rule(text: str) -> ClassRule:
    from holdfast.runs.options import ClassRule

    pattern, separator, name = text.rpartition("=")
    if not separator or not pattern or not name:
        raise UsageError("a class rule is PATTERN=CLASS")
    return ClassRule(pattern, name)


def _stream(text: str) -> Stream:
    from holdfast.runs.options import Stream

    name, separator, command = text.partition("=")
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(f"the command of a stream cannot be read: {error}") from None
    if not separator or not name or not words:
        raise UsageError("a stream is NAME=COMMAND", next="as in --stdin-command 'dumps/ehr.sql=pg_dump ehr'.")
    if _needs_shell(command):
        raise UsageError(
            "the command of a stream is started without a shell, and has `|`, `;`, `&`, `<` or `>` in it",
            next="""write NAME=sh -c "set -e; …", and mind that a pipe hides failures of all but its last command.""",
        )
    return Stream(os.fspath(name), words)


def _needs_shell(command: str) -> bool:
    """Return whether a word stands outside quotes that only a shell understands: given to a program it changes its meaning."""
    lexer = shlex.shlex(command, posix=False, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return any(set(word) <= set("();<>|&") for word in lexer)
    except ValueError:
        return False


def summary(result: BackupResult) -> list[str]:
    """Return the end of a backup as an administrator reads it."""
    stats = result.stats
    lines = [
        f"{stats.files} files, {stats.folders} folders, {format_bytes(stats.bytes)} in {format_seconds(stats.seconds)}"
    ]
    if result.dry_run:
        lines += [f"  {count.class_name}: {count.files} files, {format_bytes(count.bytes)}" for count in stats.classes]
        return [f"Would back up {lines[0]}", *lines[1:], "Nothing was stored."]
    lines += [
        f"  new {stats.new}, changed {stats.changed}, unchanged {stats.unchanged}, removed {stats.removed}",
        f"  {format_bytes(stats.new_bytes)} not stored before, {format_bytes(stats.stored_bytes)} written to the vault",
    ]
    if len(stats.classes) > 1:
        lines += [f"  {count.class_name}: {count.files} files, {format_bytes(count.bytes)}" for count in stats.classes]
    for row in result.evidence:
        held = f"held for {row.hold_ms:.0f} ms" if row.attempts else "never held"
        lines.append(f"  {row.application} ({row.connector} {row.version}): verdict {row.verdict}, {held}")
    if result.snapshot is not None:
        lines.append(f"Snapshot {result.snapshot.id} is stored.")
    if result.anomaly.suspicious:
        from holdfast.runs.suspicion import sign_text

        signs = "; ".join(map(sign_text, result.anomaly.signs))
        lines.append(
            f"SUSPICIOUS: {result.anomaly.score} of 1000 ({signs}): it looks like the work of ransomware. What is good is kept;"
            " look at the source, then at `holdfast findings list`."
        )
    if not result.recorded:
        lines.append("This run is not in the audit log: `holdfast audit verify` says what is wrong with it.")
    if result.pending:
        lines.append(
            f"PENDING: {result.pending} packs are not on all their stores yet; `holdfast migrate` brings them there."
        )
    if result.partial:
        lines.append(
            f"PARTIAL: {len(result.findings)} findings; what they name is not, or not wholly, in the snapshot."
        )
    return lines
