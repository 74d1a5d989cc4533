"""The daily digest arrives by a real mail server, and holds no path."""

from __future__ import annotations

import json
import re

import pytest

import holdfast
from holdfast.base.environment import system
from holdfast.cli import main
from holdfast.runs.alerting import open_book
from holdfast.runs.digest import digest_text
from holdfast.runs.schedule.kinds import arguments_of
from holdfast.runs.schedule.records import Entry
from servers.mail import mail_server
from unit.monitoring.reports import full_report


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "secret-name").write_text("x")
    with holdfast.Vault.create(tmp_path / "vault", key_file=tmp_path / "key") as vault:
        vault.backup([tmp_path / "data"], label="ehr")
    return tmp_path


def written(site, port: int, more: str = "") -> str:
    path = site / "site.toml"
    path.write_text(
        f"""[vault]
url = "{site}/vault"
key_file = "file:{site}/key"
[jobs.ehr]
paths = ["{site}/data"]
[jobs.lab]
paths = ["{site}/lab"]
[channels.post]
kind = "mail"
host = "127.0.0.1"
port = {port}
sender = "holdfast@north"
recipients = ["it@north"]
[contacts.it]
channels = ["post"]
[alerts]
site = "North"
digest_contacts = ["it"]
quiet_hours = ["00:00-23:59"]
[retry.delivery]
attempts = 1
[schedule.morning]
kind = "digest"
cron = "0 6 * * *"
{more}"""
    )
    return str(path)


def test_the_digest_comes_by_mail_and_what_reaches_nobody_fails(site, capsys):
    today = system().now().date().isoformat()
    with mail_server(site) as server:
        path = written(site, server.port)
        assert main(["audit", "daily", "--send", "--day", today, "--config", path, "--json"]) == 0
        (letter,) = server.letters()
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (record["type"], record["kind"], record["delivered"], record["contact"]) == (
        "delivery",
        "digest",
        True,
        "it",
    )
    assert letter["Subject"] == f"[Holdfast North] {today}: attention"
    text = letter.get_payload(decode=True).decode()
    for said in (
        "2 sources, 1 of them not as they should be",
        "lab: never, never",
        f"audit of {today} (UTC)",
        "backup",
    ):
        assert said in text, text
    assert re.search(r"backup +success +1", text)
    assert "secret-name" not in text
    assert str(site) not in text
    assert main(["audit", "daily", "--send", "--day", today, "--config", path]) == 1, "the server is gone"
    assert "1 of 1 contacts could not be sent the digest" in capsys.readouterr().err
    with open_book() as book:
        assert [d.delivered for d in book.deliveries() if d.kind == "digest"] == [False, True]


def test_a_schedule_sends_it_and_nobody_to_send_it_to_is_refused(site, capsys):
    assert arguments_of(Entry("morning", "digest")) == ["audit", "daily", "--send"]
    path = written(site, 1)
    text = (site / "site.toml").read_text()
    (site / "site.toml").write_text(text.replace('digest_contacts = ["it"]', 'digest_contacts = ["who"]'))
    assert main(["config", "check", "--config", path]) == 2
    assert "there is no contact who" in capsys.readouterr().err
    (site / "site.toml").write_text(text.replace('digest_contacts = ["it"]', ""))
    assert main(["config", "check", "--config", path]) == 2
    assert "nobody would get it" in capsys.readouterr().err
    (site / "site.toml").write_text(text[: text.index("[schedule.morning]")].replace('digest_contacts = ["it"]', ""))
    assert main(["audit", "daily", "--send", "--config", path]) == 2
    assert "nobody is named that gets the digest" in capsys.readouterr().err


def test_a_long_list_is_cut_and_said_to_be():
    dangers = tuple(f"copies-missing class-{number}" for number in range(30))
    text = digest_text(full_report(dangers=dangers), "the audit\n")
    assert "… and 10 more: `holdfast status`" in text
    assert "pacs: missed, newest good backup 30 h 0 min old" in text
    assert text.endswith("the audit\n")
