"""What a command prints: answers on standard output, progress and findings on standard error, or JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import click

from holdfast.base.events import Alert, Event, Events, Finding, Note, Progress
from holdfast.cli.records import digest, line, path_text, record
from holdfast.errors import HoldfastError, Interrupted, PausedError, UsageError

__all__ = ["AUDIT_VERIFY", "Output", "TextShown", "alert_of"]

FINDINGS_SHOWN_MAX = 20
PROGRESS_SECONDS = 1.0
DAMAGE = 4
FAILED = (1, DAMAGE, 6, 7)
AUDIT_VERIFY = "audit verify"
UNATTENDED = frozenset(
    {AUDIT_VERIFY, "backup", "check", "export", "import", "migrate", "prune", "repair", "verify", "wal store"}
)
"""Runs that timers and scripts start: a failure that nobody watches is told. A restore or a drill has its own ways."""
_KINDS = {Finding: "finding", Note: "note", Alert: "alert"}


@dataclass(frozen=True, slots=True)
class TextShown:
    """A text for people, or for another program, that was asked for."""

    name: str
    """What it is: `digest`, `unit`, `sample`, `option`, `applications`."""
    text: str
    """All of it, as it is printed without `--json`."""


class Output:
    """Where a command's words go. One per command."""

    def __init__(self, *, as_json: bool, quiet: bool, show_paths: bool | None) -> None:
        """Paths of findings are shown if asked for or, unless refused, on a terminal."""
        self.as_json = as_json
        self.quiet = quiet
        self.terminal = sys.stderr.isatty()
        on_terminal = sys.stdout.isatty() and self.terminal and not as_json
        self.show_paths = on_terminal if show_paths is None else show_paths
        self._findings = 0
        self._progress_said = 0.0
        self._run = ""
        self.config = ""
        """The configuration whose channels tell of an alert that the book could not take; empty: there is none."""

    def say(self, text: str) -> None:
        """Print a sentence for people: not in JSON, not when quiet."""
        if not self.as_json and not self.quiet:
            click.echo(text)

    def answer(self, text: str) -> None:
        """Print what was asked for, even when quiet; not in JSON."""
        if not self.as_json:
            click.echo(text)

    def page(self, name: str, text: str) -> None:
        """Print a whole text that was asked for, as it is; in JSON as one record."""
        self.row("text", TextShown(name, text), text.rstrip("\n"))

    def row(self, kind: str, value: object, text: str, *, show_paths: bool = True) -> None:
        """Print one row of a listing. Listings were asked for, so they show paths unless told otherwise."""
        if self.as_json:
            click.echo(line(record(kind, value, show_paths=show_paths)))
        else:
            click.echo(text)

    def result(self, kind: str, value: object, exit_code: int, summary: Sequence[str]) -> int:
        """Print the end of a run, as a record or as the lines of a summary; return the exit code."""
        if self._run:
            self._note_end(alert_of(self._run, exit_code))
        if self.as_json:
            click.echo(line(record(kind, value, show_paths=self.show_paths, exit_code=exit_code)))
        else:
            hidden = self._findings - FINDINGS_SHOWN_MAX
            if hidden > 0 and not self.quiet:
                click.echo(f"… and {hidden} more findings (--json lists all)", err=True)
            for text in summary:
                self.say(text)
        return exit_code

    def failure(self, error: HoldfastError) -> int:
        """Print an error that does not end the command; return its exit code."""
        click.echo(f"holdfast: {error}", err=True)
        for note in getattr(error, "__notes__", ()):
            click.echo(f"note: {note}", err=True)
        if self.as_json:
            from holdfast.cli.records import error_record

            click.echo(line(error_record(error)))
        return error.exit_code

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], right: str = "") -> None:
        """Print a table; columns named in `right` (by their letter positions) are aligned to the right."""
        if self.as_json or not rows:
            return
        widths = [max(len(row[place]) for row in (head, *rows)) for place in range(len(head))]
        for row in (head, *rows):
            cells = (
                cell.rjust(width) if str(place) in right else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            click.echo("  ".join(cells).rstrip())

    def path(self, path: bytes) -> str:
        """Return a path of a finding, or what stands for it."""
        return path_text(path) if self.show_paths else f"#{digest(path)}"

    @contextmanager
    def events(self, title: str) -> Iterator[Events]:
        """Give a run its callback: a progress bar on a terminal, records in JSON, findings always.

        Alerts go into this host's alert book, too: whoever started the run, somebody is told. So does the failure of a run
        that nobody watches on a terminal.
        """
        self._run = title
        try:
            with self._heard(title) as events:
                yield events
        except (Interrupted, PausedError, UsageError):
            raise
        except HoldfastError as error:
            self._note_end(Alert.of(error, title))
            raise

    def _note_end(self, alert: Alert | None) -> None:
        """Tell of the end of a run that nobody watches."""
        if self.terminal or self._run not in UNATTENDED:
            return
        from holdfast.runs.alerting import note_end

        try:
            note_end(self._run, alert)
        except HoldfastError as error:
            click.echo(f"note: the alert could not be kept: {error.what}", err=True)
            if alert is not None:
                self._tell_directly(alert)

    @staticmethod
    @contextmanager
    def _in_book(failure: str) -> Iterator[None]:
        """Do something to the alert book. One that cannot be written stops no run: it is said instead."""
        try:
            yield
        except HoldfastError as error:
            click.echo(f"note: {failure}: {error.what}", err=True)

    @contextmanager
    def _heard(self, title: str) -> Iterator[Events]:
        if self.as_json:
            yield self._record_event
        elif self.terminal and not self.quiet:
            from holdfast.cli.progress import Bar

            with Bar(title) as bar:

                def show(event: Event) -> None:
                    if isinstance(event, Progress):
                        bar.update(event)
                    else:
                        self._keep(event)
                        bar.print(self._text(event))

                yield show
        else:
            yield self._print_event

    def hear(self, event: Event) -> None:
        """Say and keep an alert that no callback of a run was there for."""
        (self._record_event if self.as_json else self._print_event)(event)

    def _record_event(self, event: Event) -> None:
        if isinstance(event, Progress):
            # A new phase begins at zero seconds; within a phase one line per second is plenty.
            if 0 <= event.seconds - self._progress_said < PROGRESS_SECONDS:
                return
            self._progress_said = event.seconds
            click.echo(
                line(
                    record(
                        "progress", event, show_paths=self.show_paths, rate=event.rate, eta_seconds=event.eta_seconds
                    )
                )
            )
        else:
            self._keep(event)
            kind = _KINDS[type(event)]
            click.echo(line(record(kind, event, show_paths=self.show_paths)))

    def _keep(self, event: Event) -> None:
        """Put an alert into the book."""
        if isinstance(event, Alert):
            from holdfast.runs.alerting import keep_alert

            try:
                keep_alert(event)
            except HoldfastError as error:
                click.echo(f"note: the alert could not be kept: {error.what}", err=True)
                self._tell_directly(event)

    def _tell_directly(self, alert: Alert) -> None:
        """Tell of an alert at once that the book could not take, where a configuration says whom."""
        if not self.config:
            return
        from holdfast.runs.alerting import tell_directly

        with self._in_book("the alert could not be told"):
            click.echo(f"note: it was told at once: {tell_directly(alert, self.config)} messages", err=True)

    def end_alerts(self, subject: str, codes: frozenset[str], note: str) -> None:
        """Resolve alerts of a subject whose cause is gone."""
        from holdfast.runs.alerting import end_alerts

        with self._in_book("earlier alerts could not be resolved"):
            end_alerts(subject, codes, note=note)

    def _print_event(self, event: Event) -> None:
        self._keep(event)
        if not isinstance(event, Progress) and (isinstance(event, Alert) or not self.quiet):
            text = self._text(event)
            if text:
                click.echo(text, err=True)

    def _text(self, event: Finding | Note | Alert) -> str:
        if isinstance(event, Alert):
            return f"ALERT ({event.safety.value}) {event.subject}: {event.text}"
        if isinstance(event, Note):
            return f"note: {event.text}"
        self._findings += 1
        if self._findings > FINDINGS_SHOWN_MAX:
            return ""
        place = f": {self.path(event.path)}" if event.path else ""
        return f"{event.kind}{place}: {event.detail}"


def alert_of(run: str, exit_code: int) -> Alert | None:
    """Return the alert that a run's exit code is worth by itself.

    What is missing from a backup, was paused, or is wrong with the audit log has its own words.
    """
    if exit_code not in FAILED or (run == AUDIT_VERIFY and exit_code == DAMAGE):
        return None
    from holdfast.runs.schedule.launch import outcome_of_code

    found = outcome_of_code(exit_code)
    return Alert(
        "damage-found" if exit_code == DAMAGE else "run-failed",
        run,
        found.what,
        found.safety,
        found.retry,
        found.safe,
        found.next,
    )
