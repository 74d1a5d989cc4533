"""Azurite: Microsoft's emulator of Azure Blob Storage."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast import engine
from servers import install, process

VERSION = "3.35.0"
ACCOUNT, KEY = "hospital", base64.b64encode(b"a key of the tests alone, 32 bytes").decode()


@dataclass(frozen=True, slots=True)
class AzureServer:
    """Where it listens, and its account."""

    port: int
    account: str = ACCOUNT
    key: str = KEY

    def endpoint(self, port: int | None = None) -> str:
        """Return the account's URL."""
        return f"http://127.0.0.1:{port or self.port}/{self.account}"

    def make_container(self, name: str) -> None:
        """Make a container."""
        client = engine.NetClient(engine.NetSigner.azure(self.account, self.key), [])
        status, _, body = client.request("PUT", f"{self.endpoint()}/{name}?restype=container", [])
        assert status == 201, body


@contextmanager
def azurite(folder: Path) -> Iterator[AzureServer]:
    """Run it; what it stores is in memory."""
    node = install.debian("node", "nodejs", "npm")
    package = install.npm("azurite", VERSION)
    port = process.free_port()
    command = [node, str(package / "dist/src/blob/main.js"), "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    command += ["--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"]
    command += ["--silent"]
    environ = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    with process.running(command, log=folder / "azurite.log", ready=lambda: process.answers(port), environ=environ):
        yield AzureServer(port)
