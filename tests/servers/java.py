"""Java programs of tests: one source file each, compiled once against jars from Maven, run over lines of standard input."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from servers import install

SECONDS_MAX = 600


def run(source: Path, jars: Path, lines: Sequence[str]) -> list[str]:
    """Return the lines that a program prints for lines."""
    java, javac = (install.debian(name, "default-jdk-headless") for name in ("java", "javac"))
    classes = jars.parent / f"classes-{hashlib.sha256(source.read_bytes()).hexdigest()[:16]}"
    if not (classes / "done").exists():
        with install.only_one(f"java-{source.stem}"):
            install.run([javac, "-cp", f"{jars}/*", "-d", str(classes), str(source)])
            (classes / "done").touch()
    done = subprocess.run(
        [java, "-Xmx1g", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{jars}/*", source.stem],
        input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.splitlines()
