"""Where a pack belongs is decided by class, age and access alone; a plan copies before it deletes and keeps its budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.classes.policy import HEALTHCARE, ClassPolicy, Move, PolicyBook, StoreFacts
from holdfast.classes.routing import PackFacts, Placement, level_of, place, plan_moves

DAY = 86400.0
BOOK = PolicyBook(
    {name: ClassPolicy(name) for name in HEALTHCARE}
    | {
        "phi": ClassPolicy(
            "phi", ("home", "b", "c"), copies=2, moves=(Move(90 * 86400, ("cold", "b"), unless_restored_within=86400),)
        ),
        "imaging": ClassPolicy("imaging", ("b",), moves=(Move(10 * 86400, ("c",)), Move(20 * 86400, ("cold",)))),
        "public": ClassPolicy("public", ("b", "home")),
    },
    {name: StoreFacts(name) for name in ("home", "c")}
    | {"b": StoreFacts("b", classes=frozenset({"phi", "imaging"})), "cold": StoreFacts("cold", tier="cold")},
)


@pytest.mark.parametrize(
    ("class_name", "age", "restored", "stores", "alternates"),
    [
        ("phi", 0, None, ("home", "b"), ("c",)),
        ("phi", 89, None, ("home", "b"), ("c",)),
        ("phi", 90, None, ("cold", "b"), ()),
        ("phi", 90, 0.5, ("home", "b"), ("c",)),
        ("phi", 90, 2, ("cold", "b"), ()),
        ("imaging", 9, None, ("b",), ()),
        ("imaging", 10, None, ("c",), ()),
        ("imaging", 25, None, ("cold",), ()),
        ("public", 0, None, ("home",), ()),
        ("a site's own", 400, None, ("home",), ()),
    ],
)
def test_a_class_at_an_age_has_its_stores(class_name, age, restored, stores, alternates):
    found = place(BOOK, class_name, age_seconds=age * DAY, restored_ago=None if restored is None else restored * DAY)
    assert (found.stores, found.alternates) == (stores, alternates)
    assert found.candidates == (*stores, *alternates)
    assert found.reason


def test_metadata_stays_on_the_home_whatever_its_class():
    assert place(BOOK, "imaging", kind="meta", age_seconds=1e9).stores == ("home",)


def test_a_level_is_the_policy_s_or_the_default():
    assert level_of(ClassPolicy("phi", level=9), 1) == 9
    assert level_of(ClassPolicy("phi"), 3) == 3


def pack(
    name: str, class_name: str, age: float, *on: str, bad: tuple[str, ...] = (), spooled: bool = False
) -> PackFacts:
    return PackFacts(name, class_name, 100, age * DAY, frozenset(on), frozenset(bad), spooled)


def test_a_plan_puts_what_may_not_lie_there_first_then_copies_then_ages():
    plan = plan_moves(
        BOOK,
        [
            pack("a", "phi", 100, "home", "b"),
            pack("b", "phi", 0, "home"),
            pack("c", "public", 0, "home", "b"),
            pack("d", "phi", 0, "home", "b"),
            pack("e", "phi", 0, "home", bad=("b",)),
            pack("f", "phi", 0),
            pack("g", "phi", 0, spooled=True),
            pack("h", "imaging", 0, "b", bad=("c",)),
        ],
    )
    assert [(s.pack, s.urgency, s.copy_to, s.delete_from) for s in plan.steps] == [
        ("c", 0, (), ("b",)),
        ("b", 1, ("b",), ()),
        ("e", 1, ("b",), ()),
        ("g", 1, ("home", "b"), ()),
        ("a", 2, ("cold",), ("home",)),
        ("h", 2, (), ("c",)),
    ]
    assert plan.copy_bytes == 500


def test_a_budget_leaves_the_rest_for_later_and_always_does_something():
    packs = [pack(f"{n}", "phi", 0, "home") for n in range(5)]
    plan = plan_moves(BOOK, packs, budget_bytes=250)
    assert (len(plan.steps), plan.copy_bytes, plan.later, plan.later_bytes) == (2, 200, 3, 300)
    assert len(plan_moves(BOOK, packs, budget_bytes=1).steps) == 1


def test_a_class_with_nowhere_to_go_is_left_alone():
    book = PolicyBook({"phi-restricted": ClassPolicy("phi-restricted", ("gone",))}, {"home": StoreFacts("home")})
    assert not plan_moves(book, [pack("a", "phi", 0, "home")]).steps
    assert place(book, "phi") == Placement((), (), 1, "from the first day")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(HEALTHCARE)),
            st.floats(0, 400),
            st.sets(st.sampled_from(["home", "b", "c", "cold"])),
            st.booleans(),
        ),
        max_size=20,
    ),
    st.integers(0, 3000),
)
def test_no_plan_goes_where_a_class_may_not_nor_deletes_the_last_copy(packs, budget):
    facts = [pack(f"{at:02d}", name, age, *on, spooled=spooled) for at, (name, age, on, spooled) in enumerate(packs)]
    by_name = {fact.name: fact for fact in facts}
    for step in plan_moves(BOOK, facts, budget_bytes=budget).steps:
        before = by_name[step.pack]
        assert set(step.copy_to) <= BOOK.allowed(step.class_name)
        after = (before.on | set(step.copy_to)) - set(step.delete_from)
        assert after
        assert after <= BOOK.allowed(step.class_name)
        assert plan_moves(BOOK, [PackFacts(step.pack, step.class_name, 1, before.age_seconds, after)]).steps == ()
