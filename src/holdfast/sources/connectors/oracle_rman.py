"""Scripts for RMAN and the way back, as text: pure, so that each line can be asserted, read and pasted.

Source: Oracle Database Backup and Recovery Reference (BACKUP, RESTORE, RECOVER, SET UNTIL) and, for `SNAPSHOT TIME`, the chapter
on storage snapshot optimisation of the User's Guide. Tried against a double only, never on the real product.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from holdfast.errors import ConfigError

__all__ = ["LEVELS", "TAG", "Until", "backup_script", "recover_statements", "restore_script", "validate_script"]

TAG = "HOLDFAST"
LEVELS = {
    "full": "",
    "0": " INCREMENTAL LEVEL 0",
    "1": " INCREMENTAL LEVEL 1 CUMULATIVE",
}
"""A `full` backup is no part of any incremental chain: it breaks nobody's. Levels 0 and 1 are, so the chain must be ours."""
_FORBIDDEN = frozenset("'\"\n\r;")


@dataclass(frozen=True, slots=True)
class Until:
    """Where recovery stops: at a system change number, or at a moment in the database's own zone; of neither, at the end."""

    scn: int = 0
    time: datetime.datetime | None = None

    @property
    def rman(self) -> str:
        """The line of a RUN block; empty without a target."""
        if self.scn:
            return f"  SET UNTIL SCN {self.scn};\n"
        return f"  SET UNTIL TIME \"TO_DATE('{_moment(self.time)}', 'YYYY-MM-DD HH24:MI:SS')\";\n" if self.time else ""

    @property
    def sql(self) -> str:
        """The clause of RECOVER DATABASE in SQL*Plus."""
        if self.scn:
            return f" UNTIL CHANGE {self.scn}"
        return f" UNTIL TIME '{_moment(self.time).replace(' ', ':')}'" if self.time else " UNTIL CANCEL"


def _moment(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")


def _place(path: str) -> str:
    """Return a path that can stand between quotes. `ConfigError` for one that would end them."""
    if _FORBIDDEN & set(path):
        raise ConfigError(
            "a path for Oracle holds a quotation mark, a semicolon or a line break", next="use another folder."
        )
    return path.rstrip("/")


def backup_script(folder: str, level: str, *, primary: bool) -> str:
    """Return the script of a backup to a folder: data files, archived logs, control file, server parameters.

    The log in use is archived before the logs are backed up, so that the copy can be recovered by itself; a standby cannot do
    that (`primary` False). Nothing is deleted: neither logs nor older backups.
    """
    switch = "  SQL 'ALTER SYSTEM ARCHIVE LOG CURRENT';\n" if primary else ""
    return (
        "RUN {\n"
        f"  ALLOCATE CHANNEL holdfast DEVICE TYPE DISK FORMAT '{_place(folder)}/holdfast_%d_%U';\n"
        f"  BACKUP{LEVELS[level]} TAG '{TAG}' DATABASE;\n"
        f"{switch}"
        f"  BACKUP TAG '{TAG}' ARCHIVELOG ALL NOT BACKED UP 1 TIMES;\n"
        f"  BACKUP TAG '{TAG}' CURRENT CONTROLFILE;\n"
        f"  BACKUP TAG '{TAG}' SPFILE;\n"
        "  RELEASE CHANNEL holdfast;\n"
        "}\n"
    )


def validate_script() -> str:
    """Return the script that reads what a restore would read, and restores nothing."""
    return "RESTORE DATABASE VALIDATE;\nRESTORE CONTROLFILE VALIDATE;\nRESTORE SPFILE VALIDATE;\n"


def restore_script(folder: str, dbid: int, parameters: str, control: str, until: Until | None = None) -> str:
    """Return the RMAN script of a restore on an empty host, from a folder with the pieces.

    `parameters` and `control` are the names of the pieces with the server parameters and the control file.
    """
    place = _place(folder)
    return (
        f"SET DBID {dbid};\n"
        "STARTUP FORCE NOMOUNT;\n"
        f"RESTORE SPFILE FROM '{place}/{_place(parameters)}';\n"
        "STARTUP FORCE NOMOUNT;\n"
        f"RESTORE CONTROLFILE FROM '{place}/{_place(control)}';\n"
        "ALTER DATABASE MOUNT;\n"
        f"CATALOG START WITH '{place}/' NOPROMPT;\n"
        "RUN {\n"
        f"{(until or Until()).rman}"
        "  RESTORE DATABASE;\n"
        "  RECOVER DATABASE;\n"
        "}\n"
        "ALTER DATABASE OPEN RESETLOGS;\n"
    )


def recover_statements(
    *, until: Until | None = None, end_scn: int = 0, snapshot_time: datetime.datetime | None = None
) -> tuple[str, ...]:
    """Return what SQL*Plus is told after data files, control file and archived logs of `hot` or `snapshot` are in their places.

    `end_scn`, the proof `scn-end`, is the earliest target of a `hot` copy; `snapshot_time`, the proof `snapshot-time`, that of a
    storage snapshot. `ConfigError` for a target before it: the database would not open.
    """
    target = until or Until()
    early_scn = 0 < target.scn < end_scn
    early_time = snapshot_time is not None and target.time is not None and target.time < snapshot_time
    if early_scn or early_time:
        raise ConfigError(
            "the target lies before the end of the copy", next="choose a later target, or an earlier copy."
        )
    taken = f" SNAPSHOT TIME '{_moment(snapshot_time).replace(' ', ':')}'" if snapshot_time else ""
    return (
        "ALTER SESSION SET NLS_DATE_FORMAT = 'YYYY-MM-DD:HH24:MI:SS'",
        "STARTUP MOUNT",
        "SET AUTORECOVERY ON",
        f"RECOVER DATABASE USING BACKUP CONTROLFILE{target.sql}{taken}",
        "ALTER DATABASE OPEN RESETLOGS",
    )
