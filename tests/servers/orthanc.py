"""Orthanc of Debian: an imaging store with its SQLite index, on free ports of this machine, and small DICOM objects for it."""

from __future__ import annotations

import io
import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from servers import install, process


@dataclass(frozen=True)
class Orthanc:
    """Where it listens, and where its storage is."""

    url: str
    storage: Path

    def get(self, path: str) -> Any:
        """Return an answer of its REST interface."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:  # noqa: S310 - the test's own server
            return json.loads(answer.read())

    def post(self, path: str, data: bytes) -> Any:
        """Send something to its REST interface."""
        request = urllib.request.Request(self.url + path, data=data, method="POST")  # noqa: S310 - the test's own server
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            return json.loads(answer.read())

    def store(self, number: int) -> str:
        """Store an object and return the id that acknowledged it."""
        return str(self.post("/instances", dicom(number))["ID"])

    def delete(self, instance: str) -> None:
        """Delete an object."""
        request = urllib.request.Request(f"{self.url}/instances/{instance}", method="DELETE")  # noqa: S310 - as above
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - as above


def dicom(number: int) -> bytes:
    """Return a small synthetic image: one patient and series for every ten."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(f"1.2.826.0.1.3680043.10.1234.3.{number + 1}")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset(io.BytesIO(), {}, file_meta=meta, preamble=b"\0" * 128)
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.PatientID, image.PatientName = f"P{number // 10}", "Synthetic^Patient"
    image.StudyInstanceUID = f"1.2.826.0.1.3680043.10.1234.1.{number // 10 + 1}"
    image.SeriesInstanceUID = f"1.2.826.0.1.3680043.10.1234.2.{number // 10 + 1}"
    image.Modality, image.Rows, image.Columns, image.SamplesPerPixel = "OT", 16, 16, 1
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelData = bytes((number + place) % 256 for place in range(256))
    out = io.BytesIO()
    image.save_as(out, enforce_file_format=True)
    return out.getvalue()


@contextmanager
def orthanc(root: Path, storage: Path | None = None) -> Iterator[Orthanc]:
    """Start a server whose storage is `root/storage`, or a given folder."""
    root.mkdir(parents=True, exist_ok=True)
    storage = storage or root / "storage"
    port = process.free_port()
    config = root / "orthanc.json"
    config.write_text(
        json.dumps(
            {
                "StorageDirectory": str(storage),
                "IndexDirectory": str(storage),
                "HttpPort": port,
                "DicomPort": process.free_port(),
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "HttpThreadsCount": 8,
            }
        )
    )
    program = install.debian("Orthanc", "orthanc")
    found = Orthanc(f"http://127.0.0.1:{port}", storage)

    def ready() -> bool:
        try:
            return bool(found.get("/system"))
        except OSError:
            return False

    with process.running([program, str(config)], log=root / "log", ready=ready):
        yield found
