"""wsgidav: a WebDAV server over a folder, with locks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import process

USER, PASSWORD = "hospital", "webdav password"


@dataclass(frozen=True, slots=True)
class WebDavServer:
    """Where it listens, who may in, and the folder it serves."""

    port: int
    folder: Path
    user: str = USER
    password: str = PASSWORD

    def url(self, path: str, port: int | None = None) -> str:
        """Return the URL of a folder."""
        return f"webdav://127.0.0.1:{port or self.port}/{path}"


@contextmanager
def wsgidav(folder: Path) -> Iterator[WebDavServer]:
    """Run it."""
    served = folder / "served"
    served.mkdir()
    port = process.free_port()
    main = Path(__file__).with_name("webdav_main.py")
    command = [sys.executable, str(main), str(served), str(port), USER, PASSWORD]
    with process.running(command, log=folder / "wsgidav.log", ready=lambda: process.answers(port)):
        yield WebDavServer(port, served)
