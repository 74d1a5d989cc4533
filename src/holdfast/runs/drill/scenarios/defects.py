"""Defects that nobody is told of: put into a drill's own copy, each must make the drill fail with its cause named."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from holdfast.errors import UsageError
from holdfast.repository.snapshots import of_source
from holdfast.runs.drill.options import Injection, Setting
from holdfast.runs.drill.plan import choose
from holdfast.runs.drill.scenarios.copies import flip_bytes
from holdfast.runs.drill.scenarios.scenario import Arranged, Broken, Scenario
from holdfast.runs.restore import RestoreRequest, run_restore
from holdfast.services.catalogue import Check

__all__ = [
    "SCENARIOS",
    "changed_content",
    "corrupted_page",
    "missing_file",
    "missing_table",
    "stale_log",
    "truncated_file",
    "wrong_snapshot",
]

PAGE = 8192
DROPS = {
    "postgresql": "drop table if exists {table} cascade",
    "mariadb": "drop table if exists {table}",
    "sqlite": "drop table if exists {table}",
}


def _files(folder: str) -> Iterator[str]:
    for inner, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(inner, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def _largest(folder: str) -> str:
    """Return the largest file below a folder, or the file that it is."""
    return max(_files(folder), key=lambda path: (os.path.getsize(path), path), default=folder)


def _injecting(stage: str, action: Callable[[Setting], None]) -> Callable[[Broken], Arranged]:
    def arrange(broken: Broken) -> Arranged:
        return Arranged(broken.copy.url, broken.copy.key_file, injection=Injection("defect", **{stage: action}))

    return arrange


def truncated_file(setting: Setting) -> None:
    """Cut the largest restored file short, as a full disk or a broken restore would."""
    path = _largest(setting.restored)
    os.truncate(path, os.path.getsize(path) // 2)


def missing_file(setting: Setting) -> None:
    """Remove a restored file."""
    os.unlink(_largest(setting.restored))


def changed_content(setting: Setting) -> None:
    """Change one byte of a restored file and nothing that its name, size or time would show."""
    path = _largest(setting.restored)
    flip_bytes(path, [os.path.getsize(path) // 2])


def corrupted_page(setting: Setting) -> None:
    """Damage pages of the application's largest data file before it starts: a defect that the source had when it was backed up."""
    if setting.application is not None and type(setting.application).__name__ == "Files":
        raise UsageError("the scenario does not apply: nothing but its source knows what such files should hold")
    data = [path for path in _files(setting.data) if _is_table(path)] or [_largest(setting.data)]
    path = max(data, key=os.path.getsize)
    size = os.path.getsize(path)
    flip_bytes(path, range(min(size // 2, PAGE) + 1000, size, max(1, PAGE // 4)))


def _is_table(path: str) -> bool:
    """Tell files of tables from logs and maps, as far as names do."""
    name = os.path.basename(path)
    if name.isdecimal():
        return int(name) >= 16384 and "/base/" in path  # noqa: PLR2004 - object ids of PostgreSQL's users begin there
    return name.endswith((".ibd", ".MYD", ".sqlite", ".db")) and "/mysql/" not in path


def stale_log(setting: Setting) -> None:
    """Take away the log that recovery begins with: PostgreSQL's WAL, InnoDB's redo log, SQLite's write-ahead log."""
    taken = 0
    for path in list(_files(setting.data)):
        folder, name = os.path.split(path)
        segment = os.path.basename(folder) == "pg_wal" and len(name) == 24  # noqa: PLR2004 - timeline, log, segment: 8 hex digits each
        if segment or name.startswith("ib_logfile") or name.endswith("-wal"):
            os.unlink(path)
            taken += 1
    if not taken:
        raise UsageError("the scenario does not apply: the service's data has no such log")


def wrong_snapshot(broken: Broken) -> Arranged:
    """Let the restore take an older snapshot than the one that was asked for (the operator's slip), unless there is only one."""
    own = of_source(broken.vault.snapshots(), broken.service.source)
    if len(own) < 2:  # noqa: PLR2004 - two are needed to take one for the other
        raise UsageError(
            "the scenario does not apply: there is only one snapshot", next="back the service up once more."
        )
    wanted, older = choose(broken.vault, broken.service, ""), own[-2]

    def exchange(setting: Setting) -> None:
        request = RestoreRequest(to=os.fsencode(setting.restored), overwrite="always")
        run_restore(broken.vault, older, request)

    return Arranged(
        broken.copy.url, broken.copy.key_file, snapshot=wanted.id, injection=Injection("defect", restored=exchange)
    )


def missing_table(broken: Broken) -> Arranged:
    """Drop every table that the service's checks ask, once the application runs: the source had lost it without anybody noticing."""
    drop = DROPS.get(broken.service.application)
    asked = [check for check in broken.service.checks if check.kind == "query"]
    if drop is None or not asked:
        raise UsageError("the scenario does not apply: no check of the service asks a table")

    def action(setting: Setting) -> None:
        application = setting.application
        if application is None:
            return
        for check in asked:
            words = check.query.replace("(", " ").replace(")", " ").replace(";", " ").split()
            lower = [word.lower() for word in words]
            tables = [words[place + 1] for place, word in enumerate(lower[:-1]) if word in ("from", "join")]
            for table in tables:
                application.ask(Check("defect", query=drop.format(table=table), database=check.database))

    return Arranged(broken.copy.url, broken.copy.key_file, injection=Injection("defect", service=action))


DIFFERS = "comparison: restored files differ from the snapshot"
SCENARIOS = (
    Scenario(
        "truncated-file",
        "A restored file is cut short",
        "detected",
        _injecting("restored", truncated_file),
        f"{DIFFERS}.*cut short",
    ),
    Scenario(
        "missing-file",
        "A restored file is missing",
        "detected",
        _injecting("restored", missing_file),
        f"{DIFFERS}.*missing",
    ),
    Scenario(
        "changed-content",
        "One byte of a restored file differs",
        "detected",
        _injecting("restored", changed_content),
        f"{DIFFERS}.*other content",
    ),
    Scenario(
        "wrong-snapshot",
        "An older snapshot was restored than the one asked for",
        "detected",
        wrong_snapshot,
        DIFFERS,
    ),
    Scenario(
        "corrupted-page",
        "A page of the application's data was damaged before it was backed up",
        "detected",
        _injecting("data", corrupted_page),
        "corrupted|damaged|page|cut short",
    ),
    Scenario(
        "stale-log",
        "The log that recovery begins with is missing or old",
        "detected",
        _injecting("data", stale_log),
        "stale|missing|damaged",
    ),
    Scenario(
        "missing-table",
        "A table was lost before it was backed up",
        "detected",
        missing_table,
        "table is missing|data is missing",
    ),
)
