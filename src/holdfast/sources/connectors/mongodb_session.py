"""One connection to one `mongod`: every command has a time limit, every refusal becomes an error of the tree.

`python -m holdfast.sources.connectors.mongodb_session …` is what the watchdog runs: it takes back one lock if the server is locked.
The lock is counted and belongs to the server, not to the connection that asked for it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from holdfast.errors import (
    ApplicationAccessError,
    ApplicationBusyError,
    ApplicationError,
    ApplicationUnreachableError,
    ApplicationUnsuitableError,
    CaptureError,
    DriverMissingError,
    FreezeOverrunError,
    HoldfastError,
)
from holdfast.sources.connectors.options import arguments_of, connection_of, password_of
from holdfast.sources.connectors.protocol import Connection

__all__ = ["PORT", "Command", "Connect", "MongoSession", "driver", "main", "refusal", "unlock_command", "unlocked"]

CALL_SECONDS = 15.0
PORT = 27017
Command = Callable[[Mapping[str, Any], float], Mapping[str, Any]]
"""Runs a command on the database `admin` within so many seconds; `close` of it, if it has one, ends the connection."""
Connect = Callable[[Connection], Command]
_LOGIN = frozenset({11, 18, 334})
_RIGHTS = frozenset({13})
_TIME = frozenset({24, 46, 50, 262})
_BUSY = frozenset({12582, 12590})
_UNKNOWN = frozenset({59})
NOT_LOCKED = 125
"""`CommandFailed`: fsyncUnlock of a server that is not locked."""


class _Driver:
    """pymongo behind one function."""

    def __init__(self, connection: Connection) -> None:
        import pymongo

        self._timeout = pymongo.timeout
        account: dict[str, Any] = {}
        if connection.user:
            source = connection.database or "admin"
            account = {"username": connection.user, "password": password_of(connection), "authSource": source}
        milliseconds = int(CALL_SECONDS * 1000)
        self._client: Any = pymongo.MongoClient(
            host=connection.host or "127.0.0.1",
            port=connection.port or PORT,
            directConnection=True,
            appname="holdfast",
            maxPoolSize=1,
            retryReads=False,
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            **account,
        )

    def __call__(self, command: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        with self._timeout(seconds):
            found: Mapping[str, Any] = self._client.admin.command(dict(command))
        return found

    def close(self) -> None:
        self._client.close()


def driver(connection: Connection) -> Command:
    """Connect by pymongo, to this one server and no other of its set."""
    try:
        return _Driver(connection)
    except ImportError:
        raise DriverMissingError(
            "the driver for MongoDB is not installed", next="install the extra: `pip install holdfast[mongodb]`."
        ) from None


def refusal(error: BaseException) -> ApplicationError:
    """Return the error for what the driver raised: its number decides, its text is dropped."""
    number = getattr(error, "code", None)
    if number in _LOGIN:
        return ApplicationAccessError(f"MongoDB refuses the account (error {number})")
    if number in _RIGHTS:
        return ApplicationAccessError("the account lacks a right (error 13)")
    if type(error).__name__ == "ServerSelectionTimeoutError":
        return ApplicationUnreachableError("MongoDB does not answer")
    if number in _TIME or getattr(error, "timeout", False):
        return FreezeOverrunError("a command to MongoDB took longer than it may")
    if number in _BUSY:
        return ApplicationBusyError(f"MongoDB is locked by somebody else (error {number})")
    if number in _UNKNOWN:
        return ApplicationUnsuitableError("this kind of MongoDB does not know a command that is needed (error 59)")
    if number is None:
        return ApplicationUnreachableError("MongoDB does not answer")
    return CaptureError(f"MongoDB refused a command (error {number})")


class MongoSession:
    """One connection, made when it is first used and kept open while the server is locked: a new one might not get in."""

    def __init__(self, connection: Connection, connect: Connect = driver) -> None:
        """Connect to nothing yet."""
        self._connection, self._connect = connection, connect
        self._held: Command | None = None

    def run(self, command: Mapping[str, Any], seconds: float = CALL_SECONDS) -> Mapping[str, Any]:
        """Run a command for at most `seconds`. The errors are those of :func:`refusal`."""
        try:
            if self._held is None:
                self._held = self._connect(self._connection)
            return self._held(command, max(0.001, seconds))
        except HoldfastError:
            raise
        except Exception as error:  # noqa: BLE001 - the driver has a tree of its own
            found = refusal(error)
            if isinstance(found, ApplicationUnreachableError | FreezeOverrunError):
                self.close()
            raise found from None

    @property
    def locked(self) -> bool:
        """Whether the server is locked, by whomever."""
        return bool(self.run({"currentOp": 1, "$ownOps": True}).get("fsyncLock"))

    def close(self) -> None:
        """End it. Never raises."""
        held, self._held = self._held, None
        with contextlib.suppress(Exception):
            getattr(held, "close", lambda: None)()


def unlocked(session: MongoSession) -> int:
    """Take back one lock; return how many are left, -1 if there was none. Harmless on a server that is not locked."""
    if not session.locked:
        return -1
    try:
        return int(session.run({"fsyncUnlock": 1})["lockCount"])
    except CaptureError as error:
        if f"error {NOT_LOCKED}" not in error.what:
            raise
        return -1


def unlock_command(connection: Connection) -> tuple[str, ...]:
    """Return the program that takes back the lock: it gets the reference to the password, never the password."""
    return (sys.executable, "-m", __name__, *arguments_of(connection))


def main(arguments: list[str], connect: Connect = driver) -> int:
    """Take back one lock; return the exit code: 0 done or nothing to do, 1 not done, 64 wrong arguments."""
    try:
        connection = connection_of(arguments)
    except ValueError:
        return os.EX_USAGE
    session = MongoSession(connection, connect)
    try:
        unlocked(session)
    except HoldfastError:
        return 1
    finally:
        session.close()
    return 0


if __name__ == "__main__":  # pragma: no cover - a process of its own, begun by the watchdog
    sys.exit(main(sys.argv[1:]))
