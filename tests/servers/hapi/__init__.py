"""HL7's reference validator (HAPI FHIR, from Maven): structure, terminology and the FHIRPath invariants of R4 and R5."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from servers import install

VERSION = "8.4.0"
SECONDS_MAX = 600
_PARTS = (
    "validation",
    "validation-resources-r4",
    "validation-resources-r5",
    "structures-r4",
    "structures-r5",
    "caching-caffeine",
)
_SOURCE = Path(__file__).parent / "Validate.java"


@dataclass(frozen=True)
class Issue:
    """What the validator says of one resource."""

    number: int
    severity: str
    id: str
    place: str
    text: str


def issues(resources: Iterable[tuple[str, dict]]) -> list[Issue]:
    """Return what the validator says of resources, each with its version (`R4`, `R5`), in one run of one JVM."""
    lines = [f"{version} {json.dumps(resource)}" for version, resource in resources]
    jars = install.maven_closure("hapi", *(f"ca.uhn.hapi.fhir:hapi-fhir-{part}:{VERSION}" for part in _PARTS))
    classes = _compiled(jars)
    java = install.debian("java", "default-jdk-headless")
    done = subprocess.run(
        [java, "-Xmx1g", "-XX:TieredStopAtLevel=1", "-cp", f"{classes}:{jars}/*", "Validate"],
        input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    *rows, last = done.stdout.splitlines()
    assert last == f"done\t{len(lines)}", done.stderr[-4000:]
    found = [row.split("\t", 4) for row in rows]
    return [Issue(int(number), severity, name, place, text) for number, severity, name, place, text in found]


def _compiled(jars: Path) -> Path:
    """Return the folder of the compiled program, compiling it where it is missing or another."""
    javac = install.debian("javac", "default-jdk-headless")
    target = jars.parent / f"classes-{hashlib.sha256(_SOURCE.read_bytes()).hexdigest()[:16]}"
    if not (target / "done").exists():
        with install.only_one("hapi-classes"):
            install.run([javac, "-cp", f"{jars}/*", "-d", str(target), str(_SOURCE)])
            (target / "done").touch()
    return target
