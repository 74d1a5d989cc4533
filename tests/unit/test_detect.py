"""What files hold is recognised by structure: every kind of a labelled corpus, and nothing that only looks like it.

The figures that docs/classification.md states come from here: recall of each class, and precision of all.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pydicom
import pytest

from holdfast import engine
from holdfast.base.data_classes import CLASS_NAMES
from holdfast.testing.corpus import FILES, corpus

SEED = 20261125
"""Named by the tests' own text, so that a failure can be repeated: the corpus is made from it alone."""
PAGE = Path(__file__).resolve().parents[2] / "docs" / "classification.md"


def detected(content: bytes) -> str:
    found = engine.detect(content[: engine.DETECT_BYTES], len(content))
    return CLASS_NAMES.get(found[1], "") if found else ""


def test_recall_and_precision_on_the_corpus():
    right, missed, wrong = Counter(), Counter(), Counter()
    for sample in corpus(SEED):
        said = detected(sample.content)
        if said == sample.label:
            right[sample.label] += 1
        elif sample.label:
            missed[sample.kind] += 1
        else:
            wrong[sample.kind] += 1
    assert right.total() + missed.total() + wrong.total() == FILES >= 5_000
    assert not missed
    raised = sum(right[label] for label in ("phi", "imaging", "database"))
    precision = raised / (raised + wrong.total())
    assert precision >= 0.999, wrong
    assert f"{precision:.1%}" in PAGE.read_text()


def test_the_same_seed_makes_the_same_corpus():
    first = [sample.content for sample in corpus(3, 200) if "dicom" not in sample.kind and sample.kind != "sqlite"]
    again = [sample.content for sample in corpus(3, 200) if "dicom" not in sample.kind and sample.kind != "sqlite"]
    assert first == again


def test_bundled_images_of_pydicom_are_recognised():
    # Those in the package only: asking pydicom for them would look for more on the network.
    files = sorted((Path(pydicom.__file__).parent / "data" / "test_files").rglob("*.dcm"))
    missed = [path.name for path in files if detected(path.read_bytes()) != "imaging"]
    assert len(files) > 60
    assert len(missed) <= len(files) // 20, missed


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"PK\x03\x04" + bytes([20, 0, 1, 0]) + bytes(22) + b"secret", "opaque"),
        (b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml", "document"),
        (b"PK\x03\x04" + bytes(26) + b"mimetypeapplication/vnd.oasis.opendocument.text", "document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "document"),
        (b"{\\rtf1 hello}", "document"),
        (b"MM\0*" + bytes(100), "scan"),
        (b'{"resourceType": "Bundle", "entry": []}', "fhir-json"),
        (b"<a xmlns='http://hl7.org/fhir'/>", "fhir-xml"),
        (b"<a xmlns='urn:hl7-org:v3'/>", "cda"),
        (b"KDMV" + bytes(20), "virtual-disk"),
        (bytes([1, 15]) + bytes(34) + b"\x01\0" + bytes(9000), "sqlserver-data"),
        (b"MSSQLBAK" + bytes(20), "sqlserver-backup"),
        (b"\x00\x08\x00\x05CS\x00\x0aISO_IR 100\x00\x08\x00\x16UI\x00\x02aa", "dicom-bare"),
        (b"\x02\x00\x01\x00OB\x00\x00\x02\x00\x00\x00\x00\x01\x02\x00\x02\x00UI\x02\x00aa", "dicom-bare"),
        (bytes(128) + b"DICM" + bytes(40) + b"1.2.840.10008.1.3.10\0", "dicomdir"),
        (b"AB1234563 BB1234563 MG9999998 note", ""),
        (b"dr AB1234563, dr BB2234564, dr MB3234565", "identifiers"),
    ],
)
def test_single_rules(content, rule):
    found = engine.detect(content, len(content))
    assert (found[0] if found else "") == rule


def test_every_rule_has_a_word_and_a_class():
    rules = dict(engine.detection_rules())
    assert len(rules) == 30
    assert {rules["hl7v2"], rules["dicom"], rules["sqlite"], rules["opaque"], rules["fhir-conformance"]} == {
        1,
        3,
        4,
        0,
        -1,
    }
    for word in rules:
        assert f"`{word}`" in PAGE.read_text()


def test_cut_and_broken_input_never_stops_a_detector():
    rng = random.Random(SEED)
    for sample in corpus(SEED, 450):
        content = bytearray(sample.content)
        for _ in range(4):
            cut = content[: rng.randint(0, len(content))]
            for _ in range(min(len(cut), 6)):
                cut[rng.randrange(len(cut))] = rng.getrandbits(8)
            found = engine.detect(bytes(cut), rng.choice((len(cut), 1 << 40)))
            assert found is None or found[2] in {"certain", "likely", "possible"}


def test_a_bomb_costs_no_more_than_a_member():
    import gzip

    bomb = gzip.compress(gzip.compress(bytes(200 << 20), 9), 9)
    assert engine.detect(bomb, len(bomb)) is None
