"""The simulated store of a vault's home: what it may do wrong, it does, as the dice say.

Its promises are those of `stores.protocol`, and within them it is as hostile as a network and a service can be. An operation can
fail before it takes effect, take effect and lose its answer, be dropped in the middle of its body, arrive late (after the caller
gave it up, and after others went on), arrive twice, arrive in another order; whole stretches can fail at once, and the store can be
full for a while. What it acknowledged it keeps, creations are atomic, listings are true.

With `lies` it breaks one promise more: it acknowledges before it is durable. What was put since the last `flush` is lost, or torn,
by the next `power_cut`; what was deleted since may be back.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from holdfast.errors import StoreFullError, StoreUnreachableError
from holdfast.stores.layers import Wrapper
from holdfast.stores.memory import MemoryStore
from holdfast.stores.protocol import Data, ObjectInfo
from holdfast.testing.simulation.baton import Baton

__all__ = ["FAULTS", "Disk", "Line", "Rates"]

FAULTS = (
    "away",
    "dropped",
    "answer-lost",
    "late",
    "twice",
    "full",
    "storm",
    "lost-unsynced",
    "torn-unsynced",
    "undeleted",
)
"""Everything this store does wrong, by the name that it is counted under."""
_T = TypeVar("_T")


@dataclass(slots=True)
class Rates:
    """How often an operation meets a fault, each between 0 and 1."""

    away: float = 0.0
    dropped: float = 0.0
    answer_lost: float = 0.0
    late: float = 0.0
    twice: float = 0.0


class Disk(MemoryStore):
    """The service's side: the objects, what is still on its way, and what is not durable yet."""

    def __init__(self, dice: random.Random, objects: dict[str, bytes], *, lies: bool = False) -> None:
        """Begin with some objects. `watch` is told of every object that goes."""
        super().__init__("simulated")
        self.objects = dict(objects)
        self.dice = dice
        self.lies = lies
        self.rates = Rates()
        self.faults: Counter[str] = Counter()
        self.operations = 0
        self.storm = 0
        """So many operations to come fail."""
        self.full = 0
        """So many puts to come find no room."""
        self.torn: set[str] = set()
        """Objects that a power cut tore or took: `check` may speak of them for as long as a session without an end keeps its packs."""
        self.on_the_way: list[Callable[[], object]] = []
        self.watch: Callable[[str, bytes], None] = lambda _name, _data: None
        self._durable: dict[str, bytes] = dict(objects)

    def delete(self, name: str) -> None:
        """Delete, and tell who watches."""
        data = self.objects.get(name)
        super().delete(name)
        if data is not None:
            self.watch(name, data)

    def arrive(self, *, everything: bool = False) -> None:
        """Let something that was on its way arrive, in no order; or all of it."""
        while self.on_the_way:
            effect = self.on_the_way.pop(self.dice.randrange(len(self.on_the_way)))
            with contextlib.suppress(Exception):  # nobody waits for the answer any more
                effect()
            if not everything:
                return

    def flush(self) -> None:
        """Make durable what was acknowledged."""
        self._durable = dict(self.objects)

    def power_cut(self) -> None:
        """Lose, tear or bring back what was not durable yet, each object by its own dice."""
        assert self.lies, "a store that tells the truth about durability loses nothing"
        now, before = self.objects, self._durable
        for name in sorted(now.keys() | before.keys()):
            if now.get(name) == before.get(name):
                continue
            if name in now:
                fate = self.dice.choice(("kept", "lost-unsynced", "torn-unsynced"))
                if fate == "lost-unsynced":
                    del now[name]
                    self.torn.add(name)
                elif fate == "torn-unsynced":
                    now[name] = now[name][: self.dice.randrange(len(now[name]))]
                    self.torn.add(name)
            else:
                fate = self.dice.choice(("kept", "undeleted"))
                if fate == "undeleted":
                    now[name] = before[name]
            self.faults[fate] += fate != "kept"
        self.flush()


class Line(Wrapper):
    """One actor's way to the disk: where the baton changes hands, and where faults strike."""

    def __init__(self, disk: Disk, baton: Baton, note: Callable[[str, str], None]) -> None:
        """Connect. `note(what, outcome)` keeps the trace."""
        super().__init__(disk)
        self.disk = disk
        self.baton = baton
        self.note = note

    def _do(self, verb: str, name: str, effect: Callable[[], _T], *, writes: bool = False) -> _T:
        disk, what = self.disk, f"{verb} {name}"
        self.baton.pause()
        disk.operations += 1
        fault = self._drawn(verb, writes=writes)
        if fault:
            disk.faults[fault] += 1
            self.note(what, fault)
        if fault == "full":
            raise StoreFullError("no room (simulated)")
        if fault in {"answer-lost", "twice"}:
            result = effect()
            if fault == "twice":
                disk.on_the_way.append(effect)
                return result
        elif fault == "late":
            disk.on_the_way.append(effect)
        elif not fault:
            result = effect()
            self.note(what, "")
            return result
        raise StoreUnreachableError(f"the store does not answer (simulated: {fault})")

    def _drawn(self, verb: str, *, writes: bool) -> str:
        """Return the fault that strikes this operation, or nothing."""
        disk, rates = self.disk, self.disk.rates
        if disk.storm > 0:
            disk.storm -= 1
            return "storm"
        if disk.full > 0 and verb in {"put", "put_new"}:
            disk.full -= 1
            return "full"
        at = disk.dice.random()
        for name, rate, applies in (
            ("away", rates.away, True),
            ("dropped", rates.dropped, verb in {"put", "put_new", "get"}),
            ("answer-lost", rates.answer_lost, writes),
            ("late", rates.late, writes),
            ("twice", rates.twice, writes),
        ):
            if at < rate:
                return name if applies else ""
            at -= rate
        return ""

    def put(self, name: str, data: Data) -> None:
        """Put, or fail."""
        kept = bytes(data)
        self._do("put", name, lambda: self.disk.put(name, kept), writes=True)

    def put_new(self, name: str, data: Data) -> bool:
        """Create, or fail."""
        kept = bytes(data)
        return self._do("put_new", name, lambda: self.disk.put_new(name, kept), writes=True)

    def get(self, name: str) -> bytes:
        """Get, or fail."""
        return self._do("get", name, lambda: self.disk.get(name))

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Get a part, or fail."""
        return self._do("get", name, lambda: self.disk.get_range(name, offset, length))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """List, or fail."""
        return self._do("list", prefix, lambda: self.disk.list(prefix))

    def delete(self, name: str) -> None:
        """Delete, or fail."""
        self._do("delete", name, lambda: self.disk.delete(name), writes=True)

    def size(self, name: str) -> int | None:
        """Ask for a size, or fail."""
        return self._do("size", name, lambda: self.disk.size(name))

    def exists(self) -> bool:
        """The place is there."""
        return True
