"""A store in a bucket of Google Cloud Storage, by its JSON API.

Source: Cloud Storage JSON API v1 (objects: insert with `ifGenerationMatch=0`, get, list, delete). Each object is one upload; the
MD5 that the service computed is compared with ours.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from holdfast import engine
from holdfast.errors import ConfigError, ObjectMissingError, StoreRefusedError, StoreUnreachableError
from holdfast.stores import service as http
from holdfast.stores.protocol import (
    Capability,
    Data,
    ObjectInfo,
    Plain,
    Readiness,
    StorageState,
    check_name,
    check_prefix,
    refuse_other_bytes,
)
from holdfast.stores.refusals import no_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from holdfast.config import StoreSettings

_BOUNDARY = b"holdfast-metadata-and-content"


class GcsStore(Plain):
    """Objects of a bucket, below a prefix."""

    def __init__(self, url: str, base: str, settings: StoreSettings, client: engine.NetClient) -> None:
        """Use a bucket of the service at `base`. Nothing is sent yet."""
        place = http.Place.parse(url)
        self._url = url
        self._prefix = place.prefix
        self._bucket = f"{base}/storage/v1/b/{place.name}"
        self._upload = f"{base}/upload/storage/v1/b/{place.name}/o"
        self._settings = settings
        self._service = http.Service(client)

    @property
    def url(self) -> str:
        """`gs://BUCKET/PREFIX`."""
        return self._url

    @property
    def local_root(self) -> str | None:
        """None: there are no files."""
        return None

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Create-if-absent and storage classes, none of which is cold: an archived object can be read at once."""
        return frozenset({Capability.CREATE_IF_ABSENT, Capability.STORAGE_CLASS})

    def put(self, name: str, data: Data) -> None:
        """Store an object if the name is free; `InternalError` if it holds other bytes."""
        if not self.put_new(name, data):
            refuse_other_bytes(self, name, data)

    def put_new(self, name: str, data: Data) -> bool:
        """Store an object if the name is free: generation 0 is none."""
        key = quote(self._prefix + check_name(name), safe="")
        query = f"?ifGenerationMatch=0&fields=md5Hash,size&name={key}"
        body, kind = data, "application/octet-stream"
        query += "&uploadType=media"
        if self._settings.storage_class is not None and name.startswith(("data/", "probe/")):
            query = query.replace("uploadType=media", "uploadType=multipart")
            metadata = {"name": self._prefix + name, "storageClass": self._settings.storage_class}
            body, kind = _with_metadata(metadata, data), f"multipart/related; boundary={_BOUNDARY.decode()}"
        answer = self._service.call(
            "write", "POST", self._upload + query, [("Content-Type", kind)], body=body, fine={http.OK, http.FAILED}
        )
        if answer.status == http.FAILED:
            return False
        ours = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        if _json(answer).get("md5Hash", ours) != ours:
            raise StoreUnreachableError("the store says another hash of an object than was sent")
        return True

    def get(self, name: str) -> bytes:
        """Return the object."""
        fine = {http.OK, http.MISSING}
        url = f"{self._of(name)}?alt=media"
        answer = self._service.call("read", "GET", url, fine=fine, answer_bytes_max=http.OBJECT_BYTES_MAX)
        if answer.status == http.MISSING:
            raise self._missing(name)
        return answer.body

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of the object, by one ranged request."""
        if length == 0 or offset >= (size := self._size_or_missing(name)):
            self._size_or_missing(name)
            return b""
        length = size - offset if length < 0 else min(length, size - offset)
        fine = {http.OK, http.PARTIAL, http.MISSING, http.BEYOND}
        longest = http.whole_bytes_max(offset, length)
        headers = [http.range_header(offset, length)]
        url = f"{self._of(name)}?alt=media"
        answer = self._service.call("read", "GET", url, headers, fine=fine, answer_bytes_max=longest)
        if answer.status == http.MISSING:
            raise self._missing(name)
        return http.part_of(answer, offset, length)

    def _size_or_missing(self, name: str) -> int:
        size = self.size(name)
        if size is None:
            raise ObjectMissingError(f"object {name} is not in the store")
        return size

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects of that prefix: all pages, in order."""
        check_prefix(prefix)
        start, token = quote(self._prefix + prefix, safe=""), ""
        found: dict[str, int] = {}
        for _ in range(http.PAGES_MAX):
            query = f"?prefix={start}&maxResults=1000&fields=items(name,size),nextPageToken"
            query += f"&pageToken={quote(token, safe='')}" if token else ""
            page = _json(self._service.call("list", "GET", f"{self._bucket}/o{query}"))
            for row in page.get("items", ()):
                found[str(row["name"]).removeprefix(self._prefix)] = int(row["size"])
            token = str(page.get("nextPageToken", ""))
            if not token:
                break
        return iter([ObjectInfo(name, found[name]) for name in sorted(found)])

    def delete(self, name: str) -> None:
        """Remove an object."""
        self._service.call("delete", "DELETE", self._of(name), fine={http.OK, http.NO_CONTENT, http.MISSING})

    def size(self, name: str) -> int | None:
        """Return the size, or None."""
        found = self._metadata(name)
        return None if found is None else int(found["size"])

    def _metadata(self, name: str) -> dict[str, Any] | None:
        url = f"{self._of(name)}?fields=size,storageClass"
        answer = self._service.call("read", "GET", url, fine={http.OK, http.MISSING})
        if answer.status == http.OK:
            return _json(answer)
        if not self.exists():
            raise no_place()
        return None

    def exists(self) -> bool:
        """Return whether the bucket is there, and this credential may look at it."""
        url = f"{self._bucket}/o?maxResults=1&fields=nextPageToken"
        return self._service.call("look", "GET", url, fine={http.OK, http.MISSING}).status == http.OK

    def create(self) -> None:
        """Look whether the bucket is there. It is never made: that is for whoever pays for it."""
        if not self.exists():
            raise no_place()

    def storage_state(self, name: str) -> StorageState:
        """Return the storage class; every class can be read at once."""
        found = self._metadata(name)
        if found is None:
            raise ObjectMissingError(f"object {name} is not in the store")
        return StorageState(str(found.get("storageClass", "STANDARD")), Readiness.READY)

    def thaw(self, name: str, days: int) -> None:  # noqa: ARG002 - nothing is cold
        """Do nothing: every class can be read at once."""
        self.storage_state(name)

    def close(self) -> None:
        """Do nothing: connections end by themselves."""

    def _of(self, name: str) -> str:
        return f"{self._bucket}/o/{quote(self._prefix + check_name(name), safe='')}"

    def _missing(self, name: str) -> Exception:
        return ObjectMissingError(f"object {name} is not in the store") if self.exists() else no_place()


def _with_metadata(metadata: dict[str, str], data: Data) -> bytes:
    """Return the body of a `multipart/related` upload."""
    line = b"\r\n--" + _BOUNDARY
    head = b"\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n" + json.dumps(metadata).encode()
    return b"".join(
        (line[2:], head, line, b"\r\nContent-Type: application/octet-stream\r\n\r\n", data, line, b"--\r\n")
    )


def _json(answer: http.Answer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StoreRefusedError(
            "the store's answer is not of its protocol", next="check the store's endpoint: is it the service's own?"
        )
    return found


def open_store(
    url: str, settings: StoreSettings, environ: Mapping[str, str], limits: Iterable[engine.Limits]
) -> GcsStore:
    """Open a bucket by its settings. `ConfigError`, or `UsageError` for a URL that is none."""
    base = http.base_url(settings.endpoint or "https://storage.googleapis.com", settings)
    with engine.translated():
        signer = _signer(settings, environ)
    return GcsStore(url, base, settings, http.client(settings, signer, limits))


def _signer(settings: StoreSettings, environ: Mapping[str, str]) -> engine.NetSigner:
    kind = settings.credentials
    if kind == "none":
        return engine.NetSigner.none()
    if kind == "file" or (kind == "auto" and settings.service_account is not None):
        if settings.service_account is None:
            raise ConfigError("a Google Cloud store needs service_account")
        return engine.NetSigner.gcp(settings.service_account.reveal(environ))
    if kind == "instance" or environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        return engine.NetSigner.gcp()
    raise ConfigError(
        "there is no credential for a Google Cloud store",
        next='set service_account of the store to a reference, or credentials = "instance" for the machine\'s role',
    )
