"""A whole host as what a drill starts: its restored root is looked at, and its own programs are asked by chroot.

What is asked runs in the cell as a user that is root there only: without network, rights, devices or a writable file system. A
check of kind `command` runs inside the restored root, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from holdfast.errors import DrillProgramError, HoldfastError
from holdfast.services.applications.ground import ANSWER_SECONDS, ApplicationFailed, Ground, any_answer
from holdfast.services.catalogue import Check
from holdfast.services.hosts.check import HostCheck
from holdfast.services.isolation import Ran
from holdfast.services.judge import Answer, Outcome
from holdfast.sources.hosts.inventory import INVENTORY_PATH, decode_inventory

__all__ = ["Host"]


class Host:
    """A restored root."""

    def __init__(self, ground: Ground) -> None:
        """Look at nothing yet."""
        self._ground = ground
        self._check: HostCheck | None = None
        self._outcomes: tuple[Outcome, ...] = ()

    def start(self) -> None:
        """Hold the root against its inventory and let its programs say whether it would start."""
        try:
            with open(os.path.join(self._ground.restored, INVENTORY_PATH), "rb") as file:
                inventory = decode_inventory(file.read())
        except OSError:
            raise ApplicationFailed("the snapshot has no inventory of its host") from None
        except HoldfastError as error:
            raise ApplicationFailed(error.what) from None
        root = (self._ground.restored + inventory.root).rstrip("/")
        self._check = HostCheck(root, inventory, self._ground.file_systems, self._run)
        self._outcomes = self._check.outcomes()
        causes = [outcome.cause for outcome in self._outcomes if outcome.state == "failed"]
        if causes:
            raise ApplicationFailed("; ".join(causes))

    def _run(self, command: Sequence[str], seconds: float) -> Ran:
        return self._ground.run_program(command, seconds=seconds)

    def ask(self, check: Check) -> Answer:
        """Run a command inside the restored root, or look at one of its files."""
        if check.kind != "command" or self._check is None:
            return any_answer(self._ground, check, what="a host")
        try:
            ran = self._check.ask(check.command, ANSWER_SECONDS)
        except DrillProgramError as error:
            return Answer(problem=error.what)
        if ran.timed_out:
            return Answer(problem=f"the command did not end within {ANSWER_SECONDS:.0f} s")
        return Answer(ran.out) if ran.code == 0 else Answer(problem=f"the command ended with exit code {ran.code}")

    def verify(self) -> Iterator[Outcome]:
        """Yield what the check of the root came to."""
        return iter(self._outcomes)

    def stop(self) -> None:
        """Stop nothing: each question has its own process."""
