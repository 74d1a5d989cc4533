"""The progress bar of a terminal: phase, part done, rate, bytes new and deduplicated, files, errors, time left."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from holdfast.base import events
from holdfast.base.units import format_bytes, format_seconds

__all__ = ["Bar", "describe"]


def describe(event: events.Progress) -> str:
    """Return one line about how far a run is."""
    parts = [format_bytes(event.bytes), f"{format_bytes(int(event.rate))}/s"]
    if event.new_bytes or event.stored_bytes:
        known = max(0, event.bytes - event.new_bytes)
        parts += [f"new {format_bytes(event.new_bytes)}", f"dedup {format_bytes(known)}"]
    parts.append(f"{event.files} files")
    if event.findings:
        parts.append(f"{event.findings} findings")
    left = event.eta_seconds
    if left is not None:
        parts.append(f"{format_seconds(left)} left")
    return " · ".join(parts)


class Bar:
    """A live line on standard error. Use as a context manager."""

    def __init__(self, title: str, console: Console | None = None) -> None:
        """Draw on `console`, by default standard error."""
        self._console = console or Console(stderr=True, highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}", markup=False),
            console=self._console,
            transient=True,
        )
        self._title = title
        self._task = self._progress.add_task(title, total=None, state="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, event: events.Progress) -> None:
        """Show the newest state."""
        fraction = event.fraction
        self._progress.update(
            self._task,
            description=f"{self._title}: {event.phase}",
            total=None if fraction is None else 1.0,
            completed=fraction or 0.0,
            state=describe(event),
        )

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        if text:
            self._console.print(text, markup=False, soft_wrap=True)
