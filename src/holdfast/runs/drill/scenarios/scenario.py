"""What a scenario is: it breaks a copy, says how to drill what is left, and what must come of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from holdfast.base.environment import Environment
    from holdfast.base.events import Events
    from holdfast.config import Settings
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.drill.options import Injection
    from holdfast.runs.drill.record import DrillRecord
    from holdfast.runs.drill.scenarios.copies import VaultCopy
    from holdfast.runs.options import Limits
    from holdfast.services.catalogue import Service
    from holdfast.stores.protocol import Store

__all__ = ["Arranged", "Broken", "Detected", "Scenario", "ScenarioReport"]


class Detected(Exception):  # noqa: N818 - the end of a scenario, and a good one if that was expected
    """The failure was noticed before a drill could be held. `what` says how."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True, slots=True)
class Broken:
    """What a scenario works with: the vault (only to be read), a copy that may be broken, and a folder of its own."""

    vault: OpenVault
    settings: Settings
    service: Service
    copy: VaultCopy
    folder: str
    env: Environment
    events: Events


@dataclass(frozen=True, slots=True)
class Arranged:
    """How to drill what is left."""

    url: str
    key_file: str
    snapshot: str = ""
    """The snapshot to restore; empty: the newest."""
    limits: Limits | None = None
    injection: Injection | None = None
    behind: Callable[[Store], Store] | None = None
    """What stands between the drill and the store."""
    note: str = ""
    """What was done about the failure before, in a sentence."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A failure. `expects`: the service `recovers`, or the failure is `detected` and named, and nothing wrong is believed."""

    name: str
    title: str
    expects: Literal["recovers", "detected"]
    break_it: Callable[[Broken], Arranged]
    cause: str = ""
    """For `detected`: what the drill's cause must say (a regular expression)."""
    errors: frozenset[str] = frozenset()
    """Codes of errors that are a detection, too."""

    def judged(self, record: DrillRecord, arranged: Arranged) -> tuple[bool, str]:
        """Return whether a drill went as it should, and how it went."""
        note = f" ({arranged.note})" if arranged.note else ""
        if self.expects == "recovers":
            if record.verdict == "failed":
                return False, f"did not come back: {record.cause}{note}"
            return True, f"came back{note}" + (f", but {record.cause}" if record.cause else "")
        if record.verdict != "failed":
            return False, f"NOT DETECTED: the drill {record.verdict}{note}"
        named = bool(re.search(self.cause, record.cause))
        return named, f"detected: {record.cause}" if named else f"detected, but its cause is not named: {record.cause}"


@dataclass(frozen=True, slots=True)
class ScenarioReport:
    """A scenario that was played."""

    scenario: str
    title: str
    service: str
    expects: str
    good: bool
    """Whether it went as it should."""
    outcome: str
    drill: str
    """The id of its drill; empty if the failure was noticed before one."""
    verdict: str
    cause: str
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 as it should, 1 not."""
        return 0 if self.good else 1
