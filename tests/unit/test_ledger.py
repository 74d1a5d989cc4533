"""The ledger of proofs: order, ages, a torn file, packs that are gone."""

from __future__ import annotations

from datetime import timedelta

from holdfast.base.environment import ManualClock
from holdfast.runs.ledger import Ledger


def test_order_and_ages(tmp_path):
    clock = ManualClock()
    ledger = Ledger.load(tmp_path / "ledger")
    ledger.note(["b"], clock.now())
    clock.advance(timedelta(days=2))
    ledger.note(["a"], clock.now())
    clock.advance(timedelta(days=1))
    assert ledger.order(["a", "b", "c"]) == ["c", "b", "a"]
    assert ledger.age_days("b", clock.now()) == 3
    assert ledger.age_days("c", clock.now()) is None
    assert ledger.oldest_days(["a", "b"], clock.now()) == 3
    assert ledger.oldest_days(["a", "b", "c"], clock.now()) is None
    assert ledger.oldest_days([], clock.now()) is None


def test_comes_back_as_it_was_saved_without_what_is_gone(tmp_path):
    clock = ManualClock()
    path = tmp_path / "ledger"
    ledger = Ledger.load(path)
    ledger.note(["a", "b", "c"], clock.now())
    ledger.forget(["c", "never"])
    ledger.save(["a", "c", "d"])
    assert Ledger.load(path).proved == {"a": int(clock.now().timestamp())}
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_torn_or_foreign_file_is_no_proof(tmp_path):
    path = tmp_path / "ledger"
    path.write_text("something else\na 5\n")
    assert Ledger.load(path).proved == {}
    path.write_text("holdfast-ledger-1\na 5\nb five\nc\n")
    assert Ledger.load(path).proved == {"a": 5}
    path.write_text("")
    assert Ledger.load(path).proved == {}


def test_the_record_of_a_proof_is_kept_until_its_pack_is_damaged_or_gone(tmp_path):
    clock = ManualClock()
    path = tmp_path / "ledger"
    ledger = Ledger.load(path)
    ledger.note(["a", "b", "c"], clock.now())
    ledger.records |= {"a": "0a", "b": "0b"}
    ledger.forget(["b"])
    ledger.save(["a", "b", "c"])
    found = Ledger.load(path)
    assert found.records == {"a": "0a"}
    assert set(found.proved) == {"a", "c"}
