"""A syslog collector: rsyslogd, which writes each message's parsed fields as a line of JSON."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import install, process


@dataclass(frozen=True)
class SyslogCollector:
    """Where it listens, and what came."""

    port: int
    socket: Path
    out: Path

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages, as rsyslog parsed them."""
        return [json.loads(line) for line in self.out.read_text().splitlines()] if self.out.exists() else []


@contextmanager
def syslog_collector(folder: Path) -> Iterator[SyslogCollector]:
    """Start it on UDP, TCP and a socket."""
    program = install.debian("rsyslogd", "rsyslog")
    port, out, socket = process.free_port(), folder / "messages.json", folder / "log"
    settings = folder / "rsyslog.conf"
    settings.write_text(f"""
module(load="imudp") module(load="imtcp") module(load="imuxsock" SysSock.Use="off")
input(type="imudp" address="127.0.0.1" port="{port}")
input(type="imtcp" address="127.0.0.1" port="{port}")
input(type="imuxsock" Socket="{socket}" ParseHostname="on" UseSpecialParser="off")
template(name="fields" type="list" option.jsonf="on") {{
  property(outname="priority" name="pri" format="jsonf")
  property(outname="program" name="app-name" format="jsonf")
  property(outname="kind" name="msgid" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf")
  property(outname="text" name="msg" format="jsonf")
}}
action(type="omfile" file="{out}" template="fields" fileCreateMode="0644")
""")
    log = folder / "rsyslog.log"
    checked = subprocess.run([program, "-N1", "-f", str(settings)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    command = [program, "-n", "-f", str(settings), "-i", str(folder / "rsyslog.pid")]
    assert os.access(folder, os.W_OK)
    with process.running(command, log=log, ready=lambda: process.answers(port) and socket.exists()):
        yield SyslogCollector(port, socket, out)
