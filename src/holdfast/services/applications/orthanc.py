"""Orthanc (DICOM) on a restored storage directory: its SQLite index and its instances, asked through its REST interface.

Started with a configuration of the drill's own: HTTP on the cell's loopback only, no DICOM server, no plug-ins, no peers, no Lua.
Source: the Orthanc Book, "Configuration of Orthanc", "REST API cheat sheet".
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator

from holdfast.services.applications.ground import (
    ApplicationFailed,
    Ground,
    any_answer,
    http_answer,
    interpreter,
    wait_ready,
)
from holdfast.services.catalogue import Check
from holdfast.services.isolation import Server
from holdfast.services.judge import Answer, Outcome

__all__ = ["Orthanc"]

PORT = 8042
INSTANCES_MAX = 10_000
"""So many instances at most are read back by a verification, spread evenly over all of them."""
WALKER = """
import json, sys, urllib.request
base, most = sys.argv[1], int(sys.argv[2])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
def ask(path, body=None):
    with opener.open(urllib.request.Request(base + path, data=body), timeout=60) as answer:
        return answer.read()
every = json.loads(ask("/instances"))
step = max(1, len(every) // most)
bad = 0
for instance in every[::step]:
    try:
        ask("/instances/" + instance + "/attachments/dicom/verify-md5", b"")
        ask("/instances/" + instance + "/tags?simplify")
    except OSError:
        bad += 1
print(json.dumps([len(every), len(every[::step]), bad]))
"""


class Orthanc:
    """An Orthanc storage directory."""

    def __init__(self, ground: Ground) -> None:
        """Serve from the ground's storage directory."""
        self._ground = ground
        self._server: Server | None = None

    def start(self) -> None:
        """Start Orthanc and wait until it answers."""
        data = self._ground.data
        if not os.path.isfile(os.path.join(data, "index")):
            raise ApplicationFailed("the restored data has no Orthanc index")
        configuration = {
            "Name": "drill",
            "StorageDirectory": data,
            "IndexDirectory": data,
            "HttpPort": PORT,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": False,
            "Plugins": [],
            "LuaScripts": [],
            "DicomModalities": {},
            "OrthancPeers": {},
            "StoreMD5ForAttachments": True,
        }
        own = os.path.join(self._ground.run, "orthanc.json")
        descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "w") as file:
            json.dump(configuration, file)
        server = self._ground.serve([self._ground.program("Orthanc"), own])
        self._server = server
        wait_ready(self._ground, server, lambda: not http_answer(self._ground, self._url("/system")).problem,
                   lambda: _cause(server.said()))  # fmt: skip

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{PORT}/{path.lstrip('/')}"

    def ask(self, check: Check) -> Answer:
        """Ask the REST interface; `count:PATH` counts the elements of the list that it answers."""
        if check.kind != "http":
            return any_answer(self._ground, check, what="Orthanc")
        counted = check.path.startswith("count:")
        answer = http_answer(self._ground, self._url(check.path.removeprefix("count:")))
        if answer.problem or not counted:
            return answer
        return Answer(str(len(json.loads(answer.value))))

    def verify(self) -> Iterator[Outcome]:
        """Read instances back: Orthanc compares each with the digest in its index, and parses its tags."""
        env = self._ground.cell.env
        began = env.monotonic()
        command = [interpreter(), "-I", "-c", WALKER, self._url("")[:-1], str(INSTANCES_MAX)]
        ran = self._ground.run_program(command, seconds=6 * 3600.0)
        try:
            every, read, bad = json.loads(ran.out)
        except ValueError:
            every, read, bad = 0, 0, 1
        cause = "instances cannot be read or differ from the index: files are missing or damaged" if bad else ""
        found = f"{bad} bad of {read} read, {every} in the index"
        yield Outcome("orthanc-instances", "application", "failed" if bad else "passed", "every instance as in the index",
                      found, cause, env.monotonic() - began)  # fmt: skip

    def stop(self) -> None:
        """Stop it."""
        if self._server is not None:
            self._ground.cell.end(self._server)
            self._server = None


def _cause(text: str) -> str:
    if re.search(r"database disk image is malformed|file is not a database|Unable to open.*database", text):
        return "the index is damaged"
    if re.search(r"[Ii]ncompatible version of the Orthanc database|must run the .*upgrade", text):
        return "the index is of another version of Orthanc"
    return ""
