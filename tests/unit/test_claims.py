"""Every sentence after `SAFE:` is a promise that something can be held against, or that says who proves it instead."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from holdfast.errors import (
    DamageError,
    HoldfastError,
    StoreFullError,
    TargetNotEmptyError,
    UsageError,
    error_classes,
)
from holdfast.testing.claims import SENTENCES, Claim, State, Tally, judge, row_of, said_by, same

SOURCES = Path(__file__).resolve().parents[2] / "src" / "holdfast"
PASSED_ON = {"safe", "error.safe", "self.safe", "str(header.get('safe', ''))[:1000]"}
"""Sentences that were said elsewhere, by an error of the package or by the other end of a store's line, and are handed on."""
EXAMPLES = {"the snapshot is stored; {} of its source are kept until a person releases it.": "3 snapshots"}


def _text(node: ast.expr | None, names: dict[str, str]) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    if isinstance(node, ast.Name):
        return names.get(node.id)
    return None


def _assigned(tree: ast.AST) -> list[tuple[str, ast.expr | None]]:
    found: list[tuple[str, ast.expr | None]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            found += [(target.id, node.value) for target in node.targets if isinstance(target, ast.Name)]
            # `error.safe = …`: said of one error more exactly than its class says it.
            found += [(target.attr, node.value) for target in node.targets if isinstance(target, ast.Attribute)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.append((node.target.id, node.value))
    return found


def said_in_source() -> dict[str, set[str]]:
    """Return each sentence that package code gives as `safe`, with the modules; unknown ones as their expression."""
    found: dict[str, set[str]] = defaultdict(set)
    trees = {p: ast.parse(p.read_text()) for p in sorted(SOURCES.rglob("*.py")) if "testing" not in p.parts}
    shared: dict[str, str] = {}
    for tree in trees.values():
        shared |= {name: text for name, value in _assigned(tree) if name.isupper() and (text := _text(value, {}))}
    for path, tree in trees.items():
        names = shared | {name: text for name, value in _assigned(tree) if (text := _text(value, {}))}
        given = [value for name, value in _assigned(tree) if name == "safe" and value is not None]
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _may_raise(node)]
        given += [keyword.value for node in calls for keyword in node.keywords if keyword.arg == "safe"]
        branches = [
            b for value in given for b in ([value.body, value.orelse] if isinstance(value, ast.IfExp) else [value])
        ]
        for value in (b for b in branches if not (isinstance(b, ast.Constant) and b.value is None)):
            text = _text(value, names)
            found[ast.unparse(value) if text is None else text].add(str(path.relative_to(SOURCES)))
    return found


def _may_raise(node: ast.Call) -> bool:
    """Whether a call may be of an error: `quote(safe=…)` is none."""
    return not ast.unparse(node.func).endswith(("quote", "quote_plus", "urlencode"))


def test_every_sentence_has_a_row_and_every_row_a_sentence():
    said = said_in_source()
    known = {cls.safe for cls in error_classes()} | set(said)
    unknown = {
        text: places for text, places in said.items() if text and text not in SENTENCES and text not in PASSED_ON
    }
    assert not unknown, "add a row to holdfast.testing.claims.SENTENCES: what must be so, or who proves it"
    assert not SENTENCES.keys() - known, "nobody says this any more"


def test_every_row_promises_something_or_says_who_proves_it():
    assert all(row.claims or row.apart for row in SENTENCES.values())
    apart = [sentence for sentence, row in SENTENCES.items() if not row.claims]
    assert len(apart) <= 22, "what cannot be looked at stays a short list"


def test_templates_match_what_is_said():
    for template, example in EXAMPLES.items():
        assert row_of(template.replace("{}", example)) is SENTENCES[template]
    assert {sentence for sentence in SENTENCES if "{}" in sentence} == EXAMPLES.keys()
    assert row_of("all is well.") is None


OLD = {"home/vault": 1, "home/key/a": 2, "home/data/aa": 3, "home/audit/x": 4}
MORE = OLD | {"home/data/bb": 5}
LESS = {name: token for name, token in OLD.items() if name != "home/data/aa"}


def says(sentence: str, kind: type[HoldfastError] = StoreFullError) -> HoldfastError:
    return kind("it failed", safe=sentence)


@pytest.mark.parametrize(
    ("sentence", "before", "after", "held"),
    [
        ("nothing was changed.", State(OLD), State(OLD | {"home/audit/y": 9}), True),
        ("nothing was changed.", State(OLD), State(MORE), False),
        ("every snapshot acknowledged before is as it was.", State(OLD), State(MORE), True),
        ("every snapshot acknowledged before is as it was.", State(OLD), State(LESS, restored=True), True),
        ("every snapshot acknowledged before is as it was.", State(OLD), State(LESS, restored=False), False),
        ("every snapshot acknowledged before is as it was.", State(OLD), State(LESS), None),
        ("nothing was deleted.", State(OLD), State(MORE), True),
        ("nothing was deleted.", State(OLD), State(OLD | {"home/data/aa": 7}), False),
        ("no key was destroyed.", State(OLD), State(LESS), True),
        ("no key was destroyed.", State(OLD), State({"home/vault": 1}), False),
        ("no vault was made.", State({}), State({}), True),
        ("no vault was made.", State({}), State({"home/vault": 1}), False),
        (
            "nothing was committed; every snapshot acknowledged before is as it was.",
            State(OLD),
            State(OLD | {"home/decision/a/0": 1}),
            False,
        ),
        ("nothing was committed; every snapshot acknowledged before is as it was.", State(OLD), State(MORE), True),
    ],
)
def test_what_is_said_is_held_against_what_is_there(sentence, before, after, held):
    verdicts = judge(says(sentence), before, after)
    assert (all(verdicts.values()) if verdicts else None) is held
    tally = Tally()
    tally.take(says(sentence), before, after)
    assert tally.said[sentence] == 1
    assert tally.held[sentence] == (held is True)
    assert bool(tally.broken) == (held is False)


def test_what_is_left_in_a_target():
    error = says("nothing was written; what is in the folder is untouched.", TargetNotEmptyError)
    assert judge(error, State(OLD, {"a": 1}), State(OLD, {"a": 1})) == {
        Claim.UNCHANGED: True,
        Claim.TARGET_UNTOUCHED: True,
    }
    assert judge(error, State(OLD, {"a": 1}), State(OLD, {"a": 2}))[Claim.TARGET_UNTOUCHED] is False
    assert Claim.TARGET_UNTOUCHED not in judge(error, State(OLD), State(OLD))
    lost = DamageError("it is damaged")
    assert judge(lost, State(OLD), State(OLD)) == {Claim.KEPT: True}
    assert judge(lost, State(OLD), State(OLD, whole=False))[Claim.TARGET_WHOLE] is False


def test_untouched_is_a_claim_of_its_own():
    error = says("every snapshot acknowledged before is as it was.", UsageError)
    assert judge(error, State(OLD), State(MORE)) == {Claim.UNCHANGED: False, Claim.KEPT: True}
    assert said_by(error) == "every snapshot acknowledged before is as it was."
    assert same(OLD, OLD | {"home/audit/z": 1})


def test_what_nobody_knows_is_no_promise():
    tally, other = Tally(), Tally()
    other.take(says("all is well."), State(OLD), State(OLD))
    tally.add(other)
    assert tally.broken == ["nothing proves the claim: all is well."]
    assert tally.said["all is well."] == 1
    with pytest.raises(AssertionError, match="all is well"):
        judge(says("all is well."), State(OLD), State(OLD))
