"""Making parity and healing by it, on a store in memory: what is damaged is used for nothing, and no failure stops a backup."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest

from holdfast.errors import DamageError, HoldfastError, InternalError, StoreRefusedError, StoreUnreachableError
from holdfast.repository.engine_port import parity_engine
from holdfast.repository.names import pack as pack_name
from holdfast.repository.parity import stream as stream_module
from holdfast.repository.parity.frame import DATA, Group, Member, Stored, parity_name
from holdfast.repository.parity.plan import PackFact, ParityPlan, Target, plan_parity
from holdfast.repository.parity.shelf import Shelf
from holdfast.repository.parity.stream import ParityStream
from holdfast.repository.parity.work import apply_plan, heal
from holdfast.stores.layers import HookedStore
from holdfast.stores.memory import MemoryStore

VAULT = bytes(range(16))


class Vault:
    """As much of a repository as parity needs."""

    def __init__(self) -> None:
        self.vault_id = VAULT
        self.bare = MemoryStore()
        self.failing: dict[tuple[str, str], HoldfastError] = {}
        self.store = HookedStore(self.bare, self._before)
        self.is_root = True
        self.packs: dict[str, PackFact] = {}

    def _before(self, verb: str, name: str) -> None:
        for (which, prefix), error in self.failing.items():
            if which == verb and name.startswith(prefix):
                raise error

    def put(self, seed: int, size: int = 3000) -> tuple[str, bytes]:
        data = bytearray(random.Random(seed).randbytes(size))
        data[28:30] = b"\x01\x00"
        name = hashlib.sha256(data).hexdigest()
        self.bare.objects[pack_name(name, DATA)] = bytes(data)
        self.packs[name] = PackFact(1, DATA, size)
        return name, bytes(data)

    def flip(self, name: str) -> None:
        data = bytearray(self.bare.objects[name])
        data[-1] ^= 1
        self.bare.objects[name] = bytes(data)


@pytest.fixture
def vault() -> Vault:
    return Vault()


@pytest.fixture
def shelf(vault: Vault, tmp_path: Path) -> Shelf:
    return Shelf(vault, tmp_path)  # type: ignore[arg-type]


def made(vault: Vault, shelf: Shelf, dead: frozenset[str] = frozenset()) -> ParityPlan:
    plan = plan_parity(shelf.groups()[0], {n: f for n, f in vault.packs.items() if n not in dead}, dead, shelf.wanted)
    apply_plan(plan, shelf, parity_engine())
    return plan


def back(vault: Vault, shelf: Shelf, bad: set[str]) -> dict[str, bytes]:
    found = {}
    for healed in heal(shelf.groups()[0], dict.fromkeys(bad, DATA), shelf, parity_engine()):
        vault.bare.objects[pack_name(healed.name, DATA)] = healed.data
        found[healed.name] = healed.data
    return found


def test_a_group_that_loses_members_is_made_by_subtraction_or_from_those_that_stay(vault: Vault, shelf: Shelf) -> None:
    good = dict(vault.put(seed) for seed in range(12))
    made(vault, shelf)
    for dead in (frozenset(list(good)[:1]), frozenset(list(good)[:9])):
        plan = made(vault, shelf, dead)
        assert len(plan.targets) == 1
        for name in dead:
            vault.bare.objects.pop(pack_name(name, DATA), None)
        live = [name for name in good if name not in dead]
        (one,) = shelf.groups()[0]
        assert one.group.names == set(live)
        lost = set(live[: one.group.rows])
        for name in lost:
            del vault.bare.objects[pack_name(name, DATA)]
        assert back(vault, shelf, lost) == {name: good[name] for name in lost}


def test_a_pack_that_is_not_whole_is_left_out_and_keeps_its_old_rows(vault: Vault, shelf: Shelf) -> None:
    good = dict(vault.put(seed) for seed in range(3))
    made(vault, shelf)
    (old,) = shelf.groups()[0]
    bad = next(iter(good))
    vault.flip(pack_name(bad, DATA))
    more = dict(vault.put(seed) for seed in range(3, 6))
    plan = plan_parity(shelf.groups()[0], vault.packs, (), shelf.wanted)
    done = apply_plan(plan, shelf, parity_engine())
    assert done.left_out == (bad,)
    assert old in shelf.groups()[0]
    assert back(vault, shelf, {bad}) == {bad: good[bad]}
    assert made(vault, shelf).unprotected == ()
    assert all(set(one.group.names) <= good.keys() | more.keys() for one in shelf.groups()[0])


def test_nothing_whole_makes_no_group_and_a_cold_pack_is_for_later(vault: Vault, shelf: Shelf) -> None:
    name, _ = vault.put(1)
    vault.flip(pack_name(name, DATA))
    group = Group(1, DATA, 1, (Member(0, name, 3000),))
    done = apply_plan(ParityPlan((Target(group),), (), ()), shelf, parity_engine())
    assert (done.groups, done.left_out) == (0, (name,))
    vault.failing["get", "data/"] = StoreRefusedError("it lies cold")
    done = apply_plan(ParityPlan((Target(group),), (), ()), shelf, parity_engine())
    assert (done.groups, done.left_out) == (0, (name,))


def test_damaged_rows_are_passed_over_and_replaced(vault: Vault, shelf: Shelf) -> None:
    good = dict(vault.put(seed) for seed in range(6))
    made(vault, shelf)
    (one,) = shelf.groups()[0]
    first = parity_name(one.rows[0][1])
    vault.flip(first)
    lost = {next(iter(good))}
    vault.bare.objects.pop(pack_name(next(iter(lost)), DATA))
    assert back(vault, shelf, lost) == {name: good[name] for name in lost}, "by the second row"
    sound, broken = shelf.sound()
    assert [len(each.rows) for each in sound] == [1]
    assert [sha for sha, _ in broken] == [one.rows[0][1]]
    apply_plan(ParityPlan((Target(one.group),), (), ()), shelf, parity_engine())
    assert shelf.sound() == ((one,), ()), "a damaged row of the same bytes is replaced under its name"
    vault.flip(first)
    both = set(list(good)[:2])
    for name in both:
        vault.bare.objects.pop(pack_name(name, DATA))
    assert back(vault, shelf, both) == {}


def test_a_row_that_tells_of_other_bytes_heals_nothing(vault: Vault, shelf: Shelf) -> None:
    """A stolen writer's parity: well formed, and made of nothing. It withholds and cannot change."""
    name, _ = vault.put(1)
    group = Group(1, DATA, 1, (Member(3, name, 3000),))
    shelf.put(group, group.header(VAULT, 0) + random.Random(9).randbytes(3000))
    del vault.bare.objects[pack_name(name, DATA)]
    assert back(vault, shelf, {name}) == {}


def test_a_store_that_refuses_a_row_for_another_reason_is_heard(vault: Vault, shelf: Shelf) -> None:
    name, data = vault.put(1)
    group = Group(1, DATA, 1, (Member(0, name, 3000),))
    whole = group.header(VAULT, 0) + data
    shelf.put(group, whole)
    vault.failing["put", "parity/"] = InternalError("broken")
    with pytest.raises(InternalError):
        shelf.put(group, whole)
    vault.failing.clear()
    vault.failing["delete", "parity/"] = StoreRefusedError("locked")
    ((_, sha),) = shelf.groups()[0][0].rows
    shelf.delete(sha)
    assert shelf.row(sha) == data, "a refused deletion is no failure"
    vault.failing.clear()
    vault.failing["get_range", "parity/"] = StoreUnreachableError("gone")
    with pytest.raises(StoreUnreachableError):
        shelf.row(sha)


def test_headers_are_read_once_and_what_is_no_header_is_named(vault: Vault, shelf: Shelf) -> None:
    vault.put(1)
    made(vault, shelf)
    (one,) = shelf.groups()[0]
    sha = one.rows[0][1]
    vault.failing["get_range", "parity/"] = StoreUnreachableError("gone")
    assert shelf.groups()[0] == (one,), "from the note of headers read before"
    vault.failing.clear()
    (shelf.folder / "headers").write_text("holdfast-parity-1\nff zz\n")
    vault.bare.objects[parity_name("0" * 64)] = b"nothing"
    groups, broken = shelf.groups()
    assert groups == (one,)
    assert [each for each, _ in broken] == ["0" * 64]
    vault.bare.objects[parity_name(sha)] += b"x"
    assert [each for each, _ in shelf.groups()[1]] == ["0" * 64, sha]
    with pytest.raises(DamageError):
        shelf.row(sha)


def test_a_row_of_another_length_than_its_header_says_is_damaged(vault: Vault, shelf: Shelf) -> None:
    name, data = vault.put(1)
    group = Group(1, DATA, 1, (Member(0, name, 3000),))
    sha = shelf.put(group, group.header(VAULT, 0) + data[:-1])
    with pytest.raises(DamageError, match="length"):
        shelf.row(sha)


# --- while packs pass ---------------------------------------------------------------------------------------------------


def run(vault: Vault, shelf: Shelf, seeds: range, size: int = 3000) -> ParityStream:
    stream = ParityStream(shelf, parity_engine())
    for seed in seeds:
        name, data = vault.put(seed, size)
        stream.add(name, DATA, memoryview(data))
    stream.finish()
    return stream


def test_runs_go_on_with_the_group_that_has_room(vault: Vault, shelf: Shelf) -> None:
    for first, last in ((0, 1), (1, 3), (3, 6), (6, 15), (15, 18)):
        assert run(vault, shelf, range(first, last)).failure is None
        assert plan_parity(shelf.groups()[0], vault.packs, (), shelf.wanted).unprotected == ()
    sizes = sorted((len(one.group.members), one.group.rows, one.complete) for one in shelf.groups()[0])
    assert sizes == [(2, 1, True), (16, 2, True)]
    good = {name: vault.bare.objects[pack_name(name, DATA)] for name in list(vault.packs)[:2]}
    for name in good:
        del vault.bare.objects[pack_name(name, DATA)]
    assert back(vault, shelf, set(good)) == good


@pytest.mark.parametrize("harm", ["row", "pack", "note", "torn note", "not ours to delete"])
def test_a_group_that_cannot_be_gone_on_with_is_left_alone(vault: Vault, shelf: Shelf, harm: str) -> None:
    run(vault, shelf, range(3))
    (before,) = shelf.groups()[0]
    if harm == "row":
        vault.flip(parity_name(before.rows[0][1]))
    elif harm == "pack":
        vault.flip(pack_name(before.group.members[0].name, DATA))
    elif harm == "note":
        (shelf.folder / "open").unlink()
    elif harm == "torn note":
        (shelf.folder / "open").write_text(json.dumps([{"class": 1}]))
    else:
        vault.is_root = False
    count = 4 if harm == "row" else 6
    run(vault, shelf, range(3, count))
    groups = shelf.groups()[0]
    assert before in groups
    assert len(groups) == 2
    largest = max(len(one.group.members) for one in groups)
    assert largest == (6 if harm == "not ours to delete" else 3)


def test_what_cannot_be_stored_is_unprotected_and_no_error(vault: Vault, shelf: Shelf) -> None:
    vault.failing["put", "parity/"] = StoreUnreachableError("gone")
    stream = run(vault, shelf, range(20))
    assert stream.unprotected == 20
    assert isinstance(stream.failure, StoreUnreachableError)
    vault.failing.clear()
    assert len(made(vault, shelf).unprotected) == 20
    assert made(vault, shelf).unprotected == ()


def test_no_more_groups_are_begun_than_the_limit(vault: Vault, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "OPEN_MAX", 1)
    stream = ParityStream(shelf, parity_engine())
    for seed, size in ((1, 3000), (2, 100), (3, 3100)):
        name, data = vault.put(seed, size)
        stream.add(name, DATA, data)
    stream.finish()
    assert (stream.unprotected, stream.failure) == (1, None)


def test_a_note_that_cannot_be_written_costs_nothing(vault: Vault, shelf: Shelf) -> None:
    stream = ParityStream(shelf, parity_engine())
    name, data = vault.put(1)
    stream.add(name, DATA, data)
    (shelf.folder / "open.new").mkdir()
    (shelf.folder / "headers.new").mkdir()
    stream.finish()
    assert stream.failure is None
    assert len(shelf.groups()[0]) == 1


def test_where_none_is_wanted_nothing_is_begun(vault: Vault, tmp_path: Path) -> None:
    none = Shelf(vault, tmp_path, rows=0)  # type: ignore[arg-type]
    assert run(vault, none, range(3)).unprotected == 0
    assert none.groups() == ((), ())


def test_groups_know_their_kind() -> None:
    one = Stored(Group(1, DATA, 2, (Member(1, "00" * 32, 5),)), ((0, "x"),))
    assert not one.complete
    assert one.group.kind == (1, DATA, 1)
    assert 1 not in one.group.free
