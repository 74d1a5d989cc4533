"""What is to be done about parity: every pack in one sound group, nothing kept for what is gone."""

from __future__ import annotations

import hashlib
import random

import pytest

from holdfast.repository.parity.frame import DATA, META, SLOTS, Group, Member, Stored, size_step
from holdfast.repository.parity.plan import FEW, PackFact, ParityPlan, beyond_parity, plan_parity, rows_for


def sha(text: object) -> str:
    return hashlib.sha256(str(text).encode()).hexdigest()


def fact(size: int = 1000, class_id: int = 1, folder: int = DATA) -> PackFact:
    return PackFact(class_id, folder, size)


def stored(group: Group, *, missing: int = 0) -> Stored:
    names = [(row, sha((group, row))) for row in range(group.rows)]
    return Stored(group, tuple(names[missing:]))


def two(_class_id: int, _folder: int) -> int:
    return 2


def done(plan: ParityPlan, before: list[Stored]) -> list[Stored]:
    """Return the groups after a plan."""
    gone = set(plan.drop) | {name for t in plan.targets if t.base for _, name in t.base.rows}
    made = [stored(target.group) for target in plan.targets]
    return [one for one in before if not {name for _, name in one.rows} & gone] + made


def test_packs_are_grouped_by_class_folder_and_size() -> None:
    packs = {sha(n): fact(1000 + n) for n in range(20)}
    packs |= {sha(f"big{n}"): fact(30_000_000) for n in range(2)}
    packs |= {sha(f"meta{n}"): fact(1000, folder=META) for n in range(3)}
    packs |= {sha(f"other{n}"): fact(1000, class_id=3) for n in range(5)}
    plan = plan_parity([], packs, (), two)
    assert sorted(plan.unprotected) == sorted(packs)
    sizes = sorted((t.group.kind[:2], len(t.group.members), t.group.rows) for t in plan.targets)
    assert sizes == [((1, 1), 2, 1), ((1, 1), 4, 1), ((1, 1), 16, 2), ((1, 2), 3, 1), ((3, 1), 5, 2)]
    after = plan_parity(done(plan, []), packs, (), two)
    assert (after.targets, after.drop, after.unprotected) == ((), (), ())


def test_a_group_with_room_is_gone_on_with() -> None:
    packs = {sha(n): fact() for n in range(3)}
    first = done(plan_parity([], packs, (), two), [])
    packs |= {sha(n): fact() for n in range(3, 6)}
    plan = plan_parity(first, packs, (), two)
    (target,) = plan.targets
    assert target.base == first[0]
    assert (len(target.group.members), target.group.rows) == (6, 2)
    assert set(first[0].group.members) <= set(target.group.members)


def test_members_that_die_leave_and_the_others_keep_their_slots() -> None:
    packs = {sha(n): fact() for n in range(6)}
    before = done(plan_parity([], packs, (), two), [])
    dead = {sha(0), sha(1)}
    plan = plan_parity(before, {n: f for n, f in packs.items() if n not in dead}, dead, two)
    (target,) = plan.targets
    assert target.group.names == packs.keys() - dead
    assert set(target.group.members) <= set(before[0].group.members)
    assert target.group.rows == rows_for(4, 2) == 1
    gone = plan_parity(before, {}, packs.keys(), two)
    assert gone.targets == ()
    assert set(gone.drop) == {name for _, name in before[0].rows}


def test_a_lost_row_is_made_again_and_a_member_that_is_missing_counts_as_alive() -> None:
    packs = {sha(n): fact() for n in range(6)}
    (whole,) = done(plan_parity([], packs, (), two), [])
    torn = stored(whole.group, missing=1)
    plan = plan_parity([torn], packs, (), two)
    assert [target.group for target in plan.targets] == [whole.group]
    assert plan_parity([whole], {}, (), two).targets == (), "what the index does not list may be lost: it is kept"


def test_a_group_whose_packs_others_protect_goes() -> None:
    packs = {sha(n): fact() for n in range(3)}
    (small,) = done(plan_parity([], packs, (), two), [])
    packs |= {sha("x"): fact()}
    members = (*small.group.members, Member(9, sha("x"), 1000))
    large = stored(Group(1, DATA, 1, members))
    plan = plan_parity([small, large], packs, (), two)
    assert set(plan.drop) == {name for _, name in small.rows}
    assert plan.targets == ()


def test_a_class_that_wants_none_gets_none() -> None:
    packs = {sha(n): fact() for n in range(3)}
    before = done(plan_parity([], packs, (), two), [])
    plan = plan_parity(before, packs, (), lambda _class_id, _folder: 0)
    assert (plan.targets, plan.unprotected) == ((), ())
    assert set(plan.drop) == {name for _, name in before[0].rows}


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_and_goes_every_pack_is_in_a_sound_group(seed: int) -> None:
    dice = random.Random(seed)
    packs: dict[str, PackFact] = {}
    dead: set[str] = set()
    groups: list[Stored] = []
    for step in range(12):
        for n in range(dice.randint(0, 20)):
            packs[sha((seed, step, n))] = fact(dice.randint(1, 40_000), dice.choice([1, 3]), dice.choice([DATA, META]))
        for name in dice.sample(sorted(packs), dice.randint(0, len(packs) // 3)):
            del packs[name]
            dead.add(name)
        if groups and dice.random() < 0.3:
            groups[0] = Stored(groups[0].group, groups[0].rows[1:])
            groups = [one for one in groups if one.rows]
        groups = done(plan_parity(groups, packs, dead, two), groups)
        covered: set[str] = set()
        for one in groups:
            assert one.complete
            assert not one.group.names & dead
            assert one.group.rows == (1 if len(one.group.members) <= FEW else 2)
            assert len({size_step(member.size) for member in one.group.members}) == 1
            assert len(one.group.members) <= SLOTS
            covered |= one.group.names
        assert covered == packs.keys(), f"seed {seed}, step {step}"


def test_what_is_beyond_parity_is_said_exactly() -> None:
    a, b, c, d = (sha(name) for name in "abcd")
    one = stored(Group(1, DATA, 1, (Member(0, a, 9), Member(1, b, 9))))
    other = stored(Group(1, DATA, 1, (Member(0, b, 9), Member(1, c, 9))))
    assert beyond_parity([one], {a}) == frozenset()
    assert beyond_parity([one], {a, b}) == {a, b}
    assert beyond_parity([one, other], {a, b}) == frozenset(), "b comes back by the other group, then a"
    assert beyond_parity([one, other], {a, b, c}) == {a, b, c}
    assert beyond_parity([], {d}) == {d}
    assert beyond_parity([Stored(one.group, ())], {a}) == {a}
