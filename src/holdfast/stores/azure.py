"""A store in a container of Azure Blob Storage.

Source: the Blob service REST API (Put Blob with `If-None-Match: *`, Get Blob, Get Blob Properties, List Blobs, Delete Blob, Set
Blob Tier, Set Blob Immutability Policy). Each object is one block blob of one request; its MD5 is sent, and the service checks
what arrived. `object_lock` sets an immutability policy on each blob that is retained: `compliance` is the service's `Locked`,
`governance` its `Unlocked`; the container must have version-level immutability.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from holdfast import engine
from holdfast.errors import (
    CapabilityError,
    ConfigError,
    ObjectMissingError,
    StoreRefusedError,
    StoreRetainedError,
)
from holdfast.stores import service as http
from holdfast.stores.protocol import (
    Capability,
    Data,
    ObjectInfo,
    Readiness,
    RoomUntold,
    StorageState,
    check_name,
    check_prefix,
    refuse_other_bytes,
    unclaimed,
    utc,
)
from holdfast.stores.refusals import NO_PLACE, no_place

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from holdfast.config import StoreSettings

_UNTIL = "x-ms-immutability-policy-until-date"
_MODES = {"compliance": "Locked", "governance": "Unlocked"}
_EXISTS = frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet"})


class AzureStore(RoomUntold):
    """Objects of a container, below a prefix."""

    def __init__(self, url: str, base: str, settings: StoreSettings, client: engine.NetClient) -> None:
        """Use a container: `base` is its URL. Nothing is sent yet."""
        self._url = url
        self._prefix = http.Place.parse(url).prefix
        self._base = base
        self._settings = settings
        self._service = http.Service(client)
        self._locked = settings.object_lock != "off"

    @property
    def url(self) -> str:
        """`azure://CONTAINER/PREFIX`."""
        return self._url

    @property
    def local_root(self) -> str | None:
        """None: there are no files."""
        return None

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Create-if-absent and storage classes (access tiers); retain-until with `object_lock`."""
        found = {Capability.CREATE_IF_ABSENT, Capability.STORAGE_CLASS}
        return frozenset(found | {Capability.RETAIN_UNTIL} if self._locked else found)

    def put(self, name: str, data: Data) -> None:
        """Store an object if the name is free; `InternalError` if it holds other bytes."""
        if not self.put_new(name, data):
            refuse_other_bytes(self, name, data)

    def put_new(self, name: str, data: Data) -> bool:
        """Store an object if the name is free: `If-None-Match: *`."""
        headers = [
            ("If-None-Match", "*"),
            ("x-ms-blob-type", "BlockBlob"),
            ("Content-MD5", base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()),
            ("Content-Type", "application/octet-stream"),
        ]
        if self._settings.storage_class is not None and name.startswith(("data/", "probe/")):
            headers.append(("x-ms-access-tier", self._settings.storage_class))
        fine = {http.CREATED, http.CONFLICT, http.FAILED}
        answer = self._service.call("write", "PUT", self._of(name), headers, body=data, fine=fine)
        if answer.status == http.CREATED:
            return True
        if answer.status == http.CONFLICT and answer.code() not in _EXISTS:
            self._service.refuse(answer, "write")
        return False

    def get(self, name: str) -> bytes:
        """Return the object."""
        fine = {http.OK, http.MISSING}
        answer = self._service.call("read", "GET", self._of(name), fine=fine, answer_bytes_max=http.OBJECT_BYTES_MAX)
        return self._there(answer, name).body

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of the object, by one ranged request."""
        if length == 0:
            if self.size(name) is None:
                raise ObjectMissingError(f"object {name} is not in the store")
            return b""
        fine = {http.OK, http.PARTIAL, http.MISSING, http.BEYOND}
        longest = http.whole_bytes_max(offset, length)
        headers = [("x-ms-range", http.range_header(offset, length)[1])]
        answer = self._service.call("read", "GET", self._of(name), headers, fine=fine, answer_bytes_max=longest)
        return http.part_of(self._there(answer, name), offset, length)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects of that prefix: all pages, in order."""
        check_prefix(prefix)
        start, marker = quote(self._prefix + prefix, safe=""), ""
        found: dict[str, int] = {}
        for _ in range(http.PAGES_MAX):
            query = f"?restype=container&comp=list&prefix={start}"
            query += f"&marker={quote(marker, safe='')}" if marker else ""
            page = http.document(self._service.call("list", "GET", self._base + query).body)
            for row in page.iterfind("Blobs/Blob"):
                size = int(http.text(row, "Properties/Content-Length"))
                found[http.text(row, "Name").removeprefix(self._prefix)] = size
            marker = http.text(page, "NextMarker")
            if not marker:
                break
        return iter([ObjectInfo(name, found[name]) for name in sorted(found)])

    def delete(self, name: str) -> None:
        """Remove an object; one that is retained is refused."""
        fine = {http.ACCEPTED, http.MISSING, http.CONFLICT}
        answer = self._service.call("delete", "DELETE", self._of(name), fine=fine)
        if answer.status == http.CONFLICT and self._locked:
            until = self.retained_until(name)
            if until is not None:
                raise StoreRetainedError(f"the store retains an object until {until:%Y-%m-%d %H:%M} UTC")
        if answer.status == http.CONFLICT or answer.code() in NO_PLACE:
            self._service.refuse(answer, "delete")

    def size(self, name: str) -> int | None:
        """Return the size, or None."""
        answer = self._head(name)
        return None if answer is None else int(answer.headers["content-length"])

    def exists(self) -> bool:
        """Return whether the container is there, and this credential may look at it."""
        url = f"{self._base}?restype=container&comp=list&maxresults=1"
        answer = self._service.call("look", "GET", url, fine={http.OK, http.MISSING})
        return answer.status == http.OK

    def create(self) -> None:
        """Look whether the container is as the settings say. It is never made: that is for whoever pays for it."""
        if not self.exists():
            raise no_place()
        if self._locked:
            answer = self._service.call("look", "GET", f"{self._base}?restype=container")
            if answer.headers.get("x-ms-immutable-storage-with-versioning-enabled") != "true":
                raise CapabilityError(
                    "the container has no version-level immutability, which the store's settings ask for",
                    next="make a container with it, or set `object_lock` to off",
                )

    def retain_until(self, name: str, moment: datetime) -> None:
        """Set the blob's immutability policy and read it back; whole seconds, rounded up."""
        moment = utc(moment)
        if not self._locked:
            raise unclaimed(Capability.RETAIN_UNTIL)
        if moment.microsecond:
            moment = moment.replace(microsecond=0) + timedelta(seconds=1)
        now = self.retained_until(name)
        if now is None or now < moment:
            headers = [
                (_UNTIL, format_datetime(moment, usegmt=True)),
                ("x-ms-immutability-policy-mode", _MODES[self._settings.object_lock]),
            ]
            self._service.call("retain", "PUT", f"{self._of(name)}?comp=immutabilityPolicies", headers)
            now = self.retained_until(name)
        if now is None or now < moment:
            raise StoreRefusedError("the store took a retention and does not keep it")

    def retained_until(self, name: str) -> datetime | None:
        """Return until when the blob's immutability policy holds."""
        if not self._locked:
            raise unclaimed(Capability.RETAIN_UNTIL)
        found = self._there_head(name).headers.get(_UNTIL, "")
        return parsedate_to_datetime(found).astimezone(UTC) if found else None

    def storage_state(self, name: str) -> StorageState:
        """Return the access tier; a blob in `Archive` must be rehydrated."""
        headers = self._there_head(name).headers
        found = headers.get("x-ms-access-tier", "Hot")
        if headers.get("x-ms-archive-status", "").startswith("rehydrate-pending"):
            return StorageState(found, Readiness.THAWING)
        return StorageState(found, Readiness.COLD if found == "Archive" else Readiness.READY)

    def thaw(self, name: str, days: int) -> None:  # noqa: ARG002 - a tier has no end
        """Move a cold blob to the tier `Hot`, where it stays: the service knows no copy for some days."""
        if self.storage_state(name).readiness is Readiness.COLD:
            headers = [("x-ms-access-tier", "Hot"), ("x-ms-rehydrate-priority", "Standard")]
            self._service.call("thaw", "PUT", f"{self._of(name)}?comp=tier", headers, fine={http.OK, http.ACCEPTED})

    def close(self) -> None:
        """Do nothing: connections end by themselves."""

    def _of(self, name: str) -> str:
        return f"{self._base}/{self._prefix}{check_name(name)}"

    def _there(self, answer: http.Answer, name: str) -> http.Answer:
        if answer.status != http.MISSING:
            return answer
        if answer.code() in NO_PLACE:
            raise no_place(answer.code())
        raise ObjectMissingError(f"object {name} is not in the store")

    def _head(self, name: str) -> http.Answer | None:
        answer = self._service.call("read", "HEAD", self._of(name), fine={http.OK, http.MISSING})
        if answer.status == http.OK:
            return answer
        if answer.code() in NO_PLACE or (not answer.code() and not self.exists()):
            raise no_place(answer.code())
        return None

    def _there_head(self, name: str) -> http.Answer:
        answer = self._head(name)
        if answer is None:
            raise ObjectMissingError(f"object {name} is not in the store")
        return answer


def open_store(
    url: str, settings: StoreSettings, environ: Mapping[str, str], limits: Iterable[engine.Limits]
) -> AzureStore:
    """Open a container by its settings. `ConfigError`, or `UsageError` for a URL that is none."""
    place = http.Place.parse(url)
    account = settings.account or environ.get("AZURE_STORAGE_ACCOUNT_NAME", "")
    if not account:
        raise ConfigError("an Azure store needs the name of its account", next="set `account` of the store")
    base = http.base_url(settings.endpoint or f"https://{account}.blob.core.windows.net", settings)
    with engine.translated():
        signer = _signer(account, settings, environ)
    return AzureStore(url, f"{base}/{place.name}", settings, http.client(settings, signer, limits))


def _signer(account: str, settings: StoreSettings, environ: Mapping[str, str]) -> engine.NetSigner:
    reveal = http.revealer(environ)
    kind = settings.credentials
    if kind == "none":
        return engine.NetSigner.none()
    if kind == "file" or (kind == "auto" and (settings.account_key or settings.sas_token)):
        if settings.account_key is not None:
            return engine.NetSigner.azure(account, reveal(settings.account_key))
        if settings.sas_token is not None:
            return engine.NetSigner.azure(account, shared=reveal(settings.sas_token).removeprefix("?"))
        raise ConfigError("an Azure store needs account_key or sas_token")
    key = environ.get("AZURE_STORAGE_ACCOUNT_KEY", "")
    if kind != "instance" and key:
        return engine.NetSigner.azure(account, key)
    roles = ("AZURE_FEDERATED_TOKEN_FILE", "AZURE_CLIENT_SECRET", "AZURE_STORAGE_CLIENT_SECRET", "IDENTITY_ENDPOINT")
    if kind == "instance" or any(environ.get(role) for role in roles):
        return engine.NetSigner.azure(account)
    raise ConfigError(
        "there is no credential for an Azure store",
        next='set account_key or sas_token of the store to a reference, or credentials = "instance" for the machine\'s role',
    )
