"""Orthanc (DICOM): storage and index as one group in one volume snapshot, or the immutable files alone along its change feed.

`snapshot`: one atomic volume snapshot of storage and SQLite index, without a freeze; Orthanc recovers it as after a power cut
(`crash`), and what it had acknowledged before is in it. `files`: each stored object is a file that never changes, so they are
copied while
Orthanc works; its SQLite index is locked exclusively and left out, and a restore sends the objects to an empty Orthanc. The
change feed says which objects came and went meanwhile. Orthanc writes the file before its row and deletes the row before the file.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from holdfast.errors import (
    ApplicationAccessError,
    ApplicationChangedError,
    ApplicationUnreachableError,
    ApplicationUnsuitableError,
    CaptureError,
    ConfigError,
    VolumeSnapshotError,
    VolumeUnsuitableError,
)
from holdfast.sources.connectors.options import needed, options_of, password_of
from holdfast.sources.connectors.protocol import Capture, Conclusion, Connection, Facts, Found, Verdict
from holdfast.sources.connectors.unfrozen import Unfrozen
from holdfast.sources.programs import Programs, SystemPrograms
from holdfast.sources.volumes.choose import VOLUME_OPTIONS, provider_of
from holdfast.sources.volumes.held import HeldVolumes

if TYPE_CHECKING:
    from holdfast.base.environment import Environment

__all__ = ["FACTORY", "OrthancConnector", "OrthancFactory"]

OPTIONS = {**VOLUME_OPTIONS, "mode": "files", "sample": "16"}
SECONDS = 30.0
ANSWER_BYTES_MAX = 16 << 20
FEED_PAGES_MAX = 100_000
INDEX = ("index", "index-wal", "index-shm", "index-journal")


class OrthancConnector(Unfrozen):
    """One server and its storage folder."""

    kind = "orthanc"

    def __init__(
        self, connection: Connection, *, mode: str, sample: int, volumes: HeldVolumes | None, target: bytes
    ) -> None:
        """`sample`: how many objects are proved by their checksum after the copy."""
        self.name = connection.name
        self.unfrozen = Verdict.CRASH
        self._connection, self._mode, self._sample, self._volumes, self._target = (
            connection,
            mode,
            sample,
            volumes,
            target,
        )
        self._cursor = self._count = 0

    def _get(self, path: str, method: str = "GET") -> Any:  # noqa: ANN401 - JSON of any kind
        import urllib.error
        import urllib.request

        headers = {}
        if self._connection.user:
            pair = f"{self._connection.user}:{password_of(self._connection)}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        data = b"" if method == "POST" else None
        request = urllib.request.Request(self._connection.url.rstrip("/") + path, data, headers, method=method)  # noqa: S310 - the factory checked it
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - as above
                return json.loads(answer.read(ANSWER_BYTES_MAX))
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in {401, 403}:
                raise ApplicationAccessError("Orthanc refuses the account, or a right of it") from None
            raise CaptureError(f"Orthanc answered with status {error.code}") from None
        except (OSError, ValueError):
            raise ApplicationUnreachableError("Orthanc does not answer") from None

    def check(self) -> Facts:
        """Ask for version, counts and settings; look at the storage folder."""
        about, counts = self._get("/system"), self._get("/statistics")
        if not os.path.isdir(self._target) or not os.access(self._target, os.R_OK | os.X_OK):
            raise ApplicationUnsuitableError("Orthanc's storage folder is not there, or may not be read")
        if self._volumes is not None:
            try:
                self._volumes.prepare()
            except VolumeUnsuitableError as error:
                raise ApplicationUnsuitableError(error.what) from error
        plugin = about.get("DatabaseBackendPlugin")
        notes: tuple[str, ...] = ()
        if plugin and self._mode == "snapshot":
            notes = ("the index is in another database: put that database into the same group",)
        facts = (
            ("instances", str(counts.get("CountInstances", 0))),
            ("bytes", str(counts.get("TotalDiskSize", 0))),
            ("mode", self._mode),
        )
        return Facts(str(about.get("Version", "")), facts, notes)

    def _last(self) -> int:
        return int(self._get("/changes?last")["Last"])

    def _instances(self) -> int:
        return int(self._get("/statistics")["CountInstances"])

    def capture(self, seconds: float) -> Capture:  # noqa: ARG002 - nobody waits
        """Note where the change feed stands, then take the snapshot or name the files."""
        self._count, self._cursor = self._instances(), self._last()
        if self._volumes is None:
            exclude = tuple(f"{os.fsdecode(self._target)}/{name}" for name in INDEX)
            return Capture(paths=(self._target,), exclude=exclude, moving=(self._target,), class_name="imaging")
        try:
            paths = self._volumes.take()
            self._volumes.show()
        except VolumeSnapshotError as error:
            raise CaptureError(error.what, next=error.next) from error
        return Capture(paths=paths, class_name="imaging")

    def conclude(self) -> Conclusion:
        """Read the change feed of the time of the copy; prove a sample of objects."""
        after = self._last()
        if after < self._cursor:
            raise ApplicationChangedError("Orthanc's change feed began anew while it was being backed up")
        came = self._arrived(after)
        gone = max(0, self._count + came - self._instances())
        proofs = [
            ("changes-from", str(self._cursor)),
            ("changes-to", str(after)),
            ("new", str(came)),
            ("deleted", str(gone)),
        ]
        if self._volumes is not None:
            return Conclusion(Verdict.CRASH, (*proofs, *self._volumes.proofs))
        proved = self._prove()
        notes = ("objects were deleted meanwhile: the copy may still have some of them",) if gone else ()
        return Conclusion(Verdict.APPLICATION, (*proofs, ("verify-md5", str(proved))), notes=notes)

    def _arrived(self, until: int) -> int:
        """Count what came since the capture, page by page. The feed forgets what was deleted again, and deletions."""
        came, since = 0, self._cursor
        for _ in range(FEED_PAGES_MAX):
            if since >= until:
                break
            page = self._get(f"/changes?since={since}&limit=1000")
            came += sum(row["ChangeType"] == "NewInstance" for row in page["Changes"] if row["Seq"] <= until)
            if page["Done"] or not page["Changes"]:
                break
            since = int(page["Last"])
        return came

    def _prove(self) -> int:
        """Have Orthanc compare a few stored files with the checksums in its index."""
        found = self._get(f"/instances?since=0&limit={self._sample}")
        for instance in found:
            try:
                self._get(f"/instances/{instance}/attachments/dicom/verify-md5", "POST")
            except CaptureError:
                raise CaptureError("a stored object does not match the checksum in Orthanc's index") from None
        return len(found)

    def close(self) -> None:
        """Let go of the snapshot."""
        if self._volumes is not None:
            with contextlib.suppress(VolumeSnapshotError, OSError):
                self._volumes.release()


class OrthancFactory:
    """Makes connectors to Orthanc servers; `path` is the storage folder."""

    kind = "orthanc"

    def __init__(self, programs: Programs | None = None) -> None:
        """Use the programs of the machine, or doubles."""
        self._programs = programs

    def make(self, connection: Connection, env: Environment) -> OrthancConnector:
        """Make one."""
        needed(connection, "path", "url")
        options = options_of(connection, OPTIONS)
        problems = []
        if not connection.url.startswith(("http://", "https://")):
            problems.append("url begins with http:// or https://")
        if options["mode"] not in {"files", "snapshot"}:
            problems.append("mode = files | snapshot")
        if not options["sample"].isdigit():
            problems.append("sample is a number of objects")
        if problems:
            raise ConfigError(f"the application {connection.name} has faults", problems=tuple(problems))
        target = os.path.realpath(os.fsencode(connection.path))
        volumes = None
        if options["mode"] == "snapshot":
            programs = self._programs or SystemPrograms(env)
            provider = provider_of(options, (target,), env=env, programs=programs)
            volumes = HeldVolumes(provider, (target,), name=connection.name, env=env, programs=programs)
        return OrthancConnector(
            connection, mode=options["mode"], sample=int(options["sample"]), volumes=volumes, target=target
        )

    def grants(self, connection: Connection) -> str:
        """Return the account and the file right."""
        return (
            f'"RegisteredUsers": {{"{connection.user or "holdfast"}": "PASSWORD"}}  # in orthanc.json\n'
            f"setfacl -R -m u:holdfast:rX '{connection.path or '/var/lib/orthanc/db-v6'}'"
        )

    def discover(self, env: Environment) -> tuple[Found, ...]:  # noqa: ARG002 - discovery looks at all applications at once
        """See `holdfast.sources.discovery`."""
        return ()


FACTORY = OrthancFactory()
