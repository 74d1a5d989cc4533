"""Every code that the package gives to an alert is declared once, with what it means and what to do; pages and messages have it.

The sources are read: each `Alert(...)`, and each outcome of a run that becomes one, must name its code in a way that can be followed.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import holdfast
from holdfast.base.alert_codes import ALERT_CODES, next_of
from holdfast.base.environment import ManualClock
from holdfast.base.events import Alert
from holdfast.errors import Safety, error_classes
from holdfast.reliability.alerts.book import AlertBook
from holdfast.reliability.alerts.messages import told_message
from holdfast.reliability.alerts.table import Contact

PACKAGE = Path(holdfast.__file__).parent
ERRORS = {cls.code for cls in error_classes()}
OF_OTHERS = {"error.code", "kind.code", "alert.code", "outcome.code", "record['code']", "error['code']"}
"""What an alert's code may be taken from: an error, an alert of before, or how a run ended (each of which is looked at itself)."""
PLACES = {"Alert": 0, "Outcome": 1}
"""Classes whose calls are followed, and the place of the code among their arguments."""


def calls() -> Iterator[tuple[str, ast.expr]]:
    """Yield each module with what stands for a code in it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(["holdfast", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_bytes())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in PLACES:
                continue
            if node.func.id == "Outcome" and ".schedule." not in module:
                continue  # another class of that name
            place = PLACES[node.func.id]
            named = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            yield from ((module, each) for each in (*node.args[place : place + 1], *named))


def codes_of(module: str, node: ast.expr) -> set[str]:
    """Return the codes that an expression can be, followed through names, tables and choices."""
    match node:
        case ast.Constant(value=str(code)):
            return {code}
        case ast.IfExp():
            return codes_of(module, node.body) | codes_of(module, node.orelse)
        case ast.BoolOp():
            return {code for value in node.values for code in codes_of(module, value)}
        case ast.Name():
            return {getattr(importlib.import_module(module), node.id)}
        case ast.Subscript(value=ast.Name()) if ast.unparse(node) not in OF_OTHERS:
            return set(getattr(importlib.import_module(module), ast.unparse(node.value)).values())
        case ast.Call(func=ast.Attribute(value=ast.Name() as table, attr="get"), args=[_, otherwise]):
            found = getattr(importlib.import_module(module), table.id).values()
            return {*found, *codes_of(module, otherwise)} - {""}
    assert ast.unparse(node) in OF_OTHERS, f"{module}: the code {ast.unparse(node)} cannot be followed"
    return set()


def test_every_code_of_an_alert_is_declared():
    used = {code: module for module, node in calls() for code in codes_of(module, node)}
    assert len(used) > 30, "the calls were found"
    undeclared = {code: module for code, module in used.items() if code not in ALERT_CODES and code not in ERRORS}
    assert undeclared == {}
    assert set(ALERT_CODES) - set(used) == set(), "what is declared is used"


def test_a_code_says_what_it_means_and_what_to_do():
    for code, each in ALERT_CODES.items():
        assert code == each.code
        assert each.meaning.endswith(".")
        assert each.next.endswith(".")
        assert next_of(code) == each.next
    assert list(ALERT_CODES) == sorted(ALERT_CODES)
    assert set(ALERT_CODES) & ERRORS == {"run-missing"}, (
        "a word that is both is explained as both; let there be no second"
    )
    assert next_of("store-full") == next(cls.next for cls in error_classes() if cls.code == "store-full")
    assert next_of("a-plug-in's-own") == ""


@pytest.mark.parametrize("code", sorted(ALERT_CODES))
def test_people_are_told_what_to_do(code):
    """An alert without words of its own gets those of its code: in the book, in a message, among others in one message."""
    clock = ManualClock(datetime(2026, 11, 25, tzinfo=UTC))
    book = AlertBook(":memory:", clock.environment())
    one = book.get(book.report(Alert(code, "ehr", "something happened", Safety.INTACT)))
    two = book.get(book.report(Alert("store-full", "home", "no room", Safety.DEGRADED, next="free some room.")))
    assert one.next == ALERT_CODES[code].next
    contact = Contact(name="anna", channels=("mail",))
    (alone, both) = (
        told_message(records, site="north", level=1, now=clock.now(), contact=contact)
        for records in ([one], [one, two])
    )
    assert f"NEXT: {ALERT_CODES[code].next}" in alone.body
    assert f"NEXT ({code}): {ALERT_CODES[code].next}" in both.body
    assert "NEXT (store-full): free some room." in both.body
    assert both.record()["body"] == both.body
