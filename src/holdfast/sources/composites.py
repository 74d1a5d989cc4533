"""Products of several parts as ready-made groups: database, files and hooks that must be of one moment. Data, no code.

Each is a piece of configuration to be completed: words in angle brackets are the site's. None was tried on the product itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.errors import UsageError

__all__ = ["COMPOSITES", "Composite", "composite"]


@dataclass(frozen=True, slots=True)
class Composite:
    """One product."""

    title: str
    members: tuple[tuple[str, str, tuple[tuple[str, str], ...]], ...]
    """Name, connector, and settings; those whose name has a dot are of the table named before it."""
    restore: str
    """In which order it comes back, and what to look at."""

    def configuration(self) -> str:
        """Return the configuration of the group and of a job for it."""
        lines = [f"# {self.title}. {self.restore}"]
        for name, connector, settings in self.members:
            lines += ["", f"[applications.{name}]", f'connector = "{connector}"']
            lines += [f'{key} = "{value}"' for key, value in settings]
        names = ", ".join(f'"{name}"' for name, _, _ in self.members)
        job = self.members[0][0].partition("-")[0]
        return "\n".join([*lines, "", f"[jobs.{job}]", f"applications = [{names}]", 'default_class = "phi"', ""])


_ACCOUNT = (("user", "holdfast"), ("password", "file:/etc/holdfast/database.secret"))

COMPOSITES: Mapping[str, Composite] = {
    "openemr": Composite(
        "OpenEMR: MariaDB and the folder sites, held together by one volume snapshot",
        (
            ("openemr-database", "mariadb", (("host", "/run/mysqld/mysqld.sock"), *_ACCOUNT, ("options.mode", "hold"))),
            (
                "openemr-files",
                "volume",
                (("path", "/var/www/openemr/sites"), ("options.volume", "lvm"), ("options.storage", "/srv/openemr")),
            ),
        ),
        "Both lie on one volume. Restore the volume, settle MariaDB, then start the web server.",
    ),
    "mirth": Composite(
        "Mirth Connect / Open Integration Engine: PostgreSQL and appdata with its server.id",
        (
            (
                "mirth-database",
                "postgresql",
                (
                    ("host", "/run/postgresql"),
                    ("user", "holdfast"),
                    ("database", "mirthdb"),
                    ("options.spool", "/var/lib/holdfast/wal"),
                ),
            ),
            ("mirth-files", "hooks", (("path", "/opt/mirthconnect/appdata"), ("options.vouches", "no"))),
        ),
        "Restore the database first; server.id must be the old one, or channels start with new message numbers.",
    ),
    "hapi-fhir": Composite(
        "HAPI FHIR JPA: PostgreSQL and the folder of binaries, whose files never change",
        (
            (
                "hapi-database",
                "postgresql",
                (
                    ("host", "/run/postgresql"),
                    ("user", "holdfast"),
                    ("database", "hapi"),
                    ("options.spool", "/var/lib/holdfast/wal"),
                ),
            ),
            ("hapi-binaries", "hooks", (("path", "/var/lib/hapi/binaries"), ("options.vouches", "no"))),
        ),
        "A binary is written before its row: restore the binaries of the same or a later snapshot than the database's.",
    ),
    "iris": Composite(
        "InterSystems IRIS: installation, databases, journals and WIJ under ExternalFreeze",
        (
            (
                "iris-instance",
                "iris",
                (
                    ("path", "/usr/irissys"),
                    ("options.paths", "/iris/db /iris/journal1 /iris/journal2"),
                    ("options.volume", "lvm"),
                ),
            ),
        ),
        "Restore the databases, then the journals by ^JRNRESTO, then run ^Integrity.",
    ),
    "orthanc": Composite(
        "Orthanc with its SQLite index: index and storage in one volume snapshot",
        (
            (
                "orthanc-server",
                "orthanc",
                (
                    ("url", "http://127.0.0.1:8042"),
                    ("path", "/var/lib/orthanc/db-v6"),
                    ("options.mode", "snapshot"),
                    ("options.volume", "btrfs"),
                ),
            ),
        ),
        "Start Orthanc on the restored folder; it recovers its index by itself. A few files without a row are harmless.",
    ),
}
"""Products, by the name that `holdfast discover --composite` takes."""


def composite(name: str) -> Composite:
    """Return one. `UsageError` names those that there are."""
    found = COMPOSITES.get(name)
    if found is None:
        raise UsageError(f"there is no composite {name}", next=f"there are: {', '.join(sorted(COMPOSITES))}.")
    return found
