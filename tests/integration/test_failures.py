"""The catalogue of failures keeps its word: each failure of a store is injected into real runs, with its expected end."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.errors import HoldfastError
from holdfast.runs import assembly
from holdfast.stores.assembly import locate
from holdfast.testing import failures
from holdfast.testing.failures import FAILURES, PHASES, failing_store

FINDINGS = {"vanished", "changed", "unreadable", "stream-failed"}
ALERTS = {"freeze-deadline", "audit-not-anchored"}
STORE_FAILURES = [failure for failure in FAILURES if failure.inject.startswith("store:")]


def test_names_are_unique_and_every_phase_has_failures():
    names = [failure.name for failure in FAILURES]
    assert len(set(names)) == len(names)
    assert {failure.phase for failure in FAILURES} == set(PHASES)
    assert all(failures.of_phase(phase) for phase in PHASES)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: failure.name)
def test_what_a_person_must_do_has_a_code_that_exists(failure):
    assert failure.code in failures.codes() | FINDINGS | ALERTS | {""}
    assert failure.code or not failure.escalates
    assert failure.per_thousand_runs > 0


def test_at_least_nineteen_of_twenty_failures_need_nobody():
    assert failures.unrecovered() <= 0.05


def test_only_a_store_s_failure_can_be_injected_into_one():
    with pytest.raises(ValueError, match="host"):
        failing_store(failures.of_phase("host")[0], locate("memory:x"))


def attempt(failure, place, monkeypatch):
    """Do what the phase does, on a vault whose store fails as it should; return the error, the store, and the clock."""
    place.source.mkdir()
    (place.source / "a.hl7").write_bytes(b"MSH|" * 500)
    clock = ManualClock()
    with place.create() as vault:
        place.backup(vault)
    struck = []

    def broken(url, **how):
        struck.append(failing_store(failure, locate(url, **how)))
        return struck[-1]

    def act():
        with holdfast.Vault.open(place.vault, key_file=place.key, env=clock.environment()) as vault:
            (place.source / "b.hl7").write_bytes(b"PID|" * 700)
            match failure.phase:
                case "restore":
                    assert vault.snapshot().restore(place.target()).exit_code == 0
                case "prune":
                    vault.forget(snapshots=[vault.snapshot().id])
                    vault.prune(undo_days=0)
                case _:
                    assert place.backup(vault).exit_code == 0

    with monkeypatch.context() as patch:
        patch.setattr(assembly, "locate", broken)
        if failure.phase == "restore":  # through the store, not through the folder's files
            patch.setattr(failures.FailingStore, "local_root", None)
        try:
            act()
        except HoldfastError as error:
            return error, struck[-1], clock, act
    return None, struck[-1], clock, act


@pytest.mark.parametrize("failure", STORE_FAILURES, ids=lambda failure: failure.name)
def test_an_injected_failure_ends_as_the_catalogue_says(failure, place, monkeypatch):
    error, store, clock, act = attempt(failure, place, monkeypatch)
    assert store.struck > 0, "nothing was injected: the test proves nothing"
    if failure.recovery == "retry":
        assert error is None
        assert clock.slept, "it was recovered without a retry"
    else:
        assert error is not None
        assert error.code == failure.code
        if failure.recovery == "rerun":
            act()
    with place.open() as vault:
        assert vault.check().sound
