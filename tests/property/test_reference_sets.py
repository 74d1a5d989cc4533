"""Reference sets behave as sets of pairs, and their coded form brings them back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import DamageError
from holdfast.repository.records import parse_run
from holdfast.repository.refsets import Segments, parse
from holdfast.repository.wire import Cursor, varint

PAIRS = st.frozensets(st.tuples(st.sampled_from([bytes([n]) * 16 for n in range(3)]), st.integers(0, 40)))


@given(PAIRS, PAIRS)
def test_sets(left: frozenset[tuple[bytes, int]], right: frozenset[tuple[bytes, int]]) -> None:
    a, b = Segments.of(sorted(left)), Segments.of(sorted(right))
    assert set(a) == left
    assert len(a) == len(left)
    assert set(a.union(b)) == left | right
    assert set(a.minus(b)) == left - right
    assert all((pair in a) == (pair in left) for pair in left | right)
    assert (a == b) == (left == right)


@given(PAIRS, PAIRS)
def test_coding(left: frozenset[tuple[bytes, int]], right: frozenset[tuple[bytes, int]]) -> None:
    a, b = Segments.of(sorted(left)), Segments.of(sorted(right))
    assert parse(a.encode()).added == a
    stored = parse(b.encode_delta(a, "ab" * 32))
    assert stored.parent == "ab" * 32
    assert a.minus(stored.removed).union(stored.added) == b


@given(st.integers(0, (1 << 64) - 1))
def test_numbers(value: int) -> None:
    cursor = Cursor(varint(value))
    assert cursor.varint() == value
    cursor.finish()


@given(st.binary(max_size=60))
def test_rubbish_is_refused_or_read_never_worse(data: bytes) -> None:
    for read in (parse, parse_run):
        try:
            read(data)
        except DamageError:
            continue


@pytest.mark.parametrize(
    "data",
    [b"", b"\x02", b"\x01\x02", b"\x01\x00", b"\x01\x00\x00\x00", b"\x01\x00\x80\x00", b"\x01\x00" + b"\xff" * 11],
)
def test_malformed_sets(data: bytes) -> None:
    with pytest.raises(DamageError):
        parse(data)
