"""Doubles of key services: one in memory, and a transit engine that speaks Vault's HTTP protocol on this machine."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.errors import KeyServiceError
from holdfast.repository.key_services import payload, secret_in

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["MemoryKeyService", "TransitDouble", "transit_double"]

NONCE_BYTES = 12


class MemoryKeyService:
    """A key service in memory. `down`: it does not answer."""

    method = "pkcs11"

    def __init__(self, env: Environment) -> None:
        """Make its key."""
        self._env = env
        self._key = AESGCM(env.random_bytes(32))
        self.down = False

    def seal(self, secret: bytes, context: bytes) -> tuple[bytes, str]:
        """Seal a secret."""
        nonce = self._env.random_bytes(NONCE_BYTES)
        return nonce + self._key.encrypt(nonce, payload(secret, context), b""), "AES-GCM"

    def open(self, sealed: bytes, mechanism: str, context: bytes) -> bytes | None:  # noqa: ARG002 - as the protocol
        """Open what this key sealed."""
        if self.down:
            raise KeyServiceError("the service does not answer (a test's fault)")
        try:
            return secret_in(self._key.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], b""), context)
        except InvalidTag:
            return None


class TransitDouble:
    """What a transit engine answers: `encrypt`, `decrypt`, `keys` under one mount, with a token; `status` answers that instead.

    It follows the HTTP API of Vault's transit engine as far as Holdfast uses it. It is no Vault: tokens, policies and storage are not.
    """

    def __init__(self, env: Environment, token: str) -> None:
        """Have no key yet."""
        self._env = env
        self._token = token
        self._keys: dict[str, list[AESGCM]] = {}
        self.status = 0
        self.body: bytes | None = None
        self.asked: list[str] = []

    def rotate(self, key: str) -> None:
        """Add a version to a key, as `keys/KEY/rotate` does: what older versions sealed still opens."""
        self._keys[key].append(AESGCM(self._env.random_bytes(32)))

    def answer(self, path: str, token: str, body: dict[str, str]) -> tuple[int, bytes]:
        """Return status and content of an answer."""
        self.asked.append(path)
        if self.status:
            return self.status, self.body or b""
        if token != self._token:
            return 403, b'{"errors":["permission denied"]}'
        verb, _, key = path.removeprefix("/v1/transit/").partition("/")
        if verb == "keys":
            if key not in self._keys:
                self._keys[key] = []
                self.rotate(key)
            return 204, b""
        if key not in self._keys:
            return 400, b'{"errors":["encryption key not found"]}'
        return self._use(verb, self._keys[key], body)

    def _use(self, verb: str, versions: list[AESGCM], body: dict[str, str]) -> tuple[int, bytes]:
        if verb == "encrypt":
            nonce = self._env.random_bytes(NONCE_BYTES)
            sealed = nonce + versions[-1].encrypt(nonce, base64.b64decode(body["plaintext"]), None)
            text = f"vault:v{len(versions)}:{base64.b64encode(sealed).decode()}"
            return 200, json.dumps({"data": {"ciphertext": text}}).encode()
        _, version, text = body["ciphertext"].split(":")
        sealed = base64.b64decode(text)
        try:
            plain = versions[int(version[1:]) - 1].decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
        except (InvalidTag, IndexError):
            return 400, b'{"errors":["invalid ciphertext"]}'
        return 200, json.dumps({"data": {"plaintext": base64.b64encode(plain).decode()}}).encode()


@contextmanager
def transit_double(double: TransitDouble) -> Iterator[int]:
    """Serve a double on this machine; yield its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            token = self.headers.get("X-Vault-Token", "")
            status, answer = double.answer(self.path, token, json.loads(content))
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
