"""Small real trees of several kinds, churned and encrypted as attackers do it: for what statistics cannot show.

`holdfast.testing.ransom` has the same kinds as statistics. Here files exist, and the engine itself looks at them.
"""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["KINDS", "WAYS", "RealTree", "copied", "in_place", "known", "masked", "renamed", "striped"]

PAGE = 8192
BLOCK = 4096
LINE_BYTES = 30
NAMES = ("Miller", "Okafor", "Nguyen", "García", "Kowalski", "Haddad")


def _text(rng: random.Random, size: int) -> bytes:
    numbers = rng.choices(range(10**6), k=size // LINE_BYTES + 1)
    lines = (f"PID|{n:06}||{NAMES[n % 6]}^{NAMES[n % 5]}|19{n % 97:02}\r" for n in numbers)
    return "".join(lines).encode()


def _pdf(rng: random.Random, size: int) -> bytes:
    body = zlib.compress(_text(rng, size * 4))
    return b"%PDF-1.7\n1 0 obj\n<</Filter/FlateDecode>>stream\n" + body + b"\nendstream\nendobj\ntrailer\n"


def _docx(rng: random.Random, size: int) -> bytes:
    body = zlib.compress(_text(rng, size * 4))
    return b"PK\x03\x04" + struct.pack("<5H3I2H", 20, 0, 8, 0, 0, 0, len(body), size, 12, 0) + b"document.xml" + body


def _jpg(rng: random.Random, size: int) -> bytes:
    return b"\xff\xd8\xff\xe0\x00\x10JFIF" + rng.randbytes(size)


def _dcm(rng: random.Random, size: int) -> bytes:
    pixels = bytearray(b"\x03" * (size // 2 * 2))  # samples of 768 to 1023, low byte first
    pixels[::2] = rng.randbytes(len(pixels) // 2)
    meta = (
        b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\x00\x10\x00\x10\x00PN\x08\x00" + rng.choice(NAMES).encode()[:8]
    )
    return bytes(128) + b"DICM" + meta + bytes(600) + bytes(pixels)


def _pages(rng: random.Random, size: int) -> bytes:
    made = []
    for number in range(max(1, size // PAGE)):
        rows = _text(rng, PAGE // 2)[: PAGE // 2]
        head = struct.pack("<IIHHHHHH", 0, number, 0, 0, 28, PAGE - len(rows), PAGE, 0x2004)
        made.append(head + bytes(PAGE - len(head) - len(rows)) + rows)
    return b"".join(made)


Make = Callable[[random.Random, int], bytes]
KINDS: Mapping[str, tuple[tuple[str, Make, int, int], ...]] = {
    "documents": (
        (".pdf", _pdf, 12_000, 40),
        (".docx", _docx, 9_000, 40),
        (".txt", _text, 6_000, 50),
        (".jpg", _jpg, 30_000, 20),
    ),
    "DICOM": ((".dcm", _dcm, 40_000, 120), (".txt", _text, 2_000, 10)),
    "database files": (("", _pages, 16 * PAGE, 60), (".conf", _text, 2_000, 10)),
}
"""Per kind of tree: the extension, what makes a file, its size about, and how many."""


class RealTree:
    """A folder of files of one kind of tree, or of all (`mixed`); everything from a seed."""

    def __init__(self, root: Path, kind: str, seed: int) -> None:
        """Make the files."""
        self.root = root
        self.rng = random.Random(f"{kind} {seed}")
        self.makers = {maker[0]: maker for name, makers in KINDS.items() if kind in (name, "mixed") for maker in makers}
        root.mkdir(parents=True)
        for extension, make, size, count in self.makers.values():
            for number in range(count):
                (root / f"f{number:04}{extension}").write_bytes(make(self.rng, self._size(size)))

    def _size(self, size: int) -> int:
        return int(size * self.rng.uniform(0.5, 2))

    def _files(self) -> list[Path]:
        return sorted(path for path in self.root.iterdir() if path.suffix in self.makers)

    def churn(self, part: float = 0.03) -> None:
        """Change a part of the files as their applications do, add one of each kind, remove one."""
        files = self._files()
        for path in self.rng.sample(files, max(1, int(len(files) * part))):
            _, make, size, _ = self.makers[path.suffix]
            path.write_bytes(make(self.rng, self._size(size)))
        for extension, make, size, _ in self.makers.values():
            (self.root / f"n{self.rng.randrange(10**9):09}{extension}").write_bytes(make(self.rng, self._size(size)))
        self.rng.choice(self._files()).unlink()

    def attack(self, way: str, part: float) -> int:
        """Encrypt a part of the files in a way of `WAYS`; return how many."""
        files = self._files()
        chosen = self.rng.sample(files, max(1, round(len(files) * part)))
        for path in chosen:
            WAYS[way](self.rng, path)
        return len(chosen)


def in_place(rng: random.Random, path: Path) -> None:
    """Encrypt a file where it is."""
    with path.open("r+b") as file:
        file.write(rng.randbytes(path.stat().st_size))


def renamed(rng: random.Random, path: Path) -> None:
    """Encrypt a file where it is, and give it an extension that nobody knows."""
    in_place(rng, path)
    path.rename(f"{path}.xq7")


def known(rng: random.Random, path: Path) -> None:
    """The same with an extension that is known, and a note."""
    in_place(rng, path)
    path.rename(f"{path}.lockbit")
    (path.parent / "Restore-My-Files.txt").write_text("pay")


def copied(rng: random.Random, path: Path) -> None:
    """Write an encrypted copy under a name that says nothing, and remove the file."""
    Path(path.parent, f"{rng.randrange(16**12):012x}").write_bytes(rng.randbytes(path.stat().st_size))
    path.unlink()


def masked(rng: random.Random, path: Path) -> None:
    """Encrypt a file where it is, and give it a name that says nothing."""
    in_place(rng, path)
    path.rename(path.parent / f"{rng.randrange(16**12):012x}")


def striped(rng: random.Random, path: Path) -> None:
    """Encrypt every other block, the first one too, and keep the file's times."""
    stat = path.stat()
    with path.open("r+b") as file:
        for at in range(0, stat.st_size, 2 * BLOCK):
            file.seek(at)
            file.write(rng.randbytes(min(BLOCK, stat.st_size - at)))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


WAYS: Mapping[str, Callable[[random.Random, Path], None]] = {
    "in place": in_place,
    "with an unknown extension": renamed,
    "with a known extension and a note": known,
    "as a copy under a name that says nothing": copied,
    "under a name that says nothing": masked,
    "every other block, times kept": striped,
}
"""How files are encrypted."""
