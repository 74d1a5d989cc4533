"""Whether an answer is what a check wants: pure, and never the answer itself in an outcome unless it is a figure.

An answer of a restored service may be a patient's data. Outcomes therefore hold numbers as they are (counts are what checks
ask for), and for every other answer its length and the beginning of its SHA-256.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from holdfast.services.catalogue import Check

__all__ = ["Answer", "Outcome", "figure", "judge", "shown"]

State = Literal["passed", "failed", "skipped"]
_NUMBER = re.compile(r"[+-]?\d{1,18}(\.\d{1,6})?")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered, or why it did not (`problem`: a sentence without content)."""

    value: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check came to. `cause` names what is wrong, in a sentence without content or paths."""

    name: str
    kind: str
    state: State
    wanted: str = ""
    found: str = ""
    cause: str = ""
    seconds: float = 0.0


def figure(value: str) -> float | None:
    """Return the number that an answer is, or None."""
    text = value.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def shown(value: str) -> str:
    """Return what of an answer may be shown."""
    if figure(value) is not None:
        return value.strip()
    text = value.strip().encode()
    return f"{len(text)} bytes, #{hashlib.sha256(text).hexdigest()[:12]}" if text else "nothing"


def judge(check: Check, answer: Answer, last: str = "", seconds: float = 0.0) -> Outcome:
    """Judge an answer; `last` is what the check found in the last drill that passed (as shown), if there was one."""
    wanted = _wanted(check, last)
    if answer.problem:
        return Outcome(check.name, check.kind, "failed", wanted, "no answer", answer.problem, seconds)
    cause = _cause(check, answer.value.strip(), last)
    return Outcome(check.name, check.kind, "failed" if cause else "passed", wanted, shown(answer.value), cause, seconds)


def _wanted(check: Check, last: str) -> str:
    parts = []
    if check.equals:
        parts.append(f"equal to {shown(check.equals)}")
    if check.at_least is not None:
        parts.append(f"at least {check.at_least}")
    if check.drop_max is not None and figure(last) is not None:
        parts.append(f"at most {check.drop_max:.0%} below {last}")
    return ", ".join(parts) or "an answer"


def _cause(check: Check, value: str, last: str) -> str:
    number = figure(value)
    if check.equals and value != check.equals.strip():
        return "the answer is another than the one wanted"
    if check.at_least is not None:
        if number is None:
            return "the answer is no number"
        if number < check.at_least:
            return f"{value} is less than {check.at_least}: data is missing"
    before = figure(last)
    if check.drop_max is not None and before is not None:
        if number is None:
            return "the answer is no number"
        if number < before * (1 - check.drop_max):
            return f"{value} is {1 - number / before:.0%} less than the {last} of the last drill that passed: data is missing"
    if not value and not check.equals and check.kind != "file":
        return "the answer is empty"
    return ""
