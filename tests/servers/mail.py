"""A mail server that keeps what it gets in a maildir (Debian's aiosmtpd)."""

from __future__ import annotations

import mailbox
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from servers import install, process


@dataclass(frozen=True)
class MailServer:
    """Where it listens, and what came."""

    port: int
    folder: Path

    def letters(self) -> list[Message]:
        """Return the letters, in the order they came."""
        found = mailbox.Maildir(self.folder, create=False)
        return [found[key] for key in sorted(found.keys())]


@contextmanager
def mail_server(folder: Path, *arguments: str) -> Iterator[MailServer]:
    """Start a server; `arguments` are options of aiosmtpd, such as its certificate."""
    program = install.debian("aiosmtpd", "python3-aiosmtpd")
    port = process.free_port()
    box = folder / "mailbox"
    command = [program, "-n", *arguments, "-l", f"127.0.0.1:{port}", "-c", "aiosmtpd.handlers.Mailbox", str(box)]
    with process.running(command, log=folder / "mail.log", ready=lambda: process.answers(port)):
        yield MailServer(port, box)
