"""The document model of every report: frozen values that say what is shown, not how. HTML and PDF come from the same one.

Texts are plain: no markup of any kind is read in them, so whatever a service or a check is called is shown as it is. A
report holds no path, file name or content of backed-up data: whoever builds it hands over names of the configuration,
counts and digests only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "Bar",
    "Bars",
    "Block",
    "Document",
    "Fact",
    "Facts",
    "Paragraph",
    "Point",
    "Section",
    "Span",
    "State",
    "Step",
    "Steps",
    "Table",
    "Timeline",
    "Trend",
    "Verdict",
]

State = Literal["good", "attention", "bad", "neutral", "muted"]
"""What a row, a bar or a verdict says: met, in danger or weaker than wished, failed, nothing of the kind, beside the point."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A sentence or a few."""

    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the report comes to, in one line and one sentence. Shown large; never by colour alone."""

    state: State
    headline: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fact:
    """One figure with its name."""

    label: str
    value: str
    state: State = "neutral"


@dataclass(frozen=True, slots=True)
class Facts:
    """Figures side by side: the ones that a reader looks for first."""

    items: tuple[Fact, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under a head. `right` are the columns aligned to the right; `states` is one per row, or none at all."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    right: frozenset[int] = frozenset()
    states: tuple[State, ...] = ()
    empty: str = "Nothing to list."


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its length is `value`, its label in words is `text`."""

    label: str
    value: float
    text: str
    state: State = "neutral"


@dataclass(frozen=True, slots=True)
class Bars:
    """Horizontal bars on one scale from zero, with a mark (an objective) if there is one."""

    title: str
    bars: tuple[Bar, ...]
    mark: float | None = None
    mark_text: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """One span of a timeline: seconds from its beginning, and how long."""

    label: str
    start: float
    seconds: float
    text: str
    state: State = "neutral"


@dataclass(frozen=True, slots=True)
class Timeline:
    """Spans under each other on one time axis in seconds, with a mark (an objective) if there is one."""

    title: str
    spans: tuple[Span, ...]
    mark: float | None = None
    mark_text: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a trend; `low` and `high` are the ends of its uncertainty."""

    label: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    state: State = "neutral"


@dataclass(frozen=True, slots=True)
class Trend:
    """A line through points in order, with a mark (an objective), and a forecast drawn apart from what was measured."""

    title: str
    points: tuple[Point, ...]
    mark: float | None = None
    mark_text: str = ""
    forecast: Point | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do: in words, as commands to be typed in this order, and what to expect."""

    title: str
    text: str = ""
    commands: tuple[str, ...] = ()
    expect: str = ""


@dataclass(frozen=True, slots=True)
class Steps:
    """Numbered steps, each with a box to tick on paper."""

    items: tuple[Step, ...]


Block = Paragraph | Verdict | Facts | Table | Bars | Timeline | Trend | Steps


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A report. `made` is the time as text; `footer` says where it is from and how to prove it."""

    title: str
    subtitle: str
    made: str
    lead: tuple[Block, ...] = ()
    """What stands before the first heading: the verdict and the figures that matter."""
    sections: tuple[Section, ...] = ()
    footer: str = ""
    language: str = "en"
