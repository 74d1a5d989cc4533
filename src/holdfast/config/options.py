"""The options as a list: what the manual, the sample and `holdfast config explain` say comes from here."""

from __future__ import annotations

import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from holdfast.base.units import format_bytes, format_seconds
from holdfast.base.values import dataclass
from holdfast.config.schema import Settings
from holdfast.config.secrets import SecretRef

__all__ = ["Option", "list_sections", "option_for", "options", "readable", "sections"]

_TYPES = {bool: "boolean", int: "whole number", float: "number", str: "text", SecretRef: "reference to a secret"}


@dataclass(frozen=True, slots=True)
class Option:
    """One setting. `key` is its dotted name, with `*` for the name of a job or the place in a list."""

    key: str
    kind: str
    sentence: str
    default: object
    required: bool
    unit: str
    limits: str
    env: str

    @property
    def secret(self) -> bool:
        """Whether it refers to a secret."""
        return self.kind == "reference to a secret"

    @property
    def default_text(self) -> str:
        """The default as people read it."""
        return "required" if self.required else readable(self.default, self.unit)


def readable(value: object, unit: str = "") -> str:
    """Write a value as people read it, with its unit."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and unit.startswith("bytes"):
        return format_bytes(value) + unit.removeprefix("bytes").replace(" per second", "/s")
    if isinstance(value, int) and unit == "seconds":
        return format_seconds(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(readable(item) for item in value) + "]"
    if isinstance(value, str | SecretRef):
        return f'"{value}"'
    return f"{value}"


@cache
def options() -> tuple[Option, ...]:
    """Return every option there is, in the order of the schema."""
    return tuple(_options_of(Settings, ""))


def option_for(key: str) -> Option | None:
    """Return the option of a dotted key such as `jobs.ehr.paths` or `jobs.*.paths`; None if there is none."""
    parts = key.split(".")
    for option in options():
        pattern = option.key.split(".")
        if len(pattern) == len(parts) and all(p in ("*", part) for p, part in zip(pattern, parts, strict=True)):
            return option
    return None


def sections() -> dict[str, str]:
    """Return the sentence of each table of the file, by its dotted key."""
    return dict(_sections_of(Settings, ""))


def list_sections() -> frozenset[str]:
    """Return the tables of the file that stand in lists, by their dotted keys: `jobs.*.classes.*`."""
    return frozenset(_lists_of(Settings, ""))


def _lists_of(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        key, inner, _ = _unfold(f"{prefix}{name}", field.annotation)
        if inner is not None:
            if get_origin(field.annotation) is tuple:
                yield key
            yield from _lists_of(inner, f"{key}.")


def _sections_of(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        key, inner, _ = _unfold(f"{prefix}{name}", field.annotation)
        if inner is not None:
            yield key, (inner.__doc__ or "").strip()
            yield from _sections_of(inner, f"{key}.")


def _options_of(model: type[BaseModel], prefix: str) -> Iterator[Option]:
    for name, field in model.model_fields.items():
        key, inner, kind = _unfold(f"{prefix}{name}", field.annotation)
        if inner is not None:
            yield from _options_of(inner, f"{key}.")
        else:
            yield _option_of(key, kind, field)


def _option_of(key: str, kind: str, field: FieldInfo) -> Option:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    unit = str(extra.get("unit", ""))
    return Option(
        key=key,
        kind=kind,
        sentence=field.description or "",
        default=None if field.is_required() else field.default,
        required=field.is_required(),
        unit=unit,
        limits=_limits(field, unit),
        env=str(extra.get("env", "")),
    )


def _limits(field: FieldInfo, unit: str) -> str:
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    found = {
        name: getattr(part, name)
        for part in field.metadata
        for name in words
        if isinstance(getattr(part, name, None), int | float)
    }
    return ", ".join(f"{words[name]} {readable(value, unit)}" for name, value in found.items())


def _unfold(key: str, annotation: Any) -> tuple[str, type[BaseModel] | None, str]:  # noqa: ANN401 - annotations are of any kind
    """Return the key, the model inside (for a table, tables by name, or a list of tables), and the kind of value."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _unfold(key, arguments[0])
    if origin in (Union, types.UnionType):
        kinds = [part for part in arguments if part is not type(None)]
        return _unfold(key, kinds[0])
    if origin is dict:
        inner_key, model, kind = _unfold(f"{key}.*", arguments[1])
        return (inner_key, model, kind) if model is not None else (key, None, f"table of {kind}s")
    if origin is Literal:
        return key, None, "one of " + ", ".join(f"`{word}`" for word in arguments)
    if origin is tuple:
        inner_key, model, kind = _unfold(f"{key}.*", arguments[0])
        return (inner_key, model, kind) if model is not None else (key, None, f"list of {kind}s")
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return key, annotation, ""
    return key, None, _TYPES.get(annotation, "text")
