"""A small synthetic hospital: what the demonstration backs up. No line in it is about a living person.

HL7 v2 messages, FHIR resources and DICOM images are made and read back with the public libraries for these formats
(`hl7`, `pydicom`: the `demo` extra); the record database is SQLite and stays in use while it is backed up.
The same seed makes the same files.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

FAMILY = (
    "Abel",
    "Brandt",
    "Chaudhry",
    "Dubois",
    "Eriksen",
    "Fischer",
    "García",
    "Hansen",
    "Ilves",
    "Jørgensen",
    "Kaya",
)
GIVEN = ("Ada", "Bela", "Chiara", "David", "Elif", "Femke", "Goran", "Hanna", "Ibrahim", "Jana", "Karl", "Léa")
WARDS = ("ICU", "ED", "CARD", "ONC", "PED", "SURG")
ANALYTES = (
    ("2345-7", "Glucose", "mmol/L", 3.9, 5.8),
    ("2160-0", "Creatinine", "umol/L", 45.0, 104.0),
    ("718-7", "Hemoglobin", "g/dL", 12.0, 17.5),
    ("2951-2", "Sodium", "mmol/L", 135.0, 145.0),
    ("2823-3", "Potassium", "mmol/L", 3.5, 5.1),
    ("6690-2", "Leukocytes", "10*9/L", 4.0, 11.0),
)
DAY_FIRST = datetime(2026, 11, 1, tzinfo=UTC)
WARDS_WITH_BEDS = 32

_TWELVE_BITS = bytes(code & 0x0F for code in range(256))


@dataclass(frozen=True, slots=True)
class HospitalSize:
    """How much of everything; the default is about 25 MB."""

    patients: int = 60
    days: int = 14
    messages_a_day: int = 40
    images: int = 48
    image_side: int = 384
    database_rows: int = 30_000


@dataclass(frozen=True, slots=True)
class Hospital:
    """Where the hospital keeps what."""

    root: Path
    seed: int
    size: HospitalSize

    @property
    def messages(self) -> Path:
        """HL7 v2 messages, one file each, a folder a day."""
        return self.root / "interface" / "hl7"

    @property
    def resources(self) -> Path:
        """FHIR: one JSON bundle per patient, NDJSON exports beside them."""
        return self.root / "fhir"

    @property
    def images(self) -> Path:
        """DICOM files, a folder per study."""
        return self.root / "pacs"

    @property
    def database(self) -> Path:
        """The live record database. Never backed up as a file: it is copied by its own online backup."""
        return self.root / "ehr-live" / "ehr.sqlite"

    @property
    def database_digest(self) -> Path:
        """SHA-256 of the newest copy of the database, written by whoever made the copy."""
        return self.root / "ehr-live" / "copy.sha256"


@dataclass(frozen=True, slots=True)
class HospitalCounts:
    """What the formats' own libraries counted."""

    messages: int
    resources: int
    images: int
    rows: int


def build(root: Path, seed: int, size: HospitalSize | None = None) -> Hospital:
    """Make a hospital in the folder `root`, which is made if need be."""
    hospital = Hospital(root, seed, size or HospitalSize())
    dice = random.Random(f"{seed} build")  # noqa: S311 (synthetic data)
    for day in range(hospital.size.days):
        _write_messages(hospital, dice, day, hospital.size.messages_a_day)
    for patient in range(hospital.size.patients):
        _write_patient(hospital, dice, patient)
    _export(hospital, dice, "observations", hospital.size.patients * 40)
    for number in range(hospital.size.images):
        _write_image(hospital, dice, number)
    _create_database(hospital, dice)
    return hospital


def pass_a_day(hospital: Hospital, day: int) -> None:
    """Let a day pass: new messages and images, amended records, a new export, some messages purged."""
    dice = random.Random(f"{hospital.seed} day {day}")  # noqa: S311
    _write_messages(hospital, dice, hospital.size.days + day, hospital.size.messages_a_day)
    for patient in dice.sample(range(hospital.size.patients), k=max(1, hospital.size.patients // 10)):
        _write_patient(hospital, dice, patient)
    _export(hospital, dice, f"observations-{day:02d}", hospital.size.patients * 4)
    _write_image(hospital, dice, hospital.size.images + day)
    oldest = min(folder for folder in hospital.messages.rglob("*") if any(folder.glob("*.hl7")))
    for message in sorted(oldest.iterdir())[: hospital.size.messages_a_day // 4]:
        message.unlink()


def _person(patient: int) -> tuple[str, str, str, str]:
    dice = random.Random(f"person {patient}")  # noqa: S311
    born = datetime(1930, 1, 1, tzinfo=UTC) + timedelta(days=dice.randrange(33_000))
    return dice.choice(FAMILY), dice.choice(GIVEN), f"{born:%Y-%m-%d}", dice.choice(("female", "male"))


def _message(dice: random.Random, patient: int, number: int, moment: datetime) -> str:
    family, given, born, sex = _person(patient)
    stamp = f"{moment:%Y%m%d%H%M%S}"
    lines = [
        f"MSH|^~\\&|LAB|HOLDFAST|EHR|HOLDFAST|{stamp}||ORU^R01^ORU_R01|{number:010d}|P|2.5.1|||AL|NE||UNICODE UTF-8",
        f"PID|1||{patient:08d}^^^HOLDFAST^MR||{family}^{given}||{born.replace('-', '')}|{sex[0].upper()}",
        f"PV1|1|I|{dice.choice(WARDS)}^{dice.randrange(40):02d}^{dice.choice('AB')}||||{dice.randrange(9999):04d}^House^G",
        f"OBR|1|{number:010d}|L{number:09d}|24323-8^Comprehensive metabolic panel^LN|||{stamp}",
    ]
    for line, (code, name, unit, low, high) in enumerate(dice.sample(ANALYTES, k=dice.randint(2, 6)), start=1):
        value = dice.uniform(low * 0.8, high * 1.2)
        flag = "L" if value < low else "H" if value > high else "N"
        lines.append(f"OBX|{line}|NM|{code}^{name}^LN||{value:.1f}|{unit}|{low}-{high}|{flag}|||F|||{stamp}")
    return "\r".join(lines) + "\r"


def _write_messages(hospital: Hospital, dice: random.Random, day: int, count: int) -> None:
    moment = DAY_FIRST + timedelta(days=day)
    folder = hospital.messages / f"{moment:%Y}" / f"{moment:%m}" / f"{moment:%d}"
    folder.mkdir(parents=True, exist_ok=True)
    for place in range(count):
        number = day * 100_000 + place
        when = moment + timedelta(seconds=dice.randrange(86_400))
        text = _message(dice, dice.randrange(hospital.size.patients), number, when)
        (folder / f"{number:010d}.hl7").write_bytes(text.encode())


def _observation(dice: random.Random, patient: int, number: int) -> dict[str, Any]:
    code, name, unit, low, high = dice.choice(ANALYTES)
    when = DAY_FIRST + timedelta(seconds=dice.randrange(14 * 86_400))
    return {
        "resourceType": "Observation",
        "id": f"obs-{number}",
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": name}]},
        "subject": {"reference": f"Patient/{patient:08d}"},
        "effectiveDateTime": when.isoformat(),
        "valueQuantity": {"value": round(dice.uniform(low, high), 1), "unit": unit},
    }


def _write_patient(hospital: Hospital, dice: random.Random, patient: int) -> None:
    family, given, born, sex = _person(patient)
    resource = {
        "resourceType": "Patient",
        "id": f"{patient:08d}",
        "name": [{"family": family, "given": [given]}],
        "birthDate": born,
        "gender": sex,
    }
    entries = [resource, *(_observation(dice, patient, number) for number in range(dice.randint(5, 40)))]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": one} for one in entries]}
    folder = hospital.resources / "patients"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{patient:08d}.json").write_text(json.dumps(bundle, ensure_ascii=False, indent=1), encoding="utf-8")


def _export(hospital: Hospital, dice: random.Random, name: str, count: int) -> None:
    folder = hospital.resources / "export"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.ndjson").open("w", encoding="utf-8") as file:
        for number in range(count):
            observation = _observation(dice, dice.randrange(hospital.size.patients), number)
            file.write(json.dumps(observation, ensure_ascii=False) + "\n")


def _write_image(hospital: Hospital, dice: random.Random, number: int) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    study, image = divmod(number, 12)
    side = hospital.size.image_side
    family, given, born, sex = _person(study)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[f"{hospital.seed} image {number}"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(entropy_srcs=[f"{hospital.seed} study {study}"])
    dataset.SeriesInstanceUID = generate_uid(entropy_srcs=[f"{hospital.seed} series {study}"])
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = f"{family}^{given}"
    dataset.PatientID = f"{study:08d}"
    dataset.PatientBirthDate = born.replace("-", "")
    dataset.PatientSex = sex[0].upper()
    dataset.StudyDate = f"{DAY_FIRST:%Y%m%d}"
    dataset.Modality = "CT"
    dataset.InstanceNumber = image + 1
    dataset.Rows = dataset.Columns = side
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    pixels = bytearray(dice.randbytes(side * side * 2))
    pixels[1::2] = pixels[1::2].translate(_TWELVE_BITS)
    dataset.PixelData = bytes(pixels)
    folder = hospital.images / f"study-{study:04d}"
    folder.mkdir(parents=True, exist_ok=True)
    dataset.save_as(folder / f"image-{image:04d}.dcm", enforce_file_format=True)


def _create_database(hospital: Hospital, dice: random.Random) -> None:
    hospital.database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(hospital.database)) as database, database:
        database.execute("PRAGMA journal_mode=WAL")
        database.executescript(
            "CREATE TABLE observation (id INTEGER PRIMARY KEY, patient INTEGER, code TEXT, value REAL, at TEXT, note TEXT);"
            "CREATE INDEX by_patient ON observation (patient, at);"
            "CREATE TABLE bed (ward INTEGER PRIMARY KEY, free INTEGER NOT NULL);"
            "CREATE TABLE transfer (id INTEGER PRIMARY KEY, from_ward INTEGER, to_ward INTEGER);"
        )
        database.executemany("INSERT INTO bed VALUES (?, 0)", [(ward,) for ward in range(WARDS_WITH_BEDS)])
        database.executemany(
            "INSERT INTO observation (patient, code, value, at, note) VALUES (?, ?, ?, ?, ?)",
            (_row(dice, hospital.size.patients) for _ in range(hospital.size.database_rows)),
        )


def _row(dice: random.Random, patients: int) -> tuple[int, str, float, str, str]:
    code, name, unit, low, high = dice.choice(ANALYTES)
    when = DAY_FIRST + timedelta(seconds=dice.randrange(30 * 86_400))
    note = f"{name} in {unit}, drawn on {dice.choice(WARDS)} {dice.randrange(1_000_000):06d}"
    return dice.randrange(patients), code, round(dice.uniform(low, high), 2), when.isoformat(), note


@contextmanager
def in_use(hospital: Hospital) -> Iterator[None]:
    """Keep the record database in use: a thread moves patients between wards, one transaction after the other.

    A program that opened and closed the database's files in this process would take SQLite's locks away (POSIX locks belong
    to the process): the files of a live database are left out of a backup, and copied by `dump_command` in its own process.

    Every transaction keeps the sum over all wards at zero and writes one row about itself, so a copy that is not of one
    moment is found out by `count`.
    """
    stop = threading.Event()
    failures: list[BaseException] = []

    def work() -> None:
        dice = random.Random(f"{hospital.seed} use")  # noqa: S311
        try:
            with closing(sqlite3.connect(hospital.database, timeout=30)) as database:
                while True:
                    _transfer(database, dice)
                    if stop.wait(0.001):
                        return
        except sqlite3.Error as error:
            failures.append(error)

    worker = threading.Thread(target=work, name="hospital")
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()
    if failures:
        raise failures[0]


def _transfer(database: sqlite3.Connection, dice: random.Random) -> None:
    one, other = dice.sample(range(WARDS_WITH_BEDS), k=2)
    with database:
        database.execute("UPDATE bed SET free = free - 1 WHERE ward = ?", (one,))
        database.execute("UPDATE bed SET free = free + 1 WHERE ward = ?", (other,))
        database.execute("INSERT INTO transfer (from_ward, to_ward) VALUES (?, ?)", (one, other))


def dump_command(hospital: Hospital) -> tuple[str, ...]:
    """Name the command that writes a consistent copy of the live database to its standard output, its hash to a file."""
    paths = (hospital.database, hospital.database_digest)
    return (sys.executable, "-m", "holdfast.runs.hospital", *map(os.fspath, paths))


def copy_database(database: Path) -> bytes:
    """Copy a database in use through SQLite's online backup: the copy is of one moment, and nothing waits for it."""
    with closing(sqlite3.connect(database, timeout=30)) as live, closing(sqlite3.connect(":memory:")) as copy:
        live.backup(copy)
        return copy.serialize()


class NotAsItWasError(Exception):
    """A record that its format's library does not accept, or a database that is not of one moment."""


def count(root: Path, database: Path) -> HospitalCounts:
    """Read a hospital's records (or restored ones) with the formats' own libraries. `NotAsItWasError` if one is broken."""
    hospital = Hospital(root, 0, HospitalSize())
    return HospitalCounts(
        messages=_count_messages(hospital),
        resources=_count_resources(hospital),
        images=_count_images(hospital),
        rows=_count_rows(database),
    )


def _count_messages(hospital: Hospital) -> int:
    import hl7

    counted = 0
    for path in hospital.messages.rglob("*.hl7"):
        message = hl7.parse(path.read_bytes().decode())
        if str(message.segment("MSH")[10]) != path.stem:
            text = "an HL7 message has another control id than its name"
            raise NotAsItWasError(text)
        counted += 1
    return counted


def _count_resources(hospital: Hospital) -> int:
    counted = 0
    for path in hospital.resources.rglob("*.json"):
        counted += len(json.loads(path.read_bytes())["entry"])
    for path in hospital.resources.rglob("*.ndjson"):
        with path.open("rb") as file:
            counted += sum(json.loads(line)["resourceType"] == "Observation" for line in file)
    return counted


def _count_images(hospital: Hospital) -> int:
    import pydicom

    counted = 0
    for path in hospital.images.rglob("*.dcm"):
        dataset = pydicom.dcmread(path)
        if len(dataset.PixelData) != dataset.Rows * dataset.Columns * 2:
            text = "a DICOM image has lost pixels"
            raise NotAsItWasError(text)
        counted += 1
    return counted


def _count_rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        if database.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            text = "the database fails its integrity check"
            raise NotAsItWasError(text)
        (balance,) = database.execute("SELECT sum(free) FROM bed").fetchone()
        moved = dict(database.execute("SELECT to_ward, count(*) FROM transfer GROUP BY to_ward"))
        for ward, left in database.execute("SELECT from_ward, count(*) FROM transfer GROUP BY from_ward"):
            moved[ward] = moved.get(ward, 0) - left
        beds = dict(database.execute("SELECT ward, free FROM bed"))
        if balance != 0 or any(beds[ward] != moved.get(ward, 0) for ward in beds):
            text = "the database is not of one moment"
            raise NotAsItWasError(text)
        (rows,) = database.execute("SELECT count(*) FROM observation").fetchone()
        return int(rows)


def main(database: str, digest: str) -> None:
    """Write a copy of a database to the standard output and its hash beside the original: what `dump_command` runs."""
    copy = copy_database(Path(database))
    Path(digest).write_text(hashlib.sha256(copy).hexdigest())
    sys.stdout.buffer.write(copy)


if __name__ == "__main__":
    main(*sys.argv[1:])
