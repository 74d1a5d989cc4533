"""Keys end to end, by the command line: SoftHSM2 for PKCS#11, really; for the transit protocol a double (see its docstring)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import holdfast_rescue
import pytest
from tests.rounds import assert_same
from tests.servers import softhsm

import holdfast
from holdfast.base.environment import system
from holdfast.cli import main
from holdfast.errors import (
    EnrolmentError,
    KeyRotationError,
    KeyServiceError,
    KitNotRehearsedError,
    UsageError,
    VaultMissingError,
    WrongKeyError,
)
from holdfast.repository.key_services import key_service
from holdfast.repository.wraps import note_medium
from holdfast.runs.enrolment import join_vault
from holdfast.testing.key_services import TransitDouble, transit_double

PIN = "4711"


@pytest.fixture
def vault(place):
    place.source.mkdir()
    (place.source / "a.hl7").write_text("MSH|^~\\&|ADT")
    (place.source / "b.txt").write_text("operational" * 100)
    with place.create() as opened:
        place.backup(opened)
        yield opened


def cli(capsys, *words: object, code: int = 0) -> list[dict]:
    """Run a command; return its records."""
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == code, capsys.readouterr().err
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_vault_is_opened_by_shares_and_by_the_rescue_reader(vault, place, capsys, tmp_path):
    where = ["--vault", place.vault, "--key-file", place.key]
    (made,) = cli(
        capsys,
        "key",
        "split",
        "--threshold",
        "2",
        "--of",
        "3",
        "--out",
        tmp_path / "sheets",
        "--label",
        "board",
        *where,
    )
    sheets = sorted((tmp_path / "sheets").iterdir())
    assert len(made["digests"]) == len(sheets) == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in sheets)
    with holdfast.Vault.open(place.vault, shares=[str(path) for path in sheets[1:]]) as opened:
        assert_same(place.truth(), place.by_engine(opened, opened.snapshot().id), "shares")
    # The root key is replaced, and nobody fetched a sheet: they open, here and in the reader that shares no code.
    (done,) = cli(capsys, "key", "rotate", "root", *where)
    assert (done["epoch"], done["resealed"]) == (1, 2)
    target = place.target()
    shares = [word for path in (sheets[0], sheets[2]) for word in ("--share", str(path))]
    assert holdfast_rescue.main([str(place.vault), *shares, "restore", "latest", "--to", str(target)]) == 0
    assert (Path(str(target)) / str(place.source).lstrip("/") / "a.hl7").read_text() == "MSH|^~\\&|ADT"
    assert holdfast_rescue.main([str(place.vault), *shares, "verify"]) == 0
    assert main(["snapshots", "--vault", str(place.vault), "--share", str(sheets[0])]) == 6
    assert "1 of the 2 sheets" in capsys.readouterr().err
    assert (
        main(["key", "split", "--threshold", "2", "--of", "3", "--out", str(tmp_path / "sheets"), *map(str, where)])
        == 2
    )


def test_a_token_opens_the_vault(vault, place, tmp_path, monkeypatch):
    """In a process of its own: a PKCS#11 module reads its configuration once."""
    module = softhsm.token(tmp_path / "hsm", "holdfast", PIN)
    pin = tmp_path / "pin"
    pin.write_text(PIN)
    program = Path(__file__).with_name("token_program.py")
    environ = {
        **os.environ,
        "SOFTHSM2_CONF": str(tmp_path / "hsm" / "softhsm2.conf"),
        "HOLDFAST_STATE": str(tmp_path / "state"),
    }
    command = [sys.executable, str(program), str(place.vault), str(place.key), str(module), str(pin)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "aes": "AES-GCM",
        "rsa": "RSA-OAEP-SHA1",
        "opened": 2,
        "after rotation": 2,
        "wrong pin": "key-service",
        "no such token": "key-service",
        "other key": "key-wrong",
    }


@pytest.fixture
def transit(tmp_path):
    token = tmp_path / "token"
    token.write_text("s.token")
    double = TransitDouble(system(), "s.token")
    with transit_double(double) as port:
        yield double, f"transit:http://127.0.0.1:{port}/transit/keys/holdfast?token-source=file:{token}"


def test_a_transit_engine_opens_the_vault(vault, place, transit, capsys, tmp_path):
    double, uri = transit
    where = ["--vault", place.vault, "--key-file", place.key]
    cli(capsys, "key", "add-service", uri, "--create", "--label", "engine", *where)
    double.rotate("holdfast")
    with holdfast.Vault.open(place.vault, key_service=uri) as opened:
        assert len(opened.snapshots()) == 1
        opened.rotate_root()
    monitored = tmp_path / "site.toml"
    monitored.write_text(f'[vault]\nurl = "{place.vault}"\nkey_service = "{uri}"\n')
    with holdfast.Vault.open(monitored) as opened:
        assert [row.method for row in opened.key_ledger() if row.form == "slot"] == ["keyfile", "transit"]
    for status, body, error in (
        (403, b"", WrongKeyError),
        (503, b"", KeyServiceError),
        (404, b"", KeyServiceError),
        (500, b"", KeyServiceError),
        (400, b"", WrongKeyError),
        (200, b"no json", KeyServiceError),
        (200, b'{"data":{"plaintext":"%%"}}', KeyServiceError),
        (200, b'{"data":{"plaintext":"AAAA"}}', KeyServiceError),
    ):
        double.status, double.body = status, body
        with pytest.raises(error):
            holdfast.Vault.open(place.vault, key_service=uri)
    double.status = 0
    with (
        holdfast.Vault.open(place.vault, key_file=place.key) as again,
        pytest.raises(KeyServiceError, match="no key of that"),
    ):
        again.add_key_service(uri.replace("holdfast?", "other?"))
    with pytest.raises(KeyRotationError, match="was replaced"):
        vault.add_passphrase("correct horse")
    assert not any("other" in path and "decrypt" in path for path in double.asked)
    # A vault can have no other key from its beginning.
    with holdfast.Vault.create(place.root / "second", key_service=uri):
        pass
    with holdfast.Vault.open(place.root / "second", key_service=uri) as opened:
        assert opened.key_ledger()[0].method == "transit"


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=t;object=k",
        "pkcs11:object=k?module-path=/m&pin-source=env:P",
        "pkcs11:token=t;object=k?module-path=/m&pin-value=1234",
        "transit:https://host/transit/holdfast",
        "transit:http://vault.example/transit/keys/k?token-source=env:T",
        "transit:https://h/transit/keys/k?token=abc",
        "kms:x",
        "x",
    ],
)
def test_what_is_no_key_service_is_refused_and_never_repeated(uri):
    with pytest.raises(UsageError) as caught:
        key_service(uri, system())
    assert "1234" not in str(caught.value)
    assert "abc" not in str(caught.value)


def test_an_engine_that_is_away_or_has_no_token(tmp_path):
    service = key_service("transit:http://127.0.0.1:9/transit/keys/k?token-source=env:NOBODY", system())
    with pytest.raises(holdfast.HoldfastError, match="NOBODY"):
        service.open(b"vault:v1:x", "transit", b"")
    assert service.open(b"", "AES-GCM", b"") is None
    (tmp_path / "t").write_text("t")
    with pytest.raises(KeyServiceError, match="does not answer"):
        key_service(f"transit:http://127.0.0.1:9/transit/keys/k?token-source=file:{tmp_path / 't'}", system()).seal(
            b"s" * 32, b""
        )
    with pytest.raises(UsageError, match="CA"):
        key_service(
            f"transit:https://127.0.0.1:9/transit/keys/k?token-source=file:{tmp_path / 't'}&ca={tmp_path / 'none'}",
            system(),
        ).seal(b"s" * 32, b"")


def test_roles_are_issued_used_revoked(vault, place, capsys, tmp_path):
    root = ["--vault", place.vault, "--key-file", place.key]
    for role in ("restorer", "verifier", "auditor", "pruner", "root"):
        cli(capsys, "key", "issue", role, role, "--to", tmp_path / role, *root)
    held = {
        role: ["--vault", place.vault, "--credential", tmp_path / role]
        for role in ("restorer", "verifier", "auditor", "pruner")
    }
    refused = {
        "restorer": {"backup", "forget", "kit"},
        "verifier": {"backup", "forget", "kit"},
        "auditor": {"backup", "forget", "kit", "restore"},
        "pruner": {"backup", "kit", "restore"},
    }
    snapshot = vault.snapshot().id
    for role, where in held.items():
        commands = {
            "snapshots": ["snapshots"],
            "check": ["check"],
            "list": ["key", "list"],
            "verify": ["verify"],
            "backup": ["backup", place.source],
            "restore": ["restore", "latest", "--to", tmp_path / f"out-{role}"],
            "kit": ["key", "kit", "--out", tmp_path / f"kit-{role}"],
            "forget": ["forget", snapshot, "--dry-run"],
        }
        for name, words in commands.items():
            if name == "forget" and role in refused and "forget" in refused[role]:
                words = ["forget", snapshot]  # noqa: PLW2901 - a dry run needs no right
            capsys.readouterr()
            code = main([*map(str, words), *map(str, where), "--json"])
            # Who opens no content verifies hashes, and says for how many classes that was all.
            partial = name == "verify" and role in {"auditor", "pruner"}
            expected = 6 if name in refused[role] else 3 if partial else 0
            assert code == expected, (role, name, capsys.readouterr().err)
    with holdfast.Vault.open(place.vault, key_file=tmp_path / "root") as opened:
        assert len(opened.snapshots()) == 1
    # Revoking a restorer renews what it reads; the next backup stores it anew, and the old credential opens nothing.
    (done,) = cli(capsys, "key", "revoke", "restorer", *root)
    assert "phi/1" in done["renewed"]
    assert main(["snapshots", *map(str, held["restorer"])]) == 6
    cli(capsys, "key", "revoke", "root", *root)
    with pytest.raises(WrongKeyError):
        holdfast.Vault.open(place.vault, key_file=tmp_path / "root")
    with holdfast.Vault.open(place.vault, key_file=place.key) as again:
        made = place.backup(again)
        assert {part.generation for part in made.snapshot.classes} == {1}
        assert_same(place.truth(), place.by_engine(again, made.snapshot.id), "new generation")
        assert_same(place.truth(), place.by_engine(again, snapshot), "old generation")
        assert_same(place.truth(), place.by_rescue(made.snapshot.id), "rescue, new generation")
        assert_same(place.truth(), place.by_rescue(snapshot), "rescue, old generation")
        assert again.check().problems == ()
        assert again.verify().sound


def test_a_generation_is_erased_and_the_rest_restores(vault, place, capsys, tmp_path):
    root = ["--vault", place.vault, "--key-file", place.key]
    names = {part.class_id: part.class_name for part in vault.snapshot().info.classes}
    lost = "phi"
    assert lost in names.values()
    cli(capsys, "key", "rotate", "class", lost, *root)
    assert main(["key", "shred", lost, "0", "--reason", "end", *map(str, root)]) == 6
    (plan,) = cli(capsys, "key", "shred", lost, "0", "--reason", "end", "--with-snapshots", "--dry-run", *root)
    assert (plan["snapshots"], plan["dry_run"], plan["erased"]) == (1, True, False)
    (done,) = cli(capsys, "key", "shred", lost, "0", "--reason", "end", "--with-snapshots", *root)
    assert done["erased"]
    assert cli(capsys, "key", "certificate", lost, "0", *root)[0]["erased"]
    assert cli(capsys, "key", "certificate", *root)[0]["name"] == "phi/0"
    with holdfast.Vault.open(place.vault, key_file=place.key) as again:
        assert again.check().problems == ()
        assert again.verify().exit_code in {0, 3}
        with pytest.raises(holdfast.HoldfastError) as caught:
            again.snapshot().restore(place.target())
        assert caught.value.exit_code == 6
        fresh = place.backup(again)
        assert_same(place.truth(), place.by_engine(again, fresh.snapshot.id), "after the erasure")
        assert_same(place.truth(), place.by_rescue(fresh.snapshot.id), "rescue after the erasure")
        # What nobody can read can still be forgotten and pruned.
        again.forget(snapshots=[vault.snapshots()[0].id])
        again.prune(undo_days=0)
        assert again.check().problems == ()


def test_minimum_retention_and_destroyed_media_by_the_command_line(vault, place, capsys, tmp_path):
    root = ["--vault", place.vault, "--key-file", place.key]
    assert cli(capsys, "key", "retention", *root) == []
    (row,) = cli(capsys, "key", "retention", "--class", "phi=30", *root)
    assert (row["name"], row["days"]) == ("phi", 30)
    assert main(["forget", "latest", *map(str, root)]) == 6
    assert main(["key", "retention", "--class", "phi", *map(str, root)]) == 2
    cli(capsys, "key", "issue", "restorer", "anna", "--to", tmp_path / "anna", *root)
    assert main(["key", "destroyed", "anna", "--statement", "burnt", *map(str, root)]) == 2
    cli(capsys, "key", "revoke", "anna", *root)
    cli(capsys, "key", "destroyed", "anna", "--statement", "burnt", *root)
    assert {row["state"] for row in cli(capsys, "key", "list", *root) if row["label"] == "anna"} == {"destroyed"}
    assert main(["key", "certificate", *map(str, root)]) == 5
    assert main(["key", "certificate", "phi", *map(str, root)]) == 2
    assert main(["key", "list", *map(str, root)]) == 0
    assert "anna" in capsys.readouterr().out
    with pytest.raises(UsageError, match="no end"):
        vault.issue_credential("root", "x", days=3)
    note_medium(vault._vault.repository.home, vault._vault.repository.root, "9" * 32, "courier far", system().now(), 0)
    with pytest.raises(UsageError, match="medium"):
        vault.revoke_key("courier far")
    assert vault.rotate_root(dry_run=True).dry_run
    assert vault.rotate_classes(["phi"], dry_run=True).generations == ("phi/1",)


def test_the_first_unattended_schedule_waits_for_a_rehearsal(vault, place, capsys, tmp_path):
    root = ["--vault", place.vault, "--key-file", place.key]
    config = tmp_path / "site.toml"
    config.write_text(f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.key}"\n')
    from holdfast.config import load
    from holdfast.runs.status import run_service
    from holdfast.runs.status import status as status_of

    with pytest.raises(KitNotRehearsedError):
        run_service(load(str(config)), str(config), None)  # type: ignore[arg-type]
    assert status_of(load(str(config))).kit_rehearsed is None
    cli(capsys, "key", "kit", "--out", tmp_path / "kit", "--label", "safe", *root)
    assert main(["key", "rehearse", "--kit", str(place.key), "--vault", str(place.vault)]) == 6
    assert main(["key", "rehearse", "--vault", str(place.vault)]) == 2
    (done,) = cli(capsys, "key", "rehearse", "--kit", tmp_path / "kit", "--vault", place.vault)
    assert (done["method"], done["snapshot"]) == ("kit", vault.snapshot().id)
    assert status_of(load(str(config))).kit_rehearsed is not None
    assert [each.record.kind for each in vault.audit.records(kind="rehearse")]
    main(["status", "--config", str(config)])
    assert "Recovery kit last opened the vault: 20" in capsys.readouterr().out


def test_an_end_that_is_near_is_an_alert(vault, place, tmp_path):
    from holdfast.config import load
    from holdfast.runs.status import status as status_of

    config = tmp_path / "site.toml"
    config.write_text(f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.key}"\n')
    vault.issue_credential("restorer", "student", ["imaging"], days=10)
    vault.issue_credential("restorer", "chief", ["imaging"], days=400)
    report = status_of(load(str(config)))
    assert "key-expiring student" in report.dangers
    assert "key-expiring chief" not in report.dangers


def test_hosts_join_with_one_file_each_and_write_at_once(vault, place, capsys, tmp_path):
    """Four processes into one vault, with no lock between them; two of them in one group."""
    root = ["--vault", place.vault, "--key-file", place.key]
    hosts = {}
    for number in range(4):
        name, group = f"host{number}", ["--group", "wards"] if number < 2 else []
        file, credential = tmp_path / f"{name}.enrolment", tmp_path / f"{name}.credential"
        cli(capsys, "enroll", "create", name, "--out", file, *group, *root)
        (joined,) = cli(capsys, "enroll", "join", file, "--out", credential)
        assert joined["vault"] == vault.id
        with pytest.raises(EnrolmentError):
            join_vault(file, tmp_path / f"{name}.second")
        folder = tmp_path / name
        folder.mkdir()
        (folder / "own.txt").write_text(f"{name} " * 1000)
        (folder / "same.bin").write_bytes(b"what all have " * 9000)
        hosts[name] = (folder, credential)
    with pytest.raises(VaultMissingError):
        join_vault(tmp_path / "host0.enrolment", tmp_path / "none", vault=str(tmp_path / "no-vault"))
    running = []
    for name, (folder, credential) in hosts.items():
        environ = {**os.environ, "HOLDFAST_STATE": str(tmp_path / f"state-{name}")}
        command = [
            sys.executable,
            "-m",
            "holdfast",
            "backup",
            "--vault",
            str(place.vault),
            "--credential",
            str(credential),
        ]
        command += ["--label", name, "-q", str(folder)]
        running.append(subprocess.Popen(command, env=environ, stderr=subprocess.PIPE))
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    with holdfast.Vault.open(place.vault, key_file=place.key) as opened:
        for name, (folder, _) in hosts.items():
            target = place.target()
            opened.snapshot(f"latest:{name}").restore(target)
            copy = Path(str(target)) / str(folder).lstrip("/")
            assert (copy / "own.txt").read_text() == f"{name} " * 1000
            assert (copy / "same.bin").read_bytes() == b"what all have " * 9000
        assert opened.check().problems == ()
        assert opened.verify().sound
        assert {row.group for row in opened.key_ledger() if row.role == "writer"} == {"", "wards"}
        # A new signing key for one of them: what it stored counts on, and the old file says what to do.
        (tmp_path / "renewed").write_bytes(opened.reissue_writer("host0"))
    assert (
        main(["backup", "--vault", str(place.vault), "--credential", str(hosts["host0"][1]), str(hosts["host0"][0])])
        == 6
    )
    assert "key rotate writer" in capsys.readouterr().err
    assert main(["key", "rotate", "writer", "host1", "--out", str(tmp_path / "host1.renewed"), *map(str, root)]) == 0
