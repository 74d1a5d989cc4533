"""The watch sees what an operation that fails has done, and is not taken in by what it says."""

from __future__ import annotations

import threading

import pytest
from tests.rounds import Place

import holdfast
from holdfast.errors import StoreFullError, TargetNotEmptyError, UsageError, VaultExistsError
from holdfast.runs import vault as surface
from holdfast.stores.layers import Wrapper
from holdfast.stores.memory import MemoryStore
from holdfast.testing import claim_watch
from holdfast.testing.claim_watch import objects_in, watching
from holdfast.testing.claims import Tally

CHANGED = "nothing was changed."


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    return Place(tmp_path)


@pytest.fixture
def vault(place):
    place.source.mkdir()
    (place.source / "a").write_bytes(b"a")
    with place.create() as vault:
        place.backup(vault)
        yield vault


def test_what_is_said_truly_is_counted_as_held(vault, place):
    tally = Tally()
    target = place.target()
    target.mkdir()
    (target / "mine").write_bytes(b"mine")
    with watching(tally):
        with pytest.raises(TargetNotEmptyError):
            vault.snapshot("latest").restore(target)
        with pytest.raises(TargetNotEmptyError):
            vault.snapshot("latest").restore(to=target)
        with pytest.raises(VaultExistsError):
            place.create()
        assert vault.check().sound
    assert sum(tally.said.values()) == sum(tally.held.values()) == 3
    assert not tally.broken


def lies(monkeypatch, place, also=lambda: None):
    """Let a check change the vault, and say that it did not."""

    def check(*_given, **_named):
        (place.vault / "hold").mkdir(exist_ok=True)
        (place.vault / "hold" / "odd").write_bytes(b"odd")
        also()
        raise StoreFullError("it is full", safe=CHANGED)

    monkeypatch.setattr("holdfast.runs.check.run_check", check)


def test_what_is_not_so_is_found_out(vault, place, monkeypatch):
    lies(monkeypatch, place)
    tally = Tally()
    with watching(tally), pytest.raises(StoreFullError):
        vault.check()
    assert tally.broken == [
        f"store-full says: {CHANGED} But not so: no object of the vault was added, changed or deleted"
    ]


def test_nothing_is_watched_any_more_afterwards(vault, place, monkeypatch):
    before = surface.Vault.check
    tally = Tally()
    with watching(tally):
        assert surface.Vault.check is not before
    assert surface.Vault.check is before
    lies(monkeypatch, place)
    with pytest.raises(StoreFullError):
        vault.check()
    assert not tally.said


def test_with_others_at_the_same_time_nothing_is_judged(vault, place, monkeypatch):
    others = []

    def another():
        with place.open() as mine:
            others.append(mine.stats())

    def also():
        thread = threading.Thread(target=another)
        thread.start()
        thread.join()

    lies(monkeypatch, place, also)
    tally = Tally()
    with watching(tally), pytest.raises(StoreFullError):
        vault.check()
    assert others
    assert not tally.said


def test_what_can_be_looked_at(tmp_path, monkeypatch):
    store = MemoryStore("m")
    store.put("hold/x", b"1")
    assert objects_in(Wrapper(store)) == {"home/hold/x": b"1"}
    (tmp_path / "a").write_bytes(b"a")
    assert objects_in(tmp_path).keys() == {"home/a"}
    assert objects_in("s3://somewhere/else") is None
    assert objects_in(None) is None
    monkeypatch.setattr(claim_watch, "ENTRIES_MAX", 0)
    assert objects_in(tmp_path) is None
    with watching(Tally()), pytest.raises(UsageError):
        holdfast.Vault.create(tmp_path / "v")
