"""A wrapping key in a transit engine, as HashiCorp Vault and OpenBao have it: `POST MOUNT/encrypt/KEY` and `MOUNT/decrypt/KEY`.

The protocol is that of Vault's HTTP API (secrets engine "transit"): base64 in, an opaque text `vault:vN:…` out. Rotating the
engine's key needs nothing here: the text names its version. Nothing but this service is asked, over TLS unless it is on this
machine, with a time limit and no redirects.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from holdfast.errors import KeyServiceError, UsageError, WrongKeyError
from holdfast.repository.key_services import payload, secret_in

if TYPE_CHECKING:
    from holdfast.repository.key_services import ServiceUri

SECONDS_MAX = 20.0
ANSWER_BYTES_MAX = 1 << 20
MECHANISM = "transit"
LOCAL = {"127.0.0.1", "::1", "localhost"}
_OK, _NO_CONTENT, _BAD, _DENIED, _ABSENT, _UNAVAILABLE = 200, 204, 400, 403, 404, 503


@dataclass(frozen=True, slots=True)
class _Place:
    host: str
    port: int
    tls: bool
    mount: str
    key: str


def _place(uri: ServiceUri) -> _Place:
    parts = urlsplit(uri.path)
    mount, _, key = parts.path.strip("/").rpartition("/keys/")
    if parts.scheme not in {"https", "http"} or not parts.hostname or not mount or not key or parts.username:
        raise UsageError(
            "a transit: URI is transit:https://HOST:PORT/MOUNT/keys/KEY?token-source=…", next="see docs/keys.md."
        )
    tls = parts.scheme == "https"
    if not tls and parts.hostname not in LOCAL:
        raise UsageError("a key service over the network is asked over TLS only", next="write https: in its URI.")
    return _Place(parts.hostname, parts.port or 8200, tls, mount, key)


class TransitService:
    """A key of a transit engine."""

    method = "transit"

    def __init__(self, uri: ServiceUri, *, create: bool = False) -> None:
        """Take the URI; with `create` the engine is asked to make the key (which does nothing where it is)."""
        self._uri = uri
        self._place = _place(uri)
        if create:
            self._ask("keys", {"type": "aes256-gcm96", "exportable": False})

    def seal(self, secret: bytes, context: bytes) -> tuple[bytes, str]:
        """Seal a secret. `KeyServiceError`."""
        try:
            answer = self._ask("encrypt", {"plaintext": base64.b64encode(payload(secret, context)).decode()})
        except _OtherKeyError:
            raise KeyServiceError("the transit engine has no key of that name, or one that does not encrypt") from None
        text = answer.get("ciphertext")
        if not isinstance(text, str) or not text.startswith("vault:"):
            raise KeyServiceError("the transit engine's answer holds nothing sealed")
        return text.encode(), MECHANISM

    def open(self, sealed: bytes, mechanism: str, context: bytes) -> bytes | None:
        """Open what this key sealed; None if another one did."""
        if mechanism != MECHANISM:
            return None
        try:
            answer = self._ask("decrypt", {"ciphertext": sealed.decode("ascii", "replace")})
            opened = base64.b64decode(str(answer.get("plaintext")), validate=True)
        except _OtherKeyError:
            return None
        except ValueError:
            raise KeyServiceError("the transit engine's answer is malformed") from None
        return secret_in(opened, context)

    def _ask(self, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        place = self._place
        headers = {"X-Vault-Token": self._uri.secret("token-source"), "Content-Type": "application/json"}
        if self._uri.query.get("namespace"):
            headers["X-Vault-Namespace"] = self._uri.query["namespace"]
        connection = self._connection()
        try:
            path = f"/v1/{quote(place.mount)}/{verb}/{quote(place.key)}"
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise KeyServiceError(f"the transit engine does not answer ({type(error).__name__})") from None
        finally:
            connection.close()
        return _answered(answer.status, content)

    def _connection(self) -> http.client.HTTPConnection:
        place = self._place
        if not place.tls:
            return http.client.HTTPConnection(place.host, place.port, timeout=SECONDS_MAX)
        try:
            trust = ssl.create_default_context(cafile=self._uri.query.get("ca"))
        except (OSError, ssl.SSLError):
            raise UsageError("the file of the key service's CA cannot be read", next="check ?ca= in its URI.") from None
        return http.client.HTTPSConnection(place.host, place.port, timeout=SECONDS_MAX, context=trust)


class _OtherKeyError(Exception):
    """The engine's key did not seal this."""


def _answered(status: int, content: bytes) -> dict[str, Any]:
    """Return the data of an answer; the engine's own words are not repeated: they may quote what they were given."""
    if status == _NO_CONTENT:
        return {}
    if status == _OK:
        try:
            data = json.loads(content)["data"]
        except (ValueError, KeyError, TypeError):
            raise KeyServiceError("the transit engine's answer is malformed") from None
        return data if isinstance(data, dict) else {}
    if status == _BAD:
        raise _OtherKeyError
    if status == _DENIED:
        raise WrongKeyError(
            "the transit engine does not accept the token", next="renew the token in its file, or widen its policy."
        )
    said = {_ABSENT: "has no such key or mount", _UNAVAILABLE: "is sealed or in maintenance"}
    raise KeyServiceError(f"the transit engine {said.get(status, f'answers with status {status}')}", status=status)
