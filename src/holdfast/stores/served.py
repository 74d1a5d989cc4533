"""The client of `holdfast serve`: a store behind an SSH key whose forced command decides what may be done.

`ssh://USER@HOST:PORT` has no path: the folder is in the forced command, out of the client's reach. Each stream is one process at
the server; a few are kept and used in turn.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from holdfast import engine
from holdfast.errors import StoreRefusedError, StoreUnreachableError, UsageError
from holdfast.stores import dialogue
from holdfast.stores.protocol import Plain, Room, check_name, check_prefix
from holdfast.stores.ssh import SAFE, Connection, SharedLimits, connector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from holdfast.config import StoreSettings
    from holdfast.stores.protocol import Data, ObjectInfo

SLICE_BYTES = 64 << 10
COMMAND = "holdfast serve"
"""What is asked for; a forced command takes its place."""


class ServedStore(Plain):
    """Objects behind `holdfast serve`."""

    def __init__(self, url: str, link: Connection, limits: SharedLimits) -> None:
        """Use a server by a connection, which is made when the first call needs it."""
        self._url = url
        self._link = link
        self._limits = limits
        self._idle: list[Any] = []

    @property
    def url(self) -> str:
        """`ssh://USER@HOST:PORT`."""
        return self._url

    @property
    def local_root(self) -> str | None:
        """None: the files are elsewhere."""
        return None

    def put(self, name: str, data: Data) -> None:
        """Store an object."""
        self._ask("put", data, name=check_name(name))

    def put_new(self, name: str, data: Data) -> bool:
        """Store an object if the name is free."""
        return bool(self._ask("put_new", data, name=check_name(name)).header["result"])

    def get(self, name: str) -> bytes:
        """Return the object."""
        return self._ask("get", name=check_name(name)).content

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of the object."""
        return self._ask("get_range", name=check_name(name), offset=offset, length=length).content

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects of that prefix."""
        return iter(dialogue.rows_of(self._ask("list", prefix=check_prefix(prefix)).content))

    def delete(self, name: str) -> None:
        """Remove an object, where the server allows it."""
        self._ask("delete", name=check_name(name))

    def size(self, name: str) -> int | None:
        """Return the size, or None."""
        found = self._ask("size", name=check_name(name)).header["result"]
        return None if found is None else int(found)

    def exists(self) -> bool:
        """Return whether the served folder is there."""
        return bool(self._ask("exists").header["result"])

    def room(self) -> Room | None:
        """Return the room of the served folder."""
        found = self._ask("room").header["result"]
        match found:
            case [int(free), int(total)]:
                return Room(free, total)
            case _:
                return None

    def create(self) -> None:
        """Make the served folder, where the server allows it."""
        self._ask("create")

    def close(self) -> None:
        """End streams, connection and thread."""
        self._idle.clear()
        self._link.close()

    def _ask(self, verb: str, data: Data = b"", **header: object) -> dialogue.Message:
        found = self._link.run(verb, lambda connection: self._exchange(connection, {"verb": verb, **header}, data))
        if "error" in found.header:
            raise dialogue.raised(found.header)
        if "result" not in found.header:
            raise StoreRefusedError("the other end does not speak the protocol of `holdfast serve`", safe=SAFE)
        return found

    async def _exchange(self, connection: Any, header: dict[str, object], data: Data) -> dialogue.Message:  # noqa: ANN401
        process = await self._stream(connection)
        try:
            message = memoryview(dialogue.encode(header, data))
            for start in range(0, len(message), SLICE_BYTES):
                part = bytes(message[start : start + SLICE_BYTES])
                await self._limits.spend(len(part), up=True)
                process.stdin.write(part)
                await process.stdin.drain()
            length = dialogue.header_length(await self._exactly(process, struct.calcsize(">I")))
            answer, size = dialogue.header_of(await self._exactly(process, length))
            content = await self._exactly(process, size)
        except BaseException:
            # Half an exchange: the stream is of no more use.
            process.close()
            raise
        self._idle.append(process)
        return dialogue.Message(answer, content)

    async def _stream(self, connection: Any) -> Any:  # noqa: ANN401 - asyncssh's
        while self._idle:
            process = self._idle.pop()
            if not process.is_closing() and process.channel.get_connection() is connection:
                return process
        return await connection.create_process(COMMAND, encoding=None)

    async def _exactly(self, process: Any, count: int) -> bytes:  # noqa: ANN401 - asyncssh's
        found = bytearray()
        while len(found) < count:
            part = await process.stdout.read(min(SLICE_BYTES, count - len(found)))
            if not part:
                raise StoreUnreachableError("the served store ended in the middle of an answer", safe=SAFE)
            await self._limits.spend(len(part), up=False)
            found += part
        return bytes(found)


def open_store(
    url: str, settings: StoreSettings, environ: Mapping[str, str], limits: Iterable[engine.Limits]
) -> ServedStore:
    """Open a served store by its settings. `ConfigError`, or `UsageError` for a URL that is none."""
    parts = urlsplit(url)
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError("the URL of a served store must be ssh://USER@HOST:PORT: its folder is the server's affair")
    shared = SharedLimits(limits, engine.Limits(settings.read_bytes_per_s, settings.write_bytes_per_s))
    link = Connection(connector(url, settings, environ), shared, settings.timeout_seconds, sftp=False)
    return ServedStore(url, link, shared)
