"""Records arrive at a real rsyslog: over TLS with certificates, TCP and UDP; what it missed while it was away arrives later."""

from __future__ import annotations

import base64
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import holdfast
from holdfast.base.environment import system
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


class Jumping:
    """A clock that goes on by a second whenever it is read: what takes many steps takes long, and the test no time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def read(self) -> float:
        self.seconds += 1
        return self.seconds

    def environment(self):
        return replace(system(), monotonic=self.read)


def dripping(listener: socket.socket, *, secured: ssl.SSLContext | None) -> None:
    """Take a connection and a record's bytes one by one; after the last, give bytes back one by one, for ever."""
    plain, _ = listener.accept()
    with suppress(OSError), secured.wrap_socket(plain, server_side=True) if secured else plain as taken:
        while taken.recv(1 << 20):
            if secured:
                taken.send(b"x")
        while True:
            taken.send(b"x")


@pytest.mark.parametrize("protocol", ["tcp", "tls"])
def test_a_collector_that_drips_is_as_good_as_away(tmp_path, made, protocol):
    """Each step is within its time; all of them together are not: the sending ends, and what was not taken is sent another time."""
    log, _ = filled(tmp_path / "a", 5)
    secured = None
    if protocol == "tls":
        secured = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        secured.load_cert_chain(made.server, made.server_key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=dripping, args=(listener,), kwargs={"secured": secured}, daemon=True)
        thread.start()
        slow = collector(listener.getsockname()[1], made, protocol=protocol, send_seconds=20.0)
        sent = send(tmp_path / "a", log.id, slow, env=Jumping().environment())
        thread.join(10)
    assert (sent.records, sent.next) == (0, 0)
    assert sent.failure
    assert protocol == "tls" or "did not take the records in time" in sent.failure
    assert cursor(tmp_path / "a", slow) == 0


def test_an_operation_gives_all_batches_together_no_more_than_that(tmp_path, made):
    log, _ = filled(tmp_path / "a", 5)
    port = process.free_port()
    sent = send(tmp_path / "a", log.id, collector(port, made), seconds_max=0.5, env=Jumping().environment())
    assert (sent.records, sent.failure) == (0, "the collector did not take the records in time")


def test_a_log_that_cannot_be_read_is_a_failure_of_the_sending(tmp_path, made):
    log, _ = filled(tmp_path / "a", 5)
    segment = tmp_path / "a" / "records-0000000000000000"
    segment.unlink()
    segment.mkdir()
    sent = send(tmp_path / "a", log.id, collector(process.free_port(), made))
    assert (sent.records, sent.failure) == (0, "the audit log cannot be read: Is a directory")
