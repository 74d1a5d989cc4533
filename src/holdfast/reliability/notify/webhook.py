"""A webhook: one signed POST of JSON over HTTP or HTTPS.

With a key, the header `Holdfast-Signature: t=SECONDS,v1=HEX` proves origin and time: HEX is HMAC-SHA-256, under the key, of
`SECONDS.BODY`. The receiver compares it in constant time and refuses what is older than a few minutes.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import urllib.parse
from collections.abc import Mapping

from holdfast.base.environment import Environment
from holdfast.config import ChannelSettings
from holdfast.errors import ChannelError, ConfigError
from holdfast.reliability.notify.protocol import Message, Receipt
from holdfast.reliability.notify.tls import trust
from holdfast.reliability.retry import RETRY_AFTER

__all__ = ["Webhook", "make", "sign"]

_ANSWER_BYTES_MAX = 65536
_TOO_MANY, _UNAVAILABLE = 429, 503


def sign(key: bytes, second: int, body: bytes) -> str:
    """Return the value of `Holdfast-Signature`."""
    code = hmac.new(key, f"{second}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={second},v1={code}"


class Webhook:
    """An address that takes messages. Redirects are not followed: a signed message goes where it was told to, or nowhere."""

    def __init__(self, name: str, settings: ChannelSettings, environ: Mapping[str, str], env: Environment) -> None:
        """Read address and key. `ConfigError` if the address is none of HTTP."""
        self.name = name
        self._settings = settings
        self._env = env
        self._key = settings.key.reveal(environ).encode() if settings.key else b""
        parts = urllib.parse.urlsplit(settings.url.reveal(environ).strip() if settings.url else "")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ConfigError(f"the address of the channel {name} is none of HTTP or HTTPS")
        self._parts = parts

    def send(self, message: Message) -> Receipt:
        """Post it. What an answer of 429 or 503 asks for with `Retry-After` is a fact of the error: who retries heeds it."""
        status, wait = self._post(message)
        if not 200 <= status < 300:  # noqa: PLR2004 - success in HTTP
            refused = ChannelError(f"the webhook of {self.name} answered with status {status}")
            if status in {_TOO_MANY, _UNAVAILABLE} and wait is not None:
                refused.facts[RETRY_AFTER] = wait
            raise refused
        return Receipt(f"HTTP {status}")

    def _post(self, message: Message) -> tuple[int, float | None]:
        body = json.dumps(message.record(), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "holdfast"}
        if self._key:
            headers["Holdfast-Signature"] = sign(self._key, int(self._env.now().timestamp()), body)
        host, port, seconds = self._parts.hostname or "", self._parts.port, self._settings.timeout_seconds
        connection: http.client.HTTPConnection
        if self._parts.scheme == "https":
            context = trust(self._settings.ca_file)
            connection = http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=seconds)
        path = self._parts.path or "/"
        try:
            connection.request("POST", f"{path}?{self._parts.query}" if self._parts.query else path, body, headers)
            answer = connection.getresponse()
            answer.read(_ANSWER_BYTES_MAX)
            return answer.status, _seconds(answer.headers.get("Retry-After"))
        except (OSError, http.client.HTTPException) as error:
            reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
            raise ChannelError(f"the webhook of {self.name} was not reached: {reason}") from None
        finally:
            connection.close()


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.strip().isdecimal() else None


def make(name: str, settings: ChannelSettings, environ: Mapping[str, str], env: Environment) -> Webhook:
    """Make the channel."""
    return Webhook(name, settings, environ, env)
