"""What connectors share that make nobody wait: freeze and thaw that are never called, and a folder for copies of their own."""

from __future__ import annotations

import contextlib
import os
import shutil

from holdfast.errors import CaptureError
from holdfast.sources.connectors.protocol import ThawOrder, Verdict

__all__ = ["CopyFolder", "Unfrozen"]


class Unfrozen:
    """A connector without a freeze."""

    freezes = False
    unfrozen = Verdict.APPLICATION

    def thaw_orders(self) -> tuple[ThawOrder, ...]:
        """Nothing is frozen."""
        return ()

    def freeze(self, seconds: float) -> None:
        """Nothing is frozen."""

    def verify_frozen(self) -> None:
        """Nothing is frozen."""

    def thaw(self) -> None:
        """Nothing was frozen."""

    def verify_thawed(self) -> None:
        """Nothing was frozen."""

    def without_freeze(self) -> None:
        """It is one already."""
        return


class CopyFolder:
    """A folder beside the application's data for the copy of one capture: on the same file system, under the same protection.

    It has the same name in every run, so that the copy's files are recognised; what a lost run left in it is removed.
    """

    def __init__(self, beside: bytes, name: str) -> None:
        """`beside` is the folder that the application's data is in."""
        self.path = os.path.join(beside, f".holdfast-{name}".encode())

    def make(self, bytes_needed: int) -> bytes:
        """Make it, empty. `CaptureError` if there is no room for the copy."""
        self.remove()
        try:
            os.mkdir(self.path, 0o700)
            room = os.statvfs(self.path)
        except OSError as error:
            raise CaptureError(f"no folder for the copy could be made beside the data ({error.strerror})") from error
        if room.f_bavail * room.f_frsize < bytes_needed:
            self.remove()
            raise CaptureError(
                "there is no room for a copy beside the data", next="free some space on its file system."
            )
        return self.path

    def remove(self) -> None:
        """Remove it and what is in it."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.path)
