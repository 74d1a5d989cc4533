"""A store in a folder of an SSH server, by SFTP version 3 and OpenSSH's extensions.

Source: draft-ietf-secsh-filexfer-02 and OpenSSH's PROTOCOL (`fsync@openssh.com`, `hardlink@openssh.com`,
`statvfs@openssh.com`). An object is written to a temporary file (a name starting with a dot, never listed), flushed, linked to
its name and flushed again: the second flush makes the name durable with the file, as SFTP cannot flush a folder. `hardlink`
refuses a name that exists: that is create-if-absent. A server without these extensions is refused.

The connection is `asyncssh`'s (extra `sftp`), on a thread of its own; calls from any thread wait for it. One that breaks is
made anew at the next call.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from holdfast import engine
from holdfast.base import environment
from holdfast.errors import ObjectMissingError, StoreRefusedError, StoreUnreachableError, UsageError
from holdfast.stores.protocol import Data, ObjectInfo, Plain, Room, check_name, check_prefix, refuse_other_bytes
from holdfast.stores.ssh import SAFE, Connection, SharedLimits, connector, sftp_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from holdfast.config import StoreSettings

FOLDER_MODE, FILE_MODE = 0o700, 0o600
SLICE_BYTES = 32 << 10
"""What SFTP moves at once; the largest that every server takes."""
AT_ONCE = 16
"""Slices of one object under way at the same time."""


class SftpStore(Plain):
    """Objects as files below a folder of a server."""

    def __init__(self, url: str, root: str, link: Connection, limits: SharedLimits) -> None:
        """Use a folder by a connection, which is made when the first call needs it."""
        self._url = url
        self._root = root
        self._limits = limits
        self._link = link

    @property
    def url(self) -> str:
        """`sftp://USER@HOST:PORT/PATH`."""
        return self._url

    @property
    def local_root(self) -> str | None:
        """None: the files are elsewhere."""
        return None

    def put(self, name: str, data: Data) -> None:
        """Store an object; `InternalError` if the name holds other bytes."""
        if not self.put_new(name, data):
            refuse_other_bytes(self, name, data)

    def put_new(self, name: str, data: Data) -> bool:
        """Store an object if the name is free."""
        path = self._path(name)
        return self._link.run("write", lambda sftp: self._put_new(sftp, path, memoryview(data).cast("B")))

    async def _put_new(self, sftp: Any, path: str, data: memoryview) -> bool:  # noqa: ANN401 - asyncssh's client
        folder, _, base = path.rpartition("/")
        temporary = f"{folder}/.put-{environment.system().random_id()}"
        try:
            file = await self._open_new(sftp, folder, temporary)
            async with file:
                for start in range(0, len(data), SLICE_BYTES * AT_ONCE):
                    await self._write(file, data, start)
                await file.fsync()
                created = await _linked(sftp, temporary, f"{folder}/{base}")
                if created:
                    await file.fsync()
        finally:
            with suppress(*sftp_errors()):
                await sftp.remove(temporary)
        return created

    async def _open_new(self, sftp: Any, folder: str, temporary: str) -> Any:  # noqa: ANN401 - asyncssh's
        import asyncssh

        flags = asyncssh.FXF_WRITE | asyncssh.FXF_CREAT | asyncssh.FXF_EXCL
        attributes = asyncssh.SFTPAttrs(permissions=FILE_MODE)
        try:
            return await sftp.open(temporary, flags, attributes, encoding=None, block_size=0)
        except asyncssh.SFTPNoSuchFile:
            await self._make_parents(sftp, folder)
            return await sftp.open(temporary, flags, attributes, encoding=None, block_size=0)

    async def _write(self, file: Any, data: memoryview, start: int) -> None:  # noqa: ANN401 - asyncssh's
        """Write some slices at the same time, each when the limits let it."""
        writes = []
        for offset in range(start, min(len(data), start + SLICE_BYTES * AT_ONCE), SLICE_BYTES):
            part = bytes(data[offset : offset + SLICE_BYTES])
            await self._limits.spend(len(part), up=True)
            writes.append(file.write(part, offset))
        await asyncio.gather(*writes)

    async def _make_parents(self, sftp: Any, folder: str) -> None:  # noqa: ANN401 - asyncssh's
        """Make the folders between root and object; the root itself is never made here."""
        import asyncssh

        if not await sftp.isdir(self._root):
            raise _unreachable()
        made = self._root
        for part in folder.removeprefix(self._root).strip("/").split("/"):
            made = f"{made}/{part}"
            with suppress(asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
                await sftp.mkdir(made, asyncssh.SFTPAttrs(permissions=FOLDER_MODE))

    def get(self, name: str) -> bytes:
        """Return the object."""
        return self.get_range(name, 0, -1)

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of the object: slices, several at the same time."""
        path = self._path(name)
        return self._link.run("read", lambda sftp: self._get_range(sftp, name, path, offset, length))

    async def _get_range(self, sftp: Any, name: str, path: str, offset: int, length: int) -> bytes:  # noqa: ANN401
        import asyncssh

        try:
            async with await sftp.open(path, asyncssh.FXF_READ, encoding=None, block_size=0) as file:
                size = int((await file.stat()).size or 0)
                wanted = max(0, size - offset)
                wanted = wanted if length < 0 else min(wanted, length)
                found = bytearray(wanted)
                for start in range(0, wanted, SLICE_BYTES * AT_ONCE):
                    stop = min(wanted, start + SLICE_BYTES * AT_ONCE)
                    await asyncio.gather(
                        *(
                            self._read(file, found, at, offset, min(SLICE_BYTES, stop - at))
                            for at in range(start, stop, SLICE_BYTES)
                        )
                    )
                return bytes(found)
        except asyncssh.SFTPNoSuchFile:
            await self._look_at_root(sftp)
            raise ObjectMissingError(f"object {name} is not in the store") from None

    async def _read(self, file: Any, found: bytearray, at: int, offset: int, count: int) -> None:  # noqa: ANN401
        await self._limits.spend(count, up=False)
        have = 0
        while have < count:
            part = await file.read(count - have, offset + at + have)
            if not part:
                raise StoreUnreachableError("an object became shorter while it was read", safe=SAFE)
            found[at + have : at + have + len(part)] = part
            have += len(part)

    async def _look_at_root(self, sftp: Any) -> None:  # noqa: ANN401 - asyncssh's
        if not await sftp.isdir(self._root):
            raise _unreachable()

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects of that prefix, in order."""
        check_prefix(prefix)
        folder = prefix.rpartition("/")[0]
        found: dict[str, int] = {}
        self._link.run("list", lambda sftp: self._walk(sftp, folder, prefix, found))
        return iter([ObjectInfo(name, found[name]) for name in sorted(found)])

    async def _walk(self, sftp: Any, folder: str, prefix: str, found: dict[str, int]) -> None:  # noqa: ANN401
        import asyncssh

        if not folder or "/" not in folder:
            await self._look_at_root(sftp)
        try:
            rows = await sftp.readdir(f"{self._root}/{folder}" if folder else self._root)
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNotADirectory):
            return
        except asyncssh.SFTPFailure:
            if await sftp.isfile(f"{self._root}/{folder}"):
                return
            raise
        for row in rows:
            base = str(row.filename)
            name = f"{folder}/{base}" if folder else base
            if base.startswith("."):
                continue
            if row.attrs.type == asyncssh.FILEXFER_TYPE_DIRECTORY:
                if f"{name}/".startswith(prefix) or prefix.startswith(f"{name}/"):
                    await self._walk(sftp, name, prefix, found)
            elif row.attrs.type == asyncssh.FILEXFER_TYPE_REGULAR and name.startswith(prefix):
                found[name] = int(row.attrs.size)

    def delete(self, name: str) -> None:
        """Remove an object."""
        path = self._path(name)
        self._link.run("delete", lambda sftp: self._delete(sftp, path))

    async def _delete(self, sftp: Any, path: str) -> None:  # noqa: ANN401 - asyncssh's
        import asyncssh

        with suppress(asyncssh.SFTPNoSuchFile):
            await sftp.remove(path)

    def size(self, name: str) -> int | None:
        """Return the size, or None."""
        path = self._path(name)
        return self._link.run("read", lambda sftp: self._size(sftp, path))

    async def _size(self, sftp: Any, path: str) -> int | None:  # noqa: ANN401 - asyncssh's
        import asyncssh

        try:
            found = await sftp.stat(path)
        except asyncssh.SFTPNoSuchFile:
            await self._look_at_root(sftp)
            return None
        return int(found.size) if found.type == asyncssh.FILEXFER_TYPE_REGULAR else None

    def exists(self) -> bool:
        """Return whether the folder is there."""
        return bool(self._link.run("look", lambda sftp: sftp.isdir(self._root)))

    def room(self) -> Room | None:
        """Return the room of the folder's file system, by `statvfs@openssh.com`; None from a server without it."""
        return self._link.run("look", self._room)

    async def _room(self, sftp: Any) -> Room | None:  # noqa: ANN401 - asyncssh's
        import asyncssh

        try:
            found = await sftp.statvfs(self._root)
        except asyncssh.SFTPOpUnsupported:
            return None
        unit = int(found.frsize or found.bsize)
        return Room(int(found.bavail) * unit, int(found.blocks) * unit)

    def create(self) -> None:
        """Make the folder and its parents. `StoreRefusedError` from a server that cannot link or flush."""
        self._link.run("write", self._create)

    async def _create(self, sftp: Any) -> None:  # noqa: ANN401 - asyncssh's
        import asyncssh

        made = ""
        for part in self._root.strip("/").split("/"):
            made = f"{made}/{part}"
            if not await sftp.isdir(made):
                with suppress(asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
                    await sftp.mkdir(made, asyncssh.SFTPAttrs(permissions=FOLDER_MODE))
        if not await sftp.isdir(self._root):
            raise StoreRefusedError("the store's folder cannot be made", safe="nothing was stored.")

    def close(self) -> None:
        """End the connection and its thread."""
        self._link.close()

    def _path(self, name: str) -> str:
        return f"{self._root}/{check_name(name)}"


async def _linked(sftp: Any, temporary: str, path: str) -> bool:  # noqa: ANN401 - asyncssh's
    """Give a file its name if that is free. OpenSSH says a bare failure where it is not: look which it was."""
    import asyncssh

    try:
        await sftp.link(temporary, path)
    except (asyncssh.SFTPFailure, asyncssh.SFTPFileAlreadyExists):
        if await sftp.lexists(path):
            return False
        raise
    return True


def _unreachable() -> StoreUnreachableError:
    return StoreUnreachableError(
        "the store's folder is not there",
        safe="nothing was changed",
        next="mount or reconnect the disk that holds the vault on the server, then run again",
    )


def open_store(
    url: str, settings: StoreSettings, environ: Mapping[str, str], limits: Iterable[engine.Limits]
) -> SftpStore:
    """Open a folder of an SSH server by its settings. `ConfigError`, or `UsageError` for a URL that is none."""
    parts = urlsplit(url)
    root = unquote(parts.path).rstrip("/")
    if not parts.hostname or not root or parts.query or parts.fragment or "/." in root:
        raise UsageError("the URL of an SFTP store must be sftp://USER@HOST:PORT/PATH")
    own = engine.Limits(settings.read_bytes_per_s, settings.write_bytes_per_s)
    shared = SharedLimits(limits, own)
    link = Connection(connector(url, settings, environ), shared, settings.timeout_seconds)
    return SftpStore(url, root, link, shared)
