"""What a caller asks of a drill, and where injected failures take hold of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from holdfast.runs.options import Limits, PathLike
    from holdfast.services.applications.ground import Application

__all__ = ["BareSite", "DrillOptions", "Injection", "Setting"]

DrillKind = Literal["full", "partial", "mounted"]


@dataclass(frozen=True, slots=True)
class BareSite:
    """All that a bare recovery site has: a copy of the store, and a recovery kit (or a passphrase). No state, no catalog."""

    url: PathLike
    key_file: PathLike | None = None
    passphrase: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where an injection finds what it may break: folders of this drill alone."""

    restored: str
    data: str
    application: Application | None = None


@dataclass(frozen=True, slots=True)
class Injection:
    """A defect put into a drill's own copy on purpose, at one of its stages; see `scenarios`."""

    name: str
    restored: Callable[[Setting], None] | None = None
    """After the restore, before the comparison with the snapshot: what a faulty restore would leave."""
    data: Callable[[Setting], None] | None = None
    """After the comparison, before the application starts: a defect that the source already had."""
    service: Callable[[Setting], None] | None = None
    """After the application started, before it is asked."""


@dataclass(frozen=True, slots=True)
class DrillOptions:
    """How a drill is held. The defaults are a full drill of the newest snapshot."""

    kind: DrillKind = "full"
    """`partial`: a random sample of files is restored and compared, and nothing is started. `mounted`: the application runs on
    a mount of the snapshot and is asked; only what it and the questions touch is fetched (one table, one study)."""
    checks: tuple[str, ...] = ()
    """Ask only these of the service's checks; empty: all."""
    snapshot: str = ""
    """A selector; empty: the newest of the service's source, whose age is then held against the RPO."""
    at: datetime | None = None
    """For a service that `recovers`: the moment to recover to; None: the end of the WAL in the vault."""
    bare: BareSite | None = None
    place: str = ""
    """Empty: as configured."""
    limits: Limits | None = None
    injection: Injection | None = None
    thaw: bool = False
    """Ask the stores for what lies cold and wait for it, as the phase `rehydrate`: that takes hours, and costs what they charge.
    Otherwise a drill that needs it fails and says so."""
    deep: bool = True
    """Let the application's own tools look for damage (the longest part of a drill, and not counted)."""
