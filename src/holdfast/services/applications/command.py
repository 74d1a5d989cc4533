"""Any other application: a command that serves in the foreground from the restored folder, asked by HTTP or by commands.

The command runs in the cell, in the restored folder of `data` (or the whole restore), with HOLDFAST_DRILL=1,
HOLDFAST_DRILL_DATA and, if the service has a port, HOLDFAST_DRILL_PORT. Without a command nothing is started.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.services.applications.ground import ApplicationFailed, Ground, any_answer, http_answer, wait_ready
from holdfast.services.catalogue import Check
from holdfast.services.isolation import Server
from holdfast.services.judge import Answer, Outcome

__all__ = ["Command"]


class Command:
    """A service started by its own command."""

    def __init__(self, ground: Ground) -> None:
        """Serve from the ground's data."""
        self._ground = ground
        self._server: Server | None = None
        variables = {**ground.environ, "HOLDFAST_DRILL_DATA": ground.data}
        if ground.service.port:
            variables["HOLDFAST_DRILL_PORT"] = str(ground.service.port)
        ground.environ = variables

    def start(self) -> None:
        """Start the command; with a port, wait until something answers there by HTTP, whatever it says."""
        service = self._ground.service
        if not service.command:
            return
        server = self._ground.serve(service.command, cwd=self._ground.data)
        self._server = server
        if service.port:
            wait_ready(self._ground, server, self._answers, lambda: "")
        elif server.poll() not in (None, 0):
            raise ApplicationFailed(f"the application ended with exit code {server.poll()}")

    def _answers(self) -> bool:
        return http_answer(self._ground, self._url("/")).problem != "nobody answers there"

    def ask(self, check: Check) -> Answer:
        """Ask by HTTP at the service's port, or by command or file."""
        if self._server is not None and self._server.poll() not in (None, 0):
            return Answer(problem=f"the application has ended with exit code {self._server.poll()}")
        if check.kind == "http":
            return http_answer(self._ground, self._url(check.path))
        return any_answer(self._ground, check, what="a command")

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._ground.service.port}/{path.lstrip('/')}"

    def verify(self) -> Iterator[Outcome]:
        """Leave it to the service's checks."""
        return iter(())

    def stop(self) -> None:
        """End the command and its children."""
        if self._server is not None:
            self._ground.cell.end(self._server)
            self._server = None
