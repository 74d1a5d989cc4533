"""The catalogue of failures keeps its word: each failure of a store is injected into real runs, with its expected end."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.errors import HoldfastError
from holdfast.stores import assembly
from holdfast.stores.assembly import locate
from holdfast.testing import failures
from holdfast.testing.failures import FAILURES, PHASES, failing_store

TESTS = Path(__file__).resolve().parents[1]
FINDINGS = {"vanished", "changed", "unreadable", "stream-failed"}
ALERTS = {"audit-not-anchored"}
SHOWN = {
    "open.mount-missing": "integration/test_refusals.py::test_a_vault_that_does_not_exist",
    "open.key-unreadable": "unit/repository/test_keys.py::test_key_files",
    "open.writer-revoked": "unit/repository/test_keys.py::test_a_revoked_writer",
    "open.newer-format": "unit/repository/test_keys.py::test_a_newer_vault",
    "open.config-broken": "unit/config/test_config.py::test_all_faults_are_reported_at_once_with_their_lines",
    "scan.source-missing": "integration/test_refusals.py::test_a_source_that_does_not_exist",
    "scan.file-vanished": "integration/test_moving.py::test_a_file_that_moves_under_the_run",
    "scan.file-changed": "integration/test_moving.py::test_a_file_that_moves_under_the_run",
    "scan.file-unreadable": "integration/test_failures_elsewhere.py"
    "::test_a_file_that_cannot_be_read_is_named_and_the_next_run_has_it",
    "freeze.application-busy": "integration/test_failures_elsewhere.py"
    "::test_an_application_that_is_busy_for_a_while_is_tried_again",
    "freeze.application-away": "integration/test_failures_elsewhere.py::test_what_ends_a_run_is_over_with_the_next_one",
    "freeze.deadline": "integration/test_failures_elsewhere.py::test_what_ends_a_run_is_over_with_the_next_one",
    "alert.channel-away": "unit/alerts/test_desk.py::test_a_channel_that_fails_is_replaced_and_is_an_alert_itself",
    "scan.permission-denied": "integration/test_runs.py::test_an_unreadable_file_makes_the_run_partial_and_is_named",
    "scan.stream-failed": "integration/test_runs.py::test_streams",
    "commit.killed-before": "integration/test_kill.py::test_a_killed_backup_loses_nothing_and_stores_nothing_twice",
    "commit.killed-after": "unit/repository/test_crash.py::test_backup",
    "commit.session-revoked": "unit/repository/test_prune.py::test_a_revoked_session_cannot_commit",
    "prune.killed": "unit/repository/test_crash.py::test_prune",
    "prune.silent-session": "unit/repository/test_prune.py::test_a_silent_session_holds_a_round_up_then_is_revoked",
    "prune.held": "unit/repository/test_sessions.py::test_holds_and_minimum_retention_forbid_forgetting",
    "verify.pack-damaged": "integration/test_runs.py::test_damage_is_found_named_never_restored_and_healed",
    "verify.pack-lost-for-good": "integration/test_damage.py::test_a_snapshot_that_is_lost_for_good_can_be_forgotten",
    "verify.index-run-lost": "integration/test_cli.py::test_a_lost_index_is_made_anew_from_the_packs",
    "restore.target-full": "integration/test_extract.py::test_an_output_that_takes_no_more_is_named_as_the_cause",
    "restore.segment-damaged": "integration/test_extract.py::test_a_damaged_pack_costs_only_what_is_in_it",
    "restore.class-without-key": "integration/test_runs.py::test_a_writer_adds_and_reads_nothing",
    "audit.torn-tail": "integration/audit/test_log.py::test_whenever_the_process_is_killed_everything_acknowledged_is_there",
    "audit.disk-full": "integration/audit/test_operations.py"
    "::test_when_the_log_cannot_be_written_nothing_is_destroyed_and_nothing_is_lost",
    "audit.tampered": "integration/audit/test_verify.py::test_a_thousand_tamperings_are_all_found",
    "audit.collector-away": "integration/audit/test_collect.py::test_what_it_missed_while_it_was_away_arrives_later",
    "audit.anchor-refused": "integration/audit/test_operations.py"
    "::test_a_home_that_takes_no_anchor_is_a_note_and_the_next_operation_tries_again",
    "host.power-lost": "simulation/test_worlds.py::test_no_world_loses_anything",
    "host.clock-jumped": "simulation/test_worlds.py::test_no_world_loses_anything",
    "host.terminated": "integration/test_cli.py::test_a_signal_keeps_the_checkpoint_and_the_next_run_goes_on",
    "host.state-lost": "integration/test_runs.py::test_a_lost_cache_costs_time_and_no_space",
    "host.catalog-broken": "unit/test_catalog.py::test_a_flipped_bit_anywhere_makes_it_stale_and_an_update_heals_it",
    "host.state-full": "integration/audit/test_operations.py::test_a_state_directory_that_cannot_be_used_stops_what_destroys",
}
"""The tests that show what becomes of a failure which is not a store's."""
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


def test_every_failure_is_shown_by_a_test():
    injected = {failure.name for failure in STORE_FAILURES}
    names = {failure.name for failure in FAILURES}
    assert names == injected | SHOWN.keys()
    assert not injected & SHOWN.keys()
    for place in SHOWN.values():
        path, _, function = place.partition("::")
        assert f"def {function}(" in (TESTS / path).read_text(), place


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
