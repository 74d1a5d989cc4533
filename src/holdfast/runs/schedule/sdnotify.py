"""Words to the service manager (sd_notify(3)): ready, alive, what is being done. Silent where there is none."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

__all__ = ["Supervisor"]


class Supervisor:
    """The socket in NOTIFY_SOCKET; the watchdog interval in WATCHDOG_USEC."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read both from an environment."""
        path = environ.get("NOTIFY_SOCKET", "")
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        usec = environ.get("WATCHDOG_USEC", "")
        own = environ.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.watchdog_seconds = int(usec) / 1e6 if usec.isdecimal() and own and int(usec) else None
        """A sign of life must come within this; None: nobody waits for one."""

    def tell(self, **words: str | int) -> None:
        """Tell `READY=1`, `WATCHDOG=1`, `STATUS=…`, `STOPPING=1`. A manager that does not listen is not waited for."""
        if not self._address:
            return
        text = "\n".join(f"{name}={value}" for name, value in words.items())
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(1.0)
            datagrams.sendto(text.encode(), self._address)
