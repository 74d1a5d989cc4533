"""HL7's reference validator (HAPI FHIR, from Maven): structure, terminology and the FHIRPath invariants of R4 and R5."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from servers import install, java

VERSION = "8.4.0"
_PARTS = (
    "validation",
    "validation-resources-r4",
    "validation-resources-r5",
    "structures-r4",
    "structures-r5",
    "caching-caffeine",
)


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
    answer = java.run(Path(__file__).parent / "Validate.java", jars, lines)
    *rows, last = answer
    assert last == f"done\t{len(lines)}"
    found = [row.split("\t", 4) for row in rows]
    return [Issue(int(number), severity, name, place, text) for number, severity, name, place, text in found]
