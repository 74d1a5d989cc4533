"""What it takes to say what damage costs: files, classes and snapshots, named exactly.

    uv run --no-sync python bench/damage.py [--files 120000] [--snapshots 6] [--changed 500] [--folder DIR]

CPU seconds of `runs.damage.attribute`, with one changed byte in one pack, in every tenth pack, and with every data pack gone.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Make a vault of many small files, spoil it more and more, print what saying so took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=120_000)
    parser.add_argument("--snapshots", type=int, default=6)
    parser.add_argument("--changed", type=int, default=500)
    parser.add_argument("--folder", default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as root:
        os.environ["HOLDFAST_STATE"] = f"{root}/state"
        measure(Path(root), given.files, given.snapshots, given.changed)


def measure(root: Path, files: int, snapshots: int, changed: int) -> None:
    """Print one line for each amount of damage."""
    import holdfast
    from holdfast.runs.damage import attribute
    from holdfast.runs.options import BackupOptions

    source = root / "source"
    dice = random.Random(1)
    paths = [source / f"{number // 100:04d}" / f"{number:06d}" for number in range(files)]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(1000))
    with holdfast.Vault.create(root / "vault", key_file=root / "key") as vault:
        for _ in range(snapshots):
            vault.backup([source], label="bench", options=BackupOptions(pack_bytes=4 << 20, detect=False))
            for path in dice.sample(paths, changed):
                path.write_bytes(dice.randbytes(1000))
        opened = vault._vault  # noqa: SLF001 - the one function is measured, without what a check does besides
        rows = {row.name.hex(): row for row in opened.refresh_index().packs()}
        data = sorted((root / "vault" / "data").rglob("*/*"))

        def say(what: str, chosen: list[Path]) -> None:
            began, wall = time.process_time(), time.perf_counter()
            cost = attribute(opened, {path.name: "hash" for path in chosen}, rows, show_paths=False)
            spent, wall = time.process_time() - began, time.perf_counter() - wall
            print(
                f"{what}: {len(chosen)} of {len(data)} packs, {sum(pack.files for pack in cost.packs):,} versions of files,"
                f" {sum(one.files for one in cost.snapshots):,} files in {len(cost.snapshots)} snapshots:"
                f" {spent:.2f} s of CPU, {wall:.2f} s"
            )

        def spoil(path: Path) -> None:
            path.chmod(0o600)
            bytes_ = bytearray(path.read_bytes())
            bytes_[len(bytes_) // 2] ^= 1
            path.write_bytes(bytes_)

        spoil(data[0])
        say("one byte", data[:1])
        for path in data[1::10]:
            spoil(path)
        say("one byte in every tenth pack", [data[0], *data[1::10]])
        for path in data:
            path.unlink()
        say("all data packs gone", data)


if __name__ == "__main__":
    main()
