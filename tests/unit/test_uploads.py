"""Uploads: bounded, in the store before they are reported, and stopped by the first failure."""

from __future__ import annotations

import threading

import pytest

from holdfast.errors import StoreFullError
from holdfast.runs.uploads import Uploads


def test_everything_is_stored_and_then_reported():
    stored, reported = [], []

    def put(name, kind, data):
        stored.append((name, kind, bytes(data)))

    with Uploads(put, reported.append, 2) as uploads:
        for number in range(20):
            uploads.submit(bytes([number]), 1, b"x" * number)
        uploads.drain()
    assert sorted(stored) == [(bytes([n]), 1, b"x" * n) for n in range(20)]
    assert sorted(reported) == [bytes([n]) for n in range(20)]


def test_a_slow_store_holds_the_submitter_back():
    gate = threading.Event()
    begun = []

    def put(name, kind, data):
        begun.append(name)
        gate.wait()

    with Uploads(put, lambda name: None, 2) as uploads:
        submitted = []

        def submit():
            for number in range(6):
                uploads.submit(bytes([number]), 1, b"")
                submitted.append(number)

        thread = threading.Thread(target=submit)
        thread.start()
        thread.join(0.2)
        assert len(submitted) == 3
        assert len(begun) == 2
        gate.set()
        thread.join()
        uploads.drain()
        assert len(begun) == 6


def test_the_first_failure_is_raised_and_nothing_more_is_begun():
    begun, reported = [], []

    def put(name, kind, data):
        begun.append(name)
        raise StoreFullError("full")

    with Uploads(put, reported.append, 1) as uploads:
        with pytest.raises(StoreFullError):
            [uploads.submit(bytes([number]), 1, b"") for number in range(10)]
        with pytest.raises(StoreFullError):
            uploads.drain()
        with pytest.raises(StoreFullError):
            uploads.check()
    assert len(begun) == 1
    assert reported == []
