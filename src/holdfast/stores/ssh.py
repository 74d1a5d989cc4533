"""Connections to SSH servers, for the stores behind them: one loop and thread per store, limits, and what errors mean.

The client is `asyncssh` (extra `sftp`). The host must be known; nothing is forwarded; no configuration of the user is read.
"""

from __future__ import annotations

import asyncio
import getpass
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

from holdfast.errors import (
    ConfigError,
    HoldfastError,
    InternalError,
    StoreAccessError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from holdfast import engine
    from holdfast.config import StoreSettings

LOOK_AGAIN_SECONDS = 0.05
SAFE = "every object stored before is whole: an unfinished one never gets a name"
_T = TypeVar("_T")


class SharedLimits:
    """The limits of a store, all at once, asked from a loop that must not block."""

    def __init__(self, limits: Iterable[engine.Limits], own: engine.Limits) -> None:
        """Keep to the limits of runs, writing and network, and to the store's own."""
        runs = tuple(limits)
        network = [each.try_network for each in runs]
        self._up = [*(each.try_write for each in runs), *network, own.try_write]
        self._down = [*network, own.try_read]
        self.moved = 0
        """Grows whenever something moved, or waited for its limit: what does not move is stuck."""

    async def spend(self, count: int, *, up: bool) -> None:
        """Wait until so many bytes may go."""
        self.moved += 1
        for take in self._up if up else self._down:
            while wait := take(count):
                self.moved += 1
                await asyncio.sleep(min(wait, LOOK_AGAIN_SECONDS))


class Connection:
    """One connection on a loop of its own, made when it is needed and again when it broke."""

    def __init__(
        self,
        connect: Callable[[], Coroutine[Any, Any, Any]],
        limits: SharedLimits,
        stall_seconds: float,
        *,
        sftp: bool = True,
    ) -> None:
        """`connect` returns an open `asyncssh` connection; an action during which nothing moves for so long is given up.

        Actions are handed an SFTP client, or the connection itself where `sftp` is false.
        """
        self._sftp = sftp
        self._connect = connect
        self._limits = limits
        self._stall_seconds = stall_seconds
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._making: asyncio.Lock | None = None
        self._open: tuple[Any, Any] | None = None

    def run(self, verb: str, action: Callable[[Any], Coroutine[Any, Any, _T]]) -> _T:
        """Run an action with an SFTP client; raise a store's error for whatever else stops it."""
        future = asyncio.run_coroutine_threadsafe(self._run(verb, action), self._started())
        return future.result()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="holdfast-sftp", daemon=True)
                self._thread.start()
            return self._loop

    async def _run(self, verb: str, action: Callable[[Any], Coroutine[Any, Any, _T]]) -> _T:
        client: Any = None
        try:
            client = await self._client()
            return await self._watched(action(client))
        except HoldfastError:
            raise
        except Exception as error:  # noqa: BLE001 - each gets its place in the tree
            full = verb == "write" and client is not None and await _is_full(client)
            found = meaning(error, verb, full=full)
            if isinstance(found, StoreUnreachableError):
                self._forget(client)
            raise found from (error if isinstance(found, InternalError) else None)

    async def _watched(self, action: Coroutine[Any, Any, _T]) -> _T:
        running = asyncio.ensure_future(action)
        while True:
            before = self._limits.moved
            done, _ = await asyncio.wait({running}, timeout=self._stall_seconds)
            if done:
                return running.result()
            if self._limits.moved == before:
                running.cancel()
                raise TimeoutError

    async def _client(self) -> Any:  # noqa: ANN401 - asyncssh's
        if self._making is None:
            self._making = asyncio.Lock()
        async with self._making:
            if self._open is None:
                connection = await self._connect()
                client = await connection.start_sftp_client() if self._sftp else connection
                self._open = (connection, client)
            return self._open[1]

    def _forget(self, client: Any) -> None:  # noqa: ANN401 - asyncssh's
        if self._open is not None and self._open[1] is client:
            self._open[0].abort()
            self._open = None

    def close(self) -> None:
        """End connection, loop and thread; fine if there are none."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is None or thread is None:
            return

        async def end() -> None:
            if self._open is not None:
                connection = self._open[0]
                self._open = None
                connection.close()
                await connection.wait_closed()

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        self._making = None


def sftp_errors() -> tuple[type[BaseException], ...]:
    """Return what may come of any call of the client."""
    import asyncssh

    return (asyncssh.SFTPError, OSError, asyncssh.Error)


def meaning(error: Exception, verb: str, *, full: bool) -> HoldfastError:
    """Return the store's error that an exception of the client means. No text of the server is passed on.

    `full`: the server's file system is known to have no space left; OpenSSH says nothing but "failure".
    """
    import asyncssh

    table: tuple[tuple[tuple[type[Exception], ...], HoldfastError], ...] = (
        (
            (asyncssh.PermissionDenied,),
            StoreAccessError("the store does not accept the credential (SSH)", safe=SAFE),
        ),
        (
            (asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed),
            StoreRefusedError(
                "the store's host key is not the one that is known",
                safe="nothing was sent.",
                next="compare the server's key with `known_hosts` of the store; never accept a changed key unseen",
            ),
        ),
        (
            (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect),
            StoreRefusedError(f"the store does not permit to {verb}", safe=SAFE),
        ),
        (
            (asyncssh.SFTPOpUnsupported,),
            StoreRefusedError("the server cannot link and flush, which a store needs (OpenSSH can)", safe=SAFE),
        ),
        (
            (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded),
            StoreFullError("the store is full", safe=SAFE),
        ),
        (
            (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError),
            StoreUnreachableError("the connection to the store broke", safe=SAFE),
        ),
        ((TimeoutError,), StoreUnreachableError("the store has not answered in time", safe=SAFE)),
    )
    for kinds, found in table:
        if isinstance(error, kinds):
            return found
    if isinstance(error, asyncssh.SFTPError):
        what = StoreFullError("the store is full", safe=SAFE)
        return (
            what if full else StoreUnreachableError(f"the store failed to {verb} (SFTP code {error.code})", safe=SAFE)
        )
    if isinstance(error, OSError | asyncssh.Error):
        reason = getattr(error, "strerror", None) or type(error).__name__
        return StoreUnreachableError(f"no connection to the store ({reason})", safe=SAFE)
    return InternalError(f"unexpected {type(error).__name__} in a store")


async def _is_full(client: Any) -> bool:  # noqa: ANN401 - asyncssh's
    """OpenSSH has one code for every failure: a file system with no block left says why."""
    with suppress(*sftp_errors()):
        found = await client.statvfs(".")
        return bool(found.bavail == 0)
    return False


def connector(url: str, settings: StoreSettings, environ: Mapping[str, str]) -> Callable[[], Coroutine[Any, Any, Any]]:
    """Return what connects to the SSH server of a URL. The host must be known, and is never asked to forward anything."""
    try:
        import asyncssh
    except ImportError:
        raise ConfigError(
            "a store behind SSH needs the extra `sftp`", next="install holdfast[sftp] in the same environment"
        ) from None
    parts = urlsplit(url)
    known = settings.known_hosts or str(Path("~/.ssh/known_hosts").expanduser())
    if not Path(known).is_file():
        raise ConfigError(
            "there is no file of known hosts for an SSH store",
            next="put the server's host key into a file and set `known_hosts` of the store to it",
        )
    keys: list[asyncssh.SSHKey] = []
    if settings.private_key is not None:
        try:
            keys = [asyncssh.import_private_key(settings.private_key.reveal(environ) + "\n")]
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError):
            raise ConfigError("the private_key of a store is no SSH key without passphrase") from None
    password = settings.password.reveal(environ) if settings.password is not None else None
    options = asyncssh.SSHClientConnectionOptions(
        username=unquote(parts.username or "") or getpass.getuser(),
        known_hosts=known,
        # Without key and password: the user's own keys and agent, as `ssh` does.
        client_keys=keys or (None if password else ()),
        password=password,
        agent_path=None if keys or password else (),
        config=None,
        agent_forwarding=False,
        connect_timeout=settings.connect_timeout_seconds,
        login_timeout=settings.connect_timeout_seconds,
        keepalive_interval=max(1, settings.timeout_seconds // 3),
        keepalive_count_max=3,
    )

    async def connect() -> Any:  # noqa: ANN401 - asyncssh's
        return await asyncssh.connect(parts.hostname or "", parts.port or 22, options=options)

    return connect
