"""OpenLDAP: configuration and each database as LDIF by `slapcat`, which reads an mdb database online in one transaction.

An mdb reader sees one moment; `hdb` and `bdb` databases are refused (slapcat of a running one is not safe). Operational
attributes (`entryUUID`, `entryCSN`) are in the LDIF, so that a
restored server can go on replicating. Restore: `slapadd` into an empty database.
"""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from holdfast.errors import (
    ApplicationAccessError,
    ApplicationUnreachableError,
    ApplicationUnsuitableError,
    CaptureError,
    DriverMissingError,
)
from holdfast.sources.connectors.options import options_of
from holdfast.sources.connectors.protocol import Capture, CapturedStream, Conclusion, Connection, Facts, Found, Verdict
from holdfast.sources.connectors.unfrozen import Unfrozen
from holdfast.sources.programs import Programs, SystemPrograms

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["FACTORY", "OpenLdapConnector", "OpenLdapFactory"]

CONFIG = "/etc/ldap/slapd.d"
SECONDS = 120.0
_DATABASE = re.compile(rb"^olcDatabase: \{(-?\d+)\}(\w+)", re.MULTILINE)
PLACES = "/usr/sbin:/sbin:/usr/local/sbin"
ONLINE = frozenset({b"mdb"})
WITHOUT_DATA = frozenset({b"frontend", b"config", b"monitor", b"ldap", b"meta", b"relay", b"null"})


class OpenLdapConnector(Unfrozen):
    """One server's databases."""

    kind = "openldap"

    def __init__(self, connection: Connection, programs: Programs) -> None:
        """Touch nothing yet."""
        self.name = connection.name
        self._config = connection.path or CONFIG
        self._programs = programs
        self._databases: tuple[int, ...] = ()
        self._before = b""

    def _slapcat(self) -> str:
        found = shutil.which("slapcat", path=f"{os.environ.get('PATH', '')}:{PLACES}")
        if found is None:
            raise DriverMissingError(
                "the program slapcat is not installed", next="install the package slapd or openldap-servers."
            )
        return found

    def _configuration(self) -> bytes:
        done = self._programs.run([self._slapcat(), "-n", "0", "-F", self._config], timeout=SECONDS)
        if not done.ok:
            raise CaptureError(f"slapcat cannot read the server's configuration (it ended with {done.code})")
        return done.out

    def check(self) -> Facts:
        """Read the configuration: which databases there are, and of what kind."""
        if not os.path.isdir(self._config):
            raise ApplicationUnreachableError("there is no folder of OpenLDAP's configuration at the configured path")
        if not os.access(self._config, os.R_OK | os.X_OK):
            raise ApplicationAccessError("OpenLDAP's configuration may not be read by this account")
        found = _DATABASE.findall(self._configuration())
        unsafe = sum(kind not in ONLINE | WITHOUT_DATA for _, kind in found)
        if unsafe:
            raise ApplicationUnsuitableError(
                f"{unsafe} databases are of a kind that cannot be read while the server runs"
            )
        self._databases = tuple(int(number) for number, kind in found if kind in ONLINE)
        if not self._databases:
            raise ApplicationUnsuitableError("OpenLDAP has no database of the kind mdb")
        done = self._programs.run([self._slapcat(), "-VV"], timeout=SECONDS)
        version = re.search(rb"slapd ([\d.]+)|OpenLDAP: slapcat ([\d.]+)", done.out + done.err)
        text = next((part for part in version.groups() if part), b"").decode() if version else "unknown"
        return Facts(text, (("databases", str(len(self._databases))),))

    def capture(self, seconds: float) -> Capture:  # noqa: ARG002 - the streams have the run's limits
        """One stream for the configuration, one for each database."""
        self._before = self._configuration()
        program = self._slapcat()
        return Capture(
            streams=tuple(
                CapturedStream(f"{self.name}/database-{number}.ldif", (program, "-n", str(number), "-F", self._config))
                for number in (0, *self._databases)
            )
        )

    def conclude(self) -> Conclusion:
        """See that nobody changed the databases' list meanwhile."""
        if _DATABASE.findall(self._configuration()) != _DATABASE.findall(self._before):
            raise CaptureError("databases were added or removed while OpenLDAP was being backed up")
        return Conclusion(
            Verdict.APPLICATION, (("databases", str(len(self._databases))), ("transaction", "mdb reader"))
        )

    def close(self) -> None:
        """Nothing is held."""


class OpenLdapFactory:
    """Makes connectors to OpenLDAP servers on this host."""

    kind = "openldap"

    def __init__(self, programs: Programs | None = None) -> None:
        """Use the programs of the machine, or doubles."""
        self._programs = programs

    def make(self, connection: Connection, env: Environment) -> OpenLdapConnector:
        """Make one; `path` is the folder `slapd.d`."""
        options_of(connection, {})
        return OpenLdapConnector(connection, self._programs or SystemPrograms(env))

    def grants(self, connection: Connection) -> str:
        """Say what the file system must allow."""
        return f"setfacl -R -m u:holdfast:rX '{connection.path or CONFIG}' /var/lib/ldap  # or run slapcat as the server's user"

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - discovery looks at all applications at once
        """See `holdfast.sources.discovery`."""
        return ()


FACTORY = OpenLdapFactory()
