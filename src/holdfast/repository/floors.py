"""Minimum retention as the vault itself keeps it: `floor/N`, signed by root, of which the newest valid one counts.

A floor says for how many days snapshots of a class must be kept, whatever a configuration or a person wants. Raising it is free. One
that lowers any class counts only with the approvals that the policy in force demands; whoever forgets checks that by the
vault alone. A policy put later holds for what was lowered before it, too: without approvals the higher floor is back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar

from holdfast.errors import ApprovalMissingError, UsageError
from holdfast.repository import names
from holdfast.repository.access import approved, read_policy
from holdfast.repository.bodies import Body
from holdfast.repository.home import ROOT

if TYPE_CHECKING:
    from holdfast.repository.home import Home
    from holdfast.repository.repository import Repository
    from holdfast.repository.types import SnapshotInfo

OPERATION = "floor"
DAYS_MAX = 36_500


@dataclass(frozen=True, slots=True)
class ClassFloor(Body):
    """For how long snapshots of a class must be kept, counted from their admission."""

    class_: int
    days: int


@dataclass(frozen=True, slots=True)
class FloorBody(Body):
    """`floor/N`: the minimum retention of every class that has one."""

    kind: ClassVar[str] = "floor"
    floors: tuple[ClassFloor, ...]
    approvals: tuple[str, ...] = ()

    def asked(self) -> dict[str, object]:
        """Return what people approve."""
        return {"days": {str(floor.class_): floor.days for floor in self.floors}}


def read_floors(home: Home) -> dict[int, int]:
    """Return the days of each class that has a floor. `DamageError` if one cannot be read: damage never shortens."""
    policy = read_policy(home)
    current: dict[int, int] = {}
    for number in home.numbers("floor"):
        read, body = home.read(names.numbered("floor", number), FloorBody)
        wanted = {floor.class_: floor.days for floor in body.floors}
        stands = not lowers(current, wanted) or approved(home, policy, OPERATION, body.asked(), body.approvals)
        if read.signer == ROOT and stands:
            current = wanted
    return current


def lowers(before: Mapping[int, int], after: Mapping[int, int]) -> bool:
    """Return whether any class would be kept for a shorter time. Pure."""
    return any(after.get(class_id, 0) < days for class_id, days in before.items())


def put_floors(repository: Repository, days: Mapping[int, int], approvals: Sequence[str] = ()) -> None:
    """Put the next floors. `ApprovalMissingError` if they lower any and lack the approvals, `UsageError`, `NotPermittedError`."""
    if any(not 0 <= value <= DAYS_MAX for value in days.values()):
        raise UsageError(f"a minimum retention is 0 to {DAYS_MAX} days")
    home = repository.home
    floors = tuple(ClassFloor(class_id, value) for class_id, value in sorted(days.items()))
    body = FloorBody(floors, tuple(approvals))
    before = read_floors(home)
    if lowers(before, days) and not approved(home, read_policy(home), OPERATION, body.asked(), body.approvals):
        raise ApprovalMissingError("a shorter minimum retention needs the approvals that the vault's policy demands")
    home.append("floor", body, repository.root)


def kept_until(snapshot: SnapshotInfo, floors: Mapping[int, int]) -> datetime:
    """Return until when a snapshot must be kept: by its own envelope, and by the floors of its classes. Pure."""
    days = max((floors.get(part.class_id, 0) for part in snapshot.classes), default=0)
    by_floor = snapshot.counted_at + timedelta(days=days) if days else _LONG_AGO
    return max(by_floor, snapshot.retain_until or _LONG_AGO)


_LONG_AGO = datetime.min.replace(tzinfo=UTC)
