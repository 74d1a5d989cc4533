"""Keys through the library while something is in the way: planted objects that nobody can read, and a keyring that is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

import holdfast
from holdfast.base.events import Alert, Event
from holdfast.errors import DamageError, KeyringLostError, UsageError

JUNK = b"nothing that verifies" * 20


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a").write_bytes(b"1")
    holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key").close()
    return tmp_path


def spoil_newest_keyring(place: Path) -> dict[Path, bytes]:
    name = max(path.name for path in (place / "vault/keyring").iterdir())
    kept = {place / "vault" / kind / name: b"" for kind in ("keyring", "twin/keyring")}
    for path in kept:
        kept[path] = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(JUNK)
    return kept


def test_a_planted_policy_keeps_nobody_from_taking_a_key_away_and_root_clears_it_by_name(place: Path) -> None:
    with holdfast.Vault.open(place / "vault", key_file=place / "key") as vault:
        credential = place / "thief"
        credential.write_bytes(vault.enroll_writer("thief"))
        (place / "vault/access").mkdir(exist_ok=True)
        (place / "vault/access/00000000").write_bytes(JUNK)
        vault.revoke_writer("thief")
        with pytest.raises(DamageError):
            vault.rotate_root()
        plan = vault.repair(clear=["access/00000000"], dry_run=True)
        assert plan.cleared == ("access/00000000",)
        assert (place / "vault/access/00000000").exists()
        with pytest.raises(UsageError):
            vault.repair(clear=["vault"])
        done = vault.repair(clear=["access/00000000"])
        assert (done.cleared, done.problems, done.exit_code) == (("access/00000000",), (), 0)
        vault.rotate_root()
    with pytest.raises(holdfast.errors.NotPermittedError):
        holdfast.Vault.open(place / "vault", credential=credential)


def test_a_backup_under_keys_that_are_not_the_newest_says_so(place: Path) -> None:
    heard: list[Event] = []

    def alerts() -> set[str]:
        found = {event.code for event in heard if isinstance(event, Alert)}
        heard.clear()
        return found

    with holdfast.Vault.open(place / "vault", key_file=place / "key") as vault:
        vault.issue_credential("restorer", "rest", ["phi"])
        vault.backup([place / "in"], events=heard.append)
        assert "keyring-behind" not in alerts()
        vault.revoke_key("rest")
    kept = spoil_newest_keyring(place)
    with holdfast.Vault.open(place / "vault", key_file=place / "key") as vault:
        vault.backup([place / "in"], events=heard.append)
        assert "keyring-behind" in alerts()
        with pytest.raises(KeyringLostError, match="this host has opened keyring"):
            vault.rotate_classes(["phi"])
        with pytest.raises(KeyringLostError):
            vault.rotate_classes(["phi"], dry_run=True)
        assert vault.rotate_classes(["phi"], again=True, dry_run=True).generations == ("phi/1",)
    for path, data in kept.items():
        path.write_bytes(data)
    with holdfast.Vault.open(place / "vault", key_file=place / "key") as vault:
        vault.backup([place / "in"], events=heard.append)
        assert "keyring-behind" not in alerts()
        assert vault.rotate_classes(["phi"]).generations == ("phi/2",)
    spoil_newest_keyring(place)
    with holdfast.Vault.open(place / "vault", key_file=place / "key") as vault:
        assert vault.rotate_classes(["phi"], again=True).generations[0].startswith("phi/")
        vault.backup([place / "in"], events=heard.append)
        assert "keyring-behind" not in alerts()


def rot(*paths: Path) -> None:
    for path in paths:
        path.chmod(0o600)
        path.write_bytes(JUNK)


def test_a_credential_whose_certificate_is_lost_is_no_medium(place: Path) -> None:
    with holdfast.Vault.open(place / "vault", key_file=place / "key") as vault:
        vault.enroll_writer("ward")
        entry = next(row for row in vault.key_ledger() if row.label == "ward")
        rot(*(place / "vault" / kind / entry.id / "00000000" for kind in ("writer", "twin/writer")))
        with pytest.raises(DamageError, match="certificate of this credential is damaged") as caught:
            vault.revoke_key("ward")
        assert f"writer/{entry.id}/" in caught.value.next


def test_a_whole_id_is_not_told_to_be_a_whole_id(place: Path) -> None:
    with holdfast.Vault.open(place / "vault", key_file=place / "key") as vault:
        made = vault.backup([place / "in"]).snapshot
        assert made is not None
        decision = next((place / "vault/decision" / made.id).iterdir())
        rot(decision, place / "vault/committed" / made.id, place / "vault/snapshot" / made.id)
        with pytest.raises(DamageError, match="neither its envelope nor what says") as caught:
            vault.snapshot(made.id)
        assert "by its id" not in caught.value.next
