"""Text and pages that compress like the real thing, made quickly by a seed.

A template is a list of fields; `lines` fills thousands of rows at once as one numpy matrix. Measured with zstd level 1:
HL7-like and JSON-like text 4.0, a table's text dump 3.5, database pages 2.7 (PEERS: 4.0, 4.0, 3.5, 2.7).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]

PAGE_BYTES = 8192


@dataclass(frozen=True)
class Digits:
    """A number of so many digits."""

    width: int


@dataclass(frozen=True)
class Word:
    """One of some words, each as likely as `skew` makes it (1: all alike, 2 and more: the first ones more often)."""

    words: tuple[str, ...]
    skew: float = 1.0


@dataclass(frozen=True)
class Token:
    """So many characters of base64: an identifier, a signature, a hash."""

    width: int


Field = str | Digits | Word | Token
ALPHABET = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", dtype=np.uint8)

FAMILY = (
    "DOE",
    "SMITH",
    "GARCIA",
    "MUELLER",
    "NGUYEN",
    "KOWALSKI",
    "ROSSI",
    "HANSEN",
    "OKAFOR",
    "TANAKA",
    "SILVA",
    "DUBOIS",
    "ANDERSSON",
    "YILMAZ",
)
GIVEN = (
    "ANNA",
    "PETER",
    "MARIA",
    "JOHN",
    "LUCA",
    "SOFIA",
    "OMAR",
    "INES",
    "YUKI",
    "PAULO",
    "CLAIRE",
    "ERIK",
    "LEYLA",
    "THOMAS",
    "HELEN",
    "DAVID",
)
TESTS = tuple(
    f"{code}^{name}^LN||"
    for code, name in (
        ("2345-7", "GLUCOSE"),
        ("2160-0", "CREATININE"),
        ("718-7", "HEMOGLOBIN"),
        ("2951-2", "SODIUM"),
        ("2823-3", "POTASSIUM"),
        ("6690-2", "LEUKOCYTES"),
        ("777-3", "PLATELETS"),
        ("1742-6", "ALANINE AMINOTRANSFERASE"),
        ("3016-3", "THYROTROPIN"),
        ("1975-2", "BILIRUBIN TOTAL"),
    )
)
UNITS = ("mmol/L", "umol/L", "g/dL", "10*9/L", "U/L", "mU/L", "%")
NOTES = (
    "",
    "",
    "",
    "specimen haemolysed",
    "repeat recommended",
    "verified by second reader",
    "phoned to ward",
    "see comment",
)

HL7_HEAD: tuple[Field, ...] = (
    *("MSH|^~\\&|LAB|HOLDFAST|EHR|HOLDFAST|202611", Digits(8), "||ORU^R01^ORU_R01|", Digits(10), "|P|2.5.1\rPID|1||"),
    *(
        Digits(8),
        "^^^HOLDFAST^MR~",
        Digits(10),
        "^^^SSN||",
        Word(FAMILY),
        "^",
        Word(GIVEN),
        "||19",
        Digits(6),
        "|",
        Word(("F", "M")),
        "\r",
    ),
    *("PV1|1|I|", Word(("ICU", "ED", "CARD", "ONC")), "^", Digits(2), "^", Word(("A", "B")), "||||", Digits(4)),
    *("^HOUSE^G\rOBR|1|", Digits(10), "||24323-8^COMPREHENSIVE METABOLIC PANEL^LN|||202611", Digits(8), "\r"),
)
HL7_LINE: tuple[Field, ...] = (
    *("OBX|", Digits(2), "|NM|", Word(TESTS, 1.6), Digits(2), ".", Digits(1), "|", Word(UNITS, 1.6), "|3.", Digits(1)),
    *(
        "-5.",
        Digits(1),
        "|",
        Word(("N", "N", "H", "L")),
        "|||F|||202611",
        Digits(6),
        "|",
        Word(NOTES),
        "|",
        Digits(8),
        Token(5),
        "\r",
    ),
)
JSON_HEAD: tuple[Field, ...] = (
    *(
        '{"resourceType":"Bundle","type":"collection","patient":{"id":"',
        Digits(8),
        '","name":[{"family":"',
        Word(FAMILY),
    ),
    *('","given":["', Word(GIVEN), '"]}],"birthDate":"19', Digits(2), "-0", Digits(1), "-1", Digits(1), '","gender":"'),
    *(Word(("female", "male")), '","managingOrganization":{"reference":"Organization/holdfast"}},"entry":[\n'),
)
JSON_LINE: tuple[Field, ...] = (
    *('{"resource":{"resourceType":"Observation","id":"', Digits(16), '","status":"final","code":"', Word(TESTS, 1.4)),
    *(
        '","effective":"2026-11-',
        Digits(2),
        "T",
        Digits(2),
        ":",
        Digits(2),
        ':00Z","value":',
        Digits(2),
        ".",
        Digits(2),
    ),
    *(',"unit":"', Word(UNITS, 1.4), '","performer":"', Token(40), '","note":"', Word(NOTES), '"}},\n'),
)
DUMP_LINE: tuple[Field, ...] = (
    *(Digits(9), "\t", Word(FAMILY), " ", Word(GIVEN), "\t2026-", Digits(2), "-", Digits(2), " ", Digits(2), ":"),
    *(Digits(2), ":00.000+00\t", Word(TESTS), "\t", Digits(3), ".", Digits(2), "\t", Word(UNITS), "\t", Word(NOTES)),
    *("\t\\N\tf\t", Digits(6), Token(5), "\n"),
)
PAGE_ROW: tuple[Field, ...] = (
    *("\x01\x02", Digits(6), "\x01\x01\x09\x08\x18\x01", Digits(8), Word(FAMILY), "\x0b", Word(GIVEN), "\x0f"),
    *(
        Digits(6),
        "\x07",
        Word(TESTS),
        Digits(12),
        "\x13",
        Word(UNITS),
        "\x1d",
        Digits(10),
        Token(12),
        Word(NOTES),
        "\x01" * 4,
    ),
)


def lines(random: np.random.Generator, template: tuple[Field, ...], count: int) -> tuple[Bytes, npt.NDArray[np.int64]]:
    """Fill a template `count` times; return the text and the offset where each line ends (the first is 0)."""
    columns = [_column(random, part, count) for part in template]
    matrix = np.concatenate(columns, axis=1)
    kept = matrix != 0
    ends = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(kept.sum(axis=1), out=ends[1:])
    return matrix[kept], ends


def _column(random: np.random.Generator, part: Field, count: int) -> Bytes:
    if isinstance(part, str):
        return np.broadcast_to(np.frombuffer(part.encode("latin-1"), dtype=np.uint8), (count, len(part)))
    if isinstance(part, Digits):
        return random.integers(48, 58, size=(count, part.width), dtype=np.uint8)
    if isinstance(part, Token):
        return ALPHABET[random.integers(0, 64, size=(count, part.width), dtype=np.uint8)]
    width = max(len(word) for word in part.words)
    table = np.zeros((len(part.words), width), dtype=np.uint8)
    for row, word in enumerate(part.words):
        table[row, : len(word)] = np.frombuffer(word.encode("latin-1"), dtype=np.uint8)
    places = (random.random(count) ** part.skew * len(part.words)).astype(np.int64)
    return table[places]


def stream(random: np.random.Generator, template: tuple[Field, ...], size: int) -> Bytes:
    """Return exactly `size` bytes of lines."""
    probe, _ = lines(random, template, 64)
    text, _ = lines(random, template, int(size / (len(probe) / 64) * 1.05) + 64)
    return text[:size]


def pages(random: np.random.Generator, count: int) -> Bytes:
    """Return `count` database pages: a header with a random checksum, line pointers, rows packed to the end."""
    text = stream(random, PAGE_ROW, count * PAGE_BYTES)
    made: Bytes = text.reshape(count, PAGE_BYTES)
    made[:, :24] = 0
    made[:, 0:12] = random.integers(0, 256, size=(count, 12), dtype=np.uint8)
    made[:, 12:24:4] = np.array([0, 32, 4], dtype=np.uint8)
    return made
