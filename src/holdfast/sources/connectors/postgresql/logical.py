"""Logical dumps of PostgreSQL as streams: one of the roles and settings, one per database. Nobody waits but `ALTER TABLE`.

Each database is consistent in itself, of the moment its dump began; two databases are of different moments. What a base backup
is for recovery, a dump is for everything else: another version, another architecture, one table. Plain text, uncompressed: it
deduplicates and compresses in the vault.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import ApplicationAccessError, ApplicationUnsuitableError, ConfigError
from holdfast.sources.connectors.postgresql.programs import client_programs
from holdfast.sources.connectors.postgresql.session import Session
from holdfast.sources.connectors.protocol import Capture, CapturedStream, Conclusion, Facts, Found, Verdict

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.sources.connectors.protocol import Connection, Connector, ThawOrder

__all__ = ["FACTORY", "PostgreSQLDump"]

MAJOR_MIN = 13
READ_ROLE_FROM = 14
LOCK_WAIT_MS = 60_000
DATABASES_MAX = 10_000


class PostgreSQLDump:
    """One dump of all databases of a cluster."""

    kind = "postgresql-dump"
    freezes = False
    unfrozen = Verdict.NONE

    def __init__(self, connection: Connection, env: Environment) -> None:
        """Read the options; connects to nothing. `ConfigError`."""
        unknown = sorted(set(connection.options) - {"programs"})
        if unknown:
            raise ConfigError(f"applications.{connection.name}.options: there is no option {unknown[0]}")
        self.name = connection.name
        self._connection = connection
        self._env = env
        self._session: Session | None = None
        self._secrets: Path | None = None
        self._databases: tuple[str, ...] = ()
        self._programs = Path()

    def check(self) -> Facts:
        """Connect, and look whether the account may read everything, and whether the programs are there."""
        if self._session is None:
            self._session = Session(self._connection)
        number, user, reads = self._session.one(
            "SELECT current_setting('server_version_num')::int, current_user,"
            " (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) OR coalesce((SELECT pg_has_role(current_user, oid,"
            " 'usage') FROM pg_roles WHERE rolname = 'pg_read_all_data'), false)"
        )
        major = number // 10000
        if major < MAJOR_MIN:
            raise ApplicationUnsuitableError("this version of PostgreSQL is older than 13")
        if not reads:
            role = '"' + user.replace('"', '""') + '"'
            statement = f"GRANT pg_read_all_data TO {role};"
            raise ApplicationAccessError(
                "the account may not read all tables", next=f"as a superuser: {statement}", statement=statement
            )
        rows = self._session.rows(
            "SELECT datname FROM pg_database WHERE datallowconn AND datname <> 'template0' ORDER BY 1"
        )
        self._databases = tuple(str(name) for (name,) in rows)[:DATABASES_MAX]
        self._programs = client_programs(major, self._connection.options.get("programs", ""), "pg_dumpall")
        return Facts(f"{major}.{number % 10000}", (("databases", str(len(self._databases))),))

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

    def capture(self, seconds: float) -> Capture:  # noqa: ARG002 - naming commands takes no time
        """Name the commands whose output is to be stored. The password reaches them by a file that `close` removes."""
        common = ["env", f"PGPASSFILE={self._password_file()}", "PGAPPNAME=holdfast"]
        where = [f"--lock-wait-timeout={LOCK_WAIT_MS}", "--no-password"]
        for option, value in (
            ("host", self._connection.host),
            ("port", str(self._connection.port or "")),
            ("username", self._connection.user),
        ):
            if value:
                where.append(f"--{option}={value}")
        streams = [
            CapturedStream(
                f"/postgresql/{self.name}/globals.sql",
                (*common, str(self._programs / "pg_dumpall"), "--globals-only", "--no-role-passwords", *where),
            )
        ]
        for name in self._databases:
            quoted = name.replace("\\", "\\\\").replace("'", "\\'")
            streams.append(
                CapturedStream(
                    f"/postgresql/{self.name}/{urllib.parse.quote(name, safe=' ')}.sql",
                    (*common, str(self._programs / "pg_dump"), "--format=plain", *where, f"--dbname=dbname='{quoted}'"),
                )
            )
        return Capture(streams=tuple(streams))

    def _password_file(self) -> Path:
        if self._secrets is None:
            self._secrets = Path(tempfile.mkdtemp(prefix="holdfast-"))
            path = self._secrets / "pgpass"
            secret = self._connection.password.reveal(os.environ) if self._connection.password is not None else ""
            escaped = secret.replace("\\", "\\\\").replace(":", "\\:")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"*:*:*:*:{escaped}\n")
        return self._secrets / "pgpass"

    def conclude(self) -> Conclusion:
        """Nothing is left to check: a dump that fails makes no file, and its stream is a finding."""
        return Conclusion(Verdict.APPLICATION, (("databases", str(len(self._databases))),))

    def close(self) -> None:
        """End the session; remove the password's file."""
        if self._session is not None:
            self._session.close()
            self._session = None
        if self._secrets is not None:
            shutil.rmtree(self._secrets, ignore_errors=True)
            self._secrets = None

    def without_freeze(self) -> Connector | None:
        """It never freezes: there is nothing to fall back to."""
        return None


class _Factory:
    """Makes dumps of PostgreSQL."""

    kind = "postgresql-dump"

    def make(self, connection: Connection, env: Environment) -> PostgreSQLDump:
        """Make one; connects to nothing."""
        return PostgreSQLDump(connection, env)

    def grants(self, connection: Connection) -> str:
        """Return the statements for the role."""
        role = '"' + (connection.user or "holdfast").replace('"', '""') + '"'
        return (
            "-- As a superuser, once per cluster (PostgreSQL 14 and later; 13 needs a superuser, or SELECT on every table).\n"
            f"CREATE ROLE {role} LOGIN;  -- set its password with \\password\n"
            f"GRANT pg_read_all_data TO {role};\n"
        )

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - it needs no clock
        """Find none: discovery proposes base backups."""
        return ()


FACTORY = _Factory()
