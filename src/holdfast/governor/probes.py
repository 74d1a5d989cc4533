"""Probes: the application's own voice. A question that it answers, and how long that took. They never hold anyone up.

Each probe asks from a thread of its own, one question at a time; whoever wants to know reads the newest answer. A question
that is not answered within its time-out is load, however long it hangs, and no second one is asked meanwhile.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, urlsplit

from holdfast.base.environment import Environment
from holdfast.errors import ProbeUnusableError
from holdfast.governor.signals import ProbeReading, ProbeState

if TYPE_CHECKING:
    from urllib.request import OpenerDirector

__all__ = ["CommandProbe", "HttpProbe", "Probe", "SqlProbe", "Watch"]

ANSWERS_KEPT = 3
"""The median of so many answers is the latency: one slow answer is no load."""
SQL_DRIVERS = {"postgresql": "psycopg", "mariadb": "pymysql", "mysql": "pymysql"}


class Probe(Protocol):
    """A question to the application."""

    name: str
    timeout: float
    """Seconds after which an answer counts as none."""

    def ask(self) -> None:
        """Ask once, and return when it is answered. Any exception means that the application did not answer."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class CommandProbe:
    """A command that ends with 0 when the application has answered. No shell; its output is thrown away."""

    def __init__(self, name: str, timeout: float, command: Sequence[str]) -> None:
        """Use a command and its arguments."""
        if not command:
            raise ProbeUnusableError(f"the probe {name} has no command")
        self.name, self.timeout = name, timeout
        self._command = [*command]

    def ask(self) -> None:
        """Run the command; killed at its time-out."""
        import subprocess

        subprocess.run(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=self.timeout,
            check=True,
        )

    def close(self) -> None:
        """Nothing is held."""


class HttpProbe:
    """A page that the application serves. Asked without a proxy; answers of 400 and more are none."""

    READ_BYTES_MAX = 1 << 20

    def __init__(self, name: str, timeout: float, url: str) -> None:
        """Use an `http` or `https` address."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.password:
            raise ProbeUnusableError(f"the probe {name} needs an http or https address without a password in it")
        self.name, self.timeout = name, timeout
        self._url = url
        self._opener: OpenerDirector | None = None

    def ask(self) -> None:
        """Get the page, the first MiB of it."""
        if self._opener is None:
            from urllib.request import ProxyHandler, build_opener

            self._opener = build_opener(ProxyHandler({}))
        with self._opener.open(self._url, timeout=self.timeout) as answer:
            answer.read(self.READ_BYTES_MAX)

    def close(self) -> None:
        """Nothing is held."""


class SqlProbe:
    """A statement over a connection that is kept: PostgreSQL (`postgresql://user@host:port/db`) or MariaDB (`mariadb://…`).

    It should be what the application does all day, a short transaction on a table of its own for instance. Over a local
    socket: `postgresql:///db?host=/run/postgresql`.
    """

    def __init__(self, name: str, timeout: float, url: str, statement: str, password: str | None = None) -> None:
        """Find the driver; connect at the first question."""
        parts = urlsplit(url)
        if parts.scheme not in SQL_DRIVERS or parts.password:
            raise ProbeUnusableError(
                f"the probe {name} needs a postgresql:// or mariadb:// address without a password in it"
            )
        self.name, self.timeout = name, timeout
        self._parts, self._url, self._password, self._statement = parts, url, password, statement
        self._driver = self._found(SQL_DRIVERS[parts.scheme])
        self._connection: Any = None

    def _found(self, module: str) -> Any:  # noqa: ANN401 - a module
        import importlib

        try:
            return importlib.import_module(module)
        except ImportError:
            extra = "postgresql" if module == "psycopg" else "mariadb"
            raise ProbeUnusableError(
                f"the probe {self.name} needs the driver {module}, which is not installed",
                next=f"install it: pip install 'holdfast[{extra}]'.",
            ) from None

    def ask(self) -> None:
        """Send the statement and fetch what it gives, in a transaction that is committed."""
        try:
            if self._connection is None:
                self._connection = self._connect(self._parts)
            with self._connection.cursor() as cursor:
                cursor.execute(self._statement)
                if cursor.description is not None:
                    cursor.fetchmany(100)
            self._connection.commit()
        except BaseException:
            self.close()
            raise

    def _connect(self, parts: SplitResult) -> Any:  # noqa: ANN401 - a driver's connection
        seconds = max(1, round(self.timeout))
        if self._driver.__name__ == "psycopg":
            return self._driver.connect(
                self._url,
                connect_timeout=seconds,
                application_name="holdfast-probe",
                options=f"-c statement_timeout={int(self.timeout * 1000)}",
                **({"password": self._password} if self._password is not None else {}),
            )
        return self._driver.connect(
            host=parts.hostname or "localhost",
            port=parts.port or 3306,
            user=parts.username or "",
            password=self._password or "",
            database=parts.path.lstrip("/") or None,
            connect_timeout=seconds,
            read_timeout=seconds,
            write_timeout=seconds,
        )

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


class Watch:
    """Asks a probe again and again from a thread of its own, and knows the newest answer."""

    def __init__(self, probe: Probe, env: Environment, every: float = 0.5) -> None:
        """Ask every so many seconds."""
        self.probe = probe
        self._env = env
        self._every = every
        self._lock = threading.Lock()
        self._answers: list[float] = []
        self._failed = False
        self._asked_at: float | None = None
        self._end = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._thread = threading.Thread(target=self._run, name=f"holdfast-probe-{self.probe.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask no more. A question that hangs is left to its thread, which ends with the process."""
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=self._every + 0.1)

    def once(self) -> None:
        """Ask one question and note the answer."""
        began = self._env.monotonic()
        with self._lock:
            self._asked_at = began
        try:
            self.probe.ask()
        except Exception:  # noqa: BLE001 - whatever a driver raises: the application did not answer
            failed = True
        else:
            failed = False
        took = self._env.monotonic() - began
        with self._lock:
            self._asked_at = None
            self._failed = failed or took > self.probe.timeout
            if not failed:
                self._answers = [*self._answers[-(ANSWERS_KEPT - 1) :], took]

    def latest(self, usual: float | None, scatter: float = 0.0) -> ProbeReading:
        """Return what is known now. `usual` is the latency without a run, None if that is not known."""
        with self._lock:
            asked_at, failed, answers = self._asked_at, self._failed, [*self._answers]
        state: ProbeState = "well" if usual is not None else "learning"
        waiting = self._env.monotonic() - asked_at if asked_at is not None else 0.0
        if waiting > self.probe.timeout:
            return ProbeReading(self.probe.name, "hanging", waiting, usual)
        if failed:
            return ProbeReading(self.probe.name, "failing", None, usual)
        from statistics import median

        latency = median(answers) if answers else None
        if latency is not None:
            # A question that already waits longer than usual needs no answer to say so.
            latency = max(latency, waiting)
        return ProbeReading(self.probe.name, state, latency, usual, scatter)

    def forget(self) -> None:
        """Drop the answers: what follows was measured under other circumstances."""
        with self._lock:
            self._answers = []

    def answers(self) -> tuple[float, ...]:
        """Return the latest answers, seconds each."""
        with self._lock:
            return tuple(self._answers)

    def _run(self) -> None:
        while not self._end.is_set():
            self.once()
            self._end.wait(self._every)
        self.probe.close()
