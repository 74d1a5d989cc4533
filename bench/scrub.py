"""How fast a vault is scrubbed without keys, per core, against `sha256sum` over the same bytes.

    uv run --no-sync python bench/scrub.py [--mib 1024] [--rounds 3] [--folder DIR]

CPU seconds, not wall time: what counts on a shared machine. `verify` is the engine's scrub (every pack against its name, no
key), `repair` the one that `holdfast repair` reads with, `parity` reading every parity object back; `sha256sum` is coreutils'.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MIB = 1 << 20


def cpu(action: Callable[[], None]) -> float:
    """Return the CPU seconds that an action takes, in this process and in those it starts."""

    def spent() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + children.ru_utime + children.ru_stime

    begin = spent()
    action()
    return spent() - begin


def main() -> None:
    """Make a vault, scrub it in turns, print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default=None)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as root:
        os.environ["HOLDFAST_STATE"] = f"{root}/state"
        measure(Path(root), given.mib, given.rounds)


def measure(root: Path, mib: int, rounds: int) -> None:
    """Print MB per CPU second of each way, and its share of sha256sum's."""
    import holdfast
    from holdfast import engine
    from holdfast.repository.check import scrub
    from holdfast.repository.packs import list_packs
    from holdfast.runs.protection import scrub_parity

    source = root / "source"
    source.mkdir()
    dice = random.Random(1)
    for number in range(max(1, mib // 64)):
        (source / f"file-{number}").write_bytes(dice.randbytes(64 * MIB))
    with holdfast.Vault.create(root / "plain", key_file=root / "key") as vault:
        vault._vault.parity_rows = 0  # noqa: SLF001 - what `vault.parity = 0` sets
        plain = cpu(lambda: vault.backup([source]) and None)
    with holdfast.Vault.create(root / "vault", key_file=root / "key") as vault:
        opened = vault._vault  # noqa: SLF001 - the engine's scrub is measured alone, without what verify does besides
        with_parity = cpu(lambda: vault.backup([source]) and None)
        sizes, kinds = list_packs(opened.repository)
        files = [str(path) for folder in ("data", "meta") for path in (root / "vault" / folder).rglob("*/*")]
        parity = [str(path) for path in (root / "vault" / "parity").rglob("*/*")]
        total = sum(sizes.values())

        def verify() -> None:
            work = engine.Verify(
                index=opened.index(),
                keys=None,
                source=opened.source(),
                packs=[bytes.fromhex(name) for name in sizes],
                limits=opened.limits,
            )
            while not work.finished:
                work.poll(1.0)

        def repair() -> None:
            if list(scrub(opened.repository, sizes, kinds)):
                raise SystemExit("a pack is damaged")

        def sha256sum(paths: list[str]) -> None:
            subprocess.run(["sha256sum", *paths], check=True, stdout=subprocess.DEVNULL)

        parity_bytes = sum(os.path.getsize(path) for path in parity)
        ways: dict[str, tuple[Callable[[], object], int]] = {
            "sha256sum": (lambda: sha256sum(files), total),
            "verify": (verify, total),
            "repair": (repair, total),
            "parity": (lambda: scrub_parity(opened, list), parity_bytes),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, (action, size) in ways.items():
                found[name].append(size / cpu(lambda action=action: action() and None) / 1e6)
    reference = statistics.median(found["sha256sum"])
    print(f"{len(files)} packs, {total / 1e6:.0f} MB; {len(parity)} parity objects, {parity_bytes / 1e6:.0f} MB")
    print(f"backup of {mib} MiB: {plain:.2f} s of CPU without parity, {with_parity:.2f} with it")
    for name, rates in found.items():
        rate = statistics.median(rates)
        print(f"{name:10} {rate:8.0f} MB per CPU second, {rate / reference:.2f} of sha256sum")


if __name__ == "__main__":
    main()
