"""A configured host of tests with a slow job, and real services over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import holdfast
from holdfast.runs.schedule.configured import open_schedule_book, runs_folder
from holdfast.runs.schedule.records import RunState
from servers import process

HOLDFAST = [sys.executable, "-m", "holdfast"]


class Site:
    """A vault, a configuration with a slow job, and services over them."""

    def __init__(self, folder, more: str = "", vault=None) -> None:
        self.folder = folder
        self.vault = vault or folder / "vault"
        self.key = folder / "key"
        (folder / "data").mkdir()
        (folder / "data" / "a.hl7").write_text("MSH|^~\\&|")
        self.gate = folder / "gate"
        self.port = process.free_port()
        self.config = folder / "site.toml"
        wait = f"while [ ! -e {self.gate} ]; do sleep 0.05; done; echo done"
        self.config.write_text(
            f"""[vault]
url = "{self.vault}"
key_file = "file:{self.key}"
[jobs.ehr]
rpo_seconds = "301d"
paths = ["{folder}/data"]
[[jobs.ehr.streams]]
path = "dump.sql"
command = ["sh", "-c", {json.dumps(wait)}]
[jobs.gone]
paths = ["{folder}/none"]
[scheduler]
log = "json"
unsafe_unrehearsed = true
[schedule.nightly]
job = "ehr"
every_seconds = "300d"
retry_seconds = 1
[schedule.broken]
job = "gone"
every_seconds = "300d"
[schedule.proof]
kind = "verify"
after = ["nightly"]
[monitoring]
listen = "127.0.0.1:{self.port}"
textfile = "{folder}/holdfast.prom"
[channels.log]
kind = "file"
path = "{folder}/alerts"
[contacts.anna]
channels = ["log"]
{more}"""
        )
        holdfast.Vault.create(self.vault, key_file=self.key).close()

    @contextmanager
    def service(self, *before: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
        with open(self.folder / "log", "ab") as log:
            child = subprocess.Popen(
                [*before, *HOLDFAST, "schedule", "run", "--config", str(self.config)],
                stderr=log,
                stdout=log,
                env=os.environ | environ,
            )
        try:
            self.eventually(lambda: b'"started"' in (self.folder / "log").read_bytes() or child.poll() is not None)
            yield child
        finally:
            child.kill()
            child.wait()
            (self.folder / "log").rename(self.folder / f"log-{child.pid}")

    def eventually(self, found: Callable[[], object], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not found():
            logs = "".join(path.read_text() for path in self.folder.glob("log*"))
            assert time.monotonic() < deadline, logs
            time.sleep(0.05)

    def now(self, name: str) -> None:
        """Ask the service for a run, and wait for its end."""
        before = self.run(name)
        done = subprocess.run([*HOLDFAST, "schedule", "now", name, "--config", str(self.config), "-q"], check=False)
        assert done.returncode == 0
        self.eventually(lambda: (run := self.run(name)) and run != before and run.state is not RunState.RUNNING)

    def told(self) -> list[dict]:
        """Return the messages that the file channel took."""
        path = self.folder / "alerts"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def codes(self) -> set[str]:
        """Return the codes that people were told of by the file channel."""
        return {code for message in self.told() for code in message["codes"]}

    def run(self, name: str = "nightly"):
        with open_schedule_book() as book:
            found = book.runs(name, 1)
        return found[0] if found else None

    def state(self, name: str = "nightly") -> RunState | None:
        found = self.run(name)
        return found.state if found else None

    def pid(self) -> int:
        (path,) = runs_folder().glob("*.pid")
        self.eventually(path.read_text)
        return int(path.read_text())

    def snapshots(self) -> int:
        with holdfast.Vault.open(self.vault, key_file=self.key) as vault:
            return len(vault.snapshots())
