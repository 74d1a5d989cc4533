"""Roles: what each may read and say. What its credential lacks no program makes up for: forged objects count for nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.base.environment import Environment, ManualClock
from holdfast.errors import AccessError, NotPermittedError, UsageError, WrongKeyError
from holdfast.repository import forget, prune, writers
from holdfast.repository.bodies import (
    COMMIT,
    REVOKED,
    AdmissionBody,
    CondemnBody,
    CountersignBody,
    DamagedBody,
    DecisionBody,
    ForgottenBody,
    HoldBody,
)
from holdfast.repository.check import check
from holdfast.repository.countersign import countersign, read_countersign
from holdfast.repository.credentials import KeyFile, RoleCredential
from holdfast.repository.decisions import is_forgotten
from holdfast.repository.holds import read_hold
from holdfast.repository.listing import read_admissions, read_envelopes
from holdfast.repository.prune import PruneOptions
from holdfast.repository.repository import Repository
from holdfast.repository.roles import ISSUED, PRUNE, VOUCH
from holdfast.repository.rounds import read_damaged, read_rounds, write_damaged
from holdfast.repository.wraps import newest_word, read_wraps
from holdfast.stores.memory import MemoryStore
from holdfast.testing.fake_engine import FakeEngine
from holdfast.testing.hosts import FakeHost, at_its_word

SOURCE = "ab" * 16


@dataclass
class World:
    """A vault with two snapshots of a host, and a credential of each role."""

    store: MemoryStore
    root: Repository
    snapshots: list[str]
    held: dict[str, RoleCredential]
    folder: Path
    env: Environment
    envelope: bytes

    def opened(self, role: str) -> Repository:
        return Repository.open(self.store, self.held[role], self.env)


@pytest.fixture
def world(repository: Repository, store: MemoryStore, env: Environment, tmp_path: Path) -> World:
    held = {role: writers.issue(repository, role, f"the {role}") for role in ISSUED}
    host = FakeHost(Repository.open(store, held["writer"], env), tmp_path / "host", SOURCE)
    made = [host.backup({"a": number}).id for number in range(2)]
    forget.admit(repository)
    # What a pruner relies on: a verifier compared every reference set with its tree.
    at_its_word(Repository.open(store, held["verifier"], env), read_envelopes(repository.home).committed)
    return World(store, repository, made, held, tmp_path, env, repository.new_run_key(1).envelope)


def backup(world: World, opened: Repository) -> object:
    return FakeHost(opened, world.folder / opened.role, "cd" * 16).backup({"x": 1})


def read_part(world: World, opened: Repository) -> object:
    return opened.part(next(s for s in opened.snapshots() if s.id == world.snapshots[0]), 1)


ACTS: dict[str, tuple[Callable[[World, Repository], object], set[str]]] = {
    "list snapshots": (lambda _, opened: opened.snapshots(), {*ISSUED}),
    "check": (lambda _, opened: check(opened), {*ISSUED}),
    "list keys": (lambda _, opened: read_wraps(opened.home), {*ISSUED}),
    "back up": (backup, {"writer"}),
    "read names": (read_part, {"restorer", "verifier"}),
    "open content": (lambda world, opened: opened.open_envelope(1, 0, world.envelope), {"restorer", "verifier"}),
    "read the index": (lambda _, opened: opened.secrets(1), {"writer", "restorer", "verifier", "pruner"}),
    "forget": (lambda world, opened: forget.forget(opened, world.snapshots[0], reason="x"), {"pruner"}),
    "prune": (lambda _, opened: prune.prune(opened, PruneOptions(), FakeEngine()), {"pruner"}),
    "vouch": (lambda _, opened: opened.signer(VOUCH), {"verifier"}),
    "hold": (lambda _, opened: opened.root, set()),
    "add a key": (lambda world, opened: opened.add_slot(KeyFile.new(world.env)), set()),
    "issue a credential": (lambda _, opened: writers.issue(opened, "writer", "x"), set()),
    "revoke": (lambda world, opened: writers.revoke(opened, world.held["writer"].id), set()),
}


@pytest.mark.parametrize("role", ISSUED)
@pytest.mark.parametrize("act", ACTS)
def test_what_a_role_may_do(world: World, role: str, act: str) -> None:
    does, allowed = ACTS[act]
    opened = world.opened(role)
    assert opened.role == role
    if role in allowed:
        does(world, opened)
        return
    with pytest.raises(AccessError) as caught:
        does(world, opened)
    assert caught.value.exit_code == 6


def test_a_credential_holds_what_its_role_needs_and_no_more(world: World) -> None:
    fields = {role: {name for row in c.body["classes"] for name in row} for role, c in world.held.items()}  # type: ignore[attr-defined]
    common = {"id", "name", "generation"}
    assert fields["auditor"] == set()
    assert fields["pruner"] == common | {"index_key"}
    assert fields["writer"] == common | {"index_key", "dedup_key", "public"}
    assert fields["restorer"] == fields["verifier"] == common | {"index_key", "dedup_key", "public", "private"}
    # The same holds of what root leaves for each in the vault.
    for role in ISSUED:
        assert all(
            (c.private is None) == (role not in {"restorer", "verifier"}) for c in world.opened(role).generations()
        )


@pytest.mark.parametrize("role", ISSUED)
def test_a_program_that_asks_nobody_signs_what_nobody_accepts(world: World, role: str) -> None:
    """Everything is forged with the role's own signature, past every check of this library."""
    opened, home = world.opened(role), world.root.home
    mine, target = opened.identity, world.snapshots[0]
    run = next(name for name in home.listed("index")).partition("/")[2]
    home.create(f"forgotten/{target}", ForgottenBody("forged", ""), mine)
    home.create(f"admission/{'77' * 16}", AdmissionBody(world.env.now() - timedelta(days=9999)), mine)
    home.create("condemn/00000000", CondemnBody(("0" * 64,), ()), mine)
    home.create("damaged/00000000", DamagedBody(("0" * 64,)), mine)
    home.create(f"countersign/{run}", CountersignBody(run, ""), mine)
    home.append(f"hold/{target}", HoldBody(held=True, reason="forged"), mine)
    home.create(f"decision/{'55' * 16}/00000000", DecisionBody(COMMIT, "0" * 64), mine)
    prunes, vouches = role == "pruner", role == "verifier"
    assert is_forgotten(home, target) == prunes
    assert ("77" * 16 in read_admissions(home)) == prunes
    assert bool(read_rounds(home).rounds) == prunes
    assert bool(read_damaged(home)) == (prunes or vouches)
    assert (read_countersign(home, run) is not None) == vouches
    assert not read_hold(home, target).held


def test_a_credential_that_calls_itself_something_else_stays_what_it_is(world: World) -> None:
    for role in ISSUED:
        body = {**world.held[role].body, "role": "pruner"}
        opened = Repository.open(
            world.store, RoleCredential.parse(RoleCredential("", "", "", body).encode()), world.env
        )
        assert opened.role == role
        if role != "pruner":
            with pytest.raises(NotPermittedError, match="pruner"):
                opened.signer(PRUNE)


def test_a_pruner_sees_no_name_and_gives_back_the_space(world: World, key: KeyFile, clock: ManualClock) -> None:
    pruner = world.opened("pruner")
    assert all(not s.label and not s.paths for s in pruner.snapshots())
    forget.forget(pruner, world.snapshots[0], reason="retention")
    first = prune.prune(pruner, PruneOptions(), FakeEngine())
    clock.advance(timedelta(days=8))
    last = prune.prune(pruner, PruneOptions(), FakeEngine())
    assert (first.phase, last.phase) == ("waiting", "closed")
    assert last.packs_deleted > 0
    root = Repository.open(world.store, key, world.env)
    assert [s.id for s in root.snapshots()] == [world.snapshots[1]]
    assert check(root).problems == ()
    # Revoked, what it said before counts on, and nothing after.
    writers.revoke(world.root, pruner.writer_id)
    root = Repository.open(world.store, key, world.env)
    assert is_forgotten(root.home, world.snapshots[0])
    assert read_rounds(root.home).deleted
    root.home.create(f"forgotten/{world.snapshots[1]}", ForgottenBody("late", ""), pruner.identity)
    assert not is_forgotten(root.home, world.snapshots[1])


def test_a_verifier_vouches_until_it_is_revoked(world: World) -> None:
    verifier, home = world.opened("verifier"), world.root.home
    runs = [name.partition("/")[2] for name in home.listed("index")]
    assert countersign(verifier.home, runs[0], verifier.signer(VOUCH))
    write_damaged(verifier.home, verifier.signer(VOUCH), frozenset({"1" * 64}))
    writers.revoke(world.root, verifier.writer_id)
    assert read_countersign(home, runs[0]) == ""
    assert read_damaged(home) == {"1" * 64}
    home.create(f"countersign/{runs[1]}", CountersignBody(runs[1], ""), verifier.identity)
    assert read_countersign(home, runs[1]) is None


def test_a_session_is_revoked_by_a_pruner_and_by_no_other_writer(world: World) -> None:
    from holdfast.repository.decisions import Verdict, decide, outcome

    host = FakeHost(world.opened("writer"), world.folder / "late", SOURCE)
    session = host.begin()
    other = Repository.open(world.store, writers.issue(world.root, "writer", "other"), world.env)
    home = world.root.home
    home.create(f"decision/{session.id}/00000000", DecisionBody(REVOKED, ""), other.identity)
    assert outcome(home, session.id, host.repository.writer_id).verdict is Verdict.UNREADABLE
    pruner = world.opened("pruner")
    decide(home, session.id, host.repository.writer_id, DecisionBody(REVOKED, ""), pruner.identity)
    assert outcome(home, session.id, host.repository.writer_id).verdict is Verdict.REVOKED


def test_an_end_is_kept_and_said(world: World, clock: ManualClock, env: Environment) -> None:
    credential = writers.issue(world.root, "restorer", "student", [3], expires=env.now() + timedelta(days=1))
    assert Repository.open(world.store, credential, env).classes == {3: "imaging"}
    clock.advance(timedelta(days=1))
    with pytest.raises(NotPermittedError, match="expired"):
        Repository.open(world.store, credential, env)


def test_what_cannot_be_issued_is_refused(world: World) -> None:
    with pytest.raises(UsageError, match="no role"):
        writers.issue(world.root, "king", "x")
    with pytest.raises(UsageError, match="does not have"):
        writers.issue(world.root, "writer", "x", [99])
    with pytest.raises(WrongKeyError):
        RoleCredential.parse(b"{}")


def test_a_ledger_word_that_nobody_reads_counts_for_every_key_that_it_could_have_named(
    repository: Repository, store: MemoryStore
) -> None:
    """A restorer whose entry rotted is revoked all the same, and may have had each of his classes in each generation."""
    rest = writers.issue(repository, "restorer", "rest", [1])
    store.objects[f"wrap/{rest.id}/00000000"] = b"rotten"
    writers.revoke(repository, rest.id)
    word, _ = newest_word(repository.home, rest.id)
    assert word is not None
    assert (word.body.state, [(r.class_, r.generation) for r in word.body.private]) == ("revoked", [(1, 0)])
