"""What nobody can prove for want of a certificate, and snapshots whose decision is gone and of which others still speak."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.base.environment import Environment
from holdfast.repository import writers
from holdfast.repository.bodies import AdmissionBody
from holdfast.repository.check import check
from holdfast.repository.credentials import KeyFile
from holdfast.repository.decisions import Verdict, is_admitted, open_sessions, outcome, owner_of
from holdfast.repository.listing import read_envelopes
from holdfast.repository.repository import Repository
from holdfast.stores.memory import MemoryStore
from holdfast.testing.hosts import FakeHost

SOURCE = "ab" * 16


def host_of(repository: Repository, store: MemoryStore, env: Environment, folder: Path) -> FakeHost:
    credential = writers.enrol(repository, "ward", [1])
    return FakeHost(Repository.open(store, credential, env), folder / "cache", SOURCE)


def test_a_damaged_certificate_is_one_finding_and_never_a_reason_to_forget(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, tmp_path: Path
) -> None:
    host = host_of(repository, store, env, tmp_path)
    snapshot = host.backup({"a": 1, "b": 2})
    own = f"writer/{host.repository.writer_id}/00000000"
    for name in (own, f"twin/{own}"):
        store.objects[name] = b"rotten"
    opened = Repository.open(store, key, env)
    found = check(opened)
    assert sorted({f.kind for f in found.findings}) == ["frame", "signer"]
    (signer,) = [f for f in found.findings if f.kind == "signer"]
    assert signer.object == f"writer/{host.repository.writer_id}"
    assert int(signer.text.split()[0]) > 3
    assert "forget none of it" in signer.text
    assert not any("`holdfast forget" in f.text for f in found.findings)
    (problem,) = read_envelopes(opened.home).problems
    assert (problem.id, problem.by_signer) == (snapshot.id, True)


@pytest.mark.parametrize("announced", [True, False])
def test_an_admitted_snapshot_without_any_decision_counts_and_is_named(
    repository: Repository, store: MemoryStore, env: Environment, key: KeyFile, tmp_path: Path, *, announced: bool
) -> None:
    host = host_of(repository, store, env, tmp_path)
    snapshot = host.backup({"a": 1})
    home = repository.home
    home.create(f"admission/{snapshot.id}", AdmissionBody(env.now()), repository.root)
    assert is_admitted(repository.home, snapshot.id)
    for name in [n for n in store.objects if n.startswith((f"decision/{snapshot.id}", f"committed/{snapshot.id}"))]:
        del store.objects[name]
    if not announced:
        store.objects.pop(f"session/{snapshot.id}", None)
    opened = Repository.open(store, key, env)
    assert outcome(opened.home, snapshot.id, owner_of(opened.home, snapshot.id)).verdict is Verdict.UNREADABLE
    assert all(session.counts for session in open_sessions(opened.home))
    assert [s.id for s in opened.snapshots()] == [snapshot.id]
    assert any(f.object == f"decision/{snapshot.id}" and "it was lost" in f.text for f in check(opened).findings)
    writers.revoke(opened, host.repository.writer_id)
    assert not [name for name in store.objects if name.startswith(f"decision/{snapshot.id}")]
