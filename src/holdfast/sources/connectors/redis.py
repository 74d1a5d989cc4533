"""Redis: a background save, waited for and checked; with AOF also its folder, while its rewrite is held back.

`BGSAVE` forks: clients waited 32 ms at most for 90 MB. A save counts only if `LASTSAVE` moved and `rdb_last_bgsave_status` is
`ok`; the file is put in place by one rename, so a hard link to it stays what it is while the next save goes on. The protocol
(RESP 2) is spoken here: five commands need no driver.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
from typing import TYPE_CHECKING

from holdfast.errors import (
    ApplicationAccessError,
    ApplicationBusyError,
    ApplicationChangedError,
    ApplicationError,
    ApplicationUnreachableError,
    ApplicationUnsuitableError,
    CaptureError,
)
from holdfast.sources.connectors.options import options_of, password_of
from holdfast.sources.connectors.protocol import Capture, Conclusion, Connection, Facts, Found, Verdict
from holdfast.sources.connectors.unfrozen import CopyFolder, Unfrozen
from holdfast.sources.programs import Programs, SystemPrograms

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["FACTORY", "Redis", "RedisConnector", "RedisFactory"]

CALL_SECONDS = 10.0
SAVE_SECONDS = 3600.0
POLL_SECONDS = 0.05
CHECK_SECONDS = 3600.0
REPLY_BYTES_MAX = 1 << 20


class Redis:
    """A connection that sends a command and returns the reply: text, or a list of texts."""

    def __init__(self, connection: Connection) -> None:
        """Connect and authenticate."""
        local = connection.host.startswith("/")
        self._socket = socket.socket(socket.AF_UNIX if local else socket.AF_INET)
        self._socket.settimeout(CALL_SECONDS)
        try:
            self._socket.connect(
                connection.host if local else (connection.host or "127.0.0.1", connection.port or 6379)
            )
        except OSError as error:
            self._socket.close()
            raise ApplicationUnreachableError(f"Redis does not answer ({error.strerror or 'time-out'})") from None
        self._file = self._socket.makefile("rb")
        secret = password_of(connection)
        try:
            if secret:
                self.call("AUTH", *([connection.user] if connection.user else []), secret)
        except ApplicationError:
            self.close()
            raise

    def call(self, *words: str) -> str | list[str]:
        """Send a command. `ApplicationAccessError` names a missing right; `ApplicationChangedError` if the connection is lost."""
        parts = [word.encode() for word in words]
        try:
            self._socket.sendall(
                b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
            )
            return self._reply(words)
        except (OSError, EOFError):
            raise ApplicationChangedError("Redis ended the connection of the backup") from None

    def _reply(self, words: tuple[str, ...]) -> str | list[str]:
        line = self._file.readline(REPLY_BYTES_MAX)
        if not line.endswith(b"\r\n"):
            raise EOFError
        kind, rest = line[:1], line[1:-2].decode(errors="replace")
        if kind == b"-":
            code = rest.partition(" ")[0]
            if code in {"NOPERM", "NOAUTH", "WRONGPASS"} or "AUTH" in rest:
                raise ApplicationAccessError(
                    f"Redis refuses {words[0]} to the account ({code})",
                    next="`holdfast connectors grants NAME` prints the rule.",
                )
            raise CaptureError(f"Redis refused {words[0]} ({code})")
        if kind == b"$":
            size = int(rest)
            return "" if size < 0 else self._file.read(min(size, REPLY_BYTES_MAX) + 2)[:-2].decode(errors="replace")
        if kind == b"*":
            return [str(self._reply(words)) for _ in range(min(int(rest), REPLY_BYTES_MAX))]
        return rest

    def info(self, section: str) -> dict[str, str]:
        """Return a section of `INFO`."""
        text = str(self.call("INFO", section))
        return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def setting(self, name: str) -> str:
        """Return one setting; empty if there is none."""
        found = self.call("CONFIG", "GET", name)
        return found[1] if isinstance(found, list) and len(found) > 1 else ""

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self._file.close()
            self._socket.close()


class RedisConnector(Unfrozen):
    """One server."""

    kind = "redis"

    def __init__(self, connection: Connection, env: Environment, programs: Programs) -> None:
        """Connect to nothing yet."""
        self.name = connection.name
        self._connection, self._env, self._programs = connection, env, programs
        self._redis: Redis | None = None
        self._folder: CopyFolder | None = None
        self._rewrite = ""
        self._run = self._saved = self._copied = ""

    def check(self) -> Facts:
        """See that it answers, saves, and which role it has."""
        if self._redis is None:
            self._redis = Redis(self._connection)
        server, persistence = self._redis.info("server"), self._redis.info("persistence")
        if persistence.get("loading") == "1":
            raise ApplicationBusyError("Redis is still loading its data")
        if persistence.get("rdb_last_bgsave_status") != "ok":
            raise ApplicationUnsuitableError(
                "Redis's last background save failed", next="read its log: room, or memory to fork."
            )
        self._run = server.get("run_id", "")
        aof = self._redis.setting("appendonly")
        role = self._redis.info("replication").get("role", "")
        return Facts(server.get("redis_version", ""), (("role", role), ("aof", aof or "no")))

    def capture(self, seconds: float) -> Capture:
        """Save, wait, and link the file to a place of its own."""
        if self._redis is None:
            self.check()
        redis = self._redis
        assert redis is not None  # noqa: S101 - checked above
        self._save(redis, min(max(seconds, 1.0), SAVE_SECONDS))
        data = os.fsencode(self._connection.path or redis.setting("dir"))
        file = os.path.join(data, os.fsencode(redis.setting("dbfilename") or "dump.rdb"))
        if self._folder is None:
            self._folder = CopyFolder(data, self.name)
        try:
            folder = self._folder.make(os.path.getsize(file))
            os.link(file, os.path.join(folder, os.path.basename(file)))
            self._copied = os.fsdecode(os.path.join(folder, os.path.basename(file)))
            if redis.setting("appendonly") == "yes":
                self._link_log(redis, data, folder)
        except OSError as error:
            raise CaptureError(f"the saved file is not where Redis says it is ({error.strerror})") from error
        return Capture(paths=(folder,))

    def _save(self, redis: Redis, seconds: float) -> None:
        before = redis.call("LASTSAVE")
        end = self._env.monotonic() + seconds
        while redis.info("persistence").get("rdb_bgsave_in_progress") == "1":
            self._pause(end)
        while redis.call("LASTSAVE") == before and redis.info("persistence").get("rdb_last_save_time") == before:
            # LASTSAVE counts whole seconds: a save within the second of the one before would not show.
            if int(self._env.now().timestamp()) > int(str(before)):
                break
            self._pause(end)
        redis.call("BGSAVE")
        while redis.info("persistence").get("rdb_bgsave_in_progress") == "1" or redis.call("LASTSAVE") == before:
            if redis.info("persistence").get("rdb_last_bgsave_status") != "ok":
                break
            self._pause(end)
        self._saved = str(redis.call("LASTSAVE"))
        if redis.info("persistence").get("rdb_last_bgsave_status") != "ok":
            raise CaptureError("Redis's background save failed", next="read its log: room, or memory to fork.")

    def _pause(self, end: float) -> None:
        if self._env.monotonic() > end:
            raise CaptureError("Redis's background save took longer than it may")
        self._env.sleep(POLL_SECONDS)

    def _link_log(self, redis: Redis, data: bytes, folder: bytes) -> None:
        """Hold back the rewriting of the append-only log while its files are linked: they only grow."""
        self._rewrite = redis.setting("auto-aof-rewrite-percentage")
        redis.call("CONFIG", "SET", "auto-aof-rewrite-percentage", "0")
        if redis.info("persistence").get("aof_rewrite_in_progress") == "1":
            raise ApplicationBusyError("Redis is rewriting its append-only log")
        name = os.fsencode(redis.setting("appenddirname") or "appendonlydir")
        target = os.path.join(folder, name)
        os.mkdir(target, 0o700)
        for each in os.listdir(os.path.join(data, name)):
            shutil.copyfile(os.path.join(data, name, each), os.path.join(target, each))

    def conclude(self) -> Conclusion:
        """Check the file with Redis's own checker, and that the server is still the same run."""
        redis = self._redis
        if redis is None or redis.info("server").get("run_id") != self._run:
            raise ApplicationChangedError("Redis was restarted while it was being backed up")
        done = self._programs.run(["redis-check-rdb", self._copied], timeout=CHECK_SECONDS)
        if not done.ok:
            raise CaptureError(f"redis-check-rdb does not accept the saved file (it ended with {done.code})")
        return Conclusion(Verdict.APPLICATION, (("lastsave", self._saved), ("redis-check-rdb", "0")))

    def close(self) -> None:
        """Let the log be rewritten again; remove the copy."""
        if self._redis is not None:
            if self._rewrite:
                with contextlib.suppress(ApplicationError):
                    self._redis.call("CONFIG", "SET", "auto-aof-rewrite-percentage", self._rewrite)
                self._rewrite = ""
            self._redis.close()
            self._redis = None
        if self._folder is not None:
            self._folder.remove()


class RedisFactory:
    """Makes connectors to Redis servers on this host."""

    kind = "redis"

    def make(self, connection: Connection, env: Environment) -> RedisConnector:
        """Make one."""
        options_of(connection, {})
        return RedisConnector(connection, env, SystemPrograms(env))

    def grants(self, connection: Connection) -> str:
        """Return the rule for the account."""
        rights = "+auth +bgsave +lastsave +info +config|get +config|set"
        return f"ACL SETUSER {connection.user or 'holdfast'} on >PASSWORD resetkeys {rights}"

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - discovery looks at all applications at once
        """See `holdfast.sources.discovery`."""
        return ()


FACTORY = RedisFactory()
