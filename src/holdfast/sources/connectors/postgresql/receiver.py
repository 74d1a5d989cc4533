"""WAL received as it is written, through a replication slot: `pg_receivewal` into the spool, watched and started again.

The slot makes the server keep what was not received yet, so nothing is missed while nobody receives; the server's own
`max_slot_wal_keep_size` is the choice between that and its disk. Whole segments go from the hidden folder `.stream` into the
spool by :meth:`Spool.push`, with all its promises; the newest stays there too, for it tells `pg_receivewal` where to go on. The
segment that is being written, `NAME.partial`, is taken along by the next snapshot of the spool (:meth:`Spool.take_tail`).

Source: PostgreSQL, "pg_receivewal" and "Replication Slots".
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.events import Alert, Note, ignore
from holdfast.base.values import dataclass
from holdfast.errors import (
    ApplicationAccessError,
    ApplicationError,
    ApplicationUnsuitableError,
    HoldfastError,
    Retry,
    Safety,
    WalMissingError,
)
from holdfast.sources.connectors.postgresql.programs import client_programs
from holdfast.sources.connectors.postgresql.session import Session
from holdfast.sources.programs import environment_of
from holdfast.sources.spool import STREAM, Spool
from holdfast.sources.wal import is_segment, is_wal_name

if TYPE_CHECKING:
    import threading

    from holdfast.base.environment import Environment
    from holdfast.base.events import Events
    from holdfast.sources.connectors.protocol import Connection

__all__ = ["Received", "Receiver", "SlotState", "read_slot", "slot_name", "slot_problem"]

LOOK_SECONDS = 0.5
AGAIN_SECONDS, AGAIN_SECONDS_MAX = 1.0, 60.0
QUIET_SECONDS = 30.0
"""A receiver that cannot receive for so long calls somebody."""
END_SECONDS = 10.0
STATUS_SECONDS = 5
SLOT_BYTES_MAX = 63


@dataclass(frozen=True, slots=True)
class SlotState:
    """What the server says of a replication slot."""

    active: bool
    """Somebody receives now."""
    lost: bool
    """The server removed WAL that was not received: what it kept was over `max_slot_wal_keep_size`."""
    behind_bytes: int
    """What the server keeps for it."""
    limited: bool
    """Whether the server keeps no more than `max_slot_wal_keep_size` for slots."""


@dataclass(frozen=True, slots=True)
class Received:
    """What a receiver did until it was told to end."""

    segments: int
    bytes: int
    starts: int
    """How often `pg_receivewal` was started: 1 if the connection held."""
    seconds: float


def slot_name(application: str, given: str = "") -> str:
    """Return the slot's name: as configured, or `holdfast_APPLICATION` in the characters that PostgreSQL takes."""
    return given or re.sub(r"[^a-z0-9_]", "_", f"holdfast_{application.lower()}")[:SLOT_BYTES_MAX]


def read_slot(session: Session, name: str) -> SlotState | None:
    """Ask the server for a slot; None if there is none of that name."""
    rows = session.rows(
        "SELECT active, coalesce(wal_status = 'lost', false),"
        " coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn), 0)::bigint,"
        " current_setting('max_slot_wal_keep_size') <> '-1'"
        " FROM pg_replication_slots WHERE slot_name = %s AND slot_type = 'physical'",
        name,
    )
    return SlotState(*rows[0]) if rows else None


def slot_problem(application: str, state: SlotState | None) -> ApplicationError | None:
    """Return what keeps a base backup from getting its WAL through a slot, if anything does. Pure."""
    receive = f"run `holdfast wal receive {application}` as a service: docs/postgresql.md."
    if state is None:
        return ApplicationUnsuitableError("the server has no replication slot for this application", next=receive)
    if state.lost:
        return ApplicationUnsuitableError(
            "the server removed WAL before it was received: the slot is lost",
            next="drop the slot, start `holdfast wal receive` again, and make a base backup at once.",
        )
    if not state.active:
        return ApplicationUnsuitableError("nobody receives WAL through the replication slot", next=receive)
    return None


class Receiver:
    """Receives one application's WAL into its spool until it is told to end."""

    def __init__(self, connection: Connection, env: Environment, *, slot: str = "", programs: str = "") -> None:
        """Name server, slot and spool (`connection.options["spool"]`); connects to nothing."""
        self._connection = connection
        self._env = env
        self._slot = slot_name(connection.name, slot)
        self._programs = programs
        self.spool = Spool(Path(connection.options["spool"]), env)
        self._folder = self.spool.folder / STREAM
        self._program = Path()
        self._segments = self._bytes = self._starts = 0
        self._newest = ""
        self._told: set[str] = set()

    def run(self, stop: threading.Event, *, events: Events = ignore) -> Received:
        """Receive until `stop` is set.

        What passes (a server that restarts, a spool without room) is tried again and, if it lasts, an alert. What does not
        is an error: `ApplicationAccessError` (no REPLICATION), `WalMissingError` (the slot is lost), `DriverMissingError`.
        """
        began = self._env.monotonic()
        self._prepare()
        pause, since = AGAIN_SECONDS, None
        while not stop.is_set():
            started = self._env.monotonic()
            self._receive(stop, events)
            if stop.is_set():
                break
            lasted = self._env.monotonic() - started > QUIET_SECONDS
            pause, since = (AGAIN_SECONDS, None) if lasted else (pause, since)
            since = self._env.monotonic() if since is None else since
            self._judge(events, self._env.monotonic() - since)
            stop.wait(pause)
            pause = min(2 * pause, AGAIN_SECONDS_MAX)
        return Received(self._segments, self._bytes, self._starts, self._env.monotonic() - began)

    def _prepare(self) -> None:
        """Make the folders, and the slot if there is none: from then on the server keeps what was not received."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(Session(self._connection)) as session:
            (number, replicates) = session.one(
                "SELECT current_setting('server_version_num')::int,"
                " (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)"
            )
            if not replicates:
                statement = f'ALTER ROLE "{self._connection.user}" REPLICATION;'
                raise ApplicationAccessError(
                    "the account may not receive WAL", next=f"as a superuser: {statement}", statement=statement
                )
            self._program = client_programs(number // 10000, self._programs, "pg_receivewal") / "pg_receivewal"
            state = read_slot(session, self._slot)
            if state is None:
                session.one("SELECT pg_create_physical_replication_slot(%s, true)::text", self._slot)
            else:
                self._refuse_lost(state)

    def _refuse_lost(self, state: SlotState) -> None:
        if state.lost:
            raise WalMissingError(
                "the server removed WAL before it was received: recovery to a moment ends there",
                next="drop the slot (pg_drop_replication_slot), start the receiver again, and make a base backup at once.",
            )

    def _receive(self, stop: threading.Event, events: Events) -> None:
        """Run `pg_receivewal` until it ends or we are told to; hand over what it finishes meanwhile."""
        with subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment_of(self._variables()),
        ) as process:
            self._starts += 1
            try:
                while process.poll() is None and not stop.wait(LOOK_SECONDS):
                    self.hand_over(events)
            finally:
                _end(process)
        self.hand_over(events)

    def _command(self) -> list[str]:
        # Killed, we must not leave it behind: it would hold the slot, and nobody would hand over what it receives.
        setpriv = shutil.which("setpriv")
        found = [setpriv, "--pdeathsig=TERM", "--"] if setpriv is not None else []
        found += [str(self._program), f"--directory={self._folder}", f"--slot={self._slot}", "--synchronous"]
        found += ["--no-loop", "--no-password", f"--status-interval={STATUS_SECONDS}"]
        given = (("host", self._connection.host), ("port", self._connection.port), ("username", self._connection.user))
        return [*found, *(f"--{option}={value}" for option, value in given if value)]

    def _variables(self) -> dict[str, str]:
        secret = self._connection.password
        return {"PGAPPNAME": "holdfast-wal", **({} if secret is None else {"PGPASSWORD": secret.reveal(os.environ)})}

    def hand_over(self, events: Events = ignore) -> None:
        """Push whole files into the spool; leave the newest segment where `pg_receivewal` looks for it."""
        names = sorted(name for name in os.listdir(self._folder) if is_wal_name(name) and not name.endswith(".partial"))
        segments = [name for name in names if is_segment(name)]
        for name in names:
            place = self._folder / name
            if self._pushed(place, events) and name not in segments[-1:]:
                place.unlink()

    def _pushed(self, place: Path, events: Events) -> bool:
        """Push a file; return whether the spool has it. What keeps it from that is said once, until it is past."""
        try:
            pushed = self.spool.push(place)
        except HoldfastError as error:
            if error.code not in self._told:
                events(Alert.of(error, self._connection.name))
            self._told.add(error.code)
            return False
        self._told.clear()
        if (
            is_segment(place.name) and place.name > self._newest
        ):  # it may have been taken over meanwhile, and stays for a while
            self._newest = place.name
            self._segments += 1
            self._bytes += pushed.bytes
        return True

    def _judge(self, events: Events, seconds: float) -> None:
        """Say why receiving ended; `WalMissingError` if it can never go on."""
        try:
            with closing(Session(self._connection)) as session:
                state = read_slot(session, self._slot)
        except ApplicationError as error:
            why, state = error.what, None
        else:
            why = "the server ended the connection"
        if state is not None:
            self._refuse_lost(state)
        if seconds < QUIET_SECONDS:
            events(Note(f"no WAL is received: {why}; it is tried again", "wal-not-received"))
            return
        events(
            Alert(
                "wal-not-received",
                self._connection.name,
                f"no WAL has been received for {seconds:.0f} s: {why}",
                safety=Safety.DEGRADED,
                retry=Retry.LATER,
                safe="the server keeps WAL for the slot as long as its own limit lets it.",
                next="see that the server runs and lets this account replicate (pg_hba.conf: database `replication`).",
            )
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it: it synchronises what it has and goes; killed, it only repeats what was not synchronised."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
