"""PostgreSQL 13 to 18, copied while it runs: nobody waits, for PostgreSQL needs no freeze.

The low-level API (PostgreSQL, "Making a Base Backup Using the Low Level API"): `pg_backup_start`, copy, `pg_backup_stop`, both
in one session; then `backup_label` and `tablespace_map` byte for byte, and all WAL from the start to the end. The WAL comes
from the spool that `holdfast wal push` fills, or, with the option `wal = "stream"`, `holdfast wal receive`; with `"copy"` it
comes out of the server's own folder.

Parts of the copy are of different moments; the WAL makes one of them. Without the WAL it is nothing, and so the verdict is
`application` only when every segment lies in the spool, and the run stores the spool before it commits.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import (
    ApplicationBusyError,
    ApplicationChangedError,
    ApplicationUnsuitableError,
    CaptureError,
    ConfigError,
    WalMissingError,
)
from holdfast.sources.connectors.postgresql import checks, summaries
from holdfast.sources.connectors.postgresql.control import read_control, system_of
from holdfast.sources.connectors.postgresql.layout import RELATION_FILE_BYTES, Label, excluded, parse_label
from holdfast.sources.connectors.postgresql.pages import PageReport, check_cluster
from holdfast.sources.connectors.postgresql.receiver import read_slot, slot_name, slot_problem
from holdfast.sources.connectors.postgresql.session import Session
from holdfast.sources.connectors.protocol import Beside, Capture, Conclusion, Facts, Found, Verdict
from holdfast.sources.spool import Spool
from holdfast.sources.wal import lsn_text, parse_lsn, segments_between

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.sources.connectors.protocol import Connection, Connector, ThawOrder

__all__ = ["FACTORY", "Options", "PostgreSQL", "read_options"]

LOCK_KEY = 0x686F6C6466617374
"""`pg_try_advisory_lock` of one backup at a time: the letters `holdfast`."""
START_SECONDS = 3600.0
"""A spread checkpoint may take as long as `checkpoint_timeout` says."""
SPOOL_SECONDS_MAX = 600.0
WAL_WORDS = {"archive": "archived", "stream": "streamed", "copy": "copied"}
LOOK_AGAIN_SECONDS = 0.2
PAGES = ("changed", "all", "none")
FREE = ("spool", "slot", "programs")
"""Options of any value; `programs` is for `holdfast wal receive`."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of an application of this kind, read and checked."""

    wal: str
    """How WAL comes to the spool: `archive` (the archive command), `stream` (a replication slot), `copy` (out of `pg_wal`)."""
    slot: str
    """The replication slot of `stream`."""
    spool: Path
    fast: bool
    """Whether the start forces a checkpoint at once, instead of one spread over minutes."""
    pages: str
    """Which files have their page checksums verified: `changed` since the last backup, `all`, `none`."""


def read_options(connection: Connection) -> Options:
    """Read the options. `ConfigError` for one that is not known, lacks, or has another value than it can."""
    given = dict(connection.options)
    known = {"wal": ("archive", "stream", "copy"), "fast": ("yes", "no"), "pages": PAGES}
    for name, value in given.items():
        if name not in FREE and name not in known:
            raise ConfigError(
                f"applications.{connection.name}.options: PostgreSQL has no option {name}",
                next=f"its options are: {', '.join((*FREE, *known))}.",
            )
        if name in known and value not in known[name]:
            raise ConfigError(
                f"applications.{connection.name}.options.{name} is none of {', '.join(known[name])}",
                next=f"choose one of {', '.join(known[name])}.",
            )
    if "spool" not in given:
        raise ConfigError(
            f"applications.{connection.name}.options.spool is missing: the folder that WAL waits in to be stored",
            next='set options = {spool = "/var/lib/holdfast/wal"}: where `holdfast wal push` puts it, or an empty folder.',
        )
    slot = slot_name(connection.name, given.get("slot", ""))
    return Options(
        given.get("wal", "archive"),
        slot,
        Path(given["spool"]),
        given.get("fast", "yes") == "yes",
        given.get("pages", "changed"),
    )


class PostgreSQL:
    """One base backup of one cluster."""

    kind = "postgresql"
    freezes = False
    unfrozen = Verdict.NONE

    def __init__(self, connection: Connection, env: Environment) -> None:
        """Read the options; connects to nothing. `ConfigError`."""
        self.name = connection.name
        self._connection = connection
        self._env = env
        self._options = read_options(connection)
        self._session: Session | None = None
        self._server: checks.Server | None = None
        self._data = Path()
        self._tablespaces: tuple[str, ...] = ()
        self._start = 0
        self._began = 0.0

    def check(self) -> Facts:
        """Connect, and look whether version, role, rights, WAL and data directory allow a backup."""
        session = self._open()
        server = checks.read_server(session, self._env.now().timestamp())
        for problem in checks.problems(server, archived=self._options.wal == "archive"):
            raise problem
        notes = [*checks.notes(server), *self._check_slot(session)]
        (locked,) = session.one("SELECT pg_try_advisory_lock(%s)", LOCK_KEY)
        if not locked:
            raise ApplicationBusyError("another backup of this cluster by Holdfast is under way")
        (folder,) = session.one("SELECT current_setting('data_directory')")
        self._data = Path(os.path.realpath(self._connection.path or folder))
        self._check_data(server)
        self._server = server
        facts = (
            ("role", "primary"),
            ("timeline", str(server.timeline)),
            ("system", str(server.system)),
            ("page-checksums", "on" if server.page_checksums else "off"),
            ("wal", WAL_WORDS[self._options.wal]),
            ("wal-segment-bytes", str(server.segment_bytes)),
            ("wal-summaries", "on" if server.summarizes_wal else "off"),
            *((f"setting.{name}", value) for name, value in server.settings),
        )
        return Facts(server.version, facts, tuple(notes))

    def _check_slot(self, session: Session) -> list[str]:
        """Look whether somebody receives through the slot; return what to know about what the server keeps for it."""
        if self._options.wal != "stream":
            return []
        state = read_slot(session, self._options.slot)
        problem = slot_problem(self.name, state)
        if problem is not None:
            raise problem
        if state is not None and state.limited:
            return []
        return [
            "the server keeps WAL for the slot without limit while nobody receives, until its disk is full;"
            " max_slot_wal_keep_size protects the primary instead"
        ]

    def _open(self) -> Session:
        if self._session is None:
            self._session = Session(self._connection)
        return self._session

    def _check_data(self, server: checks.Server) -> None:
        """Look whether we can read the data directory, and whether it is this server's."""
        try:
            system = system_of(read_control(self._data, self._env))
        except OSError as error:
            raise ApplicationUnsuitableError(
                f"the data directory cannot be read from here ({os.strerror(error.errno or 0)})",
                next="run Holdfast on the server's own host, as a user that can read it: see `holdfast connectors grants NAME`.",
            ) from None
        if system != server.system:
            raise ApplicationUnsuitableError(
                "the data directory on this host belongs to another cluster than the server that answers",
                next="correct host and port, or the application's path.",
            )
        if self._options.wal != "copy" and not self._options.spool.is_dir():
            raise ApplicationUnsuitableError(
                "the WAL spool is not there",
                next="make the folder, owned by PostgreSQL's user, and set archive_command.",
            )

    def thaw_orders(self) -> tuple[ThawOrder, ...]:
        """Nothing is ever frozen."""
        return ()

    def freeze(self, seconds: float) -> None:
        """Never called."""

    def verify_frozen(self) -> None:
        """Never called."""

    def thaw(self) -> None:
        """Nothing is ever frozen."""

    def verify_thawed(self) -> None:
        """Nothing is ever frozen."""

    def capture(self, seconds: float) -> Capture:
        """Begin the backup: from now on the WAL repairs what the copy tears."""
        session, server = self._open(), self._known()
        self._began = self._env.now().timestamp()
        found = session.rows("SELECT pg_tablespace_location(oid) FROM pg_tablespace")
        self._tablespaces = tuple(sorted(str(place) for (place,) in found if place))
        label = f"holdfast {self._env.random_id()}"
        if server.major >= checks.NEW_NAMES_FROM:
            statement, arguments = "SELECT pg_backup_start(%s, %s)::text", (label, self._options.fast)
        else:
            statement, arguments = "SELECT pg_start_backup(%s, %s, false)::text", (label, self._options.fast)
        (lsn,) = session.one(statement, *arguments, seconds=max(seconds, START_SECONDS))
        self._start = parse_lsn(lsn)
        session.keep_alive()
        folders = (str(self._data), *self._tablespaces)
        return Capture(
            paths=tuple(os.fsencode(folder) for folder in folders),
            exclude=excluded(str(self._data), self._tablespaces),
            moving=tuple(os.fsencode(folder) for folder in folders),
        )

    def _known(self) -> checks.Server:
        if self._server is None:
            raise ApplicationChangedError("the connector was not checked before it was used")
        return self._server

    def conclude(self) -> Conclusion:
        """End the backup; wait until its WAL is in the spool; verify page checksums."""
        session, server = self._open(), self._known()
        self._still_the_same(session, server)
        pages = self._check_pages(server)
        changed, doubts = self._changes(session, server)
        control = read_control(self._data, self._env)
        if server.major >= checks.NEW_NAMES_FROM:
            statement = "SELECT lsn::text, labelfile, spcmapfile FROM pg_backup_stop(false)"
        else:
            statement = "SELECT lsn::text, labelfile, spcmapfile FROM pg_stop_backup(false, false)"
        stop, label_text, map_text = session.one(statement, seconds=SPOOL_SECONDS_MAX)
        label = parse_label(label_text.encode())
        names = segments_between(label.timeline, label.start, parse_lsn(stop), server.segment_bytes)
        follow = self._gather(names)
        root = os.fsencode(self._data).lstrip(b"/")
        beside = [
            Beside(root + b"/global/pg_control", control),
            Beside(root + b"/backup_label", label_text.encode()),
        ]
        if map_text:
            beside.append(Beside(root + b"/tablespace_map", map_text.encode()))
        return Conclusion(
            Verdict.APPLICATION,
            (*self._proofs(label, stop, names), *pages.proofs, *changed),
            tuple(beside),
            follow,
            problems=(*pages.problems, *doubts),
        )

    def _proofs(self, label: Label, stop: str, names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
        return (
            ("start-lsn", lsn_text(label.start)),
            ("stop-lsn", stop),
            ("checkpoint-lsn", label.checkpoint),
            ("timeline", str(label.timeline)),
            ("first-segment", names[0]),
            ("last-segment", names[-1]),
            ("segments", str(len(names))),
        )

    def _still_the_same(self, session: Session, server: checks.Server) -> None:
        """Notice a restart or a failover, though the session's end says nearly all of it."""
        if session.lost:
            raise ApplicationChangedError("PostgreSQL ended the backup's session while it was being copied")
        started, timeline = session.one(
            "SELECT pg_postmaster_start_time()::text, (SELECT timeline_id FROM pg_control_checkpoint())"
        )
        if (started, timeline) != (server.started, server.timeline):
            raise ApplicationChangedError("PostgreSQL was restarted or promoted while it was being copied")

    def _check_pages(self, server: checks.Server) -> PageReport:
        if self._options.pages == "none" or not server.page_checksums:
            return PageReport()
        state = Path(self._connection.state) / "pages" if self._connection.state else None
        folders = (str(self._data), *self._tablespaces)
        return check_cluster(
            folders, server.page_bytes, self._start, None if self._options.pages == "all" else state, self._env
        )

    def _changes(self, session: Session, server: checks.Server) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
        """Ask a server of 17 or later what changed since the last base backup, and whether its files' times say so too."""
        if not self._connection.state or not server.summarizes_wal:
            return (), ()
        state = Path(self._connection.state) / "base"
        base = summaries.read_base(state, server.system, server.timeline)
        summaries.write_base(state, summaries.Base(server.system, server.timeline, self._start, self._began))
        if base is None:
            return (), ()
        changes = summaries.read_changes(session, base, self._start, RELATION_FILE_BYTES // server.page_bytes)
        proofs = (
            ("blocks-changed", str(changes.blocks)),
            ("files-changed", str(len(changes.files))),
            ("wal-summaries", "complete" if changes.complete else "incomplete"),
        )
        old = summaries.compare(changes, base, self._data)
        if not old:
            return proofs, ()
        return proofs, (
            f"{old} data files changed behind an unchanged time and may not have been read again: back up with `paranoid`",
        )

    def _gather(self, names: tuple[str, ...]) -> tuple[bytes, ...]:
        """Have every segment in the spool; return the spool, to be stored now. `CaptureError` if one does not come."""
        spool = Spool(self._options.spool, self._env)
        if self._options.wal != "copy":
            end = self._env.monotonic() + SPOOL_SECONDS_MAX
            while missing := spool.missing(names):
                if self._env.monotonic() > end:
                    raise CaptureError(
                        f"{len(missing)} of {len(names)} WAL segments of the backup did not come to the spool in time",
                        next="`holdfast wal status` and the server's log say why archiving does not go on.",
                    )
                self._env.sleep(LOOK_AGAIN_SECONDS)
            return (os.fsencode(spool.folder),)
        spool.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        histories = sorted(path.name for path in (self._data / "pg_wal").glob("*.history"))
        for name in (*histories, *names):
            try:
                spool.push(self._data / "pg_wal" / name)
            except WalMissingError:
                raise CaptureError(
                    "PostgreSQL had removed WAL of the backup before it was copied",
                    next="raise wal_keep_size, or have the WAL archived: docs/postgresql.md.",
                ) from None
        return (os.fsencode(spool.folder),)

    def close(self) -> None:
        """End the session; a backup that is under way ends with it."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def without_freeze(self) -> Connector | None:
        """It never freezes: there is nothing to fall back to."""
        return None


class _Factory:
    """Makes connectors to PostgreSQL."""

    kind = "postgresql"

    def make(self, connection: Connection, env: Environment) -> PostgreSQL:
        """Make one; connects to nothing."""
        return PostgreSQL(connection, env)

    def grants(self, connection: Connection) -> str:
        """Return the statements for the role."""
        return checks.grants(connection.user, streams=connection.options.get("wal") == "stream")

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - it needs no clock
        """See `holdfast.sources.discovery`, which finds clusters by their processes."""
        return ()


FACTORY = _Factory()
