"""Stores as one: where a pack is put, which copy is read, what is told when a store fails; ledger and spool by themselves."""

from __future__ import annotations

import sqlite3
import struct
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.base.environment import ManualClock
from holdfast.classes.policy import HEALTHCARE, ClassPolicy, PolicyBook, StoreFacts
from holdfast.classes.routing import MoveStep
from holdfast.errors import (
    ConfigError,
    DamageError,
    LocalStateError,
    ObjectMissingError,
    SpoolFullError,
    StoreError,
    StoreFullError,
    StoreUnreachableError,
)
from holdfast.repository.copies import apply_step, drain_pack, prove, replace_copy
from holdfast.repository.objects import sha256
from holdfast.repository.placed import PlacedStore, pack_name, present, sha_of
from holdfast.repository.placements import Placements
from holdfast.repository.spool import SPOOL, Spool
from holdfast.repository.stock import _class_by_header, known_facts
from holdfast.runs.copies import _scrub_copy, _within_reach
from holdfast.stores.layers import CountingStore, HookedStore
from holdfast.stores.memory import MemoryStore

PHI, IMAGING = 1, 3


def pack(class_id: int, content: bytes = b"x" * 100) -> tuple[str, bytes]:
    """Return something with a pack's header, under its name."""
    data = b"\x89HFPK\r\x1a\n" + bytes((1, 0, 1, 0)) + bytes(16) + struct.pack("<H", class_id) + content
    return pack_name(sha256(data)), data


class Site:
    def __init__(self, tmp_path: Path) -> None:
        self.clock = ManualClock()
        self.bare = {name: MemoryStore(name) for name in ("home", "a", "b")}
        self.down: set[tuple[str, str]] = set()
        policies = {name: ClassPolicy(name) for name in HEALTHCARE}
        policies["phi"] = ClassPolicy("phi", ("a", "b"), copies=2)
        policies["imaging"] = ClassPolicy("imaging", ("a",))
        self.store = PlacedStore(
            self.hooked("home"),
            {"a": self.hooked("a"), "b": self.hooked("b")},
            home_name="home",
            vault_id="ab" * 16,
            book=PolicyBook(policies, {name: StoreFacts(name) for name in self.bare}),
            placements=Placements(tmp_path / "ledger"),
            spool=Spool(MemoryStore("spool"), 1000),
            env=self.clock.environment(),
        )

    def hooked(self, name: str) -> CountingStore:
        def before(verb: str, _name: str) -> None:
            if {(name, verb), (name, "all")} & self.down:
                raise StoreUnreachableError("a test's fault")

        return CountingStore(HookedStore(self.bare[name], before))

    def pass_minutes(self, minutes: float) -> None:
        self.clock.advance(timedelta(minutes=minutes))


@pytest.fixture
def site(tmp_path: Path):
    made = Site(tmp_path)
    yield made
    made.store.close()


def test_what_is_no_data_pack_stays_on_the_home(site: Site) -> None:
    site.store.put("meta/ab/" + "ab" * 32, b"m")
    assert site.store.put_new("vault", b"v")
    assert site.store.get("vault") == b"v"
    assert [info.name for info in site.store.list("")] == ["meta/ab/" + "ab" * 32, "vault"]
    assert [info.name for info in site.store.list("meta/")] == ["meta/ab/" + "ab" * 32]
    site.store.delete("vault")
    assert site.store.size("vault") is None
    assert not site.bare["a"].objects
    assert site.store.counts().objects_put == 2
    assert (site.store.cheapest("vault"), site.store.cheapest("meta/ab/" + "ab" * 32)) == (None, "home")
    assert (site.store.local_root, site.store.roots) == (None, ())


def test_a_store_is_left_alone_for_a_while_and_then_asked_again(site: Site) -> None:
    first, second, third = (pack(IMAGING, bytes([n]) * 50) for n in range(3))
    site.down.add(("a", "all"))
    site.store.put(*first)
    site.down.clear()
    site.store.put(*second)
    assert site.store.spool.size(second[0]) is not None
    (outage,) = site.store.outages()
    assert (outage.store, outage.packs) == ("a", 2)
    assert "2 went elsewhere" in site.store.alerts()[0].text
    site.pass_minutes(2)
    site.store.put(*third)
    assert third[0] in site.bare["a"].objects
    for name, data in (first, second, third):
        assert site.store.get(name) == data
        assert site.store.get_range(name, 2, 5) == data[2:7]
    facts = known_facts(site.store)
    assert [fact.spooled for fact in facts] == [True, True, False]
    assert [drain_pack(site.store, fact) for fact in facts] == [1, 1, 0]
    assert not site.store.spool.listed()


def test_a_drain_leaves_a_store_that_is_still_down(site: Site) -> None:
    name, data = pack(PHI)
    site.down.update({("a", "all"), ("b", "all")})
    site.store.put(name, data)
    (fact,) = known_facts(site.store)
    assert drain_pack(site.store, fact) == 0
    site.pass_minutes(2)
    assert drain_pack(site.store, fact) == 0
    site.down.clear()
    site.pass_minutes(2)
    assert drain_pack(site.store, fact) == 2


def test_a_pack_with_one_copy_is_read_in_ranges_from_wherever_it_is(site: Site) -> None:
    name, data = pack(IMAGING)
    site.store.put(name, data)
    assert site.store.get_range(name, 1, 3) == data[1:4]
    site.bare["home"].objects[name] = site.bare["a"].objects.pop(name)
    assert site.store.get_range(name, 1, 3) == data[1:4]
    assert site.store.size(name) == len(data)
    assert site.store.cheapest(name) == "a"
    site.store.placements.drop_copy(sha_of(name), "a")
    assert site.store.cheapest(name) == "home"
    del site.bare["home"].objects[name]
    for call in (lambda: site.store.get(name), lambda: site.store.get_range(name, 0, 1)):
        with pytest.raises(ObjectMissingError):
            call()
    assert site.store.size(name) is None
    assert site.store.cheapest(name) is None


def test_a_store_that_does_not_answer_may_have_it(site: Site) -> None:
    name, data = pack(IMAGING)
    site.store.put(name, data)
    site.down.add(("a", "all"))
    for call in (site.store.get, site.store.size, lambda n: site.store.get_range(n, 0, 1)):
        with pytest.raises(StoreUnreachableError):
            call(name)
        site.pass_minutes(2)
    with pytest.raises(StoreUnreachableError):
        site.store.get_range(name, 0, 1)
    with pytest.raises(StoreUnreachableError, match="a does not answer, and may hold"):
        site.store.get_range(name, 0, 1)
    with pytest.raises(StoreUnreachableError):
        site.store.list("data/")
    assert site.store.present({sha_of(name), "00" * 32}) == {sha_of(name)}
    assert site.store.relied == 1
    site.store.forget_outages()
    assert site.store.relied == 0
    assert present(site.bare["a"], set()) is None


def test_packs_of_either_kind_are_present(site: Site) -> None:
    name, data = pack(IMAGING)
    site.store.put(name, data)
    site.store.put("meta/ab/" + "ab" * 32, b"m")
    assert site.store.present({sha_of(name), "ab" * 32, "cd" * 32}) == {sha_of(name), "ab" * 32}


def test_a_bad_copy_is_noted_and_the_next_is_taken(site: Site) -> None:
    name, data = pack(PHI)
    site.store.put(name, data)
    site.bare["a"].objects[name] = b"rot" + data[3:]
    assert site.store.get_range(name, 0, 3) == data[:3]
    assert [copy.store for copy in site.store.placements.copies(sha_of(name)) if copy.bad] == ["a"]
    site.bare["b"].objects[name] = b"rot" + data[3:]
    site.store._sound.clear()
    assert site.store.get(name) != data
    with pytest.raises(DamageError, match="no copy"):
        site.store.sound_copy(name)
    site.down.add(("b", "all"))
    with pytest.raises(StoreUnreachableError):
        site.store.get(name)


def test_a_delete_reaches_every_store_before_it_fails(site: Site) -> None:
    name, data = pack(PHI)
    site.store.put(name, data)
    site.down.add(("a", "delete"))
    with pytest.raises(StoreUnreachableError):
        site.store.delete(name)
    assert name not in site.bare["b"].objects
    assert site.store.placements.row(sha_of(name)) is not None
    site.down.clear()
    site.store.delete(name)
    assert site.store.placements.row(sha_of(name)) is None


def test_a_copy_that_is_not_kept_as_it_was_put_is_an_error(site: Site) -> None:
    name, data = pack(PHI)

    def rot(verb: str, _name: str) -> None:
        if verb == "put" and _name == name:
            site.bare["a"].objects[name] = b"rot" + data[3:]

    site.store.stores["a"] = CountingStore(HookedStore(site.bare["a"], None, rot))
    with pytest.raises(StoreUnreachableError, match="did not keep"):
        replace_copy(site.store, "a", name, data)
    assert prove(site.store, "b", name, len(data)) is False


def test_nothing_is_deleted_when_no_copy_that_stays_is_whole(site: Site) -> None:
    name, data = pack(PHI)
    site.store.put(name, data)
    site.bare["b"].objects[name] = b"rot"
    step = MoveStep(sha_of(name), "phi", len(data), (), ("a",), "a test", 2)
    assert apply_step(site.store, step, frozenset({"b"})).deleted == 0
    assert site.bare["a"].objects[name] == data


def test_a_step_s_failure_is_noted_with_its_store(site: Site) -> None:
    name, data = pack(PHI)
    site.store.put(name, data)
    del site.bare["b"].objects[name]
    site.down.add(("b", "put"))
    with pytest.raises(StoreError):
        apply_step(site.store, MoveStep(sha_of(name), "phi", len(data), ("b",), (), "a test", 1), frozenset({"a"}))
    assert site.store.is_down("b")


def test_a_store_of_another_vault_is_refused(site: Site) -> None:
    name, data = pack(IMAGING)
    assert site.store.inventory()["a"] == ()
    site.bare["a"].objects["member/" + "cd" * 16] = b""
    for call in (lambda: site.store.put(name, data), lambda: site.store.delete(name), lambda: site.store.list("data/")):
        with pytest.raises(ConfigError, match="store a holds packs of another vault"):
            call()
    del site.bare["a"].objects["member/" + "cd" * 16]
    site.bare["a"].objects[name] = data
    with pytest.raises(ConfigError):
        site.store.put(name, data)
    del site.bare["a"].objects[name]
    site.store.put(name, data)
    assert set(site.bare["a"].objects) == {name, "member/" + "ab" * 16}


def test_without_a_spool_the_outage_is_the_error(site: Site) -> None:
    name, data = pack(7)
    book = site.store.book
    policies = dict(book.policies) | {"public": ClassPolicy("public", ("a",), spool=False)}
    site.store.book = PolicyBook(policies, book.stores)
    site.down.add(("a", "all"))
    with pytest.raises(StoreUnreachableError, match="a test's fault"):
        site.store.put(name, data)
    site.store.book = PolicyBook(policies, {"home": StoreFacts("home")})
    with pytest.raises(StoreUnreachableError, match="no store is named"):
        site.store.put(name, data)


def test_a_class_is_read_from_a_header_or_not_at_all(site: Site) -> None:
    name, data = pack(IMAGING)
    site.bare["a"].objects[name] = data
    site.bare["home"].objects[name] = b"short"
    assert _class_by_header(site.store, sha_of(name), ["b", "home", "a"]) == "imaging"
    assert _class_by_header(site.store, sha_of(name), ["b", "home"]) is None


# --- the spool --------------------------------------------------------------------------------------------------------


def test_a_spool_is_bounded_and_takes_a_pack_once(site: Site) -> None:
    spool = site.store.spool
    assert spool.listed() == ()
    spool.delete("data/ab/x")
    name, data = pack(PHI, b"y" * 900)
    spool.put(name, data)
    spool.put(name, data)
    assert [info.size for info in spool.listed()] == [len(data)]
    with pytest.raises(SpoolFullError, match="limit of 1 kB"):
        spool.put(*pack(PHI, b"z" * 100))
    assert isinstance(SpoolFullError("x"), StoreFullError)
    assert spool.get_range(name, 0, 5) == data[:5]
    spool.delete(name)
    assert spool.size(name) is None


# --- the ledger -------------------------------------------------------------------------------------------------------


def test_the_ledger_keeps_the_earliest_time_and_the_last_word(tmp_path: Path) -> None:
    ledger = Placements(tmp_path / "ledger")
    assert ledger.fresh
    ledger.note_pack("p", "phi", 10, None)
    ledger.note_pack("p", "phi", 10, 200.0)
    ledger.note_pack("p", "phi", 10, 100.0)
    ledger.note_pack("p", "phi", 10, None)
    ledger.note_copy("p", "a", verified_at=5.0)
    ledger.note_bad("p", "a")
    ledger.note_bad("p", "b")
    ledger.note_copy("p", "b")
    ledger.note_restored(["p", "unknown"], 300.0)
    ledger.note_waiting("p", waits=True)
    row = ledger.row("p")
    assert row is not None
    assert (row.stored_at, row.restored_at, row.waits, row.sound_on) == (100.0, 300.0, True, {"b"})
    assert [(copy.store, copy.bad, copy.verified_at) for copy in row.copies] == [("a", True, 5.0), ("b", False, None)]
    ledger.close()
    ledger = Placements(tmp_path / "ledger")
    assert not ledger.fresh
    assert ledger.rows() == (row,)
    ledger.adopt({"p": {"b": 10, "c": 10}}, ["a", "b", "c"])
    assert {copy.store: copy.bad for copy in ledger.copies("p")} == {"a": True, "b": False, "c": False}
    ledger.adopt({"p": {"c": 10}}, ["b"])
    assert {copy.store: copy.bad for copy in ledger.copies("p")} == {"a": True, "b": True, "c": False}
    ledger.note_pack("q", "phi", 1, 1.0)
    assert [each.name for each in ledger.rows()] == ["p", "q"]
    ledger.adopt({"q": {}}, ["a", "b", "c"])
    assert [each.name for each in ledger.rows()] == ["q"]
    ledger.drop_pack("q")
    assert ledger.rows() == ()
    ledger.close()


def test_a_ledger_that_is_none_is_made_anew_and_one_that_cannot_be_used_is_said(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(b"no database" * 1000)
    ledger = Placements(path)
    assert ledger.fresh
    ledger.close()
    with sqlite3.connect(path) as rows:
        rows.execute("PRAGMA user_version = 99")
    rows.close()
    ledger = Placements(path)
    ledger.note_copy("p", "a")
    ledger._rows.execute("DROP TABLE copies")
    with pytest.raises(LocalStateError, match="placement ledger"):
        ledger.note_copy("p", "a")
    with pytest.raises(LocalStateError):
        ledger.rows()
    ledger.close()
    with pytest.raises(LocalStateError):
        Placements(tmp_path / "nowhere" / "ledger")
    (tmp_path / "folder").mkdir()
    with pytest.raises(LocalStateError):
        Placements(tmp_path / "folder")


def test_a_spooled_pack_is_read_from_the_spool_first(site: Site) -> None:
    name, data = pack(PHI)
    site.down.update({("a", "all"), ("b", "all")})
    site.store.put(name, data)
    assert site.store.cheapest(name) == SPOOL
    assert site.store.get(name) == data
    assert site.store.size(name) == len(data)
    assert sha_of(name) in site.store.take_read()
    assert not site.store.take_read()


def test_a_scrub_does_not_wait_for_a_store_that_fails(site: Site) -> None:
    name, data = pack(PHI)
    site.store.put(name, data)
    site.down.add(("a", "get_range"))
    assert _scrub_copy(site.store, "a", sha_of(name), len(data)) is None
    assert site.store.is_down("a")
    assert _scrub_copy(site.store, "b", sha_of(name), len(data)) is True


def test_a_copy_that_a_cold_store_lost_is_missing_not_cold(site: Site) -> None:
    name, data = pack(PHI)
    cold = MemoryStore("cold", site.clock.environment(), "cold")
    site.store.stores["b"] = CountingStore(cold)
    site.store.put(name, data)
    assert _scrub_copy(site.store, "b", sha_of(name), len(data)) is None
    assert prove(site.store, "b", name, len(data)) is True
    assert prove(site.store, "b", name, 1) is False
    site.store.placements.note_copy(sha_of(name), "b")
    site.store.placements.drop_copy(sha_of(name), "a")
    assert _within_reach(site.store, sha_of(name), {"b"}) is False
    del cold.objects[name]
    assert _within_reach(site.store, sha_of(name), {"b"}) is True
    assert _scrub_copy(site.store, "b", sha_of(name), len(data)) is False
