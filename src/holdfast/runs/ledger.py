"""When each pack was last proved on this host: what "every byte re-read within N days" is computed from.

A text file per vault, one line per pack (`HEX SECONDS`, and the hash of its index record if its segments were opened),
replaced as a whole. It is an observation of this host, not
part of the vault; lost, everything counts as never verified.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.reliability.objectives import AHEAD_SECONDS_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from pathlib import Path

_HEADER = "holdfast-ledger-1"
_DAY_SECONDS = 86400.0


@dataclass(slots=True)
class Ledger:
    """Pack names (64 hex digits) and the Unix second of their last proof."""

    path: Path
    proved: dict[str, int] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    """Of packs whose segments were all opened: the hash of the index record that their own directory makes."""

    @classmethod
    def load(cls, path: Path) -> Ledger:
        """Read the ledger; a missing or torn one is empty, or what can be read of it."""
        try:
            lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        except FileNotFoundError:
            return cls(path)
        if not lines or lines[0] != _HEADER:
            return cls(path)
        proved, records = {}, {}
        for line in lines[1:]:
            name, _, rest = line.partition(" ")
            second, _, record = rest.partition(" ")
            if second.isdecimal():
                proved[name] = int(second)
                if record:
                    records[name] = record
        return cls(path, proved, records)

    def note(self, packs: Iterable[str], now: datetime) -> None:
        """Note that packs were proved."""
        second = int(now.timestamp())
        for pack in packs:
            self.proved[pack] = second

    def forget(self, packs: Iterable[str]) -> None:
        """Drop packs that are damaged or gone."""
        for pack in packs:
            self.proved.pop(pack, None)
            self.records.pop(pack, None)

    def save(self, known: Iterable[str]) -> None:
        """Write what concerns packs that still exist."""
        kept = sorted(name for name in known if name in self.proved)
        lines = (f"{name} {self.proved[name]} {self.records.get(name, '')}".rstrip() for name in kept)
        text = "\n".join((_HEADER, *lines))
        new = self.path.with_suffix(".new")
        new.write_text(f"{text}\n", encoding="ascii")
        new.chmod(0o600)
        os.replace(new, self.path)

    def age_days(self, pack: str, now: datetime) -> float | None:
        """Return the days since a pack was proved, or None if it never was; a proof of a time to come is none."""
        second = self.proved.get(pack)
        if second is None or second - now.timestamp() > AHEAD_SECONDS_MAX:
            return None
        return max(0.0, (now.timestamp() - second) / _DAY_SECONDS)

    def oldest_days(self, packs: Iterable[str], now: datetime) -> float | None:
        """Return the days that the pack which waited longest has waited; None if one was never proved or there is none."""
        ages = [self.age_days(pack, now) for pack in packs]
        known = [age for age in ages if age is not None]
        return max(known) if known and len(known) == len(ages) else None

    def order(self, packs: Iterable[str]) -> list[str]:
        """Return packs in the order to prove them: never proved first, then those that waited longest."""
        return sorted(packs, key=lambda pack: (self.proved.get(pack, -1), pack))
