"""Settings of the vault, its jobs, retention, prune and verification."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints
from pydantic.types import StrictBool, StrictFloat, StrictInt, StrictStr

from holdfast.base.data_classes import DEFAULT_CLASS
from holdfast.base.defaults import PACK_BYTES, PACK_BYTES_MAX, PARITY_ROWS, UNDO_DAYS
from holdfast.config.schema.fields import DAY, GIB, MIB, Name, Seconds, Secret, Section, Size, Text, Texts, option
from holdfast.config.schema.governor import LimitSettings

__all__ = [
    "BackupSettings",
    "ClassRetentionSettings",
    "ClassRuleSettings",
    "JobSettings",
    "PruneSettings",
    "RetentionSettings",
    "StreamSettings",
    "VaultSettings",
    "VerifySettings",
]


class VaultSettings(Section):
    """Which vault, and with which secret it is opened."""

    url: Text = option(
        ...,
        "The vault's home: a folder, the URL of a store, or `store:NAME` for one of the stores below.",
        env="HOLDFAST_VAULT",
    )
    key_file: Secret | None = option(
        None, "The key file that opens the vault, as `file:/path`.", unit="reference", env="HOLDFAST_KEY_FILE"
    )
    passphrase: Secret | None = option(
        None, "A passphrase that opens the vault, as `file:/path` or `env:NAME`.", unit="reference"
    )
    home_copy: Name = option(
        "auto",
        "The store that a copy of the home's own objects is kept on: a name, `none`, or `auto`: a store of any tier that"
        " answers at once, without object lock, that every data class may lie on.",
    )
    credential: Secret | None = option(
        None,
        "A writer's credential, as `file:/path`: it can add backups and read none, which is all a backed-up host needs.",
        unit="reference",
    )
    parity: StrictInt = option(
        PARITY_ROWS,
        "Parity objects for each group of up to sixteen packs, where a pack has one copy: so many lost packs of a group come"
        " back by `holdfast repair`. 0 for none.",
        unit="objects",
        ge=0,
        le=4,
    )
    key_service: Annotated[StrictStr, StringConstraints(max_length=4096)] = option(
        "",
        "A PKCS#11 token or transit engine whose key opens the vault, as `pkcs11:…` or `transit:…`; empty: none.",
    )


class ClassRuleSettings(Section):
    """A rule that gives files their data class."""

    pattern: Text = option(..., "A gitignore-like pattern. The last rule that matches decides.")
    name: Name = option(
        ..., "The data class: `phi-restricted`, `phi`, `imaging`, `database`, `operational`, `system`, `public`."
    )


class StreamSettings(Section):
    """The output of a command, stored as one file."""

    path: Text = option(..., "Where the output appears in the snapshot.")
    command: Annotated[Texts, Field(min_length=1)] = option(..., "The command and its arguments; no shell is involved.")
    class_name: Annotated[StrictStr, StringConstraints(pattern=r"^([a-z0-9][a-z0-9-]{0,62})?$")] = option(
        "", "The data class of the output; empty: by the rules for its path."
    )
    environment: Texts = option(
        (), "Variables that the command inherits beside PATH, HOME, TZ and XDG_RUNTIME_DIR, by name."
    )


class JobSettings(Section):
    """What is backed up together, under one name."""

    paths: Texts = option((), "Files and folders to back up.")
    streams: tuple[StreamSettings, ...] = option((), "Commands whose standard output is stored as a file.")
    applications: tuple[Name, ...] = option(
        (), "Applications that are captured with the paths and streams, all of them as one consistency group."
    )
    exclude: Texts = option((), "gitignore-like patterns of what is left out, from `/`.")
    exclude_caches: StrictBool = option(True, "Leave out folders that a CACHEDIR.TAG marks as caches.")
    exclude_larger_than: Size | None = option(None, "Leave out files larger than this.", unit="bytes", ge=1)
    one_file_system: StrictBool = option(False, "Stay on the file systems of the paths themselves.")
    classes: tuple[ClassRuleSettings, ...] = option((), "Rules that give files their data class.")
    default_class: Name = option(DEFAULT_CLASS, "The data class of files that no rule matches.")
    detect: StrictBool = option(
        True, "Look at the first bytes of files, and raise the data class of those that hold more than their path says."
    )
    paranoid: StrictBool = option(False, "Read every file again, whatever its times say.")
    audit_files: StrictInt = option(
        16,
        "How many unchanged files are read again in each run, to find content that changed behind an unchanged time.",
        unit="files",
        ge=0,
        le=1_000_000,
    )
    tags: Texts = option((), "Tags of the snapshots, sealed with them.")
    host_root: Annotated[StrictStr, StringConstraints(pattern=r"^(/.*)?$", max_length=4096)] = option(
        "",
        "The root of the system (`/`, or where a guest's disk is mounted) whose inventory is stored, too: disks, boot, packages;"
        " a whole host is restored by it. Empty: none.",
    )
    rpo_seconds: Seconds | None = option(
        None,
        "How old its newest good snapshot may become; older is an alert. None: the least `rpo` of the services it backs up.",
        unit="seconds",
        ge=60,
        le=366 * DAY,
    )
    limits: LimitSettings | None = option(None, "How hard this job may press; what it leaves out, `[limits]` says.")


class BackupSettings(Section):
    """How a backup stores. The defaults are measured; few have a reason to change them."""

    level: StrictInt = option(1, "The level of zstd.", ge=-7, le=19)
    workers: StrictInt = option(0, "Threads that compress; 0 is one per core.", unit="threads", ge=0, le=256)
    upload_threads: StrictInt = option(2, "Packs that are stored at the same time.", unit="threads", ge=1, le=32)
    pack_bytes: Size = option(PACK_BYTES, "The size of a pack.", unit="bytes", ge=MIB, le=PACK_BYTES_MAX)
    checkpoint_bytes: Size = option(
        GIB, "A checkpoint is written after so many new bytes.", unit="bytes", ge=MIB, le=1024 * GIB
    )
    checkpoint_seconds: Seconds = option(300, "A checkpoint is written after so long.", unit="seconds", ge=1, le=DAY)


class ClassRetentionSettings(Section):
    """How long one data class is kept where that differs from the rest. A class goes from a snapshot that stays for others."""

    last: StrictInt = option(0, "The newest so many.", unit="snapshots", ge=0, le=100_000)
    hourly: StrictInt = option(0, "The newest of each of so many hours.", unit="hours", ge=0, le=100_000)
    daily: StrictInt = option(0, "The newest of each of so many days.", unit="days", ge=0, le=100_000)
    weekly: StrictInt = option(0, "The newest of each of so many weeks.", unit="weeks", ge=0, le=100_000)
    monthly: StrictInt = option(0, "The newest of each of so many months.", unit="months", ge=0, le=100_000)
    yearly: StrictInt = option(0, "The newest of each of so many years.", unit="years", ge=0, le=100_000)
    within_days: StrictInt = option(0, "Everything admitted in the last so many days.", unit="days", ge=0, le=36_500)


class RetentionSettings(Section):
    """How many snapshots of each source `forget` keeps. A snapshot is kept if any of these keeps it."""

    last: StrictInt = option(7, "The newest so many.", unit="snapshots", ge=0, le=100_000)
    hourly: StrictInt = option(0, "The newest of each of so many hours.", unit="hours", ge=0, le=100_000)
    daily: StrictInt = option(14, "The newest of each of so many days.", unit="days", ge=0, le=100_000)
    weekly: StrictInt = option(8, "The newest of each of so many weeks.", unit="weeks", ge=0, le=100_000)
    monthly: StrictInt = option(24, "The newest of each of so many months.", unit="months", ge=0, le=100_000)
    yearly: StrictInt = option(10, "The newest of each of so many years.", unit="years", ge=0, le=100_000)
    within_days: StrictInt = option(
        0, "Everything admitted in the last so many days, whatever else is said.", unit="days", ge=0, le=36_500
    )
    tags: Texts = option((), "Every snapshot that has one of these tags.")
    pitr_days: StrictInt = option(
        30,
        "Databases can be recovered to any moment since the oldest kept base backup of the last so many days.",
        unit="days",
        ge=0,
        le=36_500,
    )
    classes: dict[Name, ClassRetentionSettings] = option(
        {}, "Data classes that are kept for another time than the rest, by name."
    )


class PruneSettings(Section):
    """How space comes back."""

    undo_seconds: Seconds = option(
        int(UNDO_DAYS * DAY), "How long a planned deletion can still be undone.", unit="seconds", ge=0, le=365 * DAY
    )
    repack_below: StrictFloat = option(
        0.5, "Packs of which a smaller part than this is in use are rewritten.", unit="fraction", ge=0.0, le=1.0
    )
    revoke_silent: StrictBool = option(
        False, "Revoke runs that never acknowledged a prune and never ended; they start again if they are alive."
    )


class VerifySettings(Section):
    """How much a verification reads."""

    sample: StrictFloat = option(
        1.0,
        "The part of all packs that one verification reads, those that waited longest first.",
        unit="fraction",
        gt=0.0,
        le=1.0,
    )
    older_than_days: StrictFloat | StrictInt | None = option(
        None, "Read only packs that were not verified for so long.", unit="days", ge=0
    )
    bytes_max: Size | None = option(
        None,
        "Read no more bytes of packs (one at least) and parity than this in one verification; the next goes on.",
        unit="bytes",
        ge=1,
    )
    seconds_max: Seconds | None = option(
        None, "Begin no pack and no parity after so long; the next verification goes on.", unit="seconds", ge=1
    )
