"""Every setting once: its type, limits, unit, default and sentence. All else about configuration is derived from here."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.types import StrictBool, StrictFloat, StrictInt, StrictStr

from holdfast.base.defaults import PACK_BYTES, PACK_BYTES_MAX
from holdfast.base.units import parse_bytes, parse_seconds
from holdfast.config.secrets import SecretRef

__all__ = [
    "BackupSettings",
    "ClassRuleSettings",
    "JobSettings",
    "LimitSettings",
    "PruneSettings",
    "RetentionSettings",
    "Settings",
    "StreamSettings",
    "VaultSettings",
    "VerifySettings",
]

MIB = 1 << 20
GIB = 1 << 30
DAY = 86400


def _size(value: object) -> object:
    return parse_bytes(value) if isinstance(value, str) else value


def _seconds(value: object) -> object:
    return parse_seconds(value) if isinstance(value, str) else value


def _secret(value: object) -> object:
    return SecretRef.parse(value) if isinstance(value, str) else value


Size = Annotated[StrictInt, BeforeValidator(_size)]
Seconds = Annotated[StrictInt, BeforeValidator(_seconds)]
Secret = Annotated[SecretRef, BeforeValidator(_secret)]
Name = Annotated[StrictStr, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Text = Annotated[StrictStr, StringConstraints(min_length=1, max_length=4096)]
Texts = Annotated[tuple[Text, ...], Field(max_length=10_000)]


def _option(default: object, sentence: str, *, unit: str = "", env: str = "", **limits: Any) -> Any:  # noqa: ANN401 - as Field
    """Declare an option. `limits` are pydantic's `ge`, `gt`, `le`; `env` names a variable that goes before the file."""
    return Field(default, description=sentence, json_schema_extra={"unit": unit, "env": env}, **limits)


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, validate_default=True)


class VaultSettings(_Section):
    """Which vault, and with which secret it is opened."""

    url: Text = _option(..., "The folder that holds the vault.", env="HOLDFAST_VAULT")
    key_file: Secret | None = _option(
        None, "The key file that opens the vault, as `file:/path`.", unit="reference", env="HOLDFAST_KEY_FILE"
    )
    passphrase: Secret | None = _option(
        None, "A passphrase that opens the vault, as `file:/path` or `env:NAME`.", unit="reference"
    )
    credential: Secret | None = _option(
        None,
        "A writer's credential, as `file:/path`: it can add backups and read none, which is all a backed-up host needs.",
        unit="reference",
    )


class ClassRuleSettings(_Section):
    """A rule that gives files their data class."""

    pattern: Text = _option(..., "A gitignore-like pattern. The last rule that matches decides.")
    name: Name = _option(
        ..., "The data class: `phi-restricted`, `phi`, `imaging`, `database`, `operational`, `system`, `public`."
    )


class StreamSettings(_Section):
    """The output of a command, stored as one file."""

    path: Text = _option(..., "Where the output appears in the snapshot.")
    command: Annotated[Texts, Field(min_length=1)] = _option(
        ..., "The command and its arguments; no shell is involved."
    )
    class_name: Annotated[StrictStr, StringConstraints(pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$")] = _option(
        "", "The data class of the output; empty: by the rules for its path."
    )


class JobSettings(_Section):
    """What is backed up together, under one name."""

    paths: Texts = _option((), "Files and folders to back up.")
    streams: tuple[StreamSettings, ...] = _option((), "Commands whose standard output is stored as a file.")
    exclude: Texts = _option((), "gitignore-like patterns of what is left out, from `/`.")
    exclude_caches: StrictBool = _option(True, "Leave out folders that a CACHEDIR.TAG marks as caches.")
    exclude_larger_than: Size | None = _option(None, "Leave out files larger than this.", unit="bytes", ge=1)
    one_file_system: StrictBool = _option(False, "Stay on the file systems of the paths themselves.")
    classes: tuple[ClassRuleSettings, ...] = _option((), "Rules that give files their data class.")
    default_class: Name = _option("phi", "The data class of files that no rule matches.")
    paranoid: StrictBool = _option(False, "Read every file again, whatever its times say.")
    audit_files: StrictInt = _option(
        16,
        "How many unchanged files are read again in each run, to find content that changed behind an unchanged time.",
        unit="files",
        ge=0,
        le=1_000_000,
    )
    tags: Texts = _option((), "Tags of the snapshots, sealed with them.")


class BackupSettings(_Section):
    """How a backup stores. The defaults are measured; few have a reason to change them."""

    level: StrictInt = _option(1, "The level of zstd.", ge=-7, le=19)
    workers: StrictInt = _option(0, "Threads that compress; 0 is one per core.", unit="threads", ge=0, le=256)
    upload_threads: StrictInt = _option(2, "Packs that are stored at the same time.", unit="threads", ge=1, le=32)
    pack_bytes: Size = _option(PACK_BYTES, "The size of a pack.", unit="bytes", ge=MIB, le=PACK_BYTES_MAX)
    checkpoint_bytes: Size = _option(
        GIB, "A checkpoint is written after so many new bytes.", unit="bytes", ge=MIB, le=1024 * GIB
    )
    checkpoint_seconds: Seconds = _option(300, "A checkpoint is written after so long.", unit="seconds", ge=1, le=DAY)


class LimitSettings(_Section):
    """How hard a run may press on the machine. Without a value there is no limit."""

    read_bytes_per_s: Size | None = _option(None, "Reading from the sources.", unit="bytes per second", ge=1024)
    write_bytes_per_s: Size | None = _option(None, "Writing to the store.", unit="bytes per second", ge=1024)


class RetentionSettings(_Section):
    """How many snapshots of each source `forget` keeps. A snapshot is kept if any of these keeps it."""

    last: StrictInt = _option(7, "The newest so many.", unit="snapshots", ge=0, le=100_000)
    hourly: StrictInt = _option(0, "The newest of each of so many hours.", unit="hours", ge=0, le=100_000)
    daily: StrictInt = _option(14, "The newest of each of so many days.", unit="days", ge=0, le=100_000)
    weekly: StrictInt = _option(8, "The newest of each of so many weeks.", unit="weeks", ge=0, le=100_000)
    monthly: StrictInt = _option(24, "The newest of each of so many months.", unit="months", ge=0, le=100_000)
    yearly: StrictInt = _option(10, "The newest of each of so many years.", unit="years", ge=0, le=100_000)
    within_days: StrictInt = _option(
        0, "Everything admitted in the last so many days, whatever else is said.", unit="days", ge=0, le=36_500
    )
    tags: Texts = _option((), "Every snapshot that has one of these tags.")


class PruneSettings(_Section):
    """How space comes back."""

    undo_seconds: Seconds = _option(
        7 * DAY, "How long a planned deletion can still be undone.", unit="seconds", ge=0, le=365 * DAY
    )
    repack_below: StrictFloat = _option(
        0.5, "Packs of which a smaller part than this is in use are rewritten.", unit="fraction", ge=0.0, le=1.0
    )
    revoke_silent: StrictBool = _option(
        False, "Revoke runs that never acknowledged a prune and never ended; they start again if they are alive."
    )


class VerifySettings(_Section):
    """How much a verification reads."""

    sample: StrictFloat = _option(
        1.0,
        "The part of all packs that one verification reads, those that waited longest first.",
        unit="fraction",
        gt=0.0,
        le=1.0,
    )
    older_than_days: StrictFloat | StrictInt | None = _option(
        None, "Read only packs that were not verified for so long.", unit="days", ge=0
    )


class Settings(_Section):
    """All of it."""

    vault: VaultSettings
    jobs: dict[Name, JobSettings] = Field(default_factory=dict)
    backup: BackupSettings = Field(default_factory=BackupSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    prune: PruneSettings = Field(default_factory=PruneSettings)
    verify: VerifySettings = Field(default_factory=VerifySettings)
