"""The commit and prune protocol, explored exhaustively: two writers, two pruners, every interleaving, no violation.

A model of `docs/format/protocol.md` with the code's action names: `begin`, `read_condemned`, `read_index`, `refer`,
`put_pack`, `put_run`, `checkpoint`, `commit` of `session.py`; `repack`, `mark`, `condemn`, `decide`, `mark_again`, `plan`,
`apply_index`, `apply_packs`, `close` of `prune.py`. Breadth first over all states; a process may stop for ever at any
point, which is what a crash is. The invariant: every segment that a committed snapshot refers to is in a present pack.

Packs are of two generations of keys: what is repacked stays under the keys of its own. Each rule can be dropped, and each one
dropped yields a counter-example: none is there for comfort. One defence of the code is left out so that the rules are proved by
themselves: the look for packs right before a commit. The pruner of the model condemns more than the code's: also what running
sessions store. That the actions are the code's, in its order, is tested beside it (`test_protocol_names.py`).

The model found the rule "deleted for ever": without it, a writer that was suspended between a pack and its index run lists
the pack when it wakes, after a round deleted it, and the next writer refers to it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

# Packs, each with one segment; Y and R are of an older generation of keys, P0 and P1 of the newest.
# X: dead at the start. Y: live by an old snapshot, half dead, to be copied into R.
X, Y, R, P0, P1, M = 1, 2, 4, 8, 16, 32
OWN = (P0, P1)
A, B, W0, W1 = 1, 2, 4, 8
HOLDS = {X: A, Y: B, R: B, P0: W0, P1: W1, M: 0}
LISTED = HOLDS | {M: B}
"""What the index says. M: a copy of Y's segment made under another generation's keys, which nobody's key opens any more."""
OWN_SEGMENT = (W0, W1)
OLD_SNAPSHOT = B
NONE = -1

RULES = (
    "session first",
    "avoid condemned",
    "packs before runs",
    "acknowledge only what is not rested on",
    "write-once decision",
    "decide all",
    "second mark",
    "repack within a generation",
    "write-once plan",
    "deleted for ever",
)
ORDER = "condemned before index"
"""A second line beside "deleted for ever": each of the two alone keeps a writer from what a closed round deleted."""


class Writer(NamedTuple):
    """A writer: where it is, what it read, what it refers to; and its session in the home."""

    at: str = "begin"
    condemned: int = 0
    listed: int = 0
    """The index as it read it."""
    refs: int = 0
    exists: bool = False
    acks: int = 0
    decision: str = ""


class Pruner(NamedTuple):
    """A pruner: where it is, in which round, and what it means to write next."""

    at: str = "look"
    number: int = 0
    packs: int = 0


class Round(NamedTuple):
    """A round as it stands in the home."""

    condemned: int = NONE
    plan: int = NONE
    closed: bool = False


class State(NamedTuple):
    """The whole world."""

    packs: int = X | Y
    indexed: int = X | Y
    writers: tuple[Writer, ...] = (Writer(), Writer())
    pruners: tuple[Pruner, ...] = (Pruner(), Pruner())
    rounds: tuple[Round, ...] = (Round(),)


Step = tuple[str, State]


def segments(packs: int, holds: dict[int, int] = HOLDS) -> int:
    """Return the segments that some packs hold."""
    found = 0
    for pack, segment in holds.items():
        if packs & pack:
            found |= segment
    return found


def live(state: State) -> int:
    """Return the segments that committed snapshots need."""
    found = OLD_SNAPSHOT
    for writer in state.writers:
        if writer.decision == "commit":
            found |= writer.refs
    return found


def sound(state: State) -> bool:
    """Return whether every segment that a snapshot needs is in a present pack."""
    return not live(state) & ~segments(state.packs)


def replace_at(items: tuple, at: int, value: object) -> tuple:
    return (*items[:at], value, *items[at + 1 :])


class Model:
    """The protocol without some of its rules."""

    def __init__(self, dropped: frozenset[str] = frozenset()) -> None:
        self.on = {rule: rule not in dropped for rule in (*RULES, ORDER)}

    def steps(self, state: State) -> Iterator[Step]:
        """Yield every step that some process can take."""
        for i, writer in enumerate(state.writers):
            for name, new in self.writer_steps(state, i, writer):
                yield f"writer {i}: {name}", new
        for j, pruner in enumerate(state.pruners):
            for name, new in self.pruner_steps(state, j, pruner):
                yield f"pruner {j}: {name}", new

    # --- writers -----------------------------------------------------------------------------------------------------

    def order(self) -> list[str]:
        """Return the first steps of a writer, in their order."""
        reading = ["read_condemned", "read_index"]
        if not self.on[ORDER]:
            reading.reverse()
        return ["begin", *reading] if self.on["session first"] else [*reading, "begin"]

    def writer_steps(self, state: State, i: int, writer: Writer) -> Iterator[Step]:
        def to(new: Writer, **world: Any) -> State:
            return state._replace(writers=replace_at(state.writers, i, new), **world)

        order = self.order()
        at = order[0] if writer.at == "begin" and not writer.exists and not writer.listed else writer.at
        if at in order:
            position = order.index(at)
            after = order[position + 1] if position + 1 < len(order) else "refer"
            yield at, to(self.first_step(state, writer, at)._replace(at=after))
        elif at == "refer":
            avoided = writer.condemned if self.on["avoid condemned"] else 0
            for segment in (A,) if i == 0 else (A, W0):
                if segments(writer.listed & ~avoided) & segment:
                    yield "refer to what is stored", to(writer._replace(refs=segment, at="stored"))
            first = "put_pack" if self.on["packs before runs"] else "put_run"
            yield "store anew", to(writer._replace(at=first))
        elif at == "put_pack":
            after = "put_run" if self.on["packs before runs"] else "stored"
            new = writer._replace(at=after, refs=OWN_SEGMENT[i], listed=writer.listed | OWN[i])
            yield at, to(new, packs=state.packs | OWN[i])
        elif at == "put_run":
            after = "stored" if self.on["packs before runs"] else "put_pack"
            yield at, to(writer._replace(at=after), indexed=state.indexed | OWN[i])
        elif at == "stored":
            yield from self.checkpoint(state, i, writer)
            if not writer.decision or not self.on["write-once decision"]:
                yield "commit", to(Writer("done", refs=writer.refs, exists=True, decision="commit"))
        else:
            yield from self.forget(state, i, writer)

    def forget(self, state: State, i: int, writer: Writer) -> Iterator[Step]:
        """Somebody forgets the first writer's snapshot."""
        if i == 0 and writer.decision == "commit":
            new = writer._replace(decision="forgotten", refs=0)
            yield "forget", state._replace(writers=replace_at(state.writers, i, new))

    def first_step(self, state: State, writer: Writer, at: str) -> Writer:
        if at == "begin":
            return writer._replace(exists=True)
        if at == "read_index":
            return writer._replace(listed=state.indexed)
        condemned, acks = self.open_condemned(state)
        return writer._replace(condemned=condemned, acks=acks)

    def checkpoint(self, state: State, i: int, writer: Writer) -> Iterator[Step]:
        """Read condemned lists again: acknowledge, or drop the references and store anew."""
        condemned, acks = self.open_condemned(state)
        if acks & ~writer.acks == 0:
            return
        known = writer._replace(condemned=writer.condemned | condemned)
        rests = writer.refs & ~segments(known.listed & ~known.condemned)
        if not rests or not self.on["acknowledge only what is not rested on"]:
            new = known._replace(acks=writer.acks | acks)
        elif writer.refs & OWN_SEGMENT[i]:
            return  # its own pack was condemned: it waits for the decision
        else:
            new = known._replace(refs=0, at="refer", acks=writer.acks | acks)
        yield "checkpoint", state._replace(writers=replace_at(state.writers, i, new))

    def open_condemned(self, state: State) -> tuple[int, int]:
        """Return the packs that nothing may rest on, and the rounds that are not closed, as bits."""
        packs = acks = 0
        for number, r in enumerate(state.rounds):
            if r.plan != NONE and (self.on["deleted for ever"] or not r.closed):
                packs |= r.plan
            elif r.condemned != NONE and not r.closed:
                packs |= r.condemned
            acks |= (r.condemned != NONE and not r.closed) << number
        return packs, acks

    # --- pruners -----------------------------------------------------------------------------------------------------

    def pruner_steps(self, state: State, j: int, pruner: Pruner) -> Iterator[Step]:
        def to(new: Pruner, **world: Any) -> State:
            return state._replace(pruners=replace_at(state.pruners, j, new), **world)

        step = getattr(self, f"prune_{pruner.at}")
        for name, new, world in step(state, pruner):
            yield name, to(new, **world)

    def prune_look(self, state: State, pruner: Pruner) -> Iterator[tuple[str, Pruner, dict]]:
        """Roll an open round forward, or begin a new one."""
        for number, r in enumerate(state.rounds):
            if r.condemned != NONE and not r.closed:
                yield "take over", Pruner("decide" if r.plan == NONE else "apply_index", number), {}
                return
        number = sum(r.condemned != NONE for r in state.rounds)
        if number < len(state.rounds):
            yield "mark", *self.marked(state, number)

    def marked(self, state: State, number: int) -> tuple[Pruner, dict]:
        dead = sum(p for p in HOLDS if state.packs & p and not live(state) & HOLDS[p])
        copied = Y if state.packs & Y and live(state) & B else 0
        if copied:
            return Pruner("repack", number, dead | copied), {}
        return Pruner("condemn", number, dead | copied), {}

    def prune_repack(self, state: State, pruner: Pruner) -> Iterator[tuple[str, Pruner, dict]]:
        copy = R if self.on["repack within a generation"] else M
        yield "repack", pruner._replace(at="condemn"), {"packs": state.packs | copy, "indexed": state.indexed | copy}

    def prune_condemn(self, state: State, pruner: Pruner) -> Iterator[tuple[str, Pruner, dict]]:
        if not pruner.packs:
            yield "nothing to condemn", Pruner("stop"), {}
            return
        number = pruner.number
        world = {}
        if state.rounds[number].condemned == NONE:
            world = {"rounds": replace_at(state.rounds, number, Round(pruner.packs))}
        yield "condemn", Pruner("decide", number), world

    def prune_decide(self, state: State, pruner: Pruner) -> Iterator[tuple[str, Pruner, dict]]:
        """Revoke sessions one by one; go on when every session acknowledged or is decided."""
        waiting = [
            i for i, w in enumerate(state.writers) if w.exists and not w.decision and not w.acks & 1 << pruner.number
        ]
        if not self.on["decide all"]:
            waiting = []
        for i in waiting:
            revoked = state.writers[i]._replace(decision="revoked")
            yield f"decide: revoke {i}", pruner, {"writers": replace_at(state.writers, i, revoked)}
        if not waiting:
            yield "decide", pruner._replace(at="mark_again"), {}

    def prune_mark_again(self, state: State, pruner: Pruner) -> Iterator[tuple[str, Pruner, dict]]:
        condemned = state.rounds[pruner.number].condemned
        carried = segments(state.packs & state.indexed & ~condemned, LISTED)
        needed = live(state) & ~carried
        going = sum(p for p in HOLDS if condemned & p and not HOLDS[p] & needed)
        yield "mark_again", Pruner("plan", pruner.number, going if self.on["second mark"] else condemned), {}

    def prune_plan(self, state: State, pruner: Pruner) -> Iterator[tuple[str, Pruner, dict]]:
        r = state.rounds[pruner.number]
        world = {}
        if r.plan == NONE or not self.on["write-once plan"]:
            world = {"rounds": replace_at(state.rounds, pruner.number, r._replace(plan=pruner.packs))}
        yield "plan", Pruner("apply_index", pruner.number), world

    def prune_apply_index(self, state: State, pruner: Pruner) -> Iterator[tuple[str, Pruner, dict]]:
        plan = state.rounds[pruner.number].plan
        yield "apply_index", Pruner("apply_packs", pruner.number, plan), {"indexed": state.indexed & ~plan}

    def prune_apply_packs(self, state: State, pruner: Pruner) -> Iterator[tuple[str, Pruner, dict]]:
        yield "apply_packs", Pruner("close", pruner.number), {"packs": state.packs & ~pruner.packs}

    def prune_close(self, state: State, pruner: Pruner) -> Iterator[tuple[str, Pruner, dict]]:
        closed = state.rounds[pruner.number]._replace(closed=True)
        yield "close", Pruner(), {"rounds": replace_at(state.rounds, pruner.number, closed)}

    def prune_stop(self, state: State, pruner: Pruner) -> Iterator[tuple[str, Pruner, dict]]:
        return iter(())


def explore(*dropped: str, writers: int = 2, pruners: int = 2, rounds: int = 1) -> tuple[int, list[str]]:
    """Return how many states there are, and the steps to the nearest violation, if there is one."""
    model = Model(frozenset(dropped) - {""})
    first = State(writers=(Writer(),) * writers, pruners=(Pruner(),) * pruners, rounds=(Round(),) * rounds)
    came: dict[State, tuple[State, str] | None] = {first: None}
    queue = deque([first])
    while queue:
        state = queue.popleft()
        for name, step in model.steps(state):
            new = step._replace(pruners=tuple(sorted(step.pruners)))  # which of them it is does not matter
            if new in came:
                continue
            came[new] = (state, name)
            if not sound(new):
                return len(came), trace(came, new)
            queue.append(new)
    return len(came), []


def trace(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    steps = []
    at = came[state]
    while at is not None:
        steps.append(at[1])
        at = came[at[0]]
    return steps[::-1]


@pytest.mark.parametrize(("writers", "pruners", "rounds"), [(2, 2, 1), (2, 1, 2), (1, 2, 2)])
def test_no_interleaving_loses_data(writers: int, pruners: int, rounds: int) -> None:
    states, steps = explore(writers=writers, pruners=pruners, rounds=rounds)
    assert steps == []
    assert states > 3_000, "the model explores less than it should"


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_needed(rule: str) -> None:
    _, steps = explore(rule)
    assert steps, f"dropping {rule!r} loses nothing: the rule or the model is wrong"


def test_the_order_of_reading_is_a_second_line() -> None:
    """Where no second writer wakes up late, the order makes up for "deleted for ever"; without both, data is lost."""
    assert explore("deleted for ever", writers=1, pruners=1)[1] == []
    assert explore("deleted for ever", ORDER, writers=1, pruners=1)[1]
