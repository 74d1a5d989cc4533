"""A labelled corpus for the detectors: thousands of small synthetic files of every kind they know, and of kinds they must leave.

Everything is made from a seed; nothing in it is anybody's. `label` is the data class that the content has by itself, empty
where the content is harmless or cannot be seen. DICOM comes from pydicom where that is installed.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import sqlite3
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FILES", "Sample", "corpus"]

FILES = 5_500
"""How many files a corpus has unless told otherwise."""

_NAMES = ("Ash", "Birch", "Cedar", "Elm", "Fir", "Hazel", "Linden", "Maple", "Oak", "Pine", "Rowan", "Willow")
_WORDS = [
    "system",
    "service",
    "started",
    "stopped",
    "listening",
    "on",
    "port",
    "value",
    "timeout",
    "configuration",
    "update",
    "module",
    "package",
    "cache",
    "index",
    "queue",
    "worker",
    "thread",
    "memory",
    "disk",
    "network",
    "request",
    "response",
    "header",
    "body",
    "status",
    "version",
    "release",
    "build",
    "test",
]


@dataclass(frozen=True, slots=True)
class Sample:
    """One file: its bytes, what it is, and the data class that its content has (empty: none by itself)."""

    kind: str
    label: str
    content: bytes


def corpus(seed: int = 1, files: int = FILES) -> Iterator[Sample]:
    """Yield `files` samples, every kind in turn. Equal seeds give equal corpora."""
    rng = random.Random(seed)
    for number in range(files):
        kind, label, make = _KINDS[number % len(_KINDS)]
        yield Sample(kind, label, make(rng))


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


def _person(rng: random.Random) -> str:
    return f"{rng.choice(_NAMES)}^{rng.choice(_NAMES)}"


def _prose(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(_WORDS) for _ in range(words))


def _hl7_message(rng: random.Random, separator: str = "|", encoding: str = "^~\\&") -> str:
    field = separator
    segments = [
        field.join(
            ("MSH", encoding, "LAB", "HOSP", "EHR", "HOSP", _digits(rng, 14), "", "ORU^R01", _digits(rng, 8), "P")
        ),
        field.join(("PID", "1", "", _digits(rng, 7), "", _person(rng), "", _digits(rng, 8), "F")),
        *(field.join(("OBX", f"{n}", "NM", "718-7", "", _digits(rng, 2), "g/dL")) for n in range(rng.randint(1, 20))),
    ]
    return "\r".join(segments) + "\r"


def _hl7(rng: random.Random) -> bytes:
    separator, encoding = rng.choice((("|", "^~\\&"), ("|", "^~\\&#"), ("$", "%~\\&"), ("|", "@~\\&")))
    text = _hl7_message(rng, separator, encoding)
    return (text if rng.random() < 0.7 else text.replace("\r", "\n")).encode()


def _hl7_batch(rng: random.Random) -> bytes:
    head = rng.choice(("FHS|^~\\&|LAB\rBHS|^~\\&|LAB\r", "BHS|^~\\&|LAB\r"))
    return (head + "".join(_hl7_message(rng) for _ in range(3))).encode()


def _mllp(rng: random.Random) -> bytes:
    return b"\x0b" + _hl7_message(rng).encode() + b"\x1c\x0d"


def _patient(rng: random.Random) -> dict[str, object]:
    kind = rng.choice(("Patient", "Observation", "Encounter", "Condition", "MedicationRequest", "DiagnosticReport"))
    return {"resourceType": kind, "id": _digits(rng, 8), "text": {"div": _prose(rng, 20)}}


def _fhir_json(rng: random.Random) -> bytes:
    resource = _patient(rng)
    if rng.random() < 0.3:
        resource = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": _patient(rng)}]}
    if rng.random() < 0.3:
        resource = dict(reversed(resource.items()))
    return json.dumps(resource, indent=rng.choice((None, 2))).encode()


def _fhir_ndjson(rng: random.Random) -> bytes:
    return b"\n".join(json.dumps(_patient(rng)).encode() for _ in range(5)) + b"\n"


def _fhir_xml(rng: random.Random) -> bytes:
    text = f'<?xml version="1.0"?>\n<Patient xmlns="http://hl7.org/fhir"><id value="{_digits(rng, 6)}"/></Patient>'
    return text.encode()


def _conformance(rng: random.Random) -> bytes:
    name = rng.choice(("StructureDefinition", "ValueSet", "CodeSystem", "CapabilityStatement", "SearchParameter"))
    if rng.random() < 0.5:
        return f'<{name} xmlns="http://hl7.org/fhir"><id value="{_digits(rng, 6)}"/></{name}>'.encode()
    return json.dumps({"resourceType": name, "id": _digits(rng, 5), "status": "active"}).encode()


def _cda(rng: random.Random) -> bytes:
    text = (
        '<?xml version="1.0"?><ClinicalDocument xmlns="urn:hl7-org:v3"><title>Summary</title>'
        f"<recordTarget>{_digits(rng, 9)}</recordTarget></ClinicalDocument>"
    )
    return text.encode(rng.choice(("utf-8", "utf-16", "utf-8-sig")))


def _x12(rng: random.Random) -> bytes:
    e, s, t = rng.choice((("*", ":", "~"), ("|", ">", "~"), ("*", "^", "\n")))
    isa = e.join((
        "ISA", "00", " " * 10, "00", " " * 10, "ZZ", "SENDER".ljust(15), "ZZ", "RECEIVER".ljust(15), _digits(rng, 6),
        _digits(rng, 4), "U" if s != "^" else "^", "00501", _digits(rng, 9), "0", "P", s,
    )) + t  # fmt: skip
    body = e.join(("GS", "HC", "SENDER", "RECEIVER", _digits(rng, 8))) + t + e.join(("ST", "837", "0001")) + t
    return (isa + body + e.join(("NM1", "IL", "1", rng.choice(_NAMES))) + t).encode()


def _script(rng: random.Random) -> bytes:
    space = rng.choice(("http://www.ncpdp.org/schema/SCRIPT", "urn:x http://www.ncpdp.org/schema/script"))
    return f'<?xml version="1.0"?><Message xmlns="{space}"><Body>{_digits(rng, 9)}</Body></Message>'.encode()


def _telecom(rng: random.Random) -> bytes:
    front = b"\x02" if rng.random() < 0.5 else b""
    head = f"{_digits(rng, 6)}D0B1{_digits(rng, 10)}1  01{_digits(rng, 10)}".encode()
    return front + head + b"\x1e\x1cAM04\x1cC2" + _digits(rng, 9).encode() + b"\x1d\x1e\x1cAM07\x03"


def _edifact(rng: random.Random) -> bytes:
    front = rng.choice(("", "UNA:+.? '", "UNA:+.? '\r\n"))
    return f"{front}UNB+UNOC:3+SENDER+RECEIVER+{_digits(rng, 6)}:1200+1'UNH+1+MEDPRE:1'".encode()


def _social(rng: random.Random) -> str:
    return f"{rng.randint(100, 665)}-{rng.randint(10, 99)}-{rng.randint(1000, 9999)}"


def _provider(rng: random.Random) -> str:
    body = rng.choice("12") + _digits(rng, 8)
    total = 24
    for place, digit in enumerate(map(int, reversed(body))):
        total += digit if place % 2 else sum(divmod(digit * 2, 10))
    return body + str(-total % 10)


def _identifiers(rng: random.Random) -> bytes:
    make: Callable[[], str] = rng.choice((
        lambda: _social(rng), lambda: _provider(rng), lambda: f"MRN: {_digits(rng, 8)}", lambda: f"mrn#{_digits(rng, 7)}",
    ))  # fmt: skip
    return "\n".join(f"{rng.choice(_NAMES)}, {make()}, {_prose(rng, 4)}" for _ in range(8)).encode()


def _dicom(rng: random.Random) -> bytes:
    import warnings

    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[_digits(rng, 20)])
    meta.TransferSyntaxUID = rng.choice((ExplicitVRLittleEndian, ImplicitVRLittleEndian))
    image = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    image.PatientName, image.PatientID, image.Modality = _person(rng), _digits(rng, 8), "CT"
    image.PixelData = rng.randbytes(2048)
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _dicom_bare(rng: random.Random) -> bytes:
    character_set = b"ISO_IR 100"
    uid = b"1.2.840.10008.5.1.4.1.1.2\0"
    if rng.random() < 0.5:
        first = struct.pack("<HHI", 8, 5, len(character_set)) + character_set
        second = struct.pack("<HHI", 8, 0x16, len(uid)) + uid
    else:
        first = struct.pack("<HH2sH", 8, 5, b"CS", len(character_set)) + character_set
        second = struct.pack("<HH2sH", 8, 0x16, b"UI", len(uid)) + uid
    return first + second + rng.randbytes(600)


def _sqlite(rng: random.Random) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "a.db")
        database = sqlite3.connect(place)
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (?)", (_digits(rng, 20),))
        database.commit()
        database.close()
        return place.read_bytes()


def _postgres_page(rng: random.Random) -> bytes:
    lower, upper = 24 + 4 * rng.randint(1, 50), rng.randint(4000, 8000)
    page = struct.pack("<QHHHHHHI", rng.getrandbits(40), 0, 0, lower, upper, 8192, 0x2004, 0)
    return (page + rng.randbytes(8192))[:8192] * 2


def _innodb(rng: random.Random) -> bytes:
    space = struct.pack(">I", rng.randint(1, 9999))
    page = bytearray(16384)
    page[0:4] = rng.randbytes(4)
    page[16:24] = rng.randbytes(8)
    page[24:26] = b"\0\x08"
    page[34:38] = page[38:42] = space
    return bytes(page) * 2


def _signed(signature: bytes, at: int = 0) -> Callable[[random.Random], bytes]:
    def make(rng: random.Random) -> bytes:
        return bytes(at) + signature + b"".join(bytes([rng.randint(0, 60)]) * 8 for _ in range(64))

    return make


def _zipped(
    inner: Callable[[random.Random], bytes], method: int = zipfile.ZIP_DEFLATED
) -> Callable[[random.Random], bytes]:
    def make(rng: random.Random) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", method) as container:
            container.writestr("readme.txt", _prose(rng, 30))
            container.writestr("content", inner(rng))
        return out.getvalue()

    return make


def _gzipped(inner: Callable[[random.Random], bytes]) -> Callable[[random.Random], bytes]:
    return lambda rng: gzip.compress(inner(rng), mtime=0)


def _tarred(inner: Callable[[random.Random], bytes]) -> Callable[[random.Random], bytes]:
    def make(rng: random.Random) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as container:
            for content in (_prose(rng, 20).encode(), inner(rng)):
                entry = tarfile.TarInfo("member")
                entry.size = len(content)
                container.addfile(entry, io.BytesIO(content))
        return out.getvalue()

    return make


def _log(rng: random.Random) -> bytes:
    lines = (
        f"2026-11-{rng.randint(10, 28)} 03:{_digits(rng, 2)} {_prose(rng, 8)} {_digits(rng, 5)}" for _ in range(40)
    )
    return "\n".join(lines).encode()


def _table(rng: random.Random) -> bytes:
    rows = (
        f"{_digits(rng, 4)},{_digits(rng, 9)},{rng.random():.4f},{_digits(rng, 3)}-{_digits(rng, 4)}" for _ in range(60)
    )
    return ("id,stock,price,phone\n" + "\n".join(rows)).encode()


def _json(rng: random.Random) -> bytes:
    return json.dumps({"name": _prose(rng, 2), "port": rng.randint(1, 9999), "tags": [_prose(rng, 1)]}).encode()


def _xml(rng: random.Random) -> bytes:
    return f'<?xml version="1.0"?><config><item name="{_prose(rng, 1)}">{_digits(rng, 4)}</item></config>'.encode()


def _program(rng: random.Random) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + rng.randbytes(6000)


def _picture(rng: random.Random) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + zlib.compress(rng.randbytes(5000))


def _short(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randint(0, 40)) if rng.random() < 0.5 else _prose(rng, 3).encode()


def _almost(rng: random.Random) -> bytes:
    """Look like something: words of the formats at the wrong places, numbers that no check accepts."""
    return rng.choice((
        b"MSHA is an agency. " + _prose(rng, 20).encode(), b"MSH||||", b"ISA is a word*" + _prose(rng, 30).encode(),
        b"UNB was here", b"BHS " + _prose(rng, 9).encode(), f"resourceType: {_prose(rng, 9)}".encode(),
        b"SSN 000-12-3456 666-12-3456 900-12-3456 123-00-4567 123-45-0000", b'{"resourceType": 5, "a": "Patient"}',
        b"FHSX|^~\\&|" + _prose(rng, 5).encode(), b"order 1234567890 1111111111 2222222222 1000000000",
    ))  # fmt: skip


_Make = Callable[[random.Random], bytes]
_KINDS: tuple[tuple[str, str, _Make], ...] = (
    ("hl7v2", "phi", _hl7),
    ("hl7v2-batch", "phi", _hl7_batch),
    ("hl7v2-mllp", "phi", _mllp),
    ("fhir-json", "phi", _fhir_json),
    ("fhir-ndjson", "phi", _fhir_ndjson),
    ("fhir-xml", "phi", _fhir_xml),
    ("cda", "phi", _cda),
    ("x12", "phi", _x12),
    ("ncpdp-script", "phi", _script),
    ("ncpdp-telecom", "phi", _telecom),
    ("edifact", "phi", _edifact),
    ("identifiers", "phi", _identifiers),
    ("outlook-store", "phi", _signed(b"!BDN")),
    ("zip of hl7v2", "phi", _zipped(_hl7)),
    ("stored zip of fhir", "phi", _zipped(_fhir_json, zipfile.ZIP_STORED)),
    ("gzip of x12", "phi", _gzipped(_x12)),
    ("tar of cda", "phi", _tarred(_cda)),
    ("gzip of tar of hl7v2", "phi", _gzipped(_tarred(_hl7))),
    ("dicom", "imaging", _dicom),
    ("dicom-bare", "imaging", _dicom_bare),
    ("zip of dicom", "imaging", _zipped(_dicom)),
    ("sqlite", "database", _sqlite),
    ("postgresql-page", "database", _postgres_page),
    ("postgresql-dump", "database", _signed(b"PGDMP\x01\x0e")),
    ("innodb", "database", _innodb),
    ("sqlserver-backup", "database", _signed(b"TAPE\0\0\x03\0")),
    ("access", "database", _signed(b"\0\x01\0\0Standard ACE DB\0")),
    ("ese", "database", _signed(b"\xef\xcd\xab\x89", 4)),
    ("oracle-data", "database", lambda rng: b"\0\xa2\0\0" + bytes(24) + b"}|{z" + bytes([rng.randint(0, 9)]) * 4000),
    ("wiredtiger", "database", _signed(b"\x41\xd8\x01\x00")),
    ("redis-dump", "database", _signed(b"REDIS0011")),
    ("fhir-conformance", "", _conformance),
    ("virtual-disk", "", _signed(b"QFI\xfb")),
    ("pdf", "", _signed(b"%PDF-1.7\n")),
    ("jpeg", "", _signed(b"\xff\xd8\xff\xe0")),
    ("encrypted", "", lambda rng: rng.randbytes(8192)),
    ("log", "", _log),
    ("table", "", _table),
    ("json", "", _json),
    ("xml", "", _xml),
    ("program", "", _program),
    ("picture", "", _picture),
    ("short", "", _short),
    ("almost", "", _almost),
    ("zip of log", "", _zipped(_log)),
)
