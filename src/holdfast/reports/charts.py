"""Charts as SVG text: bars, timelines and trends, drawn for a screen and for paper alike. Pure: the same chart, the same bytes.

Each says everything in words too (labels and values stand beside the marks, a sentence describes the whole), so that it is
legible in print without colour and to a screen reader.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from itertools import count, takewhile

from holdfast.reports.document import Bar, Bars, Point, Span, State, Timeline, Trend

__all__ = ["PRINT", "SCREEN", "draw", "ticks"]

WIDTH = 720
ROW = 26
CHARACTER = 6.6
LABEL_MAX = 230
TOP = 26
BOTTOM = 26
TREND_HEIGHT = 190
TICKS = 5

SCREEN: Mapping[str, str] = {
    name: f"var(--{name})" for name in ("ink", "soft", "line", "good", "attention", "bad", "neutral", "muted")
}
"""Colours as variables of the page, which knows light and dark."""
PRINT: Mapping[str, str] = {
    "ink": "#1a2230",
    "soft": "#5b6675",
    "line": "#d5dbe3",
    "good": "#1f7a4d",
    "attention": "#b06a00",
    "bad": "#b3261e",
    "neutral": "#3b6ea5",
    "muted": "#a9b3c0",
}
"""Colours for paper."""


def draw(chart: Bars | Timeline | Trend, colours: Mapping[str, str] = SCREEN) -> str:
    """Return the chart as one SVG element."""
    match chart:
        case Bars():
            return _bars(chart, colours)
        case Timeline():
            return _timeline(chart, colours)
        case Trend():
            return _trend(chart, colours)


def ticks(top: float, wanted: int = TICKS) -> list[float]:
    """Return round values from 0 to `top`, about `wanted` of them."""
    if top <= 0:
        return [0.0]
    rough = top / wanted
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * scale for factor in (1, 2, 2.5, 5) if factor * scale >= rough), 10 * scale)
    return list(takewhile(lambda value: value <= top * 1.0001, (step * number for number in count())))


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(
    x: float, y: float, text: str, colour: str, *, anchor: str = "start", size: int = 12, weight: str = "normal"
) -> str:
    style = f"fill:{colour};font-size:{size}px;font-weight:{weight}"
    return f'<text x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}" style="{style}">{escape(_printable(text))}</text>'


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    shape = f'x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" height="{_number(height)}"'
    return f'<rect {shape} rx="3" style="fill:{colour}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False, width: float = 1) -> str:
    dash = ";stroke-dasharray:5 4" if dashed else ""
    ends = f'x1="{_number(x1)}" y1="{_number(y1)}" x2="{_number(x2)}" y2="{_number(y2)}"'
    return f'<line {ends} style="stroke:{colour};stroke-width:{_number(width)}{dash}"/>'


def _svg(height: float, title: str, told: str, parts: Sequence[str]) -> str:
    size = f'viewBox="0 0 {WIDTH} {_number(height)}" width="{WIDTH}" height="{_number(height)}"'
    label = escape(_printable(f"{title}. {told}"), quote=True)
    font = "font-family:system-ui,'DejaVu Sans',sans-serif"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{label}" style="{font}">'
    return head + "".join(parts) + "</svg>"


def _printable(text: str) -> str:
    """Return the text without what XML and paper have no place for."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _shortened(text: str, width: float) -> str:
    most = int(width / CHARACTER)
    return text if len(text) <= most else text[: most - 1] + "…"


def _label_width(labels: Sequence[str]) -> float:
    return min(LABEL_MAX, max((len(label) for label in labels), default=0) * CHARACTER + 14)


def _rows(
    title: str, labels: Sequence[str], mark: float | None, mark_text: str, top: float, colours: Mapping[str, str]
) -> tuple[float, float, Callable[[float], float], Iterator[str]]:
    """Return height, left edge, the scale from values to x, and the common parts of a chart of rows."""
    left = _label_width(labels)
    right = WIDTH - 96
    height = TOP + ROW * max(1, len(labels)) + BOTTOM
    top = top or 1.0

    def scale(value: float) -> float:
        return left + (right - left) * min(1.0, max(0.0, value / top))

    def parts() -> Iterator[str]:
        yield _text(0, 13, title, colours["ink"], weight="600")
        for value in ticks(top):
            yield _line(scale(value), TOP, scale(value), height - BOTTOM, colours["line"])
        for place, label in enumerate(labels):
            y = TOP + ROW * place + ROW / 2 + 4
            yield _text(left - 8, y, _shortened(label, left - 8), colours["ink"], anchor="end")
        if mark is not None:
            yield _line(scale(mark), TOP - 2, scale(mark), height - BOTTOM + 3, colours["ink"], dashed=True, width=1.5)
            anchor = "end" if scale(mark) > WIDTH * 0.6 else "start"
            yield _text(scale(mark), height - 8, mark_text, colours["ink"], anchor=anchor, size=11)

    return height, left, scale, parts()


def _bars(chart: Bars, colours: Mapping[str, str]) -> str:
    top = max([bar.value for bar in chart.bars] + ([chart.mark] if chart.mark is not None else []), default=0.0)
    labels = [bar.label for bar in chart.bars]
    height, left, scale, common = _rows(chart.title, labels, chart.mark, chart.mark_text, top, colours)
    parts = list(common)
    for place, bar in enumerate(chart.bars):
        y = TOP + ROW * place + 4
        parts.append(_rect(left, y, max(2.0, scale(bar.value) - left), ROW - 8, colours[bar.state]))
        parts.append(_text(scale(bar.value) + 6, y + ROW / 2, bar.text, colours["ink"]))
    return _svg(height, chart.title, _told(chart.bars, chart.mark_text), parts)


def _timeline(chart: Timeline, colours: Mapping[str, str]) -> str:
    end = max([span.start + span.seconds for span in chart.spans], default=0.0)
    # An objective far beyond what happened would press the spans to nothing: it is then said in words only.
    mark = chart.mark if chart.mark is not None and chart.mark <= end * 3 else None
    labels = [span.label for span in chart.spans]
    height, _, scale, common = _rows(chart.title, labels, mark, chart.mark_text, max(end, mark or 0.0), colours)
    parts = list(common)
    for place, span in enumerate(chart.spans):
        y = TOP + ROW * place + 4
        x, width = scale(span.start), max(2.0, scale(span.start + span.seconds) - scale(span.start))
        parts.append(_rect(x, y, width, ROW - 8, colours[span.state]))
        parts.append(_text(x + width + 6, y + ROW / 2, span.text, colours["ink"]))
    if mark is None and chart.mark is not None:
        parts.append(_text(WIDTH, height - 8, f"{chart.mark_text} →", colours["ink"], anchor="end", size=11))
    return _svg(height, chart.title, _told(chart.spans, chart.mark_text), parts)


def _trend(chart: Trend, colours: Mapping[str, str]) -> str:
    points = [*chart.points, *([chart.forecast] if chart.forecast else [])]
    heights = [point.high if point.high is not None else point.value for point in points]
    top = max([*heights, *([chart.mark] if chart.mark is not None else [])], default=0.0) * 1.1 or 1.0
    left, right, upper, lower = 20.0, WIDTH - 40.0, float(TOP + 14), float(TREND_HEIGHT - 34)

    def x_of(place: int) -> float:
        return left + (right - left) * (place + 0.5) / max(1, len(points))

    def y_of(value: float) -> float:
        return lower - (lower - upper) * min(1.0, max(0.0, value / top))

    parts = [_text(0, 13, chart.title, colours["ink"], weight="600"), _line(left, lower, right, lower, colours["line"])]
    if chart.mark is not None:
        parts.append(_line(left, y_of(chart.mark), right, y_of(chart.mark), colours["ink"], dashed=True, width=1.5))
        parts.append(_text(right, y_of(chart.mark) - 5, chart.mark_text, colours["ink"], anchor="end", size=11))
    for place in range(1, len(points)):
        before, after = points[place - 1], points[place]
        ends = (x_of(place - 1), y_of(before.value), x_of(place), y_of(after.value))
        parts.append(_line(*ends, colours["soft"], width=2, dashed=after is chart.forecast))
    every = max(1, math.ceil(len(points) / 8))
    for place, point in enumerate(points):
        said = place % every == 0 or place == len(points) - 1
        parts += _point(point, x_of(place), y_of, colours, lower=lower, said=said, hollow=point is chart.forecast)
    return _svg(TREND_HEIGHT, chart.title, _told(points, chart.mark_text), parts)


def _point(
    point: Point,
    x: float,
    y_of: Callable[[float], float],
    colours: Mapping[str, str],
    *,
    lower: float,
    said: bool,
    hollow: bool,
) -> Iterator[str]:
    y = y_of(point.value)
    if point.low is not None and point.high is not None:
        yield _line(x, y_of(point.low), x, y_of(point.high), colours["soft"], width=2)
        for end in (point.low, point.high):
            yield _line(x - 5, y_of(end), x + 5, y_of(end), colours["soft"], width=2)
    fill = "none" if hollow else colours[point.state]
    style = f"fill:{fill};stroke:{colours[point.state]};stroke-width:2"
    yield f'<circle cx="{_number(x)}" cy="{_number(y)}" r="4.5" style="{style}"/>'
    if said:
        beside = point.low is not None
        at = (x + 11, y + 4) if beside else (x, y - 10)
        yield _text(*at, point.text, colours["ink"], anchor="start" if beside else "middle", size=11)
        yield _text(x, lower + 16, point.label, colours["soft"], anchor="middle", size=11)


def _told(parts: Sequence[Bar | Span | Point], mark_text: str) -> str:
    words: dict[State, str] = {"good": "", "attention": " (attention)", "bad": " (failed)", "neutral": "", "muted": ""}
    told = "; ".join(f"{part.label}: {part.text}{words[part.state]}" for part in parts)
    return f"{told}. {mark_text}" if mark_text else told
