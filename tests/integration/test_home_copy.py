"""A copy of the home on a second store: kept by default, healed back from, promoted with a kill at every operation."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.classes.policy import HEALTHCARE, HOME, ClassPolicy, PolicyBook, StoreFacts
from holdfast.errors import HomeReplacedError, StoreError, UsageError, VaultMissingError
from holdfast.repository import home_copy
from holdfast.repository.credentials import KeyFile
from holdfast.runs.home_copies import promote_copy
from holdfast.runs.options import BackupOptions
from holdfast.runs.tiering import Tiers
from holdfast.stores.memory import MemoryStore
from holdfast.testing.faults import Crash, FaultStore

OPTIONS = BackupOptions(detect=False)


class Site:
    """A vault in a folder, with a second store that every class may lie on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home, self.second, self.key = root / "home", root / "second", root / "key"
        policies = {name: ClassPolicy(name, (HOME, "second"), copies=2) for name in HEALTHCARE}
        book = PolicyBook(policies, {HOME: StoreFacts(HOME), "second": StoreFacts("second")})
        self.tiers = Tiers(book, {"second": str(self.second)})
        self.source = root / "srv"
        self.source.mkdir()
        for number in range(40):
            (self.source / f"still{number}").write_bytes(b"%d\n" % number * 20_000)
        self.write(0)

    def write(self, version: int) -> None:
        (self.source / "record").write_bytes(b"%d of a patient\n" % version * 5000)

    def create(self) -> holdfast.Vault:
        return holdfast.Vault.create(self.home, key_file=self.key, tiers=self.tiers)

    def open(self) -> holdfast.Vault:
        return holdfast.Vault.open(self.home, key_file=self.key, tiers=self.tiers)

    def backup(self, vault: holdfast.Vault) -> holdfast.BackupResult:
        return vault.backup([self.source], label="ehr", options=OPTIONS)

    def is_whole(self, vault: holdfast.Vault, out: str) -> bool:
        vault.snapshots().latest().restore(to=self.root / out)
        name = str(self.source).lstrip("/") + "/record"
        return (self.root / out / name).read_bytes() == (self.source / "record").read_bytes()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    return Site(tmp_path)


def test_which_store_gets_the_copy(site: Site) -> None:
    assert site.tiers.copy_name == "second"
    book = site.tiers.book
    locked = PolicyBook(book.policies, {HOME: StoreFacts(HOME), "second": StoreFacts("second", lock_seconds=9)})
    assert Tiers(locked, site.tiers.urls).copy_name == "", "wrapped keys never lie under a lock"
    narrow = PolicyBook(dict(book.policies) | {"phi": ClassPolicy("phi")}, book.stores)
    assert Tiers(narrow, site.tiers.urls).copy_name == "", "a class may not lie on it"
    assert Tiers(book, site.tiers.urls, home_copy="none").copy_name == ""
    assert Tiers(narrow, site.tiers.urls, home_copy="second").copy_name == "second"


def test_a_copy_is_kept_and_nobody_takes_it_for_a_vault(site: Site) -> None:
    with site.create() as vault:
        site.backup(vault)
        listed = {
            info.name
            for info in vault._vault.store.list("")
            if not info.name.startswith(("data/", "parity/", "probe/", "twin/vault"))
        }
        copied = {str(p.relative_to(site.second)) for p in site.second.rglob("*") if p.is_file()}
        assert {home_copy.copied_name(name) for name in listed if not name.startswith("audit/")} <= copied
        assert vault.check().problems == ()
    with pytest.raises(VaultMissingError):
        holdfast.Vault.open(site.second, key_file=site.key)


@pytest.mark.parametrize("kind", ["keyring", "writer"])
def test_a_lost_keyring_or_certificate_does_not_stop_the_engine(site: Site, kind: str) -> None:
    with site.create() as vault:
        site.backup(vault)
    shutil.rmtree(site.home / kind)
    (site.home / kind).mkdir()
    with site.open() as vault:
        assert site.is_whole(vault, "out")
        assert vault.check().problems == ()
        site.write(1)
        assert site.backup(vault).exit_code == 0


def test_what_is_lost_or_damaged_comes_back_and_what_was_deleted_does_not(site: Site) -> None:
    with site.create() as vault:
        first = site.backup(vault).snapshot
        site.write(1)
        second = site.backup(vault).snapshot
        assert first is not None
        assert second is not None
        for kind in ("snapshot", "part", "refs", "index"):
            for file in sorted((site.home / kind).rglob("*")):
                if file.is_file() and (kind != "part" or second.id in str(file)):
                    file.unlink()
        decision = next((site.home / "decision" / second.id).iterdir())
        decision.write_bytes(decision.read_bytes()[:-1] + b"x")
        for file in (site.home / "meta").rglob("*"):
            if file.is_file():
                file.unlink()
        assert vault.check().problems
        planned = vault.repair_home(dry_run=True)
        assert (planned.dry_run, planned.damaged, planned.lost > 5) == (True, 1, True)
        assert vault.check().problems
        done = vault.repair_home()
        assert isinstance(done, holdfast.HomeRepaired)
        assert (done.lost, done.damaged, done.beyond, done.exit_code) == (planned.lost, 1, 0, 0)
        assert vault.check().problems == ()
        assert vault.verify().sound
        assert site.is_whole(vault, "out")
        vault.forget(snapshots=[first.id], reason="test")
        vault.prune(undo_days=0)
        assert vault.repair_home().lost == 0
        assert [snapshot.id for snapshot in vault.snapshots()] == [second.id]
        damaged = site.home / "admission" / second.id
        for copy in (damaged, site.second / "admission" / second.id):
            copy.write_bytes(b"rubbish")
        assert vault.repair_home().exit_code == 4


def test_the_copy_is_promoted_and_the_old_home_is_refused(site: Site) -> None:
    with site.create() as vault:
        site.backup(vault)
    assert holdfast.promote_home(site.second, key_file=site.key, old=site.home) == 1
    with pytest.raises(HomeReplacedError) as caught:
        holdfast.Vault.open(site.home, key_file=site.key)
    assert caught.value.code == "home-replaced"
    with holdfast.Vault.open(site.second, key_file=site.key) as vault:
        assert vault.check().problems == ()
        assert site.is_whole(vault, "out")
        site.write(1)
        site.backup(vault)
        assert site.is_whole(vault, "out2")
    with pytest.raises(VaultMissingError):
        holdfast.promote_home(site.home, key_file=site.key)


def test_an_old_home_that_was_not_told_is_refused_where_the_new_one_is_known(site: Site) -> None:
    with site.create() as vault:
        site.backup(vault)
    holdfast.promote_home(site.second, key_file=site.key)
    with pytest.raises(HomeReplacedError):
        site.open()


def test_a_kill_at_every_operation_of_a_promotion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one home at every moment: the old one until the epoch is written, then the new one, once it is complete."""
    from holdfast.repository.repository import Repository

    env = ManualClock().environment()
    key = KeyFile.new(env)
    home, start = MemoryStore(), MemoryStore()
    made = Repository.create(home, env, secrets=[key])
    home_copy.copy_home(made.home, start)
    for after in (False, True):
        for k in range(200):
            copy = MemoryStore()
            copy.objects.update(start.objects)
            faulty = FaultStore(copy, fail_at=k, after=after)
            try:
                promote_copy(faulty, key, env)  # type: ignore[arg-type]
            except Crash:
                begun = any(name.startswith("epoch/") for name in copy.objects)
                if begun:
                    old = Repository.open(home, key, env)
                    with pytest.raises(HomeReplacedError):
                        home_copy.require_current(old.home, [copy])
                if "vault" in copy.objects:
                    assert home_copy.require_current(Repository.open(copy, key, env).home) == 1
                assert promote_copy(copy, key, env) == 1  # type: ignore[arg-type]
                assert home_copy.require_current(Repository.open(copy, key, env).home) == 1
            else:
                assert k > 3
                break


def test_a_copy_that_does_not_answer_is_an_alert_and_no_failure(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(home, copy):
        raise StoreError("the store does not answer")

    events: list[object] = []
    with site.create() as vault:
        monkeypatch.setattr(home_copy, "copy_home", refuse)
        result = vault.backup([site.source], label="ehr", options=OPTIONS, events=events.append)
        assert result.exit_code == 0
        assert [event.code for event in events if isinstance(event, holdfast.Alert)] == ["home-copy-behind"]


def test_without_a_second_store_there_is_nothing_to_repair_from(site: Site) -> None:
    with holdfast.Vault.create(site.root / "alone", key_file=site.key) as vault, pytest.raises(UsageError):
        vault.repair_home()
