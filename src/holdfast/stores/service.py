"""What stores behind HTTP share: sending one request, reading its answer, and the documents of object services.

Requests go through the engine's client, which signs, limits and watches them. Nothing is tried twice here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

from holdfast import engine
from holdfast.base.defaults import LOOPBACK, PACK_BYTES_MAX
from holdfast.errors import ConfigError, StoreRefusedError, StoreUnreachableError, UsageError
from holdfast.stores.refusals import error_code, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from holdfast.config import SecretRef, StoreSettings
    from holdfast.stores.protocol import Data

OBJECT_BYTES_MAX = PACK_BYTES_MAX + (16 << 20)
ANSWER_BYTES_MAX = 16 << 20
"""Longest answer that is no object: a page of a listing, a document."""
PAGES_MAX = 1_000_000
OK, CREATED, ACCEPTED, NO_CONTENT, PARTIAL, MULTI = 200, 201, 202, 204, 206, 207
MISSING, NOT_ALLOWED, CONFLICT, FAILED, BEYOND = 404, 405, 409, 412, 416
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def code(self) -> str:
        """Return the service's own code of an error, or nothing."""
        return error_code(self.body, self.headers.get("x-ms-error-code", ""))


@dataclass(frozen=True, slots=True)
class Place:
    """A bucket or container, and the prefix of the store's objects in it: empty, or ending in a slash."""

    name: str
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Place:
        """Read `SCHEME://NAME/PREFIX`. `UsageError`, which does not repeat it, if there is more in it."""
        parts = urlsplit(url)
        name, prefix = parts.netloc, parts.path.strip("/")
        if parts.query or parts.fragment or "@" in name:
            raise UsageError(
                "the URL of a store holds its place and nothing else",
                next="put options and credentials into a table [stores.NAME] of the configuration",
            )
        if not _PLACE.fullmatch(name) or (prefix and not _PREFIX.fullmatch(prefix)):
            raise UsageError(
                f"the URL of a store must be {parts.scheme}://NAME/PREFIX",
                next="use letters, digits, `.`, `-` and `_` in the prefix",
            )
        return cls(name, f"{prefix}/" if prefix else "")


class Service:
    """Sends requests to one service."""

    def __init__(self, client: engine.NetClient) -> None:
        """Use a client of the engine."""
        self._client = client

    def call(
        self,
        verb: str,
        method: str,
        url: str,
        headers: Iterable[tuple[str, str]] = (),
        *,
        body: Data | None = None,
        sha256: bytes | None = None,
        fine: Collection[int] = (OK,),
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> Answer:
        """Send a request; return an answer whose status is one of `fine`, or raise what the refusal means."""
        with engine.translated():
            status, pairs, content = self._client.request(
                method, url, [*headers], body, sha256=sha256, answer_bytes_max=answer_bytes_max
            )
        answer = Answer(status, dict(pairs), content)
        if status not in fine:
            self.refuse(answer, verb)
        return answer

    @staticmethod
    def refuse(answer: Answer, verb: str) -> NoReturn:
        """Raise what an answer means."""
        raise refusal(answer.status, answer.code(), verb)


def part_of(answer: Answer, offset: int, length: int) -> bytes:
    """Return the part of an object that an answer to a ranged request holds.

    A service may ignore the range and send all of it. `StoreUnreachableError` if it sent another part, or less.
    """
    if answer.status == BEYOND:
        return b""
    if answer.status != PARTIAL:
        return answer.body[offset:] if length < 0 else answer.body[offset : offset + length]
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers.get("content-range", ""))
    if found is not None:
        first, last, size = (int(number) for number in found.groups())
        wanted = size - offset if length < 0 else min(length, size - offset)
        if first == offset and last - first + 1 == wanted == len(answer.body):
            return answer.body
    raise StoreUnreachableError("the store gave back another part of an object than was asked for")


def range_header(offset: int, length: int) -> tuple[str, str]:
    """Return the header that asks for a part; `length` -1 is to the end."""
    return ("Range", f"bytes={offset}-" if length < 0 else f"bytes={offset}-{offset + length - 1}")


def whole_bytes_max(offset: int, length: int) -> int:
    """Return how long an answer to a ranged request may be: a service that ignores the range may send a whole object."""
    return OBJECT_BYTES_MAX if length < 0 or offset + length > ANSWER_BYTES_MAX else ANSWER_BYTES_MAX + length


def document(content: bytes) -> ET.Element:
    """Parse XML without namespaces. `StoreRefusedError` for what is none, or declares entities."""
    try:
        if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
            raise ET.ParseError  # noqa: TRY301 - the same refusal
        root = ET.fromstring(content)  # noqa: S314 - declares nothing: refused above
    except ET.ParseError:
        raise StoreRefusedError(
            "the store's answer is not of its protocol", next="check the store's endpoint: is it the service's own?"
        ) from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def texts(root: ET.Element, path: str) -> Iterator[str]:
    """Yield the text of every element of a path."""
    return (element.text or "" for element in root.iterfind(path))


def text(root: ET.Element, path: str) -> str:
    """Return the text of the first element of a path, or nothing."""
    return next(texts(root, path), "")


def base_url(endpoint: str, settings: StoreSettings) -> str:
    """Return an endpoint without its last slash. `ConfigError` unless it is HTTPS, or HTTP where that is allowed."""
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ConfigError("the endpoint of a store must be https://HOST, without a credential in it")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK and not settings.unsafe_plain_http:
        raise ConfigError(
            "the store would be reached without TLS", next="use https, or set `unsafe_plain_http` of the store"
        )
    return endpoint.rstrip("/")


def client(settings: StoreSettings, signer: engine.NetSigner, limits: Iterable[engine.Limits]) -> engine.NetClient:
    """Return a client for a store's settings, under the run's limits and the store's own."""
    trusted = None
    if settings.ca_file is not None:
        try:
            with open(settings.ca_file, "rb") as file:
                trusted = file.read(ANSWER_BYTES_MAX)
        except OSError as error:
            raise ConfigError(f"the ca_file of a store cannot be read ({error.strerror})") from None
    own = engine.Limits(settings.read_bytes_per_s, settings.write_bytes_per_s)
    with engine.translated():
        return engine.NetClient(
            signer,
            [*limits],
            own,
            trusted=trusted,
            proxy=settings.proxy,
            connect_seconds=float(settings.connect_timeout_seconds),
            stall_seconds=float(settings.timeout_seconds),
        )


def revealer(environ: Mapping[str, str]) -> Callable[[SecretRef | None], str]:
    """Return what reveals a secret: its text without surrounding blanks, or nothing where there is none."""
    return lambda reference: reference.reveal(environ).strip() if reference is not None else ""
