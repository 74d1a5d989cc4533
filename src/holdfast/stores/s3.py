"""A store in a bucket of Amazon S3, or of a service that speaks its protocol.

Source: the Amazon S3 API reference (PutObject with `If-None-Match: *`, GetObject, HeadObject, ListObjectsV2, DeleteObject with
`versionId`, PutObjectRetention, GetObjectRetention, GetObjectLockConfiguration, RestoreObject). Each object is one PUT, never
a multipart upload: a pack is small enough, and some services lose the lock or the condition of a multipart upload. The SHA-256
of the body is signed, so the service checks what arrived, and it is kept as the object's checksum.

With `object_lock`, deleting an object deletes its version for good, or is refused while it is retained. Without, a bucket
with versioning keeps what was deleted: its lifecycle rules give the space back.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from holdfast import engine
from holdfast.errors import (
    CapabilityError,
    ConfigError,
    ObjectMissingError,
    StoreRefusedError,
    StoreRetainedError,
    StoreUnreachableError,
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
    from xml.etree.ElementTree import Element

    from holdfast.config import StoreSettings

_COLD = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_VERSIONS_MAX = 100
_STAMP = "%Y-%m-%dT%H:%M:%SZ"


class S3Store(RoomUntold):
    """Objects of a bucket, below a prefix."""

    def __init__(self, url: str, settings: StoreSettings, client: engine.NetClient) -> None:
        """Use a bucket by the settings; the client signs for its region. Nothing is sent yet."""
        self._url = url
        self._place = http.Place.parse(url)
        self._settings = settings
        self._service = http.Service(client)
        self._base = _bucket_url(self._place.name, settings)
        self._locked = settings.object_lock != "off"

    @property
    def url(self) -> str:
        """`s3://BUCKET/PREFIX`."""
        return self._url

    @property
    def local_root(self) -> str | None:
        """None: there are no files."""
        return None

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Create-if-absent and storage classes; retain-until with `object_lock`."""
        found = {Capability.CREATE_IF_ABSENT, Capability.STORAGE_CLASS}
        return frozenset(found | {Capability.RETAIN_UNTIL} if self._locked else found)

    def put(self, name: str, data: Data) -> None:
        """Store an object if the name is free; `InternalError` if it holds other bytes."""
        if not self.put_new(name, data):
            refuse_other_bytes(self, name, data)

    def put_new(self, name: str, data: Data) -> bool:
        """Store an object if the name is free: `If-None-Match: *`."""
        digest = hashlib.sha256(data).digest()
        headers = [
            ("If-None-Match", "*"),
            ("x-amz-checksum-sha256", base64.b64encode(digest).decode()),
            ("Content-Type", "application/octet-stream"),
        ]
        if self._settings.storage_class is not None and name.startswith(("data/", "probe/")):
            headers.append(("x-amz-storage-class", self._settings.storage_class))
        fine = {http.OK, http.FAILED, http.CONFLICT}
        answer = self._service.call("write", "PUT", self._of(name), headers, body=data, sha256=digest, fine=fine)
        if answer.status == http.CONFLICT:
            raise StoreUnreachableError("the store was creating the same object for another")
        return answer.status == http.OK

    def get(self, name: str) -> bytes:
        """Return the object."""
        fine = {http.OK, http.MISSING}
        answer = self._service.call("read", "GET", self._of(name), fine=fine, answer_bytes_max=http.OBJECT_BYTES_MAX)
        return self._there(answer, name).body

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Return a part of the object, by one ranged request."""
        if length == 0:
            if self.size(name) is None:
                raise self._missing(name)
            return b""
        fine = {http.OK, http.PARTIAL, http.MISSING, http.BEYOND}
        longest = http.whole_bytes_max(offset, length)
        headers = [http.range_header(offset, length)]
        answer = self._service.call("read", "GET", self._of(name), headers, fine=fine, answer_bytes_max=longest)
        return http.part_of(self._there(answer, name), offset, length)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield the objects of that prefix: all pages, then in order, as not every service sorts by bytes."""
        check_prefix(prefix)
        start = self._place.prefix + prefix
        found: dict[str, int] = {}
        token = ""
        for _ in range(http.PAGES_MAX):
            query = f"?list-type=2&max-keys=1000&prefix={_quoted(start)}"
            query += f"&continuation-token={_quoted(token)}" if token else ""
            page = http.document(self._service.call("list", "GET", self._base + query).body)
            for row in page.iterfind("Contents"):
                name = http.text(row, "Key").removeprefix(self._place.prefix)
                if not name.endswith("/"):
                    found[name] = int(http.text(row, "Size"))
            token = http.text(page, "NextContinuationToken")
            if http.text(page, "IsTruncated") != "true" or not token:
                break
        return iter([ObjectInfo(name, found[name]) for name in sorted(found)])

    def delete(self, name: str) -> None:
        """Remove an object; with `object_lock` its versions, newest first, until there is none to be seen."""
        if not self._locked:
            self._delete(name)
            return
        for _ in range(_VERSIONS_MAX):
            answer = self._head(name)
            if answer is None:
                return
            self._delete(name, answer.headers.get("x-amz-version-id", ""))

    def _delete(self, name: str, version: str = "") -> None:
        query = f"?versionId={_quoted(version)}" if version else ""
        fine = {http.OK, http.NO_CONTENT, http.MISSING, 400, 403}
        answer = self._service.call("delete", "DELETE", self._of(name) + query, fine=fine)
        if answer.status in {400, 403}:
            until = self.retained_until(name) if self._locked and answer.code() != "ExpiredToken" else None
            if until is not None and until > datetime.min.replace(tzinfo=UTC):
                raise StoreRetainedError(f"the store retains an object until {until:%Y-%m-%d %H:%M} UTC")
            self._service.refuse(answer, "delete")
        if answer.code() in NO_PLACE:
            self._service.refuse(answer, "delete")

    def size(self, name: str) -> int | None:
        """Return the size, or None."""
        answer = self._head(name)
        return None if answer is None else int(answer.headers["content-length"])

    def exists(self) -> bool:
        """Return whether the bucket is there, and this credential may look at it."""
        return self._service.call("look", "HEAD", self._base, fine={http.OK, http.MISSING}).status == http.OK

    def create(self) -> None:
        """Look whether the bucket is as the settings say: there, with object lock, with the storage class.

        A bucket is never made: where it is made decides who pays and who may read. `StoreRefusedError` or
        `CapabilityError` where it is not as needed.
        """
        if not self.exists():
            raise no_place()
        if self._locked:
            self._lock_configuration()
        if self._settings.storage_class is not None:
            self._probe_class(self._settings.storage_class)

    def retain_until(self, name: str, moment: datetime) -> None:
        """Set the object's retention and read it back; whole seconds, rounded up."""
        moment = utc(moment)
        if moment.microsecond:
            moment = moment.replace(microsecond=0) + timedelta(seconds=1)
        if not self._locked:
            raise unclaimed(Capability.RETAIN_UNTIL)
        now = self._retention(name)
        if now is None or now < moment:
            mode = self._settings.object_lock.upper()
            text = f"<Retention><Mode>{mode}</Mode><RetainUntilDate>{moment:{_STAMP}}</RetainUntilDate></Retention>"
            self._send_document("retain", "PUT", self._of(name) + "?retention", text)
            now = self._retention(name)
        if now is None or now < moment:
            raise StoreRefusedError(
                "the store took a retention and does not keep it",
                next="use a bucket with object lock on a service that has it; docs/stores.md lists those that were tested",
            )

    def retained_until(self, name: str) -> datetime | None:
        """Return the object's retention: its own, else what the bucket's default gives it."""
        if not self._locked:
            raise unclaimed(Capability.RETAIN_UNTIL)
        own = self._retention(name)
        if own is not None:
            return own
        default = self._default_retention()
        answer = self._head(name) if default is not None else None
        if default is None or answer is None or "last-modified" not in answer.headers:
            return None
        return parsedate_to_datetime(answer.headers["last-modified"]) + default

    def storage_state(self, name: str) -> StorageState:
        """Return the storage class that the service says, and whether a cold object has been restored."""
        answer = self._head(name)
        if answer is None:
            raise self._missing(name)
        found = answer.headers.get("x-amz-storage-class", "STANDARD")
        restore = answer.headers.get("x-amz-restore", "")
        if 'ongoing-request="true"' in restore:
            return StorageState(found, Readiness.THAWING)
        cold = found in _COLD or "x-amz-archive-status" in answer.headers
        return StorageState(found, Readiness.COLD if cold and not restore else Readiness.READY)

    def thaw(self, name: str, days: int) -> None:
        """Ask for a copy that can be read for so many days."""
        if self.storage_state(name).readiness is not Readiness.COLD:
            return
        speed = "<GlacierJobParameters><Tier>Standard</Tier></GlacierJobParameters>"
        text = f"<RestoreRequest><Days>{days}</Days>{speed}</RestoreRequest>"
        self._send_document("thaw", "POST", self._of(name) + "?restore", text)

    def uncover(self) -> int:
        """Make the first version of every object the one that is seen; return how many versions and markers were removed.

        Objects are never written twice: a later version is a thief's, a delete marker hides what is still there. Needs a
        credential that may list and delete versions, and a bucket with versions. `StoreRetainedError` where a later
        version is retained.
        """
        start, marker, removed = _quoted(self._place.prefix), "", 0
        for _ in range(http.PAGES_MAX):
            page = http.document(
                self._service.call("list", "GET", f"{self._base}?versions&prefix={start}{marker}").body
            )
            rows = [row for row in page if row.tag in {"Version", "DeleteMarker"}]
            for row, older in itertools.zip_longest(rows, rows[1:]):
                key, version = http.text(row, "Key"), http.text(row, "VersionId")
                # The service lists the versions of an object newest first; a page may end between two of them.
                last = older is None and http.text(page, "NextKeyMarker") != key
                first = last or (older is not None and http.text(older, "Key") != key)
                if row.tag == "DeleteMarker" or not first:
                    self._delete(key.removeprefix(self._place.prefix), version)
                    removed += 1
            if http.text(page, "IsTruncated") != "true":
                break
            marker = f"&key-marker={_quoted(http.text(page, 'NextKeyMarker'))}"
            marker += f"&version-id-marker={_quoted(http.text(page, 'NextVersionIdMarker'))}"
        return removed

    def close(self) -> None:
        """Do nothing: connections end by themselves."""

    def _of(self, name: str) -> str:
        return f"{self._base}/{self._place.prefix}{check_name(name)}"

    def _there(self, answer: http.Answer, name: str) -> http.Answer:
        if answer.status != http.MISSING:
            return answer
        if answer.code() not in {"", "NoSuchKey", "NotFound"}:
            self._service.refuse(answer, "read")
        raise self._missing(name)

    def _missing(self, name: str) -> ObjectMissingError:
        return ObjectMissingError(f"object {name} is not in the store")

    def _head(self, name: str) -> http.Answer | None:
        answer = self._service.call("read", "HEAD", self._of(name), fine={http.OK, http.MISSING})
        if answer.status == http.OK:
            return answer
        if not self.exists():
            raise StoreRefusedError(
                "the store has no such bucket",
                next="correct the store's URL: the bucket was there before, or never was",
            )
        return None

    def _send_document(self, verb: str, method: str, url: str, text: str) -> None:
        body = f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
        digest = hashlib.sha256(body).digest()
        headers = [
            ("x-amz-checksum-sha256", base64.b64encode(digest).decode()),
            ("Content-MD5", base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()),
            ("Content-Type", "application/xml"),
        ]
        fine = {http.OK, http.ACCEPTED, http.NO_CONTENT, http.MISSING, http.CONFLICT}
        answer = self._service.call(verb, method, url, headers, body=body, sha256=digest, fine=fine)
        if answer.status == http.MISSING and answer.code() == "NoSuchKey":
            raise ObjectMissingError("an object is not in the store")
        if answer.status in {http.MISSING, http.CONFLICT} and answer.code() != "RestoreAlreadyInProgress":
            self._service.refuse(answer, verb)

    def _retention(self, name: str) -> datetime | None:
        """Return the object's own retention."""
        fine = {http.OK, http.MISSING, 400}
        answer = self._service.call("read", "GET", self._of(name) + "?retention", fine=fine)
        if answer.status == http.OK:
            found = http.text(http.document(answer.body), "RetainUntilDate")
            return datetime.fromisoformat(found).astimezone(UTC) if found else None
        if answer.code() in {"NoSuchObjectLockConfiguration", "ObjectLockConfigurationNotFoundError"}:
            return None
        if answer.code() in {"NoSuchKey", "NoSuchVersion"}:
            raise self._missing(name)
        return self._service.refuse(answer, "read")

    def _lock_configuration(self) -> Element:
        answer = self._service.call("read", "GET", f"{self._base}?object-lock", fine={http.OK, http.MISSING, 400, 501})
        if answer.status == http.OK:
            found = http.document(answer.body)
            if http.text(found, "ObjectLockEnabled") == "Enabled":
                return found
        raise CapabilityError(
            "the bucket has no object lock, which the store's settings ask for",
            next="make a bucket with object lock (it cannot be had later on every service), or set `object_lock` to off",
        )

    def _default_retention(self) -> timedelta | None:
        found = self._lock_configuration()
        days = http.text(found, "Rule/DefaultRetention/Days")
        years = http.text(found, "Rule/DefaultRetention/Years")
        if not days and not years:
            return None
        return timedelta(days=int(days) if days else int(years) * 365)

    def _probe_class(self, wanted: str) -> None:
        """Store an object and look in which class it came to be: services know classes of their own, or ignore them."""
        name = f"probe/storage-class-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
        self.delete(name)
        self.put_new(name, b"holdfast")
        found = self.storage_state(name).storage_class
        self.delete(name)
        if found != wanted:
            raise CapabilityError(
                f"the store keeps objects in the class {found} that were put into {wanted}",
                next="correct the store's `storage_class`, or leave it out",
            )


def _bucket_url(bucket: str, settings: StoreSettings) -> str:
    """Return the bucket's URL, by path or by host."""
    if settings.endpoint is None:
        if settings.region is None:
            raise ConfigError(
                "an S3 store needs a region, or an endpoint and a region", next="set `region` of the store"
            )
        return (
            f"https://{bucket}.s3.{settings.region}.amazonaws.com" if "." not in bucket else _aws_path(bucket, settings)
        )
    base = http.base_url(settings.endpoint, settings)
    if settings.path_style is False:
        scheme, _, host = base.partition("://")
        return f"{scheme}://{bucket}.{host}"
    return f"{base}/{bucket}"


def _aws_path(bucket: str, settings: StoreSettings) -> str:
    """A name with dots fits no certificate as a host."""
    return f"https://s3.{settings.region}.amazonaws.com/{bucket}"


def _quoted(value: str) -> str:
    return quote(value, safe="-_.~")


def open_store(
    url: str, settings: StoreSettings, environ: Mapping[str, str], limits: Iterable[engine.Limits]
) -> S3Store:
    """Open a bucket by its settings. `ConfigError`, or `UsageError` for a URL that is none."""
    with engine.translated():
        if settings.credentials == "none":
            signer = engine.NetSigner.none()
        else:
            signer = engine.NetSigner.aws(settings.region or "us-east-1", *credentials(settings, environ))
    return S3Store(url, settings, http.client(settings, signer, limits))


def credentials(settings: StoreSettings, environ: Mapping[str, str]) -> tuple[str, str, str]:
    """Return key id, secret and token; all empty where the machine's own role is to be used. `ConfigError`."""
    reveal = http.revealer(environ)
    named = settings.access_key_id is not None or settings.secret_access_key is not None
    kind = settings.credentials
    if kind == "file" or (kind == "auto" and named):
        if settings.access_key_id is None or settings.secret_access_key is None:
            raise ConfigError("an S3 store needs both access_key_id and secret_access_key")
        return reveal(settings.access_key_id), reveal(settings.secret_access_key), reveal(settings.session_token)
    if kind == "instance":
        return "", "", ""
    key, secret = environ.get("AWS_ACCESS_KEY_ID", ""), environ.get("AWS_SECRET_ACCESS_KEY", "")
    if key and secret:
        return key, secret, environ.get("AWS_SESSION_TOKEN", "")
    roles = (
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    )
    if any(environ.get(role) for role in roles):
        return "", "", ""
    raise ConfigError(
        "there is no credential for an S3 store",
        next='set access_key_id and secret_access_key of the store to references, credentials = "instance" for the'
        " machine's role, or the variables AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    )
