"""The workloads of the benchmark, made by a seed at any scale.

large   W1: 6 files, half random bytes, half a database's text dump (4 GiB at scale 1)
small   W2: files of HL7 and JSON text, 200 B-8 KiB, mean 2.5 KiB, in folders of 500 (1,000,000 files; W2s is scale 0.2)
dicom   W3: incompressible files of 512 KiB (3,000 files)
pages   W4: one database file of 8 KiB pages (2 GiB)

`change` makes the change sets: a part of all small files rewritten, half as many deleted and as many added (W5 at 1 %);
a part of the database's pages rewritten at random places.

    python bench/workloads.py small /tmp/w2s --scale 0.2
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import text

MIB = 1 << 20
GIB = 1 << 30
FOLDER_FILES = 500
SMALL_BYTES_MIN, SMALL_BYTES_MAX = 200, 8192
DICOM_BYTES = 512 * 1024
PIECE_BYTES = 16 * MIB


@dataclass(frozen=True)
class Workload:
    """A name, how to make it in a folder at a scale, and how to change a part of it."""

    name: str
    title: str
    make: Callable[[Path, float, int], None]
    change: Callable[[Path, float, int], int] | None = None
    """Change a part (0.01 is 1 %) with a seed; return the raw bytes that are new."""


def generator(*seed: int | str) -> np.random.Generator:
    """Return a generator for exactly these words, independent of any other."""
    return np.random.default_rng([int.from_bytes(str(part).encode(), "little") for part in seed])


def _parallel(work: Callable[[int], int], jobs: Iterable[int]) -> int:
    """Run jobs on all cores, whose results are summed."""
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as pool:
        return sum(pool.imap_unordered(work, jobs, chunksize=4))


def make_large(root: Path, scale: float, seed: int) -> None:
    """Write 3 random files and 3 of text, each a sixth of 4 GiB."""
    root.mkdir(parents=True)
    for number in range(6):
        kind = "random" if number % 2 else "dump"
        _write_pieces(root / f"{kind}-{number}", int(4 * GIB * scale / 6), f"{seed} {number}", kind)


def make_pages(root: Path, scale: float, seed: int) -> None:
    """Write one database file of 2 GiB."""
    root.mkdir(parents=True)
    size = int(2 * GIB * scale) // PIECE_BYTES * PIECE_BYTES or PIECE_BYTES
    _write_pieces(root / "database.ibd", size, str(seed), "pages")


def _write_pieces(path: Path, size: int, seed: str, kind: str) -> None:
    path.touch()
    os.truncate(path, size)
    _parallel(partial(_write_piece, path, size, seed, kind), range(0, size, PIECE_BYTES))


def _write_piece(path: Path, size: int, seed: str, kind: str, offset: int) -> int:
    random = generator(seed, kind, offset)
    length = min(PIECE_BYTES, size - offset)
    if kind == "random":
        data = random.bytes(length)
    elif kind == "pages":
        data = text.pages(random, length // text.PAGE_BYTES).tobytes()
    else:
        data = text.stream(random, text.DUMP_LINE, length).tobytes()
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    return length


def make_dicom(root: Path, scale: float, seed: int) -> None:
    """Write 3,000 files of 512 KiB with a DICOM preamble and random pixels."""
    count = max(4, int(3000 * scale))
    for study in range(0, count, 100):
        (root / f"study-{study // 100:04d}").mkdir(parents=True)
    _parallel(partial(_write_dicom, root, seed), range(count))


def _write_dicom(root: Path, seed: int, number: int) -> int:
    head = bytes(128) + b"DICM"
    data = head + generator(seed, "dicom", number).bytes(DICOM_BYTES - len(head))
    (root / f"study-{number // 100:04d}" / f"image-{number:06d}.dcm").write_bytes(data)
    return len(data)


def make_small(root: Path, scale: float, seed: int) -> None:
    """Write 1,000,000 files in folders of 500, HL7 and JSON in turn."""
    root.mkdir(parents=True)
    folders = max(1, round(1_000_000 * scale / FOLDER_FILES))
    _parallel(partial(_write_folder, root, seed), range(folders))


def _folder(root: Path, number: int) -> Path:
    return root / f"{number // 100:03d}" / f"ward-{number:05d}"


def _write_folder(root: Path, seed: int, number: int) -> int:
    folder = _folder(root, number)
    folder.mkdir(parents=True)
    suffix = "json" if number % 2 else "hl7"
    contents = small_files(generator(seed, "small", number), FOLDER_FILES, json=bool(number % 2))
    return _write_files(folder, {f"{number:05d}-{place:04d}.{suffix}": data for place, data in enumerate(contents)})


def _write_files(folder: Path, contents: dict[str, bytes]) -> int:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name, data in contents.items():
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640, dir_fd=handle)
            os.write(file, data)
            os.close(file)
    finally:
        os.close(handle)
    return sum(map(len, contents.values()))


def small_files(random: np.random.Generator, count: int, *, json: bool) -> list[bytes]:
    """Return `count` messages of 200 B to 8 KiB, 2.5 KiB in the mean: a head and so many lines."""
    heads, head_ends = text.lines(random, text.JSON_HEAD if json else text.HL7_HEAD, count)
    line_bytes = 260 if json else 103
    wanted = np.clip(random.exponential(2480, count), 0, SMALL_BYTES_MAX - 700) / line_bytes
    numbers = np.concatenate([[0], np.cumsum(np.rint(wanted).astype(np.int64))])
    body, body_ends = text.lines(random, text.JSON_LINE if json else text.HL7_LINE, int(numbers[-1]))
    head_text, body_text = heads.tobytes(), body.tobytes()
    made = []
    for place in range(count):
        head = head_text[head_ends[place] : head_ends[place + 1]]
        data = head + body_text[body_ends[numbers[place]] : body_ends[numbers[place + 1]]]
        made.append(data[:SMALL_BYTES_MAX])
    return made


def change_small(root: Path, part: float, seed: int) -> int:
    """Rewrite `part` of all files, delete half as many others, add as many as were deleted."""
    folders = sorted(path for path in root.glob("*/*") if path.is_dir())
    return _parallel(partial(_change_folder, folders, part, seed), range(len(folders)))


def _change_folder(folders: list[Path], part: float, seed: int, number: int) -> int:
    folder = folders[number]
    random = generator(seed, "change", number)
    names = sorted(os.listdir(folder))
    changed = int(random.binomial(len(names), min(part, 1.0)))
    deleted = int(random.binomial(len(names) - changed, part / 2)) if part < 1 else 0
    chosen = [names[place] for place in random.permutation(len(names))[: changed + deleted]]
    contents = small_files(random, changed + deleted, json=bool(number % 2))
    added = [f"added-{seed}-{place:04d}.{names[0].rpartition('.')[2]}" for place in range(deleted)] if names else []
    written = _write_files(folder, dict(zip([*chosen[:changed], *added], contents, strict=True)))
    for name in chosen[changed:]:
        (folder / name).unlink()
    return written


def change_pages(root: Path, part: float, seed: int) -> int:
    """Rewrite `part` of all pages at random places, in place."""
    path = root / "database.ibd"
    count = path.stat().st_size // text.PAGE_BYTES
    random = generator(seed, "pages", repr(part))
    places = np.sort(random.choice(count, size=max(1, int(count * part)), replace=False))
    fresh = text.pages(random, len(places))
    with path.open("r+b") as file:
        for place, page in zip(places.tolist(), fresh, strict=True):
            file.seek(place * text.PAGE_BYTES)
            file.write(page.tobytes())
    return len(places) * text.PAGE_BYTES


WORKLOADS = {
    one.name: one
    for one in (
        Workload("large", "W1: large files", make_large),
        Workload("small", "W2: small files", make_small, change_small),
        Workload("dicom", "W3: DICOM-like files", make_dicom),
        Workload("pages", "W4: a database of 8 KiB pages", make_pages, change_pages),
    )
}


def main() -> int:
    """Make one workload, or change one that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("folder", type=Path, help="made anew; must not exist (unless --change)")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--change", type=float, help="change this part of an existing workload instead")
    options = parser.parse_args()
    workload = WORKLOADS[options.workload]
    if options.change is None:
        workload.make(options.folder, options.scale, options.seed)
    elif workload.change is None:
        parser.error(f"{workload.name} has no change set")
    else:
        print(workload.change(options.folder, options.change, options.seed), "bytes new")
    return 0


if __name__ == "__main__":
    sys.exit(main())
