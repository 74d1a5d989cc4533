"""Every command with `--json` prints JSON lines of documented shapes and nothing else, or refuses it: never is it without effect.

Real commands over one small vault and configuration, in an order that leaves each something to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import click
import pytest

import holdfast
from holdfast.base.events import Alert
from holdfast.cli import main, shapes
from holdfast.cli.main import cli
from holdfast.errors import Safety
from holdfast.runs.alerting import open_book

CONFIG = """[vault]
url = "{root}/vault"
key_file = "file:{root}/key"
[state]
[jobs.ehr]
paths = ["{root}/data"]
[services.ehr]
source = "ehr"
rto = "4h"
[schedule.nightly]
job = "ehr"
cron = "0 2 * * *"
[channels.log]
kind = "file"
path = "{root}/alerts"
[contacts.anna]
channels = ["log"]
[alerts]
digest_contacts = ["anna"]
[monitoring]
textfile = "{root}/m.prom"
"""

SPOKEN: tuple[tuple[str, ...], ...] = (
    ("init", "--vault", "{root}/other", "--key-file", "{root}/other-key"),
    ("backup", "--job", "ehr"), ("backup", "--job", "ehr", "--dry-run"),
    ("snapshots",), ("ls", "latest"), ("find", "*"), ("restore", "latest", "--to", "{root}/r"),
    ("mount", "nothing", "{root}/none"), ("host", "inventory", "latest"),
    ("host", "restore", "latest", "--into", "{root}/none", "--dry-run"),
    ("hold", "set", "latest", "--reason", "x"), ("hold", "release", "latest", "--reason", "x"),
    ("findings", "lock"), ("findings", "release", "latest", "--reason", "x"),
    ("check",), ("check", "--no-key"), ("verify",), ("repair",), ("repair", "index"), ("classify", "{root}/data"), ("migrate",),
    ("policy", "check"), ("policy", "explain", "phi"), ("policy", "show"),
    ("courier", "export", "{root}/medium"), ("courier", "import", "{root}/medium", "--into", "{root}/far"),
    ("courier", "receipt", "{root}/none"), ("courier", "status"),
    ("stats",), ("catalog", "rebuild"), ("discover", "--composite", "openemr"),
    ("connectors", "check", "none"), ("connectors", "grants", "postgresql"), ("connectors", "list"),
    ("recover", "none", "--to", "{root}/rec"),
    ("wal", "get", "a", "{root}/b", "--spool", "{root}/spool"), ("wal", "push", "{root}/none", "--spool", "{root}/spool"),
    ("wal", "receive", "none"), ("wal", "status", "--spool", "{root}/spool"), ("wal", "store", "none"),
    ("key", "add-passphrase", "--new", "file:{root}/phrase"), ("key", "add-service", "pkcs11:none"),
    ("key", "issue", "auditor", "a", "--to", "{root}/a.credential"), ("key", "kit", "--out", "{root}/kit"), ("key", "list"),
    ("key", "rehearse", "--kit", "{root}/kit"), ("key", "retention"), ("key", "revoke", "nobody"), ("key", "revoke-writer", "nobody"),
    ("key", "rotate", "class", "public"), ("key", "rotate", "root"), ("key", "rotate", "writer", "x", "--out", "{root}/w"),
    ("key", "shred", "public", "0", "--reason", "x"), ("key", "certificate", "public", "0"),
    ("key", "destroyed", "none", "--statement", "x"), ("key", "split", "--threshold", "2", "--of", "3", "--out", "{root}/sheets"),
    ("enroll", "create", "ward7", "--out", "{root}/ward7"), ("enroll", "join", "{root}/ward7", "--out", "{root}/ward7.credential"),
    ("schedule", "list"), ("schedule", "next"), ("schedule", "now", "none"), ("schedule", "unit"),
    ("status",), ("alerts", "show", "1"), ("alerts", "ack", "1", "--by", "anna"),
    ("alerts", "key", "--out", "{root}/anna.key"),
    ("alerts", "reply", "1-3f9a2c01", "--by", "anna", "--key", "{root}/anna.key", "--out", "{root}/1.reply"),
    ("alerts", "receive", "{root}/1.reply"), ("alerts", "list"), ("alerts", "test", "log"), ("alerts", "resolve", "1", "--by", "anna"),
    ("approval", "key", "--out", "{root}/p.key", "--public", "{root}/p.pub"), ("approval", "policy"),
    ("approval", "sign", "{root}/none", "--key", "{root}/p.key", "--name", "p"),
    ("audit", "daily"), ("audit", "daily", "--send"), ("audit", "export", "--out", "{root}/e.ndjson"),
    ("audit", "export", "--format", "DICOM", "--out", "{root}/e.xml"), ("audit", "head"), ("audit", "list"),
    ("audit", "prove", "0", "--out", "{root}/proof"), ("audit", "send"), ("audit", "verify"), ("audit", "renew", "--reason", "x"),
    ("drill", "plan", "ehr"), ("drill", "run", "ehr"), ("drill", "list"), ("drill", "scenarios"), ("drill", "show"),
    ("drill", "sweep"),
    ("report", "drill", "--out", "{root}/d.json"), ("report", "runbook", "ehr", "--out", "{root}/r.html"), ("report", "compliance"),
    ("report", "compliance", "--out", "{root}/c.json"), ("report", "verify", "{root}/d.json"),
    ("pause",), ("resume",),
    ("config", "check"), ("config", "explain", "vault.url"), ("config", "sample"), ("config", "show"),
    ("explain",), ("explain", "rpo-missed"), ("explain", "damage"), ("explain", "none"),
    ("forget", "--keep-last", "1"), ("prune",), ("demo", "{root}/data"),
)  # fmt: skip
"""Commands that must say something."""
LISTINGS = (
    ("findings", "list"), ("policy", "exposed"), ("discover", "{root}/data"), ("diff", "latest", "latest"), ("key", "retention"),
    ("limits",), ("limits", "--threads", "1"),
)  # fmt: skip
"""Those that have nothing to list here."""
FAIL = frozenset({
    "mount", "host inventory", "host restore", "findings release", "migrate", "courier receipt", "connectors check", "recover",
    "wal get", "wal push", "wal receive", "wal store", "key add-service", "key revoke", "key revoke-writer", "key rotate writer",
    "key destroyed", "schedule now", "alerts receive", "approval sign", "audit send", "explain none", "demo",
})  # fmt: skip
"""What says an error here, as the thing that it is about is not there; all others answer."""
REFUSED = (("status", "--check"), ("status", "--metrics"))
"""Forms of an answer that are another format."""
ELSEWHERE = {"schedule run"}
"""Runs until it is stopped; its log has a setting of its own, and tests/integration/test_schedule.py reads it."""


def leaves(command: click.Command, name: str, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            assert found is not None
            yield from leaves(found, f"{name} {child}".strip(), context)
    else:
        yield name, command


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("json")
    (root / "data").mkdir()
    (root / "data" / "a.hl7").write_text("MSH|")
    (root / "medium").mkdir()
    (root / "phrase").write_text("a passphrase of several words")
    (root / "site.toml").write_text(CONFIG.format(root=root).replace("[state]\n", ""))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLDFAST_STATE", str(root / "state"))
        patch.setenv("HOLDFAST_CONFIG", str(root / "site.toml"))
        holdfast.Vault.create(root / "vault", key_file=root / "key").close()
        with open_book() as book:
            book.report(Alert("rpo-missed", "ehr", "too old", Safety.DEGRADED))
        yield root


def test_every_command_is_tried(root):
    tried = [*SPOKEN, *LISTINGS, *REFUSED]
    with_json = {
        name
        for name, command in leaves(cli, "", click.Context(cli))
        if any("--json" in parameter.opts for parameter in command.params)
    }
    named = {name for name in with_json for words in tried if words[: len(name.split())] == tuple(name.split())}
    assert with_json - named == ELSEWHERE


def fault(words: tuple[str, ...], code: int, printed: str) -> str:
    """Return what is wrong with what a command printed."""
    try:
        rows = [json.loads(row) for row in printed.splitlines()]
    except ValueError:
        return f"it printed something else than JSON: {printed[:80]!r}"
    wrong = [problem for row in rows for problem in shapes.problems(row)]
    if wrong or words in LISTINGS:
        return ", ".join(wrong)
    if not rows:
        return "it was asked for JSON and said nothing"
    if words in REFUSED:
        return "" if (code, rows[-1].get("code")) == (2, "usage") else f"it was not refused: {rows[-1]}"
    fails = any(words[: len(name.split())] == tuple(name.split()) for name in FAIL)
    return "" if fails == (rows[-1]["type"] == "error") else f"it ended with {rows[-1]}"


def test_json_is_json_lines_or_refused(root, capsys, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(root / "state"))
    monkeypatch.setenv("HOLDFAST_CONFIG", str(root / "site.toml"))
    faults = {}
    for words in (*SPOKEN, *LISTINGS, *REFUSED):
        code = main([word.format(root=root) for word in words] + ["--json"])
        if found := fault(words, code, capsys.readouterr().out):
            faults[" ".join(words)] = found
    assert faults == {}
