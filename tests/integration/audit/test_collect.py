"""Records arrive at a real rsyslog: over TLS with certificates, TCP and UDP; what it missed while it was away arrives later."""

from __future__ import annotations

import base64
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import holdfast
from holdfast.reliability.audit.collect import Collector, cursor, send
from servers import process
from servers.rsyslog_tls import audit_collector, certificates

from .logs import filled, record


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return certificates(tmp_path_factory.mktemp("certificates"))


def collector(port: int, made, **more) -> Collector:
    shape: dict[str, Any] = {
        "ca_file": str(made.ca),
        "certificate": str(made.client),
        "key": str(made.client_key),
        "timeout_seconds": 5.0,
        "site": "st-mary",
    }
    return Collector(name="siem", host="localhost", port=port, **(shape | more))


def numbers(messages) -> list[int]:
    found = []
    for message in messages:
        tree = ET.fromstring(message["text"].lstrip())  # noqa: S314 - our own messages
        details = {each.get("type"): each.get("value") for each in tree.iter("ParticipantObjectDetail")}

        found.append(int(base64.b64decode(details["audit-record"] or "")))
    return found


def test_records_arrive_by_tls_tcp_and_udp_as_the_standards_say(tmp_path, made):
    log, _ = filled(tmp_path / "a", 12)
    log.append([record(12, kind="open.denied", phase="event", outcome="denied", code="key-wrong")])
    (tmp_path / "rsyslog").mkdir()
    with audit_collector(tmp_path / "rsyslog", made) as server:
        sent = send(tmp_path / "a", log.id, collector(server.tls_port, made))
        assert (sent.records, sent.next, sent.failure) == (13, 13, "")
        messages = server.messages(13)
        assert numbers(messages) == list(range(13))
        assert {message["msgid"] for message in messages} == {"DICOM+RFC3881"}
        assert [message["pri"] for message in messages] == ["85"] * 12 + ["84"]
        assert {(message["program"], message["host"], message["version"]) for message in messages} == {
            ("holdfast", "ward7", "1")
        }
        tree = ET.fromstring(messages[0]["text"].lstrip())  # noqa: S314 - our own messages
        assert tree.tag == "AuditMessage"
        assert tree.find("EventIdentification/EventID").get("csd-code") == "110106"
        assert tree.find("EventIdentification").get("EventOutcomeIndicator") == "0"
        assert tree.find("AuditSourceIdentification").get("AuditSourceID") == "st-mary"
        assert send(tmp_path / "a", log.id, collector(server.tls_port, made)).records == 0
        for protocol, port in (("tcp", server.tcp_port), ("udp", server.udp_port)):
            other = collector(port, made, protocol=protocol)
            (tmp_path / "a" / "sent-siem").unlink()
            assert send(tmp_path / "a", log.id, other).failure == ""
        assert len(server.messages(39)) == 39


def test_what_it_missed_while_it_was_away_arrives_later(tmp_path, made):
    log, _ = filled(tmp_path / "a", 3)
    ports = (process.free_port(), process.free_port(), process.free_port())
    where = collector(ports[0], made)
    for folder, expected in (("one", [0, 1, 2]), ("two", [3, 4])):
        assert send(tmp_path / "a", log.id, where).failure
        (tmp_path / folder).mkdir()
        with audit_collector(tmp_path / folder, made, ports) as server:
            assert send(tmp_path / "a", log.id, where).failure == ""
            assert numbers(server.messages(len(expected))) == expected
        log.append([record(log.position().size), record(log.position().size + 1)])
        assert send(tmp_path / "a", log.id, where).failure
    assert cursor(tmp_path / "a", where) == 5


def test_a_collector_that_is_not_who_it_says_or_is_not_there_gets_nothing(tmp_path, made):
    log, _ = filled(tmp_path / "a", 3)
    (tmp_path / "rsyslog").mkdir()
    with audit_collector(tmp_path / "rsyslog", made) as server:
        stranger = certificates(tmp_path / "other")
        sent = send(tmp_path / "a", log.id, collector(server.tls_port, made, ca_file=str(stranger.ca)))
        assert "certificate is not one" in sent.failure
        assert cursor(tmp_path / "a", collector(server.tls_port, made)) == 0
        unknown = collector(server.tls_port, made, certificate=str(stranger.client), key=str(stranger.client_key))
        assert send(tmp_path / "a", log.id, unknown).failure
        assert server.messages(0) == []
    assert send(tmp_path / "a", log.id, collector(process.free_port(), made)).failure == "Connection refused"


def test_an_operation_sends_what_it_recorded_and_is_not_held_up_by_an_outage(place, made, tmp_path):
    (tmp_path / "rsyslog").mkdir()
    place.source.mkdir()
    place.create().close()
    with audit_collector(tmp_path / "rsyslog", made) as server:
        path = place.root / "site.toml"
        path.write_text(
            f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.key}"\n[jobs.ehr]\npaths = ["{place.source}"]\n'
            f'[collectors.siem]\nhost = "localhost"\nport = {server.tls_port}\nca_file = "{made.ca}"\n'
            f'certificate = "{made.client}"\nkey = "file:{made.client_key}"\n'
        )
        with holdfast.Vault.open(path) as vault:
            vault.backup("ehr")
            assert len(server.messages(4)) >= 4
    heard = []
    with holdfast.Vault.open(path) as vault:
        assert vault.backup("ehr", events=heard.append).exit_code == 0
        assert [event.code for event in heard if getattr(event, "code", "") == "collector-away"] == ["collector-away"]
        heard.clear()
        vault.backup("ehr", events=heard.append)
        (away,) = [event for event in heard if getattr(event, "code", "") == "collector-away"]
        assert isinstance(away, holdfast.Alert)
        assert "it was away a moment ago" in away.text, "it asked again at once"
