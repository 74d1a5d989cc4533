"""A courier's medium: a folder on a mounted disk with a marker, the objects of a vault, manifests, and what reads them.

A medium may be any file system, FAT and exFAT too: no hard links, no permissions, no names that differ only in case. A file
is written under a temporary name, flushed, and renamed.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.plain_json import read_json
from holdfast.errors import MediumError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["COURIER", "HEADER", "HELD_BACK_BYTES", "MARKER", "OBJECTS", "RECEIPTS", "Full", "Medium", "find_material"]

MARKER = "holdfast-medium.json"
OBJECTS = "vault"
"""The objects lie here under their own names: on one medium this folder is a vault, of several media their union is."""
COURIER = "courier"
HEADER = "header"
"""The vault's header, on every medium: whose it is can be told from any of them."""
RECEIPTS = "receipts"
MARKER_BYTES_MAX = 65536
HELD_BACK_BYTES = 8 << 20
"""Room kept for lists, manifests and the instructions."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Full(Exception):  # noqa: N818 - no fault: the next medium is due
    """The medium takes no more."""


class Medium:
    """A mounted medium. `MediumError` if it is not there, not writable, or of another vault."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Use a folder: the mount point, or a folder on the medium."""
        self.root = Path(root)

    def marker(self) -> dict[str, str] | None:
        """Return what the medium says of itself; None if it is new. `MediumError` if that cannot be read."""
        with _mapped():
            if not self.root.is_dir():
                raise MediumError("there is no folder at the medium's place", next="mount the medium, then run again.")
            path = self.root / MARKER
            if not path.exists():
                return None
            with path.open("rb") as file:
                text = file.read(MARKER_BYTES_MAX)
        try:
            found = read_json(text)
            return {"vault": str(found["vault"]), "medium": str(found["medium"])}
        except (ValueError, KeyError, TypeError):
            raise MediumError(
                "the medium's marker cannot be read", next="use another medium, or empty this one."
            ) from None

    def mark(self, vault: str, medium: str) -> None:
        """Make the medium one of a vault."""
        self.write(MARKER, json.dumps({"medium": medium, "vault": vault}).encode())

    def room(self) -> int:
        """Return the bytes that fit, lists and manifests aside."""
        with _mapped():
            found = os.statvfs(self.root)
        return max(0, found.f_bavail * found.f_frsize - HELD_BACK_BYTES)

    def write(self, name: str, data: bytes) -> None:
        """Write a file durably and whole or not at all. `Full` if there is no room."""
        path = self.root / name
        temporary = path.with_name(f".{path.name}.new")
        with _mapped():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with temporary.open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(temporary, path)
            except OSError as error:
                temporary.unlink(missing_ok=True)
                if error.errno in _FULL:
                    raise Full from error
                raise
            fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def read(self, name: str) -> bytes | None:
        """Return a file, None if it is not there."""
        with _mapped():
            try:
                return (self.root / name).read_bytes()
            except FileNotFoundError:
                return None

    def manifests(self) -> list[str]:
        """Return the names of all manifests, by courier, set and medium."""
        with _mapped():
            found = (self.root / COURIER).glob("*/*/*/manifest")
            return sorted(str(path.parent.relative_to(self.root)) for path in found)

    def carry(self, material: tuple[Path, Path], wheels: Path | None) -> None:
        """Put the instructions, the format and the rescue reader on the medium, and the wheels that it needs if given."""
        rescue, format_ = material
        self.write("README.txt", INSTRUCTIONS.encode())
        for folder, source, pattern in (("rescue", rescue, "*"), ("format", format_, "*"), ("wheels", wheels, "*.whl")):
            for path in sorted(source.glob(pattern)) if source is not None else ():
                if path.is_file() and self._differs(f"{folder}/{path.name}", path):
                    self.write(f"{folder}/{path.name}", path.read_bytes())

    def _differs(self, name: str, source: Path) -> bool:
        there = self.root / name
        return not there.exists() or there.read_bytes() != source.read_bytes()


def find_material(given: str | os.PathLike[str] | None = None) -> tuple[Path, Path]:
    """Return the folders of the rescue reader and of the format's description: given, of the source, or installed.

    `MediumError` if they are nowhere: a medium without them could not be read in ten years.
    """
    import holdfast

    source = Path(holdfast.__file__).resolve().parents[2]
    installed = Path(sys.prefix) / "share" / "holdfast"
    places = [(Path(given) / "rescue", Path(given) / "format")] if given is not None else []
    places += [(source / "rescue", source / "docs" / "format"), (installed / "rescue", installed / "format")]
    for rescue, format_ in places:
        if (rescue / "holdfast_rescue.py").is_file() and (format_ / "README.md").is_file():
            return rescue, format_
    raise MediumError(
        "the rescue reader and the format's description are not installed beside Holdfast",
        safe="nothing was written.",
        next="give the folder that holds `rescue` and `format`: --material DIR.",
    )


@contextmanager
def _mapped() -> Iterator[None]:
    """Turn an operating system's refusal into the medium's error, without any path."""
    try:
        yield
    except OSError as error:
        raise MediumError(f"the medium cannot be used ({os.strerror(error.errno or 0)})") from error


INSTRUCTIONS = """\
This medium belongs to a Holdfast vault: sealed backups. Nothing on it can be read without the vault's key file,
recovery kit or passphrase, which is kept elsewhere.

  vault/      objects of the vault, under their own names
  courier/    signed lists of what was written, per set and medium
  rescue/     a reader that needs Python and two packages, and no Holdfast: rescue/README.md
  format/     the format to the byte: format/README.md
  wheels/     the two packages, if they were added
  receipts/   what the far side confirmed

To restore from media alone: copy the folders vault/ of ALL media of this vault into one folder (they never contradict
each other), then follow rescue/README.md with that folder as the vault. With a single medium its own vault/ will do.

To bring a vault at the far side up to date:   holdfast courier import MEDIUM --into FOLDER
Media are imported in order; a gap is refused and named. When a set is complete a receipt is written into receipts/:
carry it back and confirm it with   holdfast courier receipt FILE
"""
