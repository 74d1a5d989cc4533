"""A double of `mongod` behind the function that runs a command: a counted lock that outlives its connection.

The count stands in a file, so that the watchdog's own process meets the same server. It keeps every command, answers only what
it knows, refuses the rest (`UnknownCallError`) and notes it in the file `unknown`. `fail` makes the next command of a name fail
with a number; `timeout` stands for a driver that gave up waiting, `lost` for a connection that ended.

`python -m holdfast.testing.mongodb FOLDER` takes back one lock, as the watchdog's program does on a real server.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast.sources.connectors.mongodb_session import MongoSession, unlocked
from holdfast.sources.connectors.protocol import Connection
from holdfast.testing.volumes import UnknownCallError

__all__ = ["MongoDouble", "MongoDoubleError"]


class MongoDoubleError(Exception):
    """A driver's error: `code` is the server's number, None without an answer; `timeout` as pymongo has it."""

    def __init__(self, code: int | None = None, *, timeout: bool = False) -> None:
        """Say the number."""
        super().__init__(f"error {code} at db.patients")
        self.code, self.timeout = code, timeout


@dataclass(frozen=True, slots=True)
class _Timestamp:
    """A BSON timestamp."""

    time: int
    inc: int


@dataclass
class MongoDouble:
    """One server; by default a hidden secondary."""

    folder: Path
    version: str = "8.0.4"
    role: str = "hidden"
    """`hidden`, `secondary`, `primary`, `alone`, `recovering`, `mongos`, `shard`."""
    process: str = "65f0"
    up: bool = True
    late_lock: bool = False
    """The lock is taken, though the driver gave up waiting for the answer."""
    fail: dict[str, int | str] = field(default_factory=dict)
    commands: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def locks(self) -> int:
        """How often it is locked."""
        path = self.folder / "locks"
        return int(path.read_text() or 0) if path.exists() else 0

    @locks.setter
    def locks(self, value: int) -> None:
        (self.folder / "locks").write_text(str(value))

    def connect(self, _connection: object) -> _Connection:
        """Return a connection."""
        return _Connection(self)

    def refused(self, call: Mapping[str, Any]) -> UnknownCallError:
        """Note what is not known: a connector may catch the error."""
        (self.folder / "unknown").write_text(str(dict(call)))
        return UnknownCallError(f"the double of MongoDB does not know: {dict(call)}")

    def unlock(self, _connection: object) -> tuple[str, ...]:
        """Return the program that takes back one lock without the run."""
        return (sys.executable, "-m", __name__, str(self.folder))


class _Connection:
    """One connection. The lock does not end with it."""

    def __init__(self, server: MongoDouble) -> None:
        self.server = server

    def __call__(self, command: Mapping[str, Any], seconds: float) -> Mapping[str, Any]:
        server = self.server
        assert seconds > 0, "a call without a time limit"
        server.commands.append(dict(command))
        name = next(iter(command))
        if not server.up:
            raise MongoDoubleError
        failure = server.fail.pop(name, None)
        if name == "fsync" and server.late_lock:
            server.locks += 1
        if failure is not None:
            code = failure if isinstance(failure, int) else None
            raise MongoDoubleError(code, timeout=failure == "timeout")
        answer = _ANSWERS.get(name)
        if answer is None:
            raise server.refused(command)
        return answer(server, dict(command))


def _hello(server: MongoDouble, command: dict[str, Any]) -> dict[str, Any]:
    _only(server, command, "hello")
    if server.role == "mongos":
        return {"isWritablePrimary": True, "msg": "isdbgrid"}
    found: dict[str, Any] = {
        "isWritablePrimary": server.role in {"primary", "alone", "shard"},
        "secondary": server.role in {"hidden", "secondary"},
        "topologyVersion": {"processId": server.process, "counter": 6},
    }
    if server.role == "hidden":
        found["hidden"] = True
    if server.role != "alone":
        found["setName"] = "rs0"
        place = {"ts": _Timestamp(1_764_000_000 + len(server.commands), 3), "t": 7}
        found["lastWrite"] = {"opTime": place}
    return found


def _sharding(server: MongoDouble, command: dict[str, Any]) -> dict[str, Any]:
    _only(server, command, "shardingState")
    if server.role in {"alone", "mongos"}:
        raise MongoDoubleError(59)
    return {"enabled": server.role == "shard"}


def _build(server: MongoDouble, command: dict[str, Any]) -> dict[str, Any]:
    _only(server, command, "buildInfo")
    return {"version": server.version}


def _operations(server: MongoDouble, command: dict[str, Any]) -> dict[str, Any]:
    _only(server, command, "currentOp", "$ownOps")
    return {"inprog": [], **({"fsyncLock": True, "info": "use db.fsyncUnlock()"} if server.locks else {})}


def _lock(server: MongoDouble, command: dict[str, Any]) -> dict[str, Any]:
    _only(server, command, "fsync", "lock", "fsyncLockAcquisitionTimeoutMillis")
    if server.role == "mongos" or command.get("lock") is not True:
        raise server.refused(command)
    server.locks += 1
    return {"info": "now locked against writes", "lockCount": server.locks}


def _unlock(server: MongoDouble, command: dict[str, Any]) -> dict[str, Any]:
    _only(server, command, "fsyncUnlock")
    if not server.locks:
        raise MongoDoubleError(125)
    server.locks -= 1
    return {"info": "fsyncUnlock completed", "lockCount": server.locks}


def _only(server: MongoDouble, command: dict[str, Any], *fields: str) -> None:
    """Refuse a command with fields that are not known."""
    if set(command) - set(fields):
        raise server.refused(command)


_ANSWERS = {
    "buildInfo": _build,
    "currentOp": _operations,
    "fsync": _lock,
    "fsyncUnlock": _unlock,
    "hello": _hello,
    "shardingState": _sharding,
}


if __name__ == "__main__":  # pragma: no cover - a process of its own, begun by the watchdog
    unlocked(MongoSession(Connection("watchdog"), MongoDouble(Path(sys.argv[1])).connect))
