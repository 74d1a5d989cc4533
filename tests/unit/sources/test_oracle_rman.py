"""The way back of an Oracle database, word by word."""

from __future__ import annotations

import datetime

import pytest

from holdfast import errors
from holdfast.sources.connectors.oracle_rman import Until, backup_script, recover_statements, restore_script

MOMENT = datetime.datetime(2026, 11, 25, 3, 0)  # noqa: DTZ001 - in the database's own zone


def test_a_restore_on_an_empty_host_is_a_script_that_stops_at_a_change():
    assert restore_script("/stage/", 123, "p_spfile", "p_control", Until(scn=456)) == (
        "SET DBID 123;\n"
        "STARTUP FORCE NOMOUNT;\n"
        "RESTORE SPFILE FROM '/stage/p_spfile';\n"
        "STARTUP FORCE NOMOUNT;\n"
        "RESTORE CONTROLFILE FROM '/stage/p_control';\n"
        "ALTER DATABASE MOUNT;\n"
        "CATALOG START WITH '/stage/' NOPROMPT;\n"
        "RUN {\n"
        "  SET UNTIL SCN 456;\n"
        "  RESTORE DATABASE;\n"
        "  RECOVER DATABASE;\n"
        "}\n"
        "ALTER DATABASE OPEN RESETLOGS;\n"
    )
    at = restore_script("/stage", 123, "p", "c", Until(time=MOMENT))
    assert "  SET UNTIL TIME \"TO_DATE('2026-11-25 03:00:00', 'YYYY-MM-DD HH24:MI:SS')\";\n" in at
    assert "SET UNTIL" not in restore_script("/stage", 123, "p", "c")


def test_copied_files_are_recovered_by_statements_and_never_to_before_their_end():
    assert recover_statements(until=Until(scn=456), end_scn=400) == (
        "ALTER SESSION SET NLS_DATE_FORMAT = 'YYYY-MM-DD:HH24:MI:SS'",
        "STARTUP MOUNT",
        "SET AUTORECOVERY ON",
        "RECOVER DATABASE USING BACKUP CONTROLFILE UNTIL CHANGE 456",
        "ALTER DATABASE OPEN RESETLOGS",
    )
    later = MOMENT + datetime.timedelta(hours=1)
    assert recover_statements(until=Until(time=later), snapshot_time=MOMENT)[3] == (
        "RECOVER DATABASE USING BACKUP CONTROLFILE UNTIL TIME '2026-11-25:04:00:00' SNAPSHOT TIME '2026-11-25:03:00:00'"
    )
    assert recover_statements()[3].endswith("UNTIL CANCEL")
    with pytest.raises(errors.ConfigError, match="before the end"):
        recover_statements(until=Until(scn=399), end_scn=400)
    with pytest.raises(errors.ConfigError, match="before the end"):
        recover_statements(until=Until(time=MOMENT), snapshot_time=later)


def test_a_path_never_ends_a_literal():
    with pytest.raises(errors.ConfigError, match="quotation mark"):
        backup_script("/a';DROP", "full", primary=True)
