"""Long fuzzing by one command, coverage-guided: the engine's targets under libFuzzer, the Python parsers under atheris.

    python fuzz/long.py [--minutes 10] [TARGET …]

Needs a nightly Rust toolchain and `cargo install cargo-fuzz` for the engine's targets, the package atheris for the others. Each
target runs for so many minutes, one after the other. What crashes a target is left in `fuzz/artifacts/TARGET/`, what widens its
coverage in `fuzz/found/TARGET/`; docs/fuzzing.md says what becomes of both.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
INPUT_BYTES_MAX = 16 << 10
MEMORY_MIB = 2048


def options() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("targets", nargs="*", help="default: all")
    return parser.parse_args()


def common(target: str, seconds: int) -> list[str]:
    """Return libFuzzer's own options, the same for both kinds."""
    for folder in ("artifacts", "found"):
        (FUZZ / folder / target).mkdir(parents=True, exist_ok=True)
    return [
        f"-max_total_time={seconds}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-rss_limit_mb={MEMORY_MIB}",
        "-timeout=20",
        f"-artifact_prefix={FUZZ}/artifacts/{target}/",
        "-print_final_stats=1",
    ]


def engine(target: str, seconds: int) -> int:
    """Run one of the engine's targets."""
    folders = [str(FUZZ / "found" / target), str(FUZZ / "corpus" / target)]
    command = ["cargo", "+nightly", "fuzz", "run", "--fuzz-dir", str(FUZZ), "--features", "libfuzzer", target, *folders]
    return subprocess.run([*command, "--", *common(target, seconds)], check=False).returncode


def python(target: str, seconds: int) -> int:
    """Run one Python parser, in a process of its own: atheris ends the one it runs in."""
    folders = [str(FUZZ / "found" / target), str(FUZZ / "corpus" / target)]
    command = [sys.executable, str(FUZZ / "guided.py"), target, *common(target, seconds), *folders]
    return subprocess.run(command, check=False).returncode


def main() -> int:
    """Run the targets; 1 if one of them found something."""
    chosen = options()
    engines = {path.stem for path in (FUZZ / "fuzz_targets").glob("*.rs")}
    every = sorted(path.name for path in (FUZZ / "corpus").iterdir())
    if unknown := set(chosen.targets) - set(every):
        print(f"there is no target {', '.join(sorted(unknown))}; there are: {', '.join(every)}", file=sys.stderr)
        return 2
    if shutil.which("cargo") is None:
        print("cargo is not on the path", file=sys.stderr)
        return 2
    os.environ.setdefault("CARGO_TARGET_DIR", str(FUZZ.parent / "target" / "fuzz-nightly"))
    failed = []
    for target in chosen.targets or every:
        seconds = int(chosen.minutes * 60)
        if (engine if target in engines else python)(target, seconds):
            failed.append(target)
    print(f"found something: {', '.join(failed)}" if failed else "nothing found")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
