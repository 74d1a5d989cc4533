"""SQLite: a file, or a folder of them. Every database is opened by SQLite itself, in the cell, on the drill's copy.

`PRAGMA integrity_check` and `foreign_key_check` as in sqlite.org/pragma.html; a write-ahead log beside a database is replayed
by opening it, as the application would.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

from holdfast.services.applications.ground import ApplicationFailed, Ground, any_answer, interpreter
from holdfast.services.catalogue import Check
from holdfast.services.judge import Answer, Outcome

__all__ = ["SQLite"]

MAGIC = b"SQLite format 3\0"
DATABASES_MAX = 10_000
ASKER = """
import json, sqlite3, sys
found = {"rows": [], "error": ""}
try:
    database = sqlite3.connect(f"file:{sys.argv[1]}?mode=rw", uri=True, timeout=10)
    for statement in sys.argv[2:]:
        row = database.execute(statement).fetchone()
        found["rows"].append("" if row is None or row[0] is None else str(row[0]))
except sqlite3.Error as error:
    found["error"] = type(error).__name__ + " " + getattr(error, "sqlite_errorname", "")
    found["table"] = "no such table" in str(error)
print(json.dumps(found))
"""


class SQLite:
    """One or more SQLite databases."""

    def __init__(self, ground: Ground) -> None:
        """Look at the ground's data."""
        self._ground = ground
        self._databases: list[str] = []

    def start(self) -> None:
        """Find the databases and read the schema of each."""
        self._databases = sorted(_databases(self._ground.data))
        if not self._databases:
            raise ApplicationFailed("there is no SQLite database in the restored data")
        for database in self._databases:
            _, problem = self._run(database, "select count(*) from sqlite_master")
            if problem:
                raise ApplicationFailed(f"a database cannot be opened: {problem}")

    def ask(self, check: Check) -> Answer:
        """Answer a query by the database that the check names below the data, or by the only one."""
        if check.kind != "query":
            return any_answer(self._ground, check, what="SQLite")
        database = self._ground.data
        if check.database:
            database = os.path.join(self._ground.data, check.database)
        elif os.path.isdir(database):
            if len(self._databases) != 1:
                return Answer(problem="there are several databases and the check names none")
            database = self._databases[0]
        if database not in self._databases:
            return Answer(problem="the database is not there")
        rows, problem = self._run(database, check.query)
        return Answer(problem=problem) if problem else Answer(rows[0])

    def verify(self) -> Iterator[Outcome]:
        """Let SQLite check every page and index, and every reference between tables, of every database."""
        began = self._ground.cell.env.monotonic()
        broken = 0
        for database in self._databases:
            rows, problem = self._run(database, "pragma integrity_check(1)", "pragma foreign_key_check")
            broken += bool(problem) or rows[0] != "ok" or rows[1] != ""
        cause = (
            "SQLite's integrity check finds a database damaged: a page, an index or a reference is wrong"
            if broken
            else ""
        )
        state = "failed" if broken else "passed"
        seconds = self._ground.cell.env.monotonic() - began
        wanted = f"{len(self._databases)} databases sound"
        yield Outcome("sqlite-integrity", "application", state, wanted, f"{broken} damaged", cause, seconds)  # type: ignore[arg-type]

    def stop(self) -> None:
        """Close nothing: each question has its own process."""

    def _run(self, database: str, *statements: str) -> tuple[list[str], str]:
        ran = self._ground.run_program([interpreter(), "-I", "-c", ASKER, database, *statements], seconds=3600.0)
        try:
            found = json.loads(ran.out)
        except ValueError:
            return [], "SQLite did not answer"
        if found["error"]:
            return [], "a table is missing" if found["table"] else f"SQLite reports {found['error'].strip()}"
        return found["rows"], ""


def _databases(place: str) -> Iterator[str]:
    """Yield the databases at or below a place, known by their first bytes."""
    if not os.path.isdir(place):
        yield place
        return
    count = 0
    for folder, _, names in os.walk(place):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    if file.read(len(MAGIC)) == MAGIC and count < DATABASES_MAX:
                        count += 1
                        yield path
