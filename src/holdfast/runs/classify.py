"""What a backup would make of the data classes of a tree, in counts: no name and no content is said. Nothing is stored."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base import environment
from holdfast.base.data_classes import CLASS_NAMES, DATA_CLASSES
from holdfast.errors import Interrupted, SourceMissingError, UsageError
from holdfast.runs.assembly import state_root
from holdfast.runs.options import BackupOptions, raw_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holdfast.base.environment import Environment
    from holdfast.runs.options import Cancel, PathLike

POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class ClassifiedKind:
    """Files that get one data class for one reason."""

    class_name: str
    rule: str
    """The detectors' rule that recognised them; empty: none did, and their path decided."""
    confidence: str
    """`certain`, `likely` or `possible`; empty without a rule."""
    files: int
    bytes: int
    raised: int
    """Files among them whose class is more sensitive than their path says."""


@dataclass(frozen=True, slots=True)
class Classification:
    """What is in a tree: kinds, most sensitive class first."""

    kinds: tuple[ClassifiedKind, ...]
    unreadable: int
    """Entries that could not be looked at."""
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 complete, 3 if something could not be looked at."""
        return 3 if self.unreadable else 0

    def files(self, class_name: str = "") -> int:
        """Return how many files there are, or how many of one class."""
        return sum(kind.files for kind in self.kinds if class_name in ("", kind.class_name))


def classify(
    paths: PathLike | Sequence[PathLike],
    *,
    options: BackupOptions | None = None,
    stop: Cancel | None = None,
    env: Environment | None = None,
) -> Classification:
    """Look at the first 64 KiB of every file and return counts and bytes by data class, as a backup would give them.

    `options` are a backup's: its rules, exclusions and default class count, the rest does not. Needs no vault. Only
    signatures are looked at; nothing of a name or content is returned or logged. `SourceMissingError`, `UsageError` for
    a class that there is not, `Interrupted`.
    """
    env = env or environment.system()
    options = options or BackupOptions()
    given: list[PathLike] = [paths] if isinstance(paths, str | bytes | os.PathLike) else [*paths]
    roots = [os.path.abspath(raw_path(path)) for path in given]
    missing = sum(not os.path.lexists(root) for root in roots)
    if missing or not roots:
        raise SourceMissingError(f"{missing} of the {len(roots)} paths to look at do not exist")
    plan = engine.ScanPlan(
        roots=roots,
        own_paths=[os.fsencode(state_root())],
        exclude=list(options.exclude),
        exclude_caches=options.exclude_caches,
        exclude_larger_than=options.exclude_larger_than,
        one_file_system=options.one_file_system,
        class_rules=[(rule.pattern, _class_id(rule.class_name)) for rule in options.class_rules],
        default_class=_class_id(options.default_class),
    )
    began = env.monotonic()
    with engine.translated():
        running = engine.Classify(plan, [row.id for row in DATA_CLASSES])
        while not running.finished:
            if stop is not None and stop.is_set():
                running.stop()
                raise Interrupted(safe="nothing was written.", next="run the same command again.")
            env.sleep(POLL_SECONDS)
        rows, unreadable = running.result()
    kinds = tuple(ClassifiedKind(CLASS_NAMES[row[0]], *row[1:]) for row in rows)
    return Classification(kinds, unreadable, env.monotonic() - began)


def _class_id(name: str) -> int:
    for row in DATA_CLASSES:
        if row.name == name:
            return row.id
    raise UsageError(f"there is no data class {name!r}", next=f"the classes are: {', '.join(CLASS_NAMES.values())}.")
