"""Which databases and data folders are on this host, how each should be backed up, and what a plain file backup would corrupt.

Looks at processes (program, words, folder, port), and at folders by the names that databases leave in them. It connects to
nothing, reads nothing but the first bytes of a file's header, and changes nothing. Deciding is apart from looking: `propose`
and `endangered` are pure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from holdfast.sources.connectors.protocol import Found

__all__ = ["Danger", "ProcessSeen", "configuration", "endangered", "look", "propose", "signature"]

FOLDERS_MAX = 200_000
DEPTH_MAX = 8
SQLITE_MAGIC = b"SQLite format 3\x00"

PROGRAMS: Mapping[str, str] = {
    "postgres": "postgresql",
    "mariadbd": "mariadb",
    "mysqld": "mariadb",
    "redis-server": "redis",
    "slapd": "openldap",
    "Orthanc": "orthanc",
    "irisdb": "iris",
    "sqlservr": "sqlserver",
    "mongod": "mongodb",
    "ora_pmon": "oracle",
}
"""Names of server processes, and the kind of application each is."""
SIGNATURES: tuple[tuple[str, frozenset[str]], ...] = (
    ("postgresql", frozenset({"PG_VERSION", "global", "base"})),
    ("mariadb", frozenset({"ibdata1", "mysql"})),
    ("redis", frozenset({"dump.rdb"})),
    ("redis", frozenset({"appendonlydir"})),
    ("openldap", frozenset({"data.mdb", "lock.mdb"})),
    ("orthanc", frozenset({"index", "index-wal"})),
    ("mongodb", frozenset({"WiredTiger", "WiredTiger.wt"})),
    ("iris", frozenset({"IRIS.DAT"})),
    ("iris", frozenset({"iris.cpf"})),
)
"""Names that stand in the data folder of each kind, all of a set."""


@dataclass(frozen=True, slots=True)
class ProcessSeen:
    """A process of a server: its program, its words, the folder it works in, and where it listens."""

    program: str
    words: tuple[str, ...] = ()
    folder: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True)
class Danger:
    """A path of a job that holds a database which a file backup alone would store torn."""

    job: str
    connector: str
    path: bytes
    live: bool
    """A server runs on it now."""
    forbidden: bool
    """The data class is `phi`: such a job is an error until a connector captures the database."""


def signature(names: Iterable[str]) -> str:
    """Return the kind of application whose data folder holds these names; empty for none."""
    there = set(names)
    return next((kind for kind, wanted in SIGNATURES if wanted <= there), "")


def propose(processes: Sequence[ProcessSeen], folders: Mapping[str, str]) -> tuple[Found, ...]:
    """Decide which applications there are: from running servers, and from data folders (path to kind) that none of them has."""
    found: list[Found] = []
    taken: set[str] = set()
    for seen in processes:
        kind = PROGRAMS.get(seen.program, "")
        if not kind:
            continue
        data = _data_folder(kind, seen, folders)
        if data in taken:
            continue  # a worker of a server that is listed already
        taken.add(data)
        port = (("port", str(seen.port)),) if seen.port and kind not in {"orthanc", "openldap"} else ()
        url = (("url", f"http://127.0.0.1:{seen.port}"),) if seen.port and kind == "orthanc" else ()
        path = (("path", data),) if data else ()
        found.append(Found(kind, _name(kind, found), (*path, *port, *url), (os.fsencode(data),) if data else ()))
    for folder, kind in sorted(folders.items()):
        if folder not in taken:
            found.append(Found(kind, _name(kind, found), (("path", folder),), (os.fsencode(folder),)))
    return tuple(found)


def _data_folder(kind: str, seen: ProcessSeen, folders: Mapping[str, str]) -> str:
    """Return the data folder of a server: by its words, else the folder it works in, else one that was found."""
    for word, following in zip(seen.words, (*seen.words[1:], ""), strict=True):
        for flag in ("--datadir", "--dir", "--dbpath", "-D"):
            if word.startswith(f"{flag}="):
                return os.path.normpath(word.partition("=")[2])
            if word == flag and following:
                return os.path.normpath(following)
    if folders.get(seen.folder) == kind:
        return seen.folder
    fitting = [folder for folder, its in folders.items() if its == kind]
    return fitting[0] if len(fitting) == 1 else ""


def _name(kind: str, found: Sequence[Found]) -> str:
    count = sum(row.connector == kind for row in found)
    return kind if not count else f"{kind}-{count + 1}"


def configuration(found: Sequence[Found], known: Sequence[str]) -> str:
    """Return a configuration to start from. An application of a kind without a connector becomes a comment."""
    lines = []
    for row in found:
        mark = "" if row.connector in known else "# "
        if mark:
            lines.append(
                f"# There is no connector {row.connector}: use hooks, or leave its data folder out of every job."
            )
        lines.append(f"{mark}[applications.{row.name}]")
        lines.append(f'{mark}connector = "{row.connector}"')
        for key, value in row.settings:
            lines.append(f"{mark}{key} = {value}" if key == "port" else f'{mark}{key} = "{_escaped(value)}"')
        lines.append("")
    names = ", ".join(f'"{row.name}"' for row in found if row.connector in known)
    if names:
        lines += ["[jobs.applications]", f"applications = [{names}]", ""]
    return "\n".join(lines)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def endangered(
    jobs: Mapping[str, tuple[Sequence[bytes], str]],
    found: Sequence[Found],
    live: Iterable[str],
    captured: Iterable[bytes] = (),
) -> tuple[Danger, ...]:
    """Return what the jobs (name to paths and data class) would store torn, and no application captures.

    `live` names the found applications that run; `captured` are data folders that a configured application has.
    """
    running, safe = set(live), {os.path.normpath(path) for path in captured}
    dangers = []
    for job, (paths, class_name) in sorted(jobs.items()):
        for row in found:
            for place in row.live_paths:
                if os.path.normpath(place) in safe or not any(_holds(path, place) for path in paths):
                    continue
                now = row.name in running
                dangers.append(Danger(job, row.connector, place, now, now and class_name.startswith("phi")))
    return tuple(dangers)


def _holds(path: bytes, place: bytes) -> bool:
    return (place.rstrip(b"/") + b"/").startswith(path.rstrip(b"/") + b"/")


def look(
    roots: Sequence[str], *, processes: Callable[[], Sequence[ProcessSeen]] | None = None
) -> tuple[tuple[Found, ...], frozenset[str]]:
    """Look at this host's processes and below the roots; return the applications, and the names of those that run."""
    seen = tuple(processes() if processes is not None else _processes())
    folders = dict(_data_folders(roots))
    for row in seen:
        if row.folder and row.folder not in folders:
            kind = signature(_names(row.folder))
            if kind:
                folders[row.folder] = kind
    found = propose(seen, folders)
    served = {
        os.path.normpath(_data_folder(PROGRAMS[row.program], row, folders)) for row in seen if row.program in PROGRAMS
    }
    live = frozenset(row.name for row in found if any(os.fsdecode(place) in served for place in row.live_paths))
    return found, live


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _data_folders(roots: Sequence[str]) -> Iterable[tuple[str, str]]:
    """Walk the roots, not into data folders; a file with SQLite's header is an application of its own."""
    count = 0
    for root in roots:
        top = root.rstrip("/").count("/")
        for folder, inside, files in os.walk(root):
            count += 1
            if count > FOLDERS_MAX:
                return
            kind = signature([*inside, *files])
            if kind:
                yield folder, kind
                inside.clear()
                continue
            if folder.count("/") - top >= DEPTH_MAX:
                inside.clear()
            for name in files:
                path = os.path.join(folder, name)
                if name.endswith((".db", ".sqlite", ".sqlite3")) and _begins(path, SQLITE_MAGIC):
                    yield path, "sqlite"


def _begins(path: str, magic: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def _processes() -> Iterable[ProcessSeen]:
    import psutil

    for process in psutil.process_iter():
        try:
            name = process.name()
            program = next(
                (known for known in PROGRAMS if name == known or (known == "ora_pmon" and name.startswith(known))), ""
            )
            if not program:
                continue
            words = process.cmdline()
            if program == "postgres" and len(words) < 2:  # noqa: PLR2004 - a worker's title, not the server's command
                continue
            listening = [row.laddr.port for row in process.net_connections("tcp") if row.status == psutil.CONN_LISTEN]
            yield ProcessSeen(program, tuple(words), process.cwd(), min(listening, default=0))
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
