"""A store that was put back to an older state is found out by every host that saw the newer one."""

from __future__ import annotations

import shutil

import pytest

import holdfast
from holdfast.errors import LocalStateError, NotPermittedError, RolledBackError
from holdfast.runs import witness


@pytest.fixture
def rolled_back(place):
    """A vault of three snapshots, put back to where it had two."""
    place.source.mkdir()
    (place.source / "a").write_bytes(b"one" * 1000)
    with place.create() as vault:
        place.backup(vault)
        place.backup(vault)
        shutil.copytree(place.vault, place.root / "older")
        (place.source / "a").write_bytes(b"two" * 1000)
        place.backup(vault)
        assert vault.check().problems == ()
    shutil.rmtree(place.vault)
    shutil.move(place.root / "older", place.vault)
    return place


def test_it_is_told_by_check_and_refused_by_what_deletes(rolled_back):
    with rolled_back.open() as vault:
        (problem,) = vault.check().problems
        assert "older state" in problem
        for act in (
            lambda: vault.prune(undo_days=0),
            lambda: vault.forget(holdfast.RetentionPolicy(last=1)),
            lambda: vault.prune(dry_run=True),
        ):
            with pytest.raises(RolledBackError) as caught:
                act()
            assert caught.value.exit_code == 4
        assert len(vault.snapshots()) == 2


def test_a_backup_goes_on_and_alerts(rolled_back):
    heard = []
    with rolled_back.open() as vault:
        result = vault.backup([rolled_back.source], label="rounds", events=heard.append)
        assert result.exit_code == 0
        assert [event.code for event in heard if isinstance(event, holdfast.Alert)] == ["rolled-back"]
        assert vault.snapshots()[-1].id == result.snapshot.id


def test_an_operator_can_take_it_as_it_is(rolled_back):
    with rolled_back.open() as vault:
        assert vault.accept_older_state(reason="the disk is lost") == 1
        assert vault.check().problems == ()
        assert vault.prune(undo_days=0).phase in {"closed", "nothing"}
        credential = rolled_back.root / "credential"
        credential.write_bytes(vault.enroll_writer("host"))
        credential.chmod(0o600)
    with holdfast.Vault.open(rolled_back.vault, credential=credential) as writer, pytest.raises(NotPermittedError):
        writer.accept_older_state(reason="no")


def test_a_lost_note_is_nothing_seen(rolled_back):
    with rolled_back.open() as vault:
        note = vault._vault.folder("seen") / witness.FILE
        for text in ("", "{}", '{"ids": 1, "numbers": {}}'):
            note.write_text(text)
            assert vault.check().problems == ()


def test_a_note_that_cannot_be_made(rolled_back, monkeypatch):
    with rolled_back.open() as vault:
        vault.accept_older_state(reason="a test")

        def full(_path, _text):
            raise OSError(28, "full")

        monkeypatch.setattr("pathlib.Path.write_text", full)
        witness.committed(vault._vault, "ab" * 16)
        with pytest.raises(LocalStateError):
            witness.accept_older(vault._vault)


def test_what_is_seen_is_compared():
    one = witness.Seen({"decision": frozenset({"a", "b"})}, {"closed": 3})
    assert one.missing(one) == 0
    assert one.missing(witness.Seen({"decision": frozenset({"a", "c"})}, {"closed": 2})) == 2
    assert witness.Seen().missing(one) == 0
