"""A store in a folder of a WebDAV server.

Source: RFC 4918 (PUT, MOVE with `Overwrite: F`, MKCOL, PROPFIND, LOCK), RFC 4331 (quota) and RFC 9110 (ranges). An object is put
under a temporary name (a name starting with a dot, never listed) and moved to its own, which a server refuses where there is one.
Not every server does that atomically, so a creation holds an exclusive lock on `.guard` where the server has locks; the move names
the lock, so that one who lost it in the meantime is refused. The probe at `init` decides whether that suffices for a home.

How durable a put is, is the server's affair: the protocol has no word for it.
"""

from __future__ import annotations

import base64
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from holdfast import engine
from holdfast.base import environment
from holdfast.errors import (
    ConfigError,
    HoldfastError,
    ObjectMissingError,
    StoreRefusedError,
    StoreUnreachableError,
    UsageError,
)
from holdfast.stores import service as http
from holdfast.stores.protocol import Data, ObjectInfo, Plain, Room, check_name, check_prefix, refuse_other_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from holdfast.config import StoreSettings

GUARD = ".guard"
LOCK_SECONDS = 5
"""A lock whose holder is gone ends after so long; one who lost it in the meantime cannot move any more."""
LOCK_TRIES = 300
LOCK_PAUSE_SECONDS = 0.05
_LOCKED = 423
_LOCK = (
    b'<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>'
    b"<D:locktype><D:write/></D:locktype><D:owner>holdfast</D:owner></D:lockinfo>"
)
_PROPERTIES = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:resourcetype/><D:getcontentlength/>'
    b"</D:prop></D:propfind>"
)
_QUOTA = (
    b'<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/><D:quota-used-bytes/>'
    b"</D:prop></D:propfind>"
)


class WebDavStore(Plain):
    """Objects as files below a folder of a server."""

    def __init__(self, url: str, base: str, client: engine.NetClient) -> None:
        """Use the folder `base`, an HTTP URL without a last slash. Nothing is sent yet."""
        self._url = url
        self._base = base
        self._service = http.Service(client)
        self._env = environment.system()
        self._has_locks: bool | None = None

    @property
    def url(self) -> str:
        """`webdav://HOST/PATH` or `webdavs://HOST/PATH`."""
        return self._url

    @property
    def local_root(self) -> str | None:
        """None: the files are elsewhere."""
        return None

    def put(self, name: str, data: Data) -> None:
        """Store an object; `InternalError` if the name holds other bytes. No lock: packs are named by their content."""
        if not self._name(self._staged(name, data), name, []):
            refuse_other_bytes(self, name, data)

    def put_new(self, name: str, data: Data) -> bool:
        """Store an object if the name is free, alone among all who create."""
        temporary = self._staged(name, data)
        with self._alone() as proof:
            return self._name(temporary, name, proof)

    def _staged(self, name: str, data: Data) -> str:
        """Put an object under a temporary name beside its own; return the URL."""
        temporary = f"{self._of(name).rpartition('/')[0]}/.put-{self._env.random_id()}"
        self._put(temporary, data)
        return temporary

    def _name(self, temporary: str, name: str, proof: list[tuple[str, str]]) -> bool:
        """Give what was put its name, if that is free."""
        target = self._of(name)
        headers = [("Destination", target), ("Overwrite", "F"), *proof]
        try:
            fine = {http.CREATED, http.NO_CONTENT, http.FAILED}
            moved = self._service.call("write", "MOVE", temporary, headers, fine=fine).status
        except HoldfastError:
            with suppress(HoldfastError):
                self._remove(temporary)
            raise
        if moved == http.FAILED:
            self._remove(temporary)
            if self.size(name) is None:
                raise StoreUnreachableError("the store's lock was lost before an object had its name")
        return moved != http.FAILED

    def _put(self, url: str, data: Data) -> None:
        fine = {http.OK, http.CREATED, http.NO_CONTENT, http.MISSING, http.CONFLICT}
        headers = [("Content-Type", "application/octet-stream")]
        answer = self._service.call("write", "PUT", url, headers, body=data, fine=fine)
        if answer.status in {http.MISSING, http.CONFLICT}:
            self._make_parents(url)
            self._service.call("write", "PUT", url, headers, body=data, fine=fine - {http.MISSING, http.CONFLICT})

    def _make_parents(self, url: str) -> None:
        """Make the folders between root and object; the root itself is never made here."""
        if not self.exists():
            raise _unreachable()
        folder = self._base
        for part in url.removeprefix(f"{self._base}/").split("/")[:-1]:
            folder = f"{folder}/{part}"
            # 405: it is there already. 409 and 500: somebody makes it just now; the put that follows decides.
            self._service.call(
                "write", "MKCOL", f"{folder}/", fine={http.CREATED, http.NOT_ALLOWED, http.CONFLICT, 500}
            )

    @contextmanager
    def _alone(self) -> Iterator[list[tuple[str, str]]]:
        """Hold the guard's lock; yield the headers that prove it."""
        if not self._locks():
            yield []
            return
        guard = f"{self._base}/{GUARD}"
        token = self._lock(guard)
        try:
            yield [("If", f"<{guard}> (<{token}>)")]
        finally:
            # A lock that cannot be given back ends by itself.
            with suppress(HoldfastError):
                fine = {http.NO_CONTENT, http.OK, http.CONFLICT, http.FAILED, 400}
                self._service.call("unlock", "UNLOCK", guard, [("Lock-Token", f"<{token}>")], fine=fine)

    def _lock(self, guard: str) -> str:
        headers = [
            ("Content-Type", "application/xml"),
            ("Depth", "0"),
            ("Timeout", f"Second-{LOCK_SECONDS}"),
        ]
        fine = {http.OK, http.CREATED, _LOCKED, http.CONFLICT}
        for _ in range(LOCK_TRIES):
            answer = self._service.call("lock", "LOCK", guard, headers, body=_LOCK, fine=fine)
            if answer.status == http.CONFLICT:
                raise _unreachable()
            token = re.fullmatch(r"<([^<>\s]+)>", answer.headers.get("lock-token", ""))
            if answer.status != _LOCKED and token is not None:
                return token[1]
            self._env.sleep(LOCK_PAUSE_SECONDS)
        raise StoreUnreachableError("the store's lock is held by another for too long")

    def _locks(self) -> bool:
        if self._has_locks is None:
            answer = self._service.call(
                "look", "OPTIONS", f"{self._base}/", fine={http.OK, http.NO_CONTENT, http.MISSING}
            )
            if answer.status == http.MISSING:
                raise _unreachable()
            self._has_locks = "2" in re.split(r"[\s,]+", answer.headers.get("dav", ""))
        return self._has_locks

    def get(self, name: str) -> bytes:
        """Return the object."""
        fine = {http.OK, http.MISSING}
        answer = self._service.call("read", "GET", self._of(name), fine=fine, answer_bytes_max=http.OBJECT_BYTES_MAX)
        if answer.status == http.MISSING:
            raise self._missing(name)
        return answer.body

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of the object, by one ranged request."""
        size = self.size(name) if length == 0 else -1
        if size is None:
            raise self._missing(name)
        if length == 0:
            return b""
        fine = {http.OK, http.PARTIAL, http.MISSING, http.BEYOND}
        longest = http.whole_bytes_max(offset, length)
        headers = [http.range_header(offset, length)]
        answer = self._service.call("read", "GET", self._of(name), headers, fine=fine, answer_bytes_max=longest)
        if answer.status == http.MISSING:
            raise self._missing(name)
        return http.part_of(answer, offset, length)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects of that prefix, in order: folder by folder, as servers refuse to list a tree at once."""
        check_prefix(prefix)
        if not self.exists():
            raise _unreachable()
        found: dict[str, int] = {}
        self._walk(prefix.rpartition("/")[0], prefix, found)
        return iter([ObjectInfo(name, found[name]) for name in sorted(found)])

    def _walk(self, folder: str, prefix: str, found: dict[str, int]) -> None:
        for base, size in self._rows(folder):
            name = f"{folder}/{base}" if folder else base
            if base.startswith("."):
                continue
            if size is None:
                if f"{name}/".startswith(prefix) or prefix.startswith(f"{name}/"):
                    self._walk(name, prefix, found)
            elif name.startswith(prefix):
                found[name] = size

    def _rows(self, folder: str) -> Iterator[tuple[str, int | None]]:
        """Yield name and size of what a folder holds; the size of a folder is None."""
        url = f"{self._base}/{folder}/" if folder else f"{self._base}/"
        headers = [("Depth", "1"), ("Content-Type", "application/xml")]
        answer = self._service.call("list", "PROPFIND", url, headers, body=_PROPERTIES, fine={http.MULTI, http.MISSING})
        if answer.status == http.MISSING:
            return
        own = unquote(urlsplit(url).path).rstrip("/")
        for row in http.document(answer.body).iterfind("response"):
            path = unquote(urlsplit(http.text(row, "href")).path).rstrip("/")
            parent, _, base = path.rpartition("/")
            if parent != own or path == own:
                continue
            if row.find("propstat/prop/resourcetype/collection") is not None:
                yield base, None
            else:
                yield base, int(http.text(row, "propstat/prop/getcontentlength") or 0)

    def delete(self, name: str) -> None:
        """Remove an object."""
        self._remove(self._of(name))

    def _remove(self, url: str) -> None:
        self._service.call("delete", "DELETE", url, fine={http.OK, http.NO_CONTENT, http.MISSING})

    def size(self, name: str) -> int | None:
        """Return the size, or None."""
        headers = [("Depth", "0"), ("Content-Type", "application/xml")]
        fine = {http.MULTI, http.MISSING}
        answer = self._service.call("read", "PROPFIND", self._of(name), headers, body=_PROPERTIES, fine=fine)
        if answer.status == http.MISSING:
            if not self.exists():
                raise _unreachable()
            return None
        row = http.document(answer.body).find("response")
        if row is None or row.find("propstat/prop/resourcetype/collection") is not None:
            return None
        return int(http.text(row, "propstat/prop/getcontentlength") or 0)

    def exists(self) -> bool:
        """Return whether the folder is there."""
        headers = [("Depth", "0"), ("Content-Type", "application/xml")]
        fine = {http.MULTI, http.MISSING}
        url = f"{self._base}/"
        return self._service.call("look", "PROPFIND", url, headers, body=_PROPERTIES, fine=fine).status == http.MULTI

    def room(self) -> Room | None:
        """Return the folder's quota (RFC 4331); None from a server that has none or does not tell."""
        headers = [("Depth", "0"), ("Content-Type", "application/xml")]
        fine = {http.MULTI, http.MISSING}
        answer = self._service.call("look", "PROPFIND", f"{self._base}/", headers, body=_QUOTA, fine=fine)
        if answer.status == http.MISSING:
            raise _unreachable()
        row = http.document(answer.body)
        free, used = (http.text(row, f"response/propstat/prop/quota-{each}-bytes") for each in ("available", "used"))
        if not free.isdecimal() or not used.isdecimal():
            return None
        return Room(int(free), int(free) + int(used))

    def create(self) -> None:
        """Make the folder and its parents, and the guard."""
        parts = urlsplit(self._base)
        folder = f"{parts.scheme}://{parts.netloc}"
        for part in parts.path.strip("/").split("/"):
            folder = f"{folder}/{part}"
            # What stands above the store may forbid to be made; that is seen at the end.
            fine = {http.CREATED, http.NOT_ALLOWED, 401, 403, http.CONFLICT}
            self._service.call("write", "MKCOL", f"{folder}/", fine=fine)
        if not self.exists():
            raise StoreRefusedError("the store's folder cannot be made", safe="nothing was stored.")
        self._put(f"{self._base}/{GUARD}", b"holdfast\n")

    def close(self) -> None:
        """Do nothing: connections end by themselves."""

    def _of(self, name: str) -> str:
        return f"{self._base}/{check_name(name)}"

    def _missing(self, name: str) -> HoldfastError:
        return ObjectMissingError(f"object {name} is not in the store") if self.exists() else _unreachable()


def _unreachable() -> StoreUnreachableError:
    return StoreUnreachableError(
        "the store's folder is not there",
        safe="nothing was changed",
        next="reconnect what holds the vault on the server, or correct the store's URL, then run again",
    )


def open_store(
    url: str, settings: StoreSettings, environ: Mapping[str, str], limits: Iterable[engine.Limits]
) -> WebDavStore:
    """Open a folder of a WebDAV server by its settings. `ConfigError`, or `UsageError` for a URL that is none."""
    parts = urlsplit(url)
    path = unquote(parts.path).strip("/")
    if not parts.hostname or not path or parts.query or parts.fragment or parts.username is not None or "/." in path:
        raise UsageError("the URL of a WebDAV store must be webdavs://HOST/PATH")
    scheme = "https" if parts.scheme == "webdavs" else "http"
    base = http.base_url(f"{scheme}://{parts.netloc}", settings)
    reveal = http.revealer(environ)
    with engine.translated():
        if settings.username is None:
            if settings.password is not None:
                raise ConfigError("a WebDAV store with a password needs a username")
            signer = engine.NetSigner.none()
        else:
            pair = f"{reveal(settings.username)}:{reveal(settings.password)}"
            signer = engine.NetSigner.basic(base64.b64encode(pair.encode()).decode())
    return WebDavStore(url, f"{base}/{quote(path)}", http.client(settings, signer, limits))
