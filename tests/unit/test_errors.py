"""Errors are three lines with a stable code, survive pickling, and hold no surprise in numbers or words."""

from __future__ import annotations

import pickle
import signal

import pytest

from holdfast import errors
from holdfast.cli.exits import EXIT_CODES

CODES = {
    "error": 1, "usage": 2, "config-invalid": 2, "snapshot-ambiguous": 2, "source-missing": 2, "target-not-empty": 2,
    "target-inside-vault": 2, "missing": 5, "vault-missing": 5, "snapshot-missing": 5, "path-missing": 5, "access": 6,
    "class-forgotten": 5, "home-replaced": 7, "not-compared": 1, "references-mismatch": 4,
    "key-wrong": 6, "not-permitted": 6, "held": 6, "pinned": 6, "retention": 6, "store": 7, "store-unreachable": 7,
    "store-full": 7, "store-refused": 7, "damage": 4, "object-missing": 4, "vault-exists": 2, "version": 1,
    "limit": 1, "volume-snapshot": 1, "volume-unsuitable": 1, "volume-busy": 1, "frozen-elsewhere": 1,
    "alert-missing": 5, "reply-refused": 6, "channel-failed": 1, "channel-driver-missing": 1,
    "recipient-missing": 1, "schedule-busy": 1,
    "run-lost": 1, "run-overdue": 1, "audit-unavailable": 1, "audit-damaged": 4, "approval-missing": 6,
    "breaker-open": 7, "store-capability": 7, "store-access": 7, "store-clock": 7, "store-retained": 7,
    "spool-full": 7, "medium": 1, "medium-gap": 1, "medium-damaged": 4, "receipt": 1, "drill": 1, "drill-missing": 5,
    "drill-refused": 2,
    "drill-space": 1, "isolation-missing": 1, "drill-program": 1, "evidence": 4, "report-tool": 1,
    "session-revoked": 1, "local-state": 1, "target": 1, "interrupted": 130, "internal": 1, "application": 1,
    "application-left-alone": 1,
    "application-unreachable": 1, "application-access": 6, "application-unsuitable": 1, "application-busy": 1,
    "application-changed": 1, "capture": 1, "freeze-overrun": 1, "still-frozen": 1, "watchdog": 1,
    "driver-missing": 2, "wal-conflict": 1, "wal-missing": 5, "recovery": 1, "paused": 9, "probe-unusable": 2,
    "run-missing": 5, "steering": 1, "enrolment": 6, "key-erased": 6, "key-replaced": 6, "key-rotation": 6,
    "key-service": 1, "key-share": 6, "key-slots-damaged": 4, "keyring-lost": 4, "kit-not-rehearsed": 2, "shred-refused": 6,
    "fuse-missing": 1,
    "host": 1, "host-inventory": 5, "host-program": 1, "host-refused": 2,
    "mount": 1,
    "mount-busy": 1,
    "mount-missing": 5,
    "mount-not-whole": 1,
    "rolled-back": 4,
    "partly-lost": 4,
}  # fmt: skip


def test_codes_and_exit_codes_are_what_they_always_were():
    assert {cls.code: cls.exit_code for cls in errors.error_classes()} == CODES


@pytest.mark.parametrize("cls", errors.error_classes(), ids=lambda cls: cls.code)
def test_every_error_says_what_is_safe_and_what_to_do(cls):
    error = cls("something happened")
    first, safe, following = str(error).split("\n")
    assert first == "something happened"
    assert safe.startswith("SAFE: ")
    assert following.startswith("NEXT: ")
    assert safe.endswith(".")
    assert following.endswith(".")
    assert cls.meaning.endswith(".")
    assert cls.__name__ in errors.__all__
    assert cls.exit_code in EXIT_CODES


def test_a_text_of_the_moment_replaces_the_class_s_own():
    error = errors.StoreFullError("no room", safe="all of it.", next="buy a disk.", free_bytes=3)
    assert str(error) == "no room\nSAFE: all of it.\nNEXT: buy a disk."
    assert error.facts == {"free_bytes": 3}
    assert errors.StoreFullError.safe != "all of it."


def test_an_error_survives_a_process_border():
    for error in (
        errors.ConfigError("two faults", problems=("a", "b")),
        errors.Interrupted(signal_number=signal.SIGTERM),
        errors.LimitError("too long", next="shorten it.", limit=3),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert str(copy) == str(error)
        assert type(copy) is type(error)
        assert copy.exit_code == error.exit_code
        assert copy.facts == error.facts


def test_a_signal_decides_the_exit_code():
    assert errors.Interrupted().exit_code == 130
    assert errors.Interrupted(signal_number=signal.SIGTERM).exit_code == 143


def test_the_picture_of_the_tree_is_the_tree():
    picture = errors.__doc__ or ""
    for cls in errors.error_classes():
        assert cls.__name__ in picture
