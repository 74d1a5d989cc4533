"""`holdfast audit`, as an administrator and an auditor use it: on the host with the vault, and elsewhere without."""

from __future__ import annotations

import json
import shutil

import pytest

from holdfast.cli import main, shapes
from holdfast.reliability.audit import files


@pytest.fixture
def run(place, monkeypatch, capsys):
    place.source.mkdir()
    (place.source / "a.hl7").write_text("MSH|")
    monkeypatch.setenv("HOLDFAST_VAULT", str(place.vault))
    monkeypatch.setenv("HOLDFAST_KEY_FILE", str(place.key))

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    assert call("init")[0] == 0
    assert call("backup", place.source)[0] == 0
    return call


def rows(text: str) -> list[dict]:
    found = [json.loads(line) for line in text.splitlines()]
    for row in found:
        assert shapes.problems(row) == []
    return found


def test_list(run):
    code, out, _ = run("audit", "list")
    assert code == 0
    assert "backup             end   success" in out
    listed = rows(run("audit", "list", "--json", "--kind", "backup", "--newest", 1)[1])
    assert [(row["kind"], row["phase"], row["outcome"], row["role"]) for row in listed] == [
        ("backup", "end", "success", "root")
    ]
    assert run("audit", "list", "--since", "2100-01-01")[1] == ""
    assert run("audit", "list", "--until", "2001-01-01T00:00:00+02:00")[1] == ""
    assert run("audit", "list", "--since", "soon")[0] == 2


def test_an_auditor_needs_the_files_the_key_and_the_heads(run, place, tmp_path):
    key, heads, copy = tmp_path / "audit.pem", tmp_path / "heads", tmp_path / "copy"
    code, out, _ = run("audit", "head", "--public-key", key, "--heads", heads)
    assert code == 0
    assert "records, root" in out
    folder = next((tmp_path / "state").glob("*/audit"))
    shutil.copytree(folder, copy)
    offline = ("audit", "verify", "--log", copy, "--public-key", key, "--heads", heads)
    code, out, _ = run(*offline)
    assert (code, "sound" in out) == (0, True)
    code, out, _ = run("audit", "verify", "--log", copy, "--public-key", key)
    assert "no head from elsewhere" in out
    record = rows(run(*offline, "--json")[1])[0]
    assert (record["type"], record["problems"], record["exit_code"]) == ("audit-verify", [], 0)
    segment = copy / files.segment_name(0)
    segment.write_bytes(segment.read_bytes().replace(b'"outcome":"success"', b'"outcome":"failure"', 1))
    code, out, _ = run(*offline)
    assert code == 4
    assert "TAMPERED: changed: record 1 is not what was written" in out
    shutil.rmtree(copy)
    shutil.copytree(folder, copy)
    segment.write_bytes(segment.read_bytes()[:-10])
    code, out, _ = run(*offline)
    assert code == 4
    assert "cut off" in out
    assert "cut short, or cut off since" in out
    (copy / files.HEADS).unlink()
    segment.unlink()
    code, out, _ = run("audit", "verify", "--log", copy, "--public-key", key)
    assert code == 4
    assert "UNPROVED: unsigned: no signed head covers any of the 0 records" in out


def test_verify_on_the_host_and_what_it_refuses(run, tmp_path):
    run("audit", "list")
    code, out, _ = run("audit", "verify")
    assert code == 0
    assert "records are not under a signed head yet" in out
    for arguments, expected in (
        (("--log", tmp_path), 2),
        (("--log", tmp_path, "--public-key", tmp_path / "no"), 5),
        (("--proof", tmp_path / "no"), 2),
        (("--heads", tmp_path / "no"), 5),
    ):
        assert run("audit", "verify", *arguments)[0] == expected
    (tmp_path / "key").write_text("nonsense")
    assert run("audit", "verify", "--public-key", tmp_path / "key")[0] == 2
    run("audit", "head", "--public-key", tmp_path / "good")
    assert run("audit", "verify", "--log", tmp_path, "--public-key", tmp_path / "good")[0] == 5
    assert run("audit", "verify", "--proof", tmp_path / "no", "--public-key", tmp_path / "good")[0] == 5
    assert run("audit", "head", "--public-key", tmp_path / "good")[0] == 2


def test_prove(run, tmp_path):
    assert run("audit", "prove", 2, "--out", tmp_path / "proof")[0] == 0
    run("audit", "head", "--public-key", tmp_path / "key")
    check = ("audit", "verify", "--proof", tmp_path / "proof", "--public-key", tmp_path / "key")
    code, out, _ = run(*check)
    assert code == 0
    assert "Holds: record 2 is in log" in out
    assert rows(run(*check, "--json")[1])[0]["number"] == 2
    (tmp_path / "proof").write_text((tmp_path / "proof").read_text().replace('"number":2', '"number":3'))
    assert run(*check)[0] == 4
    assert run("audit", "prove", 99, "--out", tmp_path / "other")[0] == 2


def test_export_and_daily(run, tmp_path):
    lines: list[dict] = []
    for form in ("R4", "R5"):
        assert run("audit", "export", "--format", form, "--out", tmp_path / form, "--json")[0] == 0
        lines = [json.loads(line) for line in (tmp_path / form).read_text().splitlines()]
        assert {line["resourceType"] for line in lines} == {"AuditEvent"}
    day = lines[0]["recorded"][:10]
    code, out, _ = run("audit", "daily", "--day", day)
    assert code == 0
    assert f"audit of {day}" in out
    assert run("audit", "daily")[0] == 0
    assert run("audit", "daily", "--day", "tomorrow")[0] == 2


def test_send(run, place, tmp_path):
    from servers import process

    assert run("audit", "send")[0] == 2
    settings = tmp_path / "site.toml"
    settings.write_text(
        f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.key}"\n'
        f'[collectors.siem]\nhost = "127.0.0.1"\nport = {process.free_port()}\nprotocol = "tcp"\n'
    )
    code, out, _ = run("audit", "send", "--config", settings)
    assert code == 7
    assert "siem: 0 records sent, stopped: Connection refused" in out


def test_renew(run, tmp_path):
    folder = next((tmp_path / "state").glob("*/audit"))
    (folder / files.META).write_text("damaged")
    assert run("forget", "latest", "--dry-run")[0] == 0
    assert run("forget", "latest")[0] == 4
    code, out, _ = run("audit", "renew", "--reason", "disk repaired", "--json")
    assert code == 0
    renewed = rows(out)[0]
    assert renewed["previous"] == ""
    assert run("forget", "latest")[0] == 0


def test_approvals_from_the_command_line(run, tmp_path):
    for name in ("alice", "bob"):
        made = run("approval", "key", "--out", tmp_path / f"{name}.key", "--public", tmp_path / f"{name}.pub")
        assert made[0] == 0
    assert "Nothing needs approval" in run("approval", "policy")[1]
    people = [text for name in ("alice", "bob") for text in ("--approver", f"{name}={tmp_path / name}.pub")]
    code, out, _ = run("approval", "policy", *people, "--required", 2, "--operation", "forget", "--json")
    assert code == 0
    shown = rows(out)[0]
    assert (shown["approvers"], shown["required"], shown["operations"]) == (["alice", "bob"], 2, ["forget"])
    assert "2 of alice, bob must agree to: forget" in run("approval", "policy")[1]
    code, _, err = run("forget", "latest")
    assert code == 6
    assert "2 more of the 2 approvers must agree" in err
    request = next((tmp_path / "state").glob("*/approvals/request-*.json"))
    for name in ("alice", "bob"):
        code, out, _ = run("approval", "sign", request, "--key", tmp_path / f"{name}.key", "--name", name)
        assert code == 0
        assert "Agreed to: forget snapshots" in out
    assert run("forget", "latest")[0] == 0
    for arguments, expected in (
        (("policy", "--approver", "nobody", "--required", 1), 2),
        (("policy", "--approver", f"x={tmp_path / 'no'}", "--required", 1), 5),
        (("policy", "--approver", f"x={tmp_path / 'alice.key'}", "--required", 1), 2),
        (("sign", tmp_path / "no", "--key", tmp_path / "alice.key", "--name", "alice"), 5),
    ):
        assert run("approval", *arguments)[0] == expected


def test_break_glass_from_the_command_line(run, tmp_path):
    code, _, err = run("restore", "latest", "--to", tmp_path / "out", "--break-glass", "mass casualty")
    assert code == 0
    assert "ALERT (intact)" in err
    assert "restore.break-glass" in run("audit", "list")[1]


def test_a_backup_that_the_log_does_not_know_of_says_so(run, place, tmp_path, monkeypatch):
    folder = next((tmp_path / "state").glob("*/audit"))
    (folder / files.META).write_text("damaged")
    code, out, err = run("backup", place.source)
    assert code == 3
    assert "ALERT (degraded) audit-log" in err
    assert "not in the audit log" in out
    assert "PARTIAL" not in out
