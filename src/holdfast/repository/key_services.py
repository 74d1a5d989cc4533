"""Key services: a wrapping key that stays in a PKCS#11 token or in a transit engine (Vault, OpenBao), named by one URI.

::

    pkcs11:token=holdfast;object=kek?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/holdfast/pin
    transit:https://vault.example:8200/transit/keys/holdfast?token-source=file:/etc/holdfast/token&ca=/etc/ssl/ca.pem

The first is a URI of RFC 7512; `pin-source` and `token-source` are references as in the configuration, never values. A service
seals a secret of 32 bytes that only makes one slot key: it never sees the root key. What is sealed names the vault it is for.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from holdfast.config import SecretRef
from holdfast.errors import KeyServiceError, UsageError

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.repository.credentials import KeyService

URI_LENGTH_MAX = 4096
SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class ServiceUri:
    """A parsed URI of a key service."""

    scheme: str
    path: str
    attributes: Mapping[str, str]
    """Of `pkcs11:`, what is before the `?`."""
    query: Mapping[str, str]

    def secret(self, name: str) -> str:
        """Return the secret that a reference names. `UsageError` if it is missing or no reference."""
        reference = self.query.get(name)
        if not reference:
            raise UsageError(f"the URI of a key service lacks {name}", next="see docs/keys.md for what it takes.")
        try:
            return SecretRef.parse(reference).reveal(os.environ)
        except ValueError as error:
            raise UsageError(str(error)) from None


def parse_uri(text: str) -> ServiceUri:
    """Read a URI. `UsageError`; a value of a secret in it is refused, whatever the rest says."""
    scheme, colon, rest = text.partition(":")
    if not colon or scheme not in {"pkcs11", "transit"} or len(text) > URI_LENGTH_MAX:
        raise UsageError(
            "this is no URI of a key service", next="it begins with pkcs11: or transit:, see docs/keys.md."
        )
    path, _, query = rest.partition("?")
    # RFC 7512 separates attributes of the query by `&`; a value is percent-encoded.
    said = dict(parse_qsl(query, keep_blank_values=True))
    if {"pin-value", "token", "token-value"} & said.keys():
        raise UsageError(
            "a secret must not stand in the URI of a key service",
            next="put it into a file and name that: …-source=file:PATH",
        )
    attributes: dict[str, str] = {}
    if scheme == "pkcs11":
        pairs = (part.partition("=") for part in path.split(";") if part)
        attributes = {name: unquote(value) for name, _, value in pairs}
    return ServiceUri(scheme, path, attributes, said)


def key_service(text: str, env: Environment, *, create: bool = False) -> KeyService:
    """Return the service that a URI names; with `create` its key is made if it is not there.

    `UsageError`, `KeyServiceError`, `DriverMissingError`.
    """
    uri = parse_uri(text)
    if uri.scheme == "pkcs11":
        from holdfast.repository.pkcs11_service import Pkcs11Service

        return Pkcs11Service(uri, env, create=create)
    from holdfast.repository.transit_service import TransitService

    return TransitService(uri, create=create)


def payload(secret: bytes, context: bytes) -> bytes:
    """Return what a service seals: the secret, and a digest of what it is for (not every mechanism has associated data)."""
    return secret + hashlib.sha256(context).digest()


def secret_in(opened: bytes, context: bytes) -> bytes:
    """Return the secret in what a service opened. `KeyServiceError` if it was sealed for something else."""
    secret, digest = opened[:SECRET_BYTES], opened[SECRET_BYTES:]
    if len(secret) != SECRET_BYTES or not hmac.compare_digest(digest, hashlib.sha256(context).digest()):
        raise KeyServiceError("what the key service opened was sealed for another vault")
    return secret
