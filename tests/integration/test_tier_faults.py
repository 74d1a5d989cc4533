"""Faults at every storage operation, over all stores: nothing lies where it may not, at any moment; every snapshot restores.

Each store's operations are counted in one sequence; the k-th fails, as a crash or as a store that does not answer, before or
after it took effect. HOLDFAST_TIER_STEPS=1 tries every operation instead of every third.
"""

from __future__ import annotations

import os
import random
import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from tests.tiered import OTHERS, Tiered, book

import holdfast
from holdfast.classes.policy import HOME, ClassPolicy, Move
from holdfast.errors import HoldfastError, StoreUnreachableError
from holdfast.repository.placed import class_of
from holdfast.stores.layers import Wrapper
from holdfast.testing.faults import Crash

STEP = int(os.environ.get("HOLDFAST_TIER_STEPS", "3"))
SEED = int(os.environ.get("HOLDFAST_SEED", "1"))
OPERATIONS_MAX = 400


class Sequence:
    """The operations of all stores together; the one numbered `fail_at` fails. Watches where packs go."""

    def __init__(self, site: Tiered, fail_at: int, *, crash: bool, after: bool) -> None:
        self.site = site
        self.fail_at = fail_at
        self.crash = crash
        self.after = after
        self.count = 0

    def around(self, store: str, name: str, action):
        now = self.count
        self.count += 1
        if now == self.fail_at and not self.after:
            self.fail(store)
        result = action()
        self.watch(store, name)
        if now == self.fail_at:
            self.fail(store)
        return result

    def fail(self, store: str) -> None:
        if self.crash:
            raise Crash
        self.site.down.add(store)
        raise StoreUnreachableError(f"store {store} does not answer (a test's fault)")

    def watch(self, store: str, name: str) -> None:
        """The invariant, at the moment at which it could break."""
        data = self.site.bare[store].objects.get(name)
        if name.startswith("data/") and data is not None:
            assert store in self.site.rules.allowed(class_of(data))


class Counted(Wrapper):
    """One store of the sequence."""

    def __init__(self, inner, name: str, sequence: Sequence) -> None:
        super().__init__(inner)
        self.name = name
        self.sequence = sequence

    def _do(self, name, action):
        return self.sequence.around(self.name, name, action)

    def put(self, name, data):
        self._do(name, lambda: self.inner.put(name, data))

    def put_new(self, name, data):
        return self._do(name, lambda: self.inner.put_new(name, data))

    def delete(self, name):
        self._do(name, lambda: self.inner.delete(name))


def watch(site: Tiered, vault: holdfast.Vault, sequence: Sequence) -> None:
    """Let the sequence stand between the vault and each of its stores but the home, whose faults other tests cover."""
    for name in OTHERS:
        site.wrap(vault, name, site._failing(name, Counted(site.bare[name], name, sequence)))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tiered:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    made = Tiered(tmp_path)
    made.fill(files=2)
    return made


def remember(site: Tiered) -> tuple[dict[str, dict[str, bytes]], Path]:
    """Keep the stores and the local state, to begin each attempt alike."""
    kept = site.root / "state-kept"
    shutil.copytree(site.root / "state", kept)
    return {name: dict(bare.objects) for name, bare in site.bare.items()}, kept


def put_back(site: Tiered, kept: tuple[dict[str, dict[str, bytes]], Path]) -> None:
    for name, objects in kept[0].items():
        site.bare[name].objects.clear()
        site.bare[name].objects.update(objects)
    shutil.rmtree(site.root / "state")
    shutil.copytree(kept[1], site.root / "state")
    site.down.clear()


@pytest.mark.parametrize(("crash", "after"), [(True, False), (True, True), (False, False)])
def test_a_migration_that_dies_anywhere_loses_nothing(site: Tiered, *, crash: bool, after: bool) -> None:
    with site.create() as vault:
        site.backup(vault)
        first = site.content()
        site.write("imaging", "f0", version=1)
        site.pass_days(1)
        site.backup(vault)
        snapshots = [snapshot.id for snapshot in vault.snapshots()]
    site.pass_days(100)
    kept = remember(site)
    fail_at, finished = 0, False
    while not finished:
        assert fail_at < OPERATIONS_MAX
        put_back(site, kept)
        sequence = Sequence(site, fail_at, crash=crash, after=after)
        with site.open() as vault:
            watch(site, vault, sequence)
            with suppress(Crash, HoldfastError):
                vault.migrate()
            finished = sequence.count <= fail_at
        site.nothing_misplaced()
        site.down.clear()
        with site.open() as vault:
            assert site.restored(vault, snapshots[0]) == first
            assert site.restored(vault, snapshots[1]) == site.content()
            assert vault.migrate().exit_code == 0
            assert not vault.migrate_plan().steps
            assert site.by_class()["imaging"] == {"cold"}
            assert site.by_class()["phi"] == {"cold", "second"}
            assert vault.check().problems == ()
        fail_at += STEP
    assert fail_at > STEP


@pytest.mark.parametrize(("crash", "after"), [(True, False), (True, True), (False, False), (False, True)])
def test_a_backup_that_meets_a_fault_anywhere_keeps_to_the_policy(site: Tiered, *, crash: bool, after: bool) -> None:
    with site.create() as vault:
        site.backup(vault)
        first = site.content()
        (snapshot,) = [row.id for row in vault.snapshots()]
    for folder in ("phi", "imaging", "database", "public"):
        site.write(folder, "new")
    kept = remember(site)
    fail_at, finished = 0, False
    while not finished:
        assert fail_at < OPERATIONS_MAX
        put_back(site, kept)
        sequence = Sequence(site, fail_at, crash=crash, after=after)
        with site.open() as vault:
            watch(site, vault, sequence)
            result = None
            with suppress(Crash, HoldfastError):
                result = site.backup(vault)
            finished = sequence.count <= fail_at
            if not crash:
                # An outage of one store stops nothing: it is committed, and says so if it is not where it belongs.
                assert result is not None
                assert result.exit_code == (0 if finished or not vault.pending().packs else 3)
        site.nothing_misplaced()
        site.down.clear()
        site.pass_days(1)
        with site.open() as vault:
            assert site.restored(vault, snapshot) == first
            assert site.backup(vault).exit_code == 0
            assert site.restored(vault) == site.content()
            assert vault.check().problems == ()
        fail_at += 1
    assert fail_at > 1


def random_rules(dice: random.Random) -> dict[str, ClassPolicy]:
    """Return policies that are drawn: one or two stores first, others later, with and without a spool."""
    stores = [HOME, *OTHERS]
    return {
        name: ClassPolicy(
            name,
            stores=tuple(dice.sample(stores, dice.randint(1, 3))),
            copies=dice.randint(1, 2),
            moves=(Move(dice.choice([1, 40]) * 86400, tuple(dice.sample(stores, dice.randint(1, 2)))),),
            spool=dice.random() < 0.8,
        )
        for name in ("phi", "imaging", "database", "public")
    }


@pytest.mark.parametrize("seed", range(SEED, SEED + 12))
def test_whatever_the_policies_and_the_faults_nothing_is_misplaced(site: Tiered, seed: int) -> None:
    """Backups, migrations, prunes and repairs under drawn policies and drawn outages."""
    dice = random.Random(seed)
    site.rules = book(None, **random_rules(dice))
    site.tiers = holdfast.Tiers(site.rules, site.tiers.urls)
    good: dict[str, dict[str, bytes]] = {}
    with site.create() as vault:
        sequence = Sequence(site, -1, crash=False, after=False)
        watch(site, vault, sequence)
        for step in range(8):
            site.down.clear()
            site.down.update(name for name in OTHERS if dice.random() < 0.3)
            site.pass_days(dice.choice([0.01, 1, 50]))
            site.write(dice.choice(["phi", "imaging", "database", "public"]), f"f{dice.randint(0, 3)}", version=step)
            try:
                made = site.backup(vault).snapshot
                if made is not None:
                    good[made.id] = site.content()
                if dice.random() < 0.5:
                    vault.migrate(budget_bytes=dice.choice([None, 10_000]))
                if dice.random() < 0.3 and len(good) > 2:
                    oldest = next(iter(good))
                    vault.forget(snapshots=[oldest], reason="test")
                    del good[oldest]
                    vault.prune(undo_days=0, repack_below=0.9)
                if dice.random() < 0.3:
                    vault.repair_copies()
            except HoldfastError:
                pass
            site.nothing_misplaced()
        site.down.clear()
        site.pass_days(1)
        vault.migrate()
        site.nothing_misplaced()
        assert not vault.pending().spooled_packs
        for snapshot, content in good.items():
            assert site.restored(vault, snapshot) == content
        assert vault.check().problems == ()
