"""Files alone: nothing is started. The comparison with the snapshot is the proof; `file` and `command` checks ask the rest."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.services.applications.ground import Ground, any_answer
from holdfast.services.catalogue import Check
from holdfast.services.judge import Answer, Outcome

__all__ = ["Files"]


class Files:
    """A tree of files."""

    def __init__(self, ground: Ground) -> None:
        """Serve nothing."""
        self._ground = ground

    def start(self) -> None:
        """Start nothing."""

    def ask(self, check: Check) -> Answer:
        """Answer by the files, or by a command that looks at them."""
        return any_answer(self._ground, check, what="a tree of files")

    def verify(self) -> Iterator[Outcome]:
        """Leave the proof to the comparison with the snapshot."""
        return iter(())

    def stop(self) -> None:
        """Stop nothing."""
