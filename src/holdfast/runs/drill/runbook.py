"""A service's runbook: what to type on the day, in order, with the times that the last drill took. Made from configuration and drills.

It is usable with the recovery kit and a copy of the store alone: no command in it needs the configuration, a catalog or a
state folder. It names folders and questions of the configuration, so it is kept where the recovery kit is kept.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from holdfast.base.units import format_bytes, format_seconds
from holdfast.reports.document import Block, Document, Fact, Facts, Paragraph, Section, Step, Steps, Table, Verdict
from holdfast.runs.drill.record import DrillRecord
from holdfast.services.catalogue import Check, Service
from holdfast.services.order import waves

__all__ = ["runbook_document"]

KIT = "recovery-kit.key"
TARGET = "/restore"
STARTS: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "sqlite": ("Put the database in its place and start its application", ("cp -a {data} {home}",), "no message"),
    "postgresql": (
        "Start PostgreSQL on the restored data",
        (
            "chown -R postgres:postgres {data}",
            "chmod 700 {data}",
            "{programs}pg_controldata -D {data}",
            "runuser -u postgres -- {programs}pg_ctl start -w -D {data} -o '-c archive_mode=off'",
        ),
        "`server started`. Archiving stays off until you have checked the data: never let it write into the archive of production",
    ),
    "mariadb": (
        "Start MariaDB on the restored data",
        ("chown -R mysql:mysql {data}", "{programs}mariadbd --datadir={data} --skip-slave-start --user=mysql &"),
        "`ready for connections`",
    ),
    "orthanc": (
        "Start Orthanc on the restored storage",
        ("chown -R orthanc:orthanc {data}", "{programs}Orthanc /etc/orthanc/"),
        "`Orthanc has started`; its StorageDirectory must be the restored folder",
    ),
}


def runbook_document(
    services: Mapping[str, Service], name: str, vault_url: str, records: Sequence[DrillRecord], now: datetime
) -> Document:
    """Return the runbook of a service and of all that it needs. `UsageError` if there is no such service."""
    order = waves(services, [name])
    service = services[name]
    last = {each: _last(records, each) for each in services}
    return Document(
        title=f"Runbook: bring back {service.shown}",
        subtitle=f"objective: back within {format_seconds(service.rto)}, at most {format_seconds(service.rpo)} of work lost",
        made=f"made {now:%Y-%m-%d %H:%M} UTC from the configuration and the drills so far; print it and keep it with the recovery kit",
        lead=tuple(_lead(order, last)),
        sections=(
            Section("Order", (_order(order, last),)),
            Section("1. Get ready", (_ready(vault_url),)),
            *(
                Section(f"{number + 1}. {each.shown}", (_steps(each, vault_url, last[each.name]),))
                for number, each in enumerate((each for wave in order for each in wave), 1)
            ),
            Section("If something does not go as written", tuple(_otherwise(service, vault_url))),
        ),
        footer="Made by Holdfast. Every command here is typed as it stands; only the place of the kit and of the store may differ.",
    )


def _last(records: Sequence[DrillRecord], service: str) -> DrillRecord | None:
    own = [each for each in records if each.service == service and not each.scenario and not each.in_part]
    passed = [each for each in own if each.verdict != "failed"]
    return passed[-1] if passed else None


def _lead(order: Sequence[Sequence[Service]], last: Mapping[str, DrillRecord | None]) -> Iterator[Block]:
    every = [service for wave in order for service in wave]
    never = [service.shown for service in every if last[service.name] is None]
    if never:
        yield Verdict(
            "attention", "Not all of this has been proved", f"No drill came back right yet: {', '.join(never)}."
        )
    else:
        times = [max(_time(last[service.name]) for service in wave) for wave in order]
        yield Verdict(
            "good",
            f"Expected: {format_seconds(sum(times))}",
            "The sum over the waves below of the slowest drill in each. It does not include getting a machine ready.",
        )
    yield Facts(
        (
            Fact("Services to bring back", str(len(every))),
            Fact("Waves", str(len(order))),
            Fact(
                "Data, at the last drills", format_bytes(sum(each.bytes for each in last.values() if each is not None))
            ),
        )
    )


def _time(record: DrillRecord | None) -> float:
    return record.rto_achieved if record is not None else 0.0


def _order(order: Sequence[Sequence[Service]], last: Mapping[str, DrillRecord | None]) -> Table:
    rows = []
    for number, wave in enumerate(order, 1):
        for service in wave:
            drill = last[service.name]
            rows.append(
                (
                    str(number),
                    service.shown,
                    service.criticality,
                    format_seconds(service.rto),
                    format_seconds(drill.rto_achieved) if drill else "never drilled",
                    drill.ended[:10] if drill else "",
                    ", ".join(service.needs),
                )
            )
    head = ("wave", "service", "criticality", "objective", "last drill took", "on", "needs")
    return Table(head, tuple(rows), frozenset({3, 4}))


def _open(vault_url: str) -> str:
    return f"--vault {shlex.quote(vault_url)} --key-file {KIT}"


def _ready(vault_url: str) -> Steps:
    return Steps(
        (
            Step(
                "Take a machine that is not the one that failed",
                "Linux, with room for the data above, and the store (or the copy of it) mounted or reachable.",
                ("holdfast --version", "df -h /"),
                "a version, and enough room",
            ),
            Step(
                "Take the recovery kit out of the safe",
                f"Type its key lines into a file {KIT}, or use the file if the kit has one. Nobody else needs to see it.",
                (f"chmod 600 {KIT}",),
            ),
            Step(
                "Look whether it opens the vault",
                "With a copy of the store, write its place after --vault instead, here and below.",
                (f"holdfast snapshots {_open(vault_url)}",),
                "a list of snapshots; `WrongKey` means another kit, `no vault` another place",
            ),
        )
    )


def _steps(service: Service, vault_url: str, last: DrillRecord | None) -> Steps:
    if service.application == "host":
        return Steps(tuple(_host_steps(service, vault_url, last)))
    target = f"{TARGET}/{service.name}"
    paths = "".join(f" {shlex.quote(path)}" for path in service.paths)
    took = (
        f"in the last drill {format_seconds(last.phase('fetch'))} for {format_bytes(last.bytes)}"
        if last
        else "never drilled"
    )
    restore = f"holdfast restore {shlex.quote('latest:' + service.source)} {_open(vault_url)} --to {shlex.quote(target)}{paths}"
    if service.recovers:
        restore = f"holdfast recover {shlex.quote(service.recovers)} {_open(vault_url)} --to {shlex.quote(target)}"
    steps = [
        Step(
            f"Restore {service.shown}",
            "If it is interrupted, type the same again: it goes on where it stopped."
            if not service.recovers
            else "It brings the base backup and all WAL, and prints the data directory: write that after -D below.",
            (restore,),
            f"`Restored …` and exit code 0 ({took})",
        ),
        *_start(service, target, last),
        *_questions(service, target),
    ]
    return Steps(tuple(steps))


def _host_steps(service: Service, vault_url: str, last: DrillRecord | None) -> Iterator[Step]:
    """Yield how a whole host is made again: looked at, tried, done."""
    snapshot = f"{shlex.quote('latest:' + service.source)} {_open(vault_url)}"
    took = f"in the last drill {format_seconds(last.rto_achieved)}" if last else "never drilled"
    yield Step(
        f"Look what disks {service.shown} needs",
        "Start the new machine from a rescue system, be root, and have empty disks at least as large.",
        (f"holdfast host inventory {snapshot}", "lsblk"),
        "the host's disks by name, and the new machine's",
    )
    restore = f"holdfast host restore {snapshot} --disk NAME=/dev/DISK"
    yield Step(
        "Try it without writing",
        "For each disk of the host write NAME as shown above, and /dev/DISK as the new machine calls it.",
        (f"{restore} --dry-run",),
        "what each disk would become, and `Nothing was written`; a reason if a disk is not fit",
    )
    yield Step(
        f"Restore {service.shown}",
        "What is on the disks goes. If it is interrupted, type the same again: it goes on where it stopped.",
        (restore,),
        f"each check `passed`, and exit code 0 ({took})",
    )
    yield Step(
        "Start it",
        "Take the rescue system out. It has the name and addresses of the old one.",
        ("reboot",),
        "its login",
    )


def _start(service: Service, target: str, last: DrillRecord | None) -> Iterator[Step]:
    data = target + ("/" + service.data.lstrip("/") if service.data else "/DATA-DIRECTORY" if service.recovers else "")
    took = f" (in the last drill {format_seconds(last.phase('application recovery'))})" if last else ""
    if service.application == "command":
        if service.command:
            command = f"cd {shlex.quote(data)} && {shlex.join(service.command)}"
            yield Step(f"Start {service.shown}", "", (command,), f"it keeps running{took}")
        return
    if service.application == "files":
        copies = tuple(f"cp -a {shlex.quote(f'{target}/{p}/.')} {shlex.quote(f'/{p}/')}" for p in _places(service))
        yield Step("Put the files in their place", "Each folder must be there, and empty.", copies, "no message")
        return
    known = STARTS.get(service.application)
    if known is None:
        yield Step(
            f"Start {service.application} on the restored data", f"The data is in {data}.", (), took.strip(" ()")
        )
        return
    title, commands, expect = known
    programs = service.programs.rstrip("/") + "/" if service.programs else ""
    home = service.data or (service.paths[0] if service.paths else "/")
    filled = tuple(
        each.format(data=shlex.quote(data), home=shlex.quote(home), programs=shlex.quote(programs) if programs else "")
        for each in commands
    )
    yield Step(title, "", filled, expect + took)


def _places(service: Service) -> tuple[str, ...]:
    return tuple(path.strip("/") for path in service.paths) or (".",)


def _questions(service: Service, target: str) -> Iterator[Step]:
    for check in service.checks:
        command = _question(service, check, target)
        if command:
            yield Step(f"Check: {check.name}", "", (command,), _expected(check))


def _question(service: Service, check: Check, target: str) -> str:
    match check.kind, service.application:
        case "query", "postgresql":
            return f"runuser -u postgres -- psql -X -At -d {shlex.quote(check.database or 'postgres')} -c {shlex.quote(check.query)}"
        case "query", "mariadb":
            return f"mariadb -N -B {shlex.quote(check.database or 'mysql')} -e {shlex.quote(check.query)}"
        case "query", "sqlite":
            place = f"{target}/{service.data.lstrip('/')}" + (f"/{check.database}" if check.database else "")
            return f"sqlite3 {shlex.quote(place)} {shlex.quote(check.query)}"
        case "http", _:
            port = service.port or (8042 if service.application == "orthanc" else 80)
            return f"curl -fsS http://127.0.0.1:{port}/{check.path.removeprefix('count:').lstrip('/')}"
        case "command", _:
            return shlex.join(check.command)
        case "file", _:
            return f"test -s {shlex.quote(target + '/' + check.path.lstrip('/'))} && echo there"
        case _:
            return ""


def _expected(check: Check) -> str:
    if check.equals:
        return f"`{check.equals}`"
    return f"at least {check.at_least}" if check.at_least is not None else "an answer, and no error"


def _otherwise(service: Service, vault_url: str) -> Iterator[Block]:
    opened = _open(vault_url)
    yield Table(
        ("what you see", "what to do"),
        (
            (
                "damage found (exit code 4)",
                f"holdfast verify {opened}   names what it costs; restore the snapshot before",
            ),
            ("the newest snapshot is bad", f"holdfast snapshots {opened}   then: holdfast restore ID … (an older one)"),
            ("an index that cannot be read", f"holdfast repair index {opened}   then again"),
            ("wrong key (exit code 6)", "another kit or passphrase: each key slot opens the whole vault"),
            (
                "store unreachable (exit code 7)",
                "use a copy of the store: a folder that holds all its files is a vault",
            ),
            ("it takes too long", "restore the vital part first: give its folders after --to DIR"),
            (
                "it takes far too long",
                f"work on it while it comes (needs FUSE): holdfast mount --writable --allow-other"
                f" {shlex.quote('latest:' + service.source)} {opened} PATH   when whole: holdfast mount finish PATH",
            ),
        ),
    )
    yield Paragraph(
        f"Do not start {service.shown} for its users before its checks above answered."
        " Keep what failed: it may be needed to find out why."
    )
