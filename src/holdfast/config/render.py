"""What people read about the configuration: the manual, a sample file, an option explained, the values in force."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from holdfast.config.load import Config, check_key
from holdfast.config.options import Option, list_sections, option_for, options, readable, sections

__all__ = ["explain", "manual", "sample", "show"]

_SAMPLE_VALUES = {
    "vault.url": '"/backup/vault"',
    "collectors.*.host": '"siem"',
    "vault.key_file": '"file:/etc/holdfast/vault.key"',
    "policies.*.stores": '["home", "second"]',
    "policies.*.moves.*.after": '"90d"',
    "policies.*.moves.*.stores": '["second", "cold"]',
    "jobs.*.paths": '["/srv/ehr"]',
    "jobs.*.classes.*.pattern": '"/srv/ehr/public/"',
    "jobs.*.classes.*.name": '"public"',
    "stores.*.url": '"s3://hospital-backup/vault"',
    "governor.probes.*.sql": '"postgresql://probe@localhost/ehr"',
    "windows.*.days": '["workday"]',
    "windows.*.start": '"07:00"',
    "windows.*.end": '"18:00"',
    "jobs.*.streams.*.path": '"/dumps/ehr.sql"',
    "services.*.checks.*.name": '"patients"',
    "services.*.criticality": '"vital"',
    "jobs.*.streams.*.command": '["pg_dump", "ehr"]',
    "schedule.*.job": '"ehr"',
    "schedule.*.cron": '"30 2 * * *"',
    "channels.*.kind": '"file"',
    "channels.*.path": '"/var/log/holdfast-alerts"',
    "contacts.*.channels": '["log"]',
    "escalation.levels.*.contacts": '["on-call"]',
    "escalation.rows.*.safety": '"at risk"',
    "escalation.rows.*.retry": '"never"',
    "applications.*.connector": '"postgresql"',
}
_SAMPLE_NAMES = {"jobs": "ehr", "schedule": "ehr-nightly", "channels": "log", "contacts": "on-call"}
_SAMPLE_SET = {"vault.url", "vault.key_file", "jobs.*.paths"}


def manual() -> str:
    """Return docs/config.md."""
    lines = [
        "# Configuration",
        "",
        "Generated from `src/holdfast/config/schema`; a test compares. `holdfast config sample` prints a file to start from,",
        "`holdfast config check` lists all faults of one at once, `holdfast config show` says what is in force and where each",
        "value is from, `holdfast config explain KEY` explains one.",
        "",
        "The file is TOML. Sizes are numbers of bytes or texts such as `64MiB` and `500MB`; times are seconds or texts such as",
        "`15m` and `7d`. A secret is given by reference (`file:/path`, `env:NAME`), never as a value.",
    ]
    titles = sections()
    for section in titles:
        lines += [
            "",
            f"## `{_table(section)}`",
            "",
            titles[section],
            "",
            "| key | takes | default | meaning |",
            "|---|---|---|---|",
        ]
        lines += [_row(option) for option in _direct(section)]
    return "\n".join(lines) + "\n"


def _table(section: str) -> str:
    """Return a table as its header in the file: named tables as `[jobs.NAME]`, lists of tables as `[[jobs.NAME.classes]]`."""
    if section in list_sections():
        return f"[[{section.removesuffix('.*').replace('*', 'NAME')}]]"
    return f"[{section.replace('*', 'NAME')}]"


def _direct(section: str) -> Iterator[Option]:
    return (option for option in options() if option.key.rpartition(".")[0] == section)


def _row(option: Option) -> str:
    takes = ", ".join(part for part in (option.kind, option.unit if not option.secret else "", option.limits) if part)
    env = f" The variable `{option.env}` goes before it." if option.env else ""
    return f"| `{option.key.rpartition('.')[2]}` | {takes} | {option.default_text} | {option.sentence}{env} |"


def sample() -> str:
    """Return a configuration that is valid as it stands, with every option, explained and set to its default."""
    lines = [
        "# Holdfast. Lines that begin with `# ` and a key show the default; `holdfast config explain KEY` says more."
    ]
    for section, sentence in sections().items():
        table = section.partition(".")[0]
        shown = _table(section).replace("NAME", _SAMPLE_NAMES.get(table, "main"))
        optional = "*" in section and section != "jobs.*"
        lines += ["", f"# {sentence}", f"# {shown}" if optional else shown]
        for option in _direct(section):
            value = _SAMPLE_VALUES.get(option.key) or _toml(option.default)
            mark = "" if option.key in _SAMPLE_SET else "# "
            unit = f" ({option.unit})" if option.unit and not option.secret else ""
            lines += [f"# {option.sentence}{unit}", f"{mark}{option.key.rpartition('.')[2]} = {value}"]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    """Write a default as TOML."""
    if value is None:
        return '""'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return "[]"
    return f'"{value}"' if isinstance(value, str) else f"{value}"


def explain(key: str, config: Config | None = None) -> str:
    """Return what one option is: its sentence, what it takes, its default and, with a configuration, its value and origin.

    `ConfigError` if there is no such option.
    """
    check_key(key)
    option = option_for(key)
    if option is None:  # pragma: no cover - check_key raised
        return ""
    lines = [key, f"  {option.sentence}", f"  takes    {option.kind}{f' ({option.unit})' if option.unit else ''}"]
    if option.limits:
        lines.append(f"  limits   {option.limits}")
    lines.append(f"  default  {option.default_text}")
    if option.env:
        lines.append(f"  variable {option.env}")
    if config is not None and "*" not in key:
        try:
            value = config.value(key)
        except KeyError:
            lines.append("  value    none: the configuration has no such table")
        else:
            lines.append(f"  value    {readable(value, option.unit)}")
            lines.append(f"  from     {config.origin(key)}")
    return "\n".join(lines) + "\n"


def show(config: Config) -> Iterator[tuple[str, str, str]]:
    """Yield every value in force: dotted key, value as people read it, origin. Secrets are references."""
    for key, value in _values(config.settings, ""):
        option = option_for(key)
        yield key, readable(value, option.unit if option else ""), str(config.origin(key))


def _values(value: object, key: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _values(getattr(value, name), f"{key}.{name}" if key else name)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _values(inner, f"{key}.{name}")
    elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
        for place, inner in enumerate(value):
            yield from _values(inner, f"{key}.{place}")
    else:
        yield key, value
