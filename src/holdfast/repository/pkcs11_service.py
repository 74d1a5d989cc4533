"""A wrapping key in a PKCS#11 token: an AES key by AES-GCM, or an RSA pair by OAEP; which of them is tried when a slot is made.

The key never leaves the token. A slot names the mechanism that sealed it, so that a token which learns a better one later still
opens it. Tokens differ: SoftHSM 2.6 refuses OAEP with SHA-256, for instance, and says so only when it is tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from holdfast.errors import DriverMissingError, KeyServiceError, UsageError
from holdfast.repository.key_services import ServiceUri, payload, secret_in

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

AES_GCM, OAEP_SHA256, OAEP_SHA1 = "AES-GCM", "RSA-OAEP-SHA256", "RSA-OAEP-SHA1"
IV_BYTES, TAG_BITS, KEY_BITS = 12, 128, 256


def _driver() -> Any:  # noqa: ANN401 - an optional library
    try:
        import pkcs11
    except ImportError:
        raise DriverMissingError(
            "the library that speaks to PKCS#11 tokens is not installed",
            safe="nothing was read or written.",
            next="install it: `pip install holdfast[hsm]`.",
        ) from None
    return pkcs11


class Pkcs11Service:
    """A key of a token. Each call opens a session of its own and closes it."""

    method = "pkcs11"

    def __init__(self, uri: ServiceUri, env: Environment, *, create: bool = False) -> None:
        """Take the URI; with `create` an AES key is made where there is no key of that name."""
        self._uri = uri
        self._env = env
        self._create = create
        lacking = [name for name in ("token", "object") if not uri.attributes.get(name)]
        if lacking or not uri.query.get("module-path"):
            raise UsageError("a pkcs11: URI needs token=, object= and ?module-path=", next="see docs/keys.md.")

    def seal(self, secret: bytes, context: bytes) -> tuple[bytes, str]:
        """Seal a secret by the first mechanism that the token does and undoes. `KeyServiceError` if there is none."""
        data = payload(secret, context)
        with self._session() as (driver, session):
            for mechanism, keys in self._candidates(driver, session):
                try:
                    sealed = self._seal(driver, mechanism, keys, data)
                    if self._open(driver, mechanism, keys, sealed) == data:
                        return sealed, mechanism
                except driver.exceptions.PKCS11Error:
                    continue
        raise KeyServiceError("the token's key does none of the mechanisms that a slot can use")

    def open(self, sealed: bytes, mechanism: str, context: bytes) -> bytes | None:
        """Open what this key sealed; None if the token has no such key, or another one sealed it."""
        with self._session() as (driver, session):
            for known, keys in self._candidates(driver, session):
                if known != mechanism:
                    continue
                try:
                    return secret_in(self._open(driver, mechanism, keys, sealed), context)
                except driver.exceptions.PKCS11Error:
                    return None
        return None

    @contextmanager
    def _session(self) -> Iterator[tuple[Any, Any]]:
        driver = _driver()
        pin = self._uri.secret("pin-source")
        try:
            token = driver.lib(self._uri.query["module-path"]).get_token(token_label=self._uri.attributes["token"])
            with token.open(user_pin=pin, rw=self._create) as session:
                yield driver, session
        except driver.exceptions.PinIncorrect:
            raise KeyServiceError(
                "the token does not accept the PIN",
                next="correct the file with the PIN; tokens lock after a few attempts.",
            ) from None
        except (driver.exceptions.PKCS11Error, RuntimeError, OSError) as error:
            # The text of such an error may quote what it was given; its type says enough.
            raise KeyServiceError(f"the PKCS#11 token cannot be used ({type(error).__name__})") from None

    def _candidates(self, driver: Any, session: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:  # noqa: ANN401 - the driver's own
        """Yield mechanism and keys, for sealing and opening, in the order in which they are preferred."""
        label, kinds = self._uri.attributes["object"], driver.ObjectClass

        def find(kind: Any) -> Any:  # noqa: ANN401 - the driver's own
            return next(iter(session.get_objects({driver.Attribute.CLASS: kind, driver.Attribute.LABEL: label})), None)

        secret = find(kinds.SECRET_KEY)
        public, private = find(kinds.PUBLIC_KEY), find(kinds.PRIVATE_KEY)
        if self._create and secret is None and private is None:
            rules = {driver.Attribute.SENSITIVE: True, driver.Attribute.EXTRACTABLE: False}
            secret = session.generate_key(driver.KeyType.AES, KEY_BITS, label=label, store=True, template=rules)
        if secret is not None:
            yield AES_GCM, (secret, secret)
        if public is not None and private is not None:
            yield OAEP_SHA256, (public, private)
            yield OAEP_SHA1, (public, private)

    def _seal(self, driver: Any, mechanism: str, keys: tuple[Any, Any], data: bytes) -> bytes:  # noqa: ANN401 - the driver's own
        if mechanism == AES_GCM:
            nonce = self._env.random_bytes(IV_BYTES)
            return nonce + bytes(keys[0].encrypt(data, **_gcm(driver, nonce)))
        return bytes(keys[0].encrypt(data, **_OAEP[mechanism](driver)))

    @staticmethod
    def _open(driver: Any, mechanism: str, keys: tuple[Any, Any], sealed: bytes) -> bytes:  # noqa: ANN401 - the driver's own
        if mechanism == AES_GCM:
            return bytes(keys[1].decrypt(sealed[IV_BYTES:], **_gcm(driver, sealed[:IV_BYTES])))
        return bytes(keys[1].decrypt(sealed, **_OAEP[mechanism](driver)))


def _gcm(driver: Any, nonce: bytes) -> dict[str, Any]:  # noqa: ANN401 - the driver's own
    params = driver.GCMParams(nonce, b"holdfast/1 slot", TAG_BITS)
    return {"mechanism": driver.Mechanism.AES_GCM, "mechanism_param": params}


def _oaep_sha256(driver: Any) -> dict[str, Any]:  # noqa: ANN401 - the driver's own
    kinds = driver.Mechanism.SHA256, driver.MGF.SHA256
    return {"mechanism": driver.Mechanism.RSA_PKCS_OAEP, "mechanism_param": (*kinds, None)}


def _oaep_sha1(driver: Any) -> dict[str, Any]:  # noqa: ANN401 - the driver's own
    kinds = driver.Mechanism.SHA_1, driver.MGF.SHA1
    return {"mechanism": driver.Mechanism.RSA_PKCS_OAEP, "mechanism_param": (*kinds, None)}


_OAEP: dict[str, Callable[[Any], dict[str, Any]]] = {OAEP_SHA256: _oaep_sha256, OAEP_SHA1: _oaep_sha1}
