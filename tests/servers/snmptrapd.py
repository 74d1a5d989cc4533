"""A network management station: Net-SNMP's snmptrapd, which prints each trap as a line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import install, process

USER, AUTH, PRIVACY = "holdfast", "authentication-key", "privacy-key-of-it"


@dataclass(frozen=True)
class TrapReceiver:
    """Where it listens, and what came."""

    port: int
    log: Path

    def traps(self) -> list[str]:
        """Return a line for each trap."""
        return [line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("TRAP ")]


@contextmanager
def trap_receiver(folder: Path) -> Iterator[TrapReceiver]:
    """Start it for version 2c with the community `wards`, and version 3 with the user above."""
    program = install.debian("snmptrapd", "snmptrapd")
    port = process.free_port()
    settings = folder / "snmptrapd.conf"
    settings.write_text(
        f"createUser {USER} SHA-256 {AUTH} AES {PRIVACY}\nauthUser log {USER} priv\nauthCommunity log wards\n"
        "format2 TRAP %W %v\\n\ndoNotFork yes\n"
    )
    log = folder / "snmptrapd.log"
    log.touch()
    command = [program, "-f", "-Lo", "-On", "-C", "-c", str(settings), f"udp:127.0.0.1:{port}"]
    environ = {"SNMP_PERSISTENT_DIR": str(folder / "snmp"), "MIBS": ""}
    with process.running(command, log=log, environ=environ, ready=lambda: "NET-SNMP version" in log.read_text()):
        yield TrapReceiver(port, log)
