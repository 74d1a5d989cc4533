"""FHIR's own published definitions, and a check of a resource against them: elements, cardinalities, types, required codes.

R4 comes as XML, R5 as an NPM package, both from the artifacts that HL7's reference validator is built on. This check is ours and
quick; `servers.hapi` runs the reference validator itself, FHIRPath invariants included.
"""

from __future__ import annotations

import json
import re
import tarfile
import zipfile
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Any
from xml.etree import ElementTree as ET

from servers import install

VERSION = "8.4.0"
FHIR = "{http://hl7.org/fhir}"
NEEDED = {"AuditEvent", "Coding", "CodeableConcept", "Reference", "Identifier", "Period"}
PRIMITIVES = {
    "string": re.compile(r"[ \r\n\t\S]+"),
    "uri": re.compile(r"\S+"),
    "code": re.compile(r"[^\s]+( [^\s]+)*"),
    "id": re.compile(r"[A-Za-z0-9\-.]{1,64}"),
    "instant": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)"),
    "base64Binary": re.compile(r"[A-Za-z0-9+/=]+"),
}
REQUIRED = {
    "AuditEvent.action": set("CRUDE"),
    "AuditEvent.agent.network.type": set("12345"),
    "R4:AuditEvent.outcome": {"0", "4", "8", "12"},
}


@dataclass(frozen=True)
class Element:
    path: str
    low: int
    high: float
    types: tuple[str, ...]


@cache
def _jar(version: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(
        install.maven("ca.uhn.hapi.fhir", f"hapi-fhir-validation-resources-{version.lower()}", VERSION)
    )


@cache
def definitions(version: str) -> dict[str, dict[str, Element]]:
    """Return the elements of each structure that an AuditEvent is made of, by path."""
    return _r4() if version == "R4" else _r5()


def _r4() -> dict[str, dict[str, Element]]:
    found = {}
    for name in ("profiles-resources", "profiles-types"):
        text = _jar("R4").read(f"org/hl7/fhir/r4/model/profile/{name}.xml")
        for _, node in ET.iterparse(BytesIO(text)):  # noqa: S314 - a published artifact, pinned
            if node.tag != f"{FHIR}StructureDefinition":
                continue
            kind = node.find(f"{FHIR}id").get("value")
            if kind in NEEDED:
                elements = [_xml_element(each) for each in node.find(f"{FHIR}snapshot").findall(f"{FHIR}element")]
                found[kind] = {element.path: element for element in elements}
            node.clear()
    return found


def _xml_element(node: ET.Element) -> Element:
    def value(tag: str) -> str:
        return node.find(f"{FHIR}{tag}").get("value") or ""

    types = tuple(each.find(f"{FHIR}code").get("value") or "" for each in node.findall(f"{FHIR}type"))
    return _element(value("path"), value("min"), value("max"), types)


def _element(path: str, low: str | int, high: str, types: tuple[str, ...]) -> Element:
    # `id` and the like have the type of FHIRPath's own strings.
    plain = tuple("string" if each.startswith("http") else each for each in types)
    return Element(path, int(low), float("inf") if high == "*" else int(high), plain)


@cache
def _package(name: str) -> tarfile.TarFile:
    return tarfile.open(fileobj=BytesIO(_jar("R5").read(f"org/hl7/fhir/r5/packages/{name}.tgz")))


def _r5() -> dict[str, dict[str, Element]]:
    found = {}
    for kind in NEEDED:
        file = _package("hl7.fhir.r5.core-5.0.0").extractfile(f"package/StructureDefinition-{kind}.json")
        assert file
        elements = [
            _element(each["path"], each["min"], each["max"], tuple(t["code"] for t in each.get("type", ())))
            for each in json.load(file)["snapshot"]["element"]
        ]
        found[kind] = {element.path: element for element in elements}
    return found


@cache
def code_system(name: str) -> frozenset[str]:
    """Return the codes of a system of HL7's terminology package."""
    file = _package("hl7.terminology-5.1.0").extractfile(f"package/CodeSystem-{name}.json")
    assert file
    codes: set[str] = set()
    pending = list(json.load(file)["concept"])
    while pending:
        concept = pending.pop()
        codes.add(concept["code"])
        pending += concept.get("concept", ())
    return frozenset(codes)


@cache
def dicom_codes() -> dict[str, str]:
    """Return the codes of DICOM with their names, as R4 publishes them."""
    text = _jar("R4").read("org/hl7/fhir/r4/model/valueset/valuesets.xml").decode()
    start = text.index('<url value="http://dicom.nema.org/resources/ontology/DCM">')
    part = text[start : text.index("</CodeSystem>", start)]
    return dict(re.findall(r'<code value="(.*?)">\s*</code>\s*<display value="(.*?)">', part))


def problems(resource: dict[str, Any], version: str) -> list[str]:
    """Return what the definitions do not allow. Empty: valid."""
    body = {name: value for name, value in resource.items() if name != "resourceType"}
    return [*_check(body, "AuditEvent", "AuditEvent", version)]


def _check(value: dict[str, Any], kind: str, path: str, version: str) -> list[str]:
    elements = definitions(version)[kind]
    found, known = [], set()
    for element in elements.values():
        parent, _, name = element.path.rpartition(".")
        if parent != path:
            continue
        names = [name]
        if name.endswith("[x]"):
            names = [name[:-3] + each[0].upper() + each[1:] for each in element.types]
        given = [(each, value[each]) for each in names if each in value]
        known |= set(names)
        items = [item for _, one in given for item in (one if isinstance(one, list) else [one])]
        if not element.low <= len(items) <= element.high:
            found.append(f"{element.path}: {len(items)} of {element.low}..{element.high}")
        for each, one in given:
            if isinstance(one, list) is (element.high == 1):
                found.append(f"{path}.{each}: a list where there is one, or the other way round")
        for each, one in given:
            for item in one if isinstance(one, list) else [one]:
                types = element.types
                if len(names) > 1:
                    types = tuple(t for t in types if each.endswith(t[0].upper() + t[1:]))
                found += _typed(item, types[0] if types else "", element.path, version)
    return found + [f"{path}.{name}: no such element" for name in value.keys() - known]


def _typed(item: Any, kind: str, path: str, version: str) -> list[str]:
    if kind in {"BackboneElement", "Element"}:
        return _check(item, path.split(".")[0], path, version)
    if kind in NEEDED:
        return _check(item, kind, kind, version)
    if kind == "boolean":
        return [] if isinstance(item, bool) else [f"{path}: no boolean"]
    if kind == "integer":
        fits = isinstance(item, int) and not isinstance(item, bool) and abs(item) < 2**31
        return [] if fits else [f"{path}: no integer"]
    pattern = PRIMITIVES.get(kind)
    if pattern is None:
        return [f"{path}: a type that is not expected here: {kind}"]
    if not isinstance(item, str) or not pattern.fullmatch(item):
        return [f"{path}: {item!r} is no {kind}"]
    allowed = REQUIRED.get(path) or REQUIRED.get(f"{version}:{path}")
    return [] if allowed is None or item in allowed else [f"{path}: {item} is not among the required codes"]
