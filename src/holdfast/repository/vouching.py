"""Vouching: countersigning the index runs of a group's writers after their packs were opened and their ids recomputed.

A run vouched for may be deduplicated against by every writer of its writer's group; before that by its writer alone. So
what a stolen writer claims to have stored counts for nobody else until a verifier has seen that it is so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from holdfast.repository.countersign import countersign
from holdfast.repository.home import ROOT, Home
from holdfast.repository.packs import NOBODY, Run, read_runs
from holdfast.repository.prune import put_run
from holdfast.repository.roles import VOUCH
from holdfast.repository.trust import FOR_ALL

if TYPE_CHECKING:
    from holdfast.repository.records import PackRecord
    from holdfast.repository.repository import Repository


def record_digest(record: PackRecord) -> str:
    """Return the hash of what a run says of a pack: to be compared with what the pack's own directory says."""
    return hashlib.sha256(record.encoded).hexdigest()


def vouch(repository: Repository, proved: Mapping[str, str]) -> int:
    """Countersign what was proved; return how many runs.

    Needs the root key or a verifier's credential; only root takes up what a prune rewrote.

    `proved`: per pack the hash of the record that its own directory makes, of packs whose segments were all opened and
    whose ids were recomputed. A run that says anything else of one of its packs is never countersigned; nor is one of a
    writer that was revoked, or that shares its group with nobody.
    """
    return sum(_vouch_for(repository, run, records, proved) for run, records in list(read_runs(repository, [])))


def _vouch_for(repository: Repository, run: Run, records: Sequence[PackRecord], proved: Mapping[str, str]) -> bool:
    writer = run.scope if run.signer == ROOT else run.signer
    group = _group(repository.home, writer)
    if run.scope in {NOBODY, FOR_ALL, group} or not group:
        return False
    if not records or any(proved.get(record.name) != record_digest(record) for record in records):
        return False
    if run.signer != ROOT:
        return countersign(repository.home, run.sha, repository.signer(VOUCH), scope=group)
    if not repository.is_root:
        return False
    # A run has one signature: this one has the word of its writer, so it is put again, then the old one goes.
    put_run(repository, run.class_id, run.generation, group, [record.encoded for record in records])
    repository.store.delete(f"index/{run.sha}")
    repository.store.delete(f"countersign/{run.sha}")
    return True


def _group(home: Home, writer: str) -> str:
    """Return the group that a writer shares with others; empty if it is alone, revoked or unknown."""
    certificate = home.certificate(writer, fresh=True)
    if certificate is None or certificate.revoked or certificate.group == writer:
        return ""
    return certificate.group
