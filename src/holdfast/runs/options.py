"""What a caller asks of a run: small frozen values, checked where they are made."""

from __future__ import annotations

import os
from dataclasses import field, fields
from typing import Literal, Protocol

from holdfast.base.data_classes import DEFAULT_CLASS
from holdfast.base.defaults import PACK_BYTES
from holdfast.base.values import dataclass
from holdfast.errors import UsageError
from holdfast.governor.budget import UNLIMITED, Budget

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Overwrite = Literal["never", "older", "always"]
Damaged = Literal["keep", "skip"]
"""What becomes of a file of which bytes are lost: the rest as `NAME.damaged` with a map beside it, or nothing."""

MIB = 1 << 20


class Cancel(Protocol):
    """Something that says when to stop: a `threading.Event` will do."""

    def is_set(self) -> bool:
        """Return whether the run should stop: it keeps a checkpoint and raises `Interrupted`."""
        ...


def raw_path(path: PathLike) -> bytes:
    """Return a path's bytes as the system has them."""
    return os.fsencode(path)


@dataclass(frozen=True, slots=True)
class ClassRule:
    """Entries matching a gitignore-like pattern, from `/`, belong to a data class.

    The last matching rule decides; an entry that none matches has its folder's class.
    """

    pattern: str
    class_name: str


@dataclass(frozen=True, slots=True)
class Stream:
    """The standard output of a command, stored as one file. A command that fails makes no file: `stream-failed`."""

    path: str
    """Where it appears in the snapshot."""
    command: tuple[str, ...]
    class_name: str = ""
    """Its data class; empty: by the rules for its path."""
    environment: tuple[str, ...] = ()
    """Names of variables that it inherits beside PATH, HOME, TZ and XDG_RUNTIME_DIR; its LC_ALL is C.UTF-8."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How hard a run may press; None is no limit. Obeyed within a second, and changeable while it runs."""

    read_bytes_per_s: int | None = None
    write_bytes_per_s: int | None = None
    network_bytes_per_s: int | None = None
    operations_per_s: int | None = None
    """Opens, reads and listings that disks must answer."""
    cpu_cores: float | None = None
    """CPU time of the whole process: 0.5 is half a core."""
    threads: int | None = None
    """Threads that compute at the same time."""
    memory_bytes: int | None = None
    """Packs in memory."""


def usual_budget(limits: Limits | None) -> Budget:
    """Return a run's own limits as a budget."""
    if limits is None:
        return UNLIMITED
    return Budget(**{each.name: getattr(limits, each.name) for each in fields(Budget)})


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """How a backup reads and stores. The defaults are right for nearly all."""

    exclude: tuple[str, ...] = ()
    """gitignore-like patterns, from `/`; the last match decides, `!` takes back."""
    exclude_caches: bool = True
    """Leave out folders tagged by CACHEDIR.TAG."""
    exclude_larger_than: int | None = None
    one_file_system: bool = False
    class_rules: tuple[ClassRule, ...] = ()
    default_class: str = DEFAULT_CLASS
    detect: bool = True
    """Look at the first bytes of new and changed files, and raise the class of those that hold more than their path says."""
    paranoid: bool = False
    """Read every file again, whatever its times say."""
    audit_files: int = 16
    """Unchanged files re-read per run, to find content that changed behind an unchanged time."""
    update_catalog: bool = True
    """Take the new snapshot into the catalog, where a key to read it is at hand."""
    tags: tuple[str, ...] = ()
    streams: tuple[Stream, ...] = ()
    host_root: str = ""
    """The root of a system whose inventory (disks, boot, packages) is stored too: `/`, or where a guest is mounted; empty: none."""
    show_stream_errors: bool = False
    """Let the commands of streams write to our standard error: it may hold names. Else it is counted and hashed only."""
    checkpoint_bytes: int = 1024 * MIB
    checkpoint_seconds: float = 300.0
    pack_bytes: int = PACK_BYTES
    level: int = 1
    workers: int = 0
    """Compressing threads; 0: one per core."""
    upload_threads: int = 2
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Refuse what no run can keep to. `UsageError`."""
        counts = {"workers": self.workers, "audit_files": self.audit_files}
        wrong = [name for name, value in counts.items() if value < 0]
        sizes = {"upload_threads": self.upload_threads, "pack_bytes": self.pack_bytes, "level": self.level}
        wrong += [name for name, value in sizes.items() if value < 1]
        if wrong:
            raise UsageError(f"an option of the backup is too small: {', '.join(wrong)}")
