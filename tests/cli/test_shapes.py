"""The documented shapes are those of the records, and a record that differs is noticed."""

from __future__ import annotations

import pytest

from holdfast.base.events import Alert, Finding, Progress
from holdfast.cli.records import error_record, record
from holdfast.cli.shapes import RECORDS, problems, shape
from holdfast.errors import DamageError

from .conftest import FINDING, INFO, entry

GOOD = record("progress", Progress("read", bytes_total=3), show_paths=False, rate=1.0, eta_seconds=None)


def test_good_records_are_good():
    assert not problems(GOOD)
    assert not problems(error_record(DamageError("x")))
    assert not problems(record("finding", FINDING, show_paths=False))
    assert not problems(record("finding", FINDING, show_paths=True))
    assert not problems(record("finding", Finding(b"", "x", "y"), show_paths=False))
    assert not problems(record("alert", Alert.of(DamageError("x"), "ehr"), show_paths=False))
    assert not problems(record("entry", entry(), show_paths=True))
    assert not problems(record("snapshot", INFO, show_paths=False))
    assert not problems(record("snapshot", INFO, show_paths=True))


@pytest.mark.parametrize(
    "bad",
    [
        {"type": "nonsense"},
        {"type": "error", "code": "x"},
        {name: value for name, value in GOOD.items() if name != "rate"},
        {name: value for name, value in GOOD.items() if name != "files"},
        GOOD | {"files": "3"},
        GOOD | {"files": True},
        GOOD | {"bytes_total": "3"},
        GOOD | {"more": 1},
        record("snapshot", INFO, show_paths=False) | {"paths_count": "1"},
        record("snapshot", INFO, show_paths=False) | {"classes": 1},
        record("snapshot", INFO, show_paths=False) | {"classes": [1]},
        record("snapshot", INFO, show_paths=False) | {"classes": [{}]},
    ],
)
def test_a_record_that_differs_is_noticed(bad):
    assert problems(bad)


@pytest.mark.parametrize("kind", RECORDS)
def test_every_record_has_a_shape_in_words(kind):
    for field in shape(RECORDS[kind]):
        assert field.kind
        assert "<" not in field.kind
