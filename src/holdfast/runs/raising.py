"""Which folders are more sensitive than their path says, because of what was found in them: remembered from run to run.

Local and derived. A lost list costs one more pass of the next run; a line that cannot be read is passed over.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from holdfast import engine
from holdfast.base.data_classes import class_rank

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

FOLDERS_MAX = 100_000
"""More are not remembered; their files are raised all the same, each for itself."""


def detectable(said: Collection[int], known: Mapping[int, str]) -> set[int]:
    """Return the classes that detectors may raise something to: those above the least sensitive class that was said.

    A class that the vault, or the credential, does not have is left out.
    """
    least = max(map(class_rank, said))
    named = {class_id for _, class_id in engine.detection_rules() if class_id > 0}
    return {class_id for class_id in named if class_id in known and class_rank(class_id) < least}


class RaisedFolders:
    """The folders, by path as in the tree, and the class id of the most sensitive content found in each."""

    def __init__(self, place: Path, folders: Mapping[bytes, int]) -> None:
        """Use :meth:`read`."""
        self._place = place
        self._folders = dict(folders)

    @classmethod
    def read(cls, place: Path) -> Self:
        """Read the list; an empty one if there is none."""
        found: dict[bytes, int] = {}
        try:
            lines = place.read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError):
            lines = []
        for line in lines[:FOLDERS_MAX]:
            name, _, number = line.partition(" ")
            try:
                found[bytes.fromhex(name)] = int(number)
            except ValueError:
                continue
        return cls(place, found)

    def rows(self) -> list[tuple[bytes, int]]:
        """Return (folder, class id), by path."""
        return sorted(self._folders.items())

    def learn(self, raised: Iterable[tuple[bytes, int]]) -> bool:
        """Take what a pass found and keep it; return whether anything of it was new."""
        new = False
        for folder, class_id in raised:
            known = self._folders.get(folder)
            if (known is None and len(self._folders) < FOLDERS_MAX) or (
                known is not None and class_rank(class_id) < class_rank(known)
            ):
                self._folders[folder] = class_id
                new = True
        if new:
            text = "".join(f"{folder.hex()} {class_id}\n" for folder, class_id in self.rows())
            temporary = self._place.with_suffix(".raised.new")
            temporary.write_text(text, "ascii")
            os.chmod(temporary, 0o600)
            temporary.replace(self._place)
        return new
