"""Read a configuration: all faults at once, each with its line, and the origin of every value."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from holdfast.base.values import dataclass
from holdfast.config.checks import BESIDE, CHECKS
from holdfast.config.lines import Key, line_of, lines_of
from holdfast.config.mended import mend
from holdfast.config.options import option_for, options
from holdfast.config.schema import Settings
from holdfast.errors import ConfigError

__all__ = ["Config", "Origin", "check_key", "load", "loads"]

CONFIG_BYTES_MAX = 4 << 20


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value is from: `default`, `file` (with file and line) or `environment` (with the variable's name)."""

    kind: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.place}".strip()


@dataclass(frozen=True, slots=True)
class Config:
    """A valid configuration. `settings` holds every value; :meth:`origin` says where each is from."""

    settings: Settings
    name: str
    origins: Mapping[str, Origin]

    def origin(self, key: str) -> Origin:
        """Return where the value of a dotted key is from; `default` for what was not said."""
        return self.origins.get(key, Origin("default"))

    def value(self, key: str) -> object:
        """Return the value of a dotted key such as `jobs.ehr.classes.0.pattern`. `KeyError` if there is none."""
        found: Any = self.settings
        for part in key.split("."):
            if isinstance(found, dict):
                found = found[part]
            elif isinstance(found, tuple):
                if not part.isdecimal() or int(part) >= len(found):
                    raise KeyError(key)
                found = found[int(part)]
            elif part in type(found).model_fields:
                found = getattr(found, part)
            else:
                raise KeyError(key)
        return found


_OF_POLICIES = frozenset({"policies", "tiers", "stores", "spool"})
Further = Callable[[Settings], Iterable[str]]
"""Checks of a layer above: every fault as `key: sentence`. Made only beside other faults; else whoever opens the vault makes them."""


def load(
    path: str | os.PathLike[str], environ: Mapping[str, str] | None = None, *, further: Further | None = None
) -> Config:
    """Read a TOML file. Variables of `environ` (the process's own by default) go before what the file says.

    `ConfigError` lists every fault, those that `further` finds included; also if the file cannot be read, is no TOML, or is
    longer than 4 MiB.
    """
    name = os.path.basename(os.fspath(path))
    try:
        with open(path, "rb") as file:
            content = file.read(CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(
            f"the configuration {name} cannot be read: {error.strerror}", next="check its name."
        ) from error
    if len(content) > CONFIG_BYTES_MAX:
        raise ConfigError(f"the configuration {name} is longer than {CONFIG_BYTES_MAX} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"the configuration {name} is not UTF-8: byte {error.start}") from error
    return loads(text, name, environ, further=further)


def loads(
    text: str,
    name: str = "holdfast.toml",
    environ: Mapping[str, str] | None = None,
    *,
    further: Further | None = None,
) -> Config:
    """Read a configuration from a text; see :func:`load`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the configuration {name} is not valid TOML", problems=(f"{error}",)) from error
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits; thousands of brackets
        raise ConfigError(f"the configuration {name} is beyond what any TOML reader takes") from error
    lines = lines_of(text)
    overlaid = _overlay(document, os.environ if environ is None else environ)
    try:
        settings = Settings.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        problems = [_problem(detail, name, lines) for detail in details]
        problems += _faults_of_the_rest(document, details, name, lines, further)
        raise _refused(name, problems) from None
    problems = [_fault(key, message, name, lines) for _, check in CHECKS for key, message in check(settings)]
    if problems:
        problems += [_fault(key, message, name, lines) for _, check in BESIDE for key, message in check(settings)]
        problems += _further(further, settings, lambda key: key, name, lines)
        raise _refused(name, problems)
    origins = {_dotted(key): Origin("file", f"{name}:{line}") for key, line in lines.items()}
    origins.update(_element_origins(document, (), name, lines))
    return Config(settings, name, origins | overlaid)


def _refused(name: str, problems: list[str]) -> ConfigError:
    problems = [*dict.fromkeys(problems)]
    count = f"{len(problems)} faults" if len(problems) > 1 else "1 fault"
    return ConfigError(f"the configuration {name} has {count}", problems=tuple(problems))


def _faults_of_the_rest(
    document: dict[str, Any],
    details: Sequence[ErrorDetails],
    name: str,
    lines: dict[Key, int],
    further: Further | None,
) -> list[str]:
    """Write the faults between options of a configuration that has other faults, so that all are known at once."""
    rest = mend(document, details)
    if rest is None:
        return []
    found = (
        (rest.key_of(key), message)
        for tables, check in (*CHECKS, *BESIDE)
        if not tables & rest.broken
        for key, message in check(rest.settings)
    )
    faults = [_fault(key, message, name, lines) for key, message in found if key is not None]
    if rest.broken.isdisjoint(_OF_POLICIES):
        faults += _further(further, rest.settings, rest.key_of, name, lines)
    return faults


def _further(
    further: Further | None,
    settings: Settings,
    key_of: Callable[[Key], Key | None],
    name: str,
    lines: dict[Key, int],
) -> list[str]:
    """Write what the checks of a layer above find in tables that nothing was taken out of."""
    found = []
    for text in further(settings) if further is not None else ():
        dotted, _, message = text.partition(": ")
        key = key_of(tuple(int(part) if part.isdigit() else part for part in dotted.split(".")))
        if key is not None and key[0] in _OF_POLICIES:
            found.append(_fault(key, message, name, lines))
    return found


def _fault(key: Key, message: str, name: str, lines: dict[Key, int]) -> str:
    line = line_of(lines, key)
    return f"{name}:{line}: {_dotted(key)}: {message}" if line is not None else f"{name}: {_dotted(key)}: {message}"


def _overlay(document: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Origin]:
    """Put values from the environment over those of the file."""
    found = {}
    for option in options():
        value = environ.get(option.env, "") if option.env else ""
        if not value:
            continue
        table = document
        *parents, last = option.key.split(".")
        for parent in parents:
            table = table.setdefault(parent, {})
        if isinstance(table, dict):
            table[last] = f"file:{value}" if option.secret and not value.startswith(("file:", "env:")) else value
            found[option.key] = Origin("environment", option.env)
    return found


def _element_origins(value: object, key: Key, name: str, lines: dict[Key, int]) -> dict[str, Origin]:
    """Give values inside inline tables and lists the line of what holds them."""
    found = {}
    if key and (line := line_of(lines, key)) is not None:
        found[_dotted(key)] = Origin("file", f"{name}:{line}")
    if isinstance(value, dict):
        for part, inner in value.items():
            found.update(_element_origins(inner, (*key, part), name, lines))
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            found.update(_element_origins(inner, (*key, place), name, lines))
    return found


def _problem(detail: ErrorDetails, name: str, lines: dict[Key, int]) -> str:
    """Write one fault: where, which key, what is wrong. Never the value: it may be a secret."""
    key = tuple(part for part in detail["loc"] if part != "[key]")
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message = "no such key" + _suggestion(key)
    elif detail["type"] == "missing":
        message = "is required"
    return _fault(key, message, name, lines)


def _suggestion(key: Key) -> str:
    parent = [str(part) for part in key[:-1]]
    siblings = {
        option.key.split(".")[len(parent)]
        for option in options()
        if len(option.key.split(".")) > len(parent)
        and all(a in ("*", b) for a, b in zip(option.key.split("."), parent, strict=False))
    }
    near = difflib.get_close_matches(str(key[-1]), siblings - {"*"}, n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def _dotted(key: Key) -> str:
    return ".".join(str(part) for part in key)


def check_key(key: str) -> None:
    """Raise `ConfigError` unless a dotted key is one of the schema's."""
    if option_for(key) is None:
        parts: Key = tuple(key.split("."))
        raise ConfigError(f"there is no option {key}{_suggestion(parts)}", next="`holdfast config sample` shows all.")
