"""What options are declared with: types that read what people write, the declaration itself, and a section of them."""

from __future__ import annotations

import urllib.parse
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.types import StrictInt, StrictStr

from holdfast.base.units import parse_bytes, parse_seconds
from holdfast.config.secrets import SecretRef

__all__ = [
    "DAY",
    "GIB",
    "MIB",
    "BaseUrl",
    "Listen",
    "Name",
    "Seconds",
    "Secret",
    "Section",
    "Size",
    "Text",
    "Texts",
    "option",
]

MIB = 1 << 20
GIB = 1 << 30
DAY = 86400
_PORT_MAX = 65535


def _size(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


def _seconds(value: object) -> object:
    return parse_seconds(value) if isinstance(value, str) else value


def _secret(value: object) -> object:
    return SecretRef.parse(value) if isinstance(value, str) else value


def _listen(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if text and (not colon or not port.isascii() or not port.isdecimal() or not 0 < int(port) <= _PORT_MAX):
        raise ValueError("must be HOST:PORT with a port from 1 to 65535")
    if any(letter.isspace() for letter in host) or (":" in host and not (host.startswith("[") and host.endswith("]"))):
        raise ValueError("must be HOST:PORT; an address with colons stands in brackets")
    return text


def _base_url(text: str) -> str:
    if text:
        try:
            parts = urllib.parse.urlsplit(text)
            fits = bool(parts.hostname) and parts.port != 0
        except ValueError:
            fits = False
        if not fits:
            raise ValueError("must be a URL with a host, and a port from 1 to 65535 if it names one")
    return text


Size = Annotated[StrictInt, BeforeValidator(_size)]
Seconds = Annotated[StrictInt, BeforeValidator(_seconds)]
Secret = Annotated[SecretRef, BeforeValidator(_secret)]
Name = Annotated[StrictStr, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Text = Annotated[StrictStr, StringConstraints(min_length=1, max_length=4096)]
Listen = Annotated[StrictStr, StringConstraints(max_length=4096), AfterValidator(_listen)]
BaseUrl = Annotated[
    StrictStr, StringConstraints(pattern=r"^(https?://[^\s@]+)?$", max_length=4096), AfterValidator(_base_url)
]
Texts = Annotated[tuple[Text, ...], Field(max_length=10_000)]


def option(default: object, sentence: str, *, unit: str = "", env: str = "", **limits: Any) -> Any:  # noqa: ANN401 - as Field
    """Declare an option. `limits` are pydantic's `ge`, `gt`, `le`; `env` names a variable that goes before the file."""
    return Field(default, description=sentence, json_schema_extra={"unit": unit, "env": env}, **limits)


class Section(BaseModel):
    """A table of options: nothing that is not declared, and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_default=True)
