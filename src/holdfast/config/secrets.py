"""References to secrets. A configuration names where a secret is and never holds it."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.base.values import dataclass
from holdfast.errors import ConfigError

__all__ = ["SecretRef"]

SECRET_BYTES_MAX = 65536


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is: `file:/etc/holdfast/vault.key` or `env:HOLDFAST_PASSPHRASE`."""

    scheme: str
    place: str

    @classmethod
    def parse(cls, text: str) -> SecretRef:
        """Read a reference. `ValueError`, which does not repeat the text, if it is none: it may be the secret itself."""
        scheme, separator, place = text.partition(":")
        if not separator or scheme not in {"file", "env"} or not place:
            message = "a secret is given by reference: `file:/path` or `env:NAME`, never as a value"
            raise ValueError(message)
        return cls(scheme, place)

    def __str__(self) -> str:
        return f"{self.scheme}:{self.place}"

    def reveal(self, environ: Mapping[str, str]) -> str:
        """Return the secret: the variable's value, or the file's text without its last line break.

        `ConfigError` if there is no such variable, or the file cannot be read or is longer than 64 KiB.
        """
        if self.scheme == "env":
            value = environ.get(self.place)
            if value is None:
                raise ConfigError(f"the environment has no variable {self.place}, which the configuration refers to")
            return value
        try:
            with open(self.place, "rb") as file:
                content = file.read(SECRET_BYTES_MAX + 1)
            text = content.decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
            raise ConfigError(f"the file of a secret cannot be read: {reason}") from error
        if len(content) > SECRET_BYTES_MAX:
            raise ConfigError(f"the file of a secret is longer than {SECRET_BYTES_MAX} bytes")
        return text.removesuffix("\n")
