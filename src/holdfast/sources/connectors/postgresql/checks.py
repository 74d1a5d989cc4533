"""What a server must be for a backup: read in one go, judged by pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast.errors import ApplicationAccessError, ApplicationError, ApplicationUnsuitableError

if TYPE_CHECKING:
    from holdfast.sources.connectors.postgresql.session import Session

__all__ = ["RECOVERY_SETTINGS", "Server", "functions", "grants", "notes", "problems", "read_server"]

MAJORS = range(13, 19)
NEW_NAMES_FROM = 15
ALTER_ROLE_FROM = 14
SKEW_SECONDS_MAX = 30.0
RECOVERY_SETTINGS = (
    "max_connections",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "max_wal_senders",
    "max_worker_processes",
)
"""Settings that recovery needs at least as large as they were on the primary."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server as a backup sees it."""

    number: int
    """`server_version_num`: 150018 is 15.18."""
    user: str
    in_recovery: bool
    wal_level: str
    archive_mode: str
    archives: bool
    """Whether it has an archive command or library."""
    archiver_failing: bool
    """Whether the last attempt to archive failed."""
    page_checksums: bool
    page_bytes: int
    segment_bytes: int
    system: int
    timeline: int
    started: str
    skew_seconds: float
    summarizes_wal: bool
    may_read_settings: bool
    missing: tuple[str, ...]
    """Functions that the account may not call."""
    settings: tuple[tuple[str, str], ...]

    @property
    def major(self) -> int:
        """The major version."""
        return self.number // 10000

    @property
    def version(self) -> str:
        """The version as people write it."""
        return f"{self.major}.{self.number % 10000}"


def functions(major: int) -> tuple[str, ...]:
    """Return what the account must be allowed to call, by the server's major version."""
    if major >= NEW_NAMES_FROM:
        backup = ("pg_backup_start(text, boolean)", "pg_backup_stop(boolean)")
    else:
        backup = ("pg_start_backup(text, boolean, boolean)", "pg_stop_backup(boolean, boolean)")
    return (*backup, "pg_switch_wal()", "pg_create_restore_point(text)")


def grants(user: str, major: int | None = None, *, streams: bool = False) -> str:
    """Return the statements that make the least-privileged role, for one major version or for all.

    `streams`: it receives WAL through a slot, too, which needs REPLICATION.
    """
    role = '"' + (user or "holdfast").replace('"', '""') + '"'
    needs = "has REPLICATION" if streams else "needs no REPLICATION"
    lines = [
        f"-- As a superuser, once per cluster. The role is no superuser, {needs} and reads no table.",
        f"CREATE ROLE {role} LOGIN;  -- set its password with \\password",
    ]
    versions = (major,) if major else (NEW_NAMES_FROM, 13)
    for version in versions:
        if len(versions) > 1:
            lines.append(f"-- PostgreSQL {'15 and later' if version >= NEW_NAMES_FROM else '13 and 14'}:")
        lines += [f"GRANT EXECUTE ON FUNCTION {name} TO {role};" for name in functions(version)]
    if streams:
        lines += [
            f"ALTER ROLE {role} REPLICATION;",
            "-- and in pg_hba.conf, for the address it comes from: host replication <role> <address> scram-sha-256",
        ]
    lines += [
        f"GRANT pg_monitor TO {role};",
        "-- Holdfast also has to read the data directory: run it as the server's user or as root, or make the cluster",
        "-- readable for its group (initdb --allow-group-access) and add Holdfast's user to it.",
    ]
    return "\n".join(lines) + "\n"


def read_server(session: Session, now: float) -> Server:
    """Ask a server everything that a check needs, in few statements. `now` is this host's time in seconds since 1970."""
    setting = "current_setting('{}', true)".format
    number, user, recovery, level, mode, command, library, sums, page, segment, summarize = session.one(
        f"SELECT {setting('server_version_num')}::int, current_user, pg_is_in_recovery(), {setting('wal_level')},"  # noqa: S608 - constants
        f" {setting('archive_mode')}, coalesce({setting('archive_command')}, ''), coalesce({setting('archive_library')}, ''),"
        f" {setting('data_checksums')} = 'on', {setting('block_size')}::int,"
        f" (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'),"
        f" coalesce({setting('summarize_wal')}, 'off') = 'on'"
    )
    system, timeline, started, skew, monitor = session.one(
        "SELECT (SELECT system_identifier FROM pg_control_system()), (SELECT timeline_id FROM pg_control_checkpoint()),"
        " pg_postmaster_start_time()::text, (extract(epoch FROM clock_timestamp()) - %s)::float8,"
        " pg_has_role(current_user, 'pg_read_all_settings', 'usage')",
        now,
    )
    missing = [
        name
        for name in functions(number // 10000)
        if not session.one("SELECT has_function_privilege(%s, 'execute')", name)[0]
    ]
    (failing,) = session.one(
        "SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false) FROM pg_stat_archiver"
    )
    names = ", ".join(f"'{name}'" for name in RECOVERY_SETTINGS)
    settings = session.rows(f"SELECT name, setting FROM pg_settings WHERE name IN ({names}) ORDER BY name")  # noqa: S608 - constants
    return Server(
        number=number,
        user=user,
        in_recovery=recovery,
        wal_level=level,
        archive_mode=mode,
        archives=bool(command.strip() and command != "(disabled)") or bool(library.strip()),
        archiver_failing=failing,
        page_checksums=sums,
        page_bytes=page,
        segment_bytes=segment,
        system=system & 0xFFFFFFFFFFFFFFFF,
        timeline=timeline,
        started=started,
        skew_seconds=skew,
        summarizes_wal=summarize,
        may_read_settings=monitor,
        missing=tuple(missing),
        settings=tuple((str(name), str(value)) for name, value in settings),
    )


def problems(server: Server, *, archived: bool) -> Iterator[ApplicationError]:
    """Yield what keeps a backup from succeeding, the gravest first. `archived`: its WAL comes by the archive command."""
    if server.major not in MAJORS:
        yield ApplicationUnsuitableError(
            f"this is PostgreSQL {server.version}; versions {MAJORS[0]} to {MAJORS[-1]} can be backed up",
            next="upgrade PostgreSQL, or back it up as a stream of pg_dumpall.",
        )
        return
    role = f'"{server.user}"'
    if server.missing:
        statement = f"GRANT EXECUTE ON FUNCTION {', '.join(server.missing)} TO {role};"
        yield ApplicationAccessError(
            f"the account lacks {len(server.missing)} rights: {', '.join(server.missing)}",
            next=f"as a superuser: {statement}",
            statement=statement,
        )
    if not server.may_read_settings:
        statement = f"GRANT pg_monitor TO {role};"
        yield ApplicationAccessError(
            "the account may not read the server's settings", next=f"as a superuser: {statement}", statement=statement
        )
    if server.in_recovery:
        yield ApplicationUnsuitableError(
            "this server is a replica", next="back up the primary, or name the server that is the primary now."
        )
    if server.wal_level == "minimal":
        yield ApplicationUnsuitableError(
            "wal_level is minimal: what happens during a backup could not be repaired",
            next="set wal_level = replica and restart PostgreSQL.",
        )
    if archived:
        yield from _archiving(server)


def _archiving(server: Server) -> Iterator[ApplicationError]:
    if server.archive_mode != "on" or not server.archives:
        yield ApplicationUnsuitableError(
            "PostgreSQL does not archive its WAL (archive_mode, archive_command)",
            next='set both as docs/postgresql.md says, or set the application\'s option wal = "copy".',
        )
    elif server.archiver_failing:
        yield ApplicationUnsuitableError(
            "PostgreSQL's last attempt to archive its WAL failed: a backup would wait for it in vain",
            next="`holdfast wal status` and the server's log say why; make room in the spool, then run it again.",
        )


def notes(server: Server) -> Iterator[str]:
    """Yield what an administrator should know, though the backup goes on."""
    if not server.page_checksums:
        yield "the cluster has no page checksums: damage on its disk goes unnoticed (pg_checksums --enable, while stopped)"
    if abs(server.skew_seconds) > SKEW_SECONDS_MAX:
        yield f"the server's clock and this host's differ by {abs(server.skew_seconds):.0f} s: targets in time are the server's"
    if server.major == MAJORS[0]:
        yield "PostgreSQL 13 gets no more corrections from its makers"
