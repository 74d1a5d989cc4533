"""Two people must agree where the vault says so; the holder of the key alone can neither act nor loosen the rule; an emergency can."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.base.events import Alert
from holdfast.cli import main
from holdfast.errors import ApprovalMissingError, UsageError
from holdfast.reliability.audit import log
from holdfast.repository.access import (
    AccessPolicy,
    Approver,
    Statement,
    agreed,
    check_policy,
    new_request,
    put_policy,
    read_approver_key,
    read_policy,
    sign_request,
)
from holdfast.runs.approvals import read_request

PEOPLE = {name: Ed25519PrivateKey.generate() for name in ("alice", "bob", "carol")}
APPROVERS = tuple(Approver(name, key.public_key().public_bytes_raw()) for name, key in PEOPLE.items())
POLICY = AccessPolicy(APPROVERS, 2, 3600, ("forget", "prune", "release", "revoke", "enroll", "key", "restore:phi"))


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def vault(place, clock):
    place.source.mkdir()
    (place.source / "a.hl7").write_text("MSH|")
    with holdfast.Vault.create(place.vault, key_file=place.key, env=clock.environment()) as opened:
        place.backup(opened)
        yield opened


def sign(vault, clock, *names: str, newest: bool = True) -> None:
    """Sign every open request in the folder, as people would on their own machines."""
    folder = vault._vault.state_dir / "approvals"
    for path in folder.glob("request-*.json"):
        request = read_request(path.read_bytes())
        for name in names:
            statement = sign_request(request, name, PEOPLE[name], clock.now())
            (folder / f"{request.nonce[:6]}-{name}.json").write_text(statement.encode())


def test_without_a_policy_nothing_is_asked(vault):
    assert vault.approvals.policy == AccessPolicy()
    vault.recovery_kit()
    assert not list(vault._vault.folder("approvals").iterdir())


def test_two_of_three_must_agree_and_then_an_hour_passes(vault, clock):
    vault.approvals.set_policy(POLICY)
    snapshot = vault.snapshot().id
    with pytest.raises(ApprovalMissingError, match="2 more of the 3") as caught:
        vault.forget(snapshots=[snapshot])
    assert "holdfast approval sign" in caught.value.next
    sign(vault, clock, "alice")
    with pytest.raises(ApprovalMissingError, match="1 more of the 3"):
        vault.forget(snapshots=[snapshot])
    sign(vault, clock, "alice", "bob")
    with pytest.raises(ApprovalMissingError, match="may begin at"):
        vault.forget(snapshots=[snapshot])
    clock.advance(timedelta(hours=1))
    assert vault.forget(snapshots=[snapshot]).forgotten == (snapshot,)
    denied = [each.record for each in vault.audit.records(kind="forget") if each.record.outcome == "denied"]
    assert [record.code for record in denied] == ["approval-missing"] * 3
    assert vault.check().sound


def test_every_guarded_operation_asks(vault, clock, place):
    vault.hold("latest", reason="x")
    vault.approvals.set_policy(POLICY)
    kept = vault.snapshot().id
    for operation in (
        vault.recovery_kit,
        lambda: vault.add_passphrase("secret phrase"),
        lambda: vault.enroll_writer("ward7", ["phi"]),
        lambda: vault.revoke_writer("ward7"),
        lambda: vault.release("latest", reason="y"),
        lambda: vault.prune(undo_days=1),
        lambda: vault.snapshot().restore(place.target()),
    ):
        with pytest.raises(ApprovalMissingError):
            operation()
    vault.prune()
    vault.prune(undo_days=0, dry_run=True)
    vault.snapshot().restore(place.target(), dry_run=True)
    vault.hold("latest", reason="more")
    requests = [path.read_text() for path in vault._vault.folder("approvals").glob("request-*.json")]
    assert len(requests) == 7
    assert not [text for text in requests if "secret phrase" in text]
    assert sum(kept in text for text in requests) == 2
    asked = {json.loads(text)["operation"] for text in requests}
    assert asked == {"key", "enroll", "revoke", "release", "prune", "restore:phi"}


def test_an_approval_serves_once_and_for_exactly_what_it_says(vault, clock, place):
    vault.approvals.set_policy(replace(POLICY, delay_seconds=0))
    first = vault.snapshot().id
    clock.advance(timedelta(minutes=1))
    place.backup(vault)
    second = vault.snapshot().id
    with pytest.raises(ApprovalMissingError):
        vault.forget(snapshots=[first])
    sign(vault, clock, "alice", "carol")
    with pytest.raises(ApprovalMissingError):
        vault.forget(snapshots=[first, second])
    with pytest.raises(ApprovalMissingError):
        vault.forget(snapshots=[second])
    vault.forget(snapshots=[first])
    with pytest.raises(ApprovalMissingError):
        vault.recovery_kit()
    sign(vault, clock, "bob", "carol")
    vault.recovery_kit()
    with pytest.raises(ApprovalMissingError, match="2 more"):
        vault.recovery_kit()


def test_the_holder_of_the_root_key_cannot_loosen_the_rule_alone(vault, clock, place):
    vault.approvals.set_policy(replace(POLICY, delay_seconds=0))
    looser = replace(POLICY, required=1, delay_seconds=0)
    with pytest.raises(ApprovalMissingError):
        vault.approvals.set_policy(looser)
    # ... not even by writing the object himself.
    repository = vault._vault.repository
    for forged in (looser, AccessPolicy(), replace(looser, approvals=("nonsense",))):
        put_policy(repository, forged)
        assert read_policy(repository.home).required == 2
    sign(vault, clock, "alice", "bob")
    assert vault.approvals.set_policy(looser).required == 1
    other = new_request(repository, "access", {"policy": "other"})
    stolen = tuple(sign_request(other, name, PEOPLE[name], clock.now()).encode() for name in PEOPLE)
    put_policy(repository, replace(AccessPolicy(), approvals=stolen))
    assert read_policy(repository.home).required == 1


def test_breaking_the_glass_always_works_and_always_alerts(vault, clock, place):
    vault.approvals.set_policy(POLICY)
    heard = []
    result = vault.snapshot().restore(place.target(), break_glass="mass casualty", events=heard.append)
    assert result.exit_code == 0
    assert [event.code for event in heard if isinstance(event, Alert)] == ["break-glass"]
    vault.snapshot().restore(place.target(), break_glass="mass casualty")
    assert [alert.code for alert in vault.alerts] == ["break-glass"]
    ends = [each.record for each in vault.audit.records(kind="restore.break-glass") if each.record.phase == "end"]
    assert [record.outcome for record in ends] == ["success", "success"]
    assert ends[0].facts["break_glass_digest"]


def test_who_agreed_is_a_pure_function(vault, clock):
    repository = vault._vault.repository
    request = new_request(repository, "forget", {"snapshots": ["a"]})
    now = clock.now()

    def said(name, of=request, at=now, key=None):
        return sign_request(of, name, key or PEOPLE[name], at)

    policy = replace(POLICY, delay_seconds=0)
    assert agreed(policy, [said("alice"), said("bob")], request, now) == ("alice", "bob")
    other = new_request(repository, "forget", {"snapshots": ["b"]})
    forged = replace(said("bob"), signature=b"x" * 64)
    for statements in (
        [],
        [said("alice"), said("alice")],
        [said("alice"), forged],
        [said("alice"), said("bob", of=other)],
        [said("alice"), said("bob", key=PEOPLE["carol"])],
        [said("alice"), replace(said("bob"), approver="mallory")],
        [said("alice"), said("bob", at=now + timedelta(hours=1))],
    ):
        with pytest.raises(ApprovalMissingError):
            agreed(policy, statements, request, now)
    with pytest.raises(ApprovalMissingError, match="has ended"):
        agreed(policy, [said("alice"), said("bob")], request, now + timedelta(days=15))
    with pytest.raises(UsageError, match="has ended"):
        said("alice", at=now + timedelta(days=15))
    assert Statement.decode(said("alice").encode()) == said("alice")


def test_what_nobody_could_satisfy_is_refused():
    for policy, text in (
        (AccessPolicy(APPROVERS, 4), "can never be had"),
        (AccessPolicy((APPROVERS[0], APPROVERS[0]), 1), "same name"),
        (AccessPolicy(APPROVERS, 2, 0, ("dance",)), "unknown operation"),
    ):
        with pytest.raises(UsageError, match=text):
            check_policy(policy)
    for call in (
        lambda: Statement.decode("nonsense"),
        lambda: read_request(b"[]"),
        lambda: read_approver_key(b"nonsense"),
    ):
        with pytest.raises(UsageError):
            call()


def test_handing_out_keys_erasing_and_shortening_need_two_people(vault, clock, place):
    """What carries its approvals in the vault is obeyed by whoever reads it; what needs none goes on as before."""
    vault.rotate_classes(["phi"])
    vault.set_minimum_retention({"imaging": 30})
    vault.approvals.set_policy(replace(POLICY, delay_seconds=0, operations=("export", "shred", "floor")))
    asked = {
        "kit": vault.recovery_kit,
        "passphrase": lambda: vault.add_passphrase("correct horse"),
        "shares": lambda: vault.split_key(2, 3),
        "restorer": lambda: vault.issue_credential("restorer", "anna", ["phi"]),
        "root": lambda: vault.issue_credential("root", "second"),
        "erase": lambda: vault.shred("phi", 0, reason="end", with_snapshots=True),
        "shorten": lambda: vault.set_minimum_retention({"imaging": 1}),
    }
    for operation in asked.values():
        with pytest.raises(ApprovalMissingError):
            operation()
    assert vault.minimum_retention == {"imaging": 30}
    assert vault._vault.repository.can_open(1, 0)
    vault.issue_credential("writer", "ward7")
    vault.issue_credential("auditor", "tax office")
    vault.set_minimum_retention({"imaging": 60})
    sign(vault, clock, "alice", "bob")
    vault.recovery_kit()
    assert vault.shred("phi", 0, reason="end", with_snapshots=True).erased
    assert not vault._vault.repository.can_open(1, 0)
    # The statements were over 1 day while 30 were in force; they serve for exactly that, once.
    assert vault.set_minimum_retention({"imaging": 1}) == {"imaging": 1}
    vault.set_minimum_retention({"imaging": 9})
    with pytest.raises(ApprovalMissingError):
        vault.set_minimum_retention({"imaging": 1})
    assert {each.record.kind for each in vault.audit.records() if each.record.outcome == "denied"} >= {
        "key",
        "shred",
        "floor",
    }


def test_the_glass_breaks_though_everything_else_is_dead(place, clock, tmp_path, monkeypatch, capsys):
    """No approval, no alert book, no audit log that takes a line: the restore is done, and each of these is said."""
    place.source.mkdir(exist_ok=True)
    (place.source / "a").write_text("patient")
    state = tmp_path / "state-of-this"
    monkeypatch.setenv("HOLDFAST_STATE", str(state))
    with place.create() as vault:
        place.backup(vault)
        vault.approvals.set_policy(POLICY)
    (state / "alerts.sqlite").unlink(missing_ok=True)
    (state / "alerts.sqlite").mkdir()
    config = tmp_path / "site.toml"
    config.write_text(
        f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.key}"\n[alerts]\nquiet_hours = ["00:00-23:59"]\n'
        f'[channels.log]\nkind = "file"\npath = "{tmp_path}/told"\n[contacts.anna]\nchannels = ["log"]\n'
    )
    words = ["--config", str(config)]
    assert main(["restore", "latest", "--to", str(tmp_path / "asked"), *words]) == 6, (
        "without breaking it, people are asked"
    )
    capsys.readouterr()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "_append", full)
    out = tmp_path / "out"
    assert main(["restore", "latest", "--to", str(out), "--break-glass", "mass casualty", *words]) == 0
    assert [path.read_text() for path in out.rglob("a")] == ["patient"]
    said = "".join(capsys.readouterr())
    assert "break-glass" in said or "without the approvals" in said
    assert "the alert could not be kept" in said
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert "break-glass" in {code for message in told for code in message["codes"]}, "told at once, in quiet hours, too"
    assert "audit" in said
