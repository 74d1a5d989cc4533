"""Every kind of channel reaches a real receiver, and what fails says so without a secret, within its time."""

from __future__ import annotations

import http.server
import io
import json
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import metadata

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from holdfast import config
from holdfast.base.environment import ManualClock, system
from holdfast.config import ChannelSettings
from holdfast.errors import ChannelDriverMissingError, ChannelError, ConfigError, RecipientMissingError, Safety
from holdfast.reliability.alerts.configured import make_desk
from holdfast.reliability.notify import Message, build, chat
from holdfast.reliability.notify.delivery import Deliveries
from holdfast.reliability.notify.registry import maker_of
from holdfast.reliability.notify.webhook import sign
from servers import process
from servers.mail import mail_server
from servers.rsyslog import syslog_collector
from servers.snmptrapd import AUTH, PRIVACY, USER, trap_receiver

ENVIRON = {"COMMUNITY": "wards", "AUTH": AUTH, "PRIVACY": PRIVACY, "KEY": "a key", "PASSWORD": "hunter2"}
MESSAGE = Message(
    kind="alert",
    site="North",
    subject="[Holdfast North] AT RISK: damage (ehr)",
    body='A pack is damaged.\nSAFE: the rest. "]\\\n',
    safety=Safety.AT_RISK,
    level=2,
    at=datetime(2026, 11, 23, 3, tzinfo=UTC),
    numbers=(12, 13),
    codes=("damage",),
    subjects=('e"h]r',),
)


def channel(kind: str, environ=None, env=None, **settings):
    return build("it", ChannelSettings(kind=kind, **settings), ENVIRON | (environ or {}), env or system())


def eventually(found: Callable[[], list]) -> list:
    deadline = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.05)
    return found()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that is its own authority."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "c.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "k.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "c.pem"), str(folder / "k.pem")


def test_mail_is_accepted_by_a_real_server(tmp_path):
    with mail_server(tmp_path) as server:
        mail = channel("mail", host="127.0.0.1", port=server.port, sender="holdfast@north", recipients=("it@north",))
        receipt = mail.send(MESSAGE)
        (letter,) = server.letters()
        assert letter["Message-ID"] == receipt.reference
        assert letter["Subject"] == MESSAGE.subject
        assert letter["To"] == "it@north"
        assert letter["Importance"] == "high"
        assert "SAFE: the rest." in letter.get_payload()
        with pytest.raises(ChannelError, match="did not take the message"):
            channel("mail", host="127.0.0.1", port=server.port, sender="a@b", recipients=("x@y",), username="u",
                    password="env:PASSWORD").send(MESSAGE)  # fmt: skip
    with pytest.raises(ChannelError, match="Connection refused"):
        mail.send(MESSAGE)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_goes_over_tls_to_a_server_that_proves_its_name(tmp_path, certificate, security):
    cert, key = certificate
    option = ("--tlscert", "--tlskey") if security == "starttls" else ("--smtpscert", "--smtpskey")
    with mail_server(tmp_path, option[0], cert, option[1], key) as server:
        said = {"host": "localhost", "port": server.port, "security": security, "sender": "a@b", "recipients": ("c@d",)}
        assert channel("mail", ca_file=cert, **said).send(MESSAGE).reference
        assert len(server.letters()) == 1
        with pytest.raises(ChannelError, match="did not take the message"):
            channel("mail", **said).send(MESSAGE)
        with pytest.raises(ChannelError, match="trusted certificates cannot be read"):
            channel("mail", ca_file=str(tmp_path / "none"), **said).send(MESSAGE)


def test_mail_to_contacts_alone_is_tested_at_a_contact(tmp_path):
    """The example of docs/alerts.md: the channel has no recipients, the contacts have addresses."""
    with mail_server(tmp_path) as server:
        text = f"""[vault]
url = "/v"
[channels.mail]
kind = "mail"
host = "127.0.0.1"
port = {server.port}
sender = "holdfast@north"
[contacts.on-call]
channels = ["mail"]
address = "on-call@north"
[alerts]
heartbeat_channel = "mail"
"""
        desk = make_desk(config.loads(text, environ={}).settings, ":memory:", system(), {})
        assert desk.test("mail").delivered
        assert desk.round().sent == 0, "only the sign of life, which is no alert"
        assert [letter["To"] for letter in server.letters()] == ["on-call@north"] * 2
        assert not desk.book.live()
        desk.book.close()
        with pytest.raises(RecipientMissingError, match="has no recipient"):
            channel("mail", host="127.0.0.1", port=server.port, sender="a@b").send(replace(MESSAGE, address=""))


def test_mail_tells_a_refusal_by_its_code_alone(tmp_path):
    with mail_server(tmp_path, "-s", "60") as server:
        mail = channel("mail", host="127.0.0.1", port=server.port, sender="secret@b", recipients=("c@d",))
        with pytest.raises(ChannelError, match="did not take the message: SMTP code 552") as caught:
            mail.send(MESSAGE)
        assert "secret" not in str(caught.value)


def test_syslog_is_parsed_by_a_real_collector(tmp_path):
    with syslog_collector(tmp_path) as collector:
        channel("syslog", host="127.0.0.1", port=collector.port).send(MESSAGE)
        channel("syslog", host="127.0.0.1", port=collector.port, transport="tcp").send(MESSAGE)
        channel("syslog", path=str(collector.socket), transport="unix").send(MESSAGE)
        eventually(lambda: collector.messages()[2:])
        for found in collector.messages():
            assert found["priority"] == str(4 * 8 + 1)
            assert found["program"] == "holdfast"
            assert found["kind"] == "holdfast-alert"
            assert found["data"] == r'[holdfast@32473 alerts="12,13" codes="damage" subjects="e\"h\]r" level="2"]'
            assert "A pack is damaged. SAFE: the rest." in found["text"]
    with pytest.raises(ChannelError, match="did not take the message"):
        channel("syslog", path=str(tmp_path / "none"), transport="unix").send(MESSAGE)
    with pytest.raises(ChannelError, match="Connection refused"):
        channel("syslog", host="127.0.0.1", port=collector.port, transport="tcp").send(MESSAGE)


def test_traps_and_informs_are_received(tmp_path):
    with trap_receiver(tmp_path) as receiver:
        trap = channel("snmp", host="127.0.0.1", port=receiver.port, community="env:COMMUNITY")
        assert trap.send(MESSAGE).reference == "trap sent"
        eventually(receiver.traps)
        said = {"host": "127.0.0.1", "port": receiver.port, "username": USER, "timeout_seconds": 5}
        inform = channel("snmp", password="env:AUTH", privacy="env:PRIVACY", **said)
        assert inform.send(MESSAGE).reference == "inform answered"
        eventually(lambda: receiver.traps()[1:])
        for line in receiver.traps():
            assert ".1.3.6.1.4.1.8072.9999.9999.1.0.1" in line
            assert '.1.3.6.1.4.1.8072.9999.9999.1.1.2 = STRING: "[Holdfast North] AT RISK: damage (ehr)"' in line
            assert '.1.3.6.1.4.1.8072.9999.9999.1.1.3 = STRING: "at risk"' in line
            assert ".1.3.6.1.4.1.8072.9999.9999.1.1.4 = INTEGER: 2" in line
        with pytest.raises(ChannelError, match=r"SNMP manager of it (gave no answer|was not reached)"):
            channel("snmp", password="env:KEY", **said | {"timeout_seconds": 3}).send(MESSAGE)


class Hook(http.server.BaseHTTPRequestHandler):
    answers: list[tuple[int, dict[str, str]]]
    came: list[tuple[dict[str, str], bytes, str]]

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.came.append((dict(self.headers), body, self.path))
        status, headers = self.answers.pop(0) if self.answers else (204, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_args):
        pass


@contextmanager
def hook(*answers: tuple[int, dict[str, str]], tls: tuple[str, str] | None = None) -> Iterator[tuple[int, list]]:
    class Handler(Hook):
        pass

    handler = Handler
    handler.answers, handler.came = list(answers), []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if tls:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1]), handler.came
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_webhook_is_signed(certificate):
    with hook() as (port, came):
        hooked = channel("webhook", {"URL": f"http://127.0.0.1:{port}/in?x=1\n"}, url="env:URL", key="env:KEY")
        assert hooked.send(MESSAGE).reference == "HTTP 204"
        headers, body, path = came[0]
        assert path == "/in?x=1"
        assert json.loads(body) == MESSAGE.record()
        second = int(headers["Holdfast-Signature"].partition(",")[0].removeprefix("t="))
        assert headers["Holdfast-Signature"] == sign(b"a key", second, body)
    with hook(tls=certificate) as (port, came):
        url = {"URL": f"https://localhost:{port}"}
        assert channel("webhook", url, url="env:URL", ca_file=certificate[0]).send(MESSAGE).reference == "HTTP 204"
        assert "Holdfast-Signature" not in came[0][0]
        with pytest.raises(ChannelError, match="was not reached"):
            channel("webhook", url, url="env:URL").send(MESSAGE)


def test_a_webhook_waits_when_told_to_and_follows_nothing():
    clock = ManualClock()
    with hook(
        (503, {"Retry-After": "7"}), (200, {}), (302, {"Location": "http://elsewhere"}), (429, {"Retry-After": "999"})
    ) as (
        port,
        came,
    ):
        hooked = channel("webhook", {"URL": f"http://127.0.0.1:{port}/"}, clock.environment(), url="env:URL")
        deliveries = Deliveries(clock.environment())
        receipt = deliveries.send("hook", hooked, MESSAGE, attempts=2, seconds=20.0)
        assert receipt.reference == "HTTP 200"
        assert clock.slept == [7.0], "as long as it was told to, and nobody else retried"
        with pytest.raises(ChannelError, match="status 302"):
            hooked.send(MESSAGE)
        with pytest.raises(ChannelError, match="status 429"):
            deliveries.send("hook", hooked, MESSAGE, attempts=2, seconds=20.0)
        assert clock.slept == [7.0], "what does not fit its budget is not waited for"
        assert len(came) == 4
    with pytest.raises(ChannelError, match="Connection refused"):
        hooked.send(MESSAGE)
    with pytest.raises(ConfigError, match="none of HTTP"):
        channel("webhook", {"URL": "ftp://x"}, url="env:URL")


def test_a_program_gets_the_message_and_nothing_secret(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_PASSPHRASE", "hunter2")
    out = tmp_path / "got"
    code = f"import os,sys; open({str(out)!r},'w').write(sys.stdin.read()+str(dict(os.environ))); print('queued 7')"
    assert channel("command", command=(sys.executable, "-c", code)).send(MESSAGE).reference == "queued 7"
    assert '"codes": ["damage"]' in out.read_text()
    assert "hunter2" not in out.read_text()
    assert channel("command", command=("true",)).send(MESSAGE).reference == "exit code 0"
    for command, why in ((("false",), "ended with code 1"), (("/nothing/there",), "cannot be started")):
        with pytest.raises(ChannelError, match=why):
            channel("command", command=command).send(MESSAGE)
    with pytest.raises(ChannelError, match="did not end within"):
        channel("command", command=("sleep", "60"), timeout_seconds=1).send(MESSAGE)


def test_a_file_is_appended_to(tmp_path):
    path = tmp_path / "alerts"
    appended = channel("file", path=str(path))
    first, second = appended.send(MESSAGE), appended.send(MESSAGE)
    assert first.reference != second.reference
    assert [json.loads(line) for line in path.read_text().splitlines()] == [MESSAGE.record()] * 2
    with pytest.raises(ChannelError, match="cannot be written"):
        channel("file", path=str(tmp_path)).send(MESSAGE)
    with pytest.raises(ChannelError, match="cannot be written: No space left"):
        channel("file", path="/dev/full").send(MESSAGE)


def test_chat_goes_through_apprise_in_a_child():
    with hook() as (port, came):
        service = channel("chat", {"URL": f"json://127.0.0.1:{port}/"}, url="env:URL")
        assert service.send(MESSAGE).reference == "accepted by the service"
        found = json.loads(came[0][1])
        assert found["title"] == MESSAGE.subject
        assert found["type"] == "failure"
    with pytest.raises(ChannelError, match="did not take the message"):
        service.send(MESSAGE)
    with pytest.raises(ConfigError, match="none that apprise knows"):
        channel("chat", {"URL": "hunter2"}, url="env:URL")


def test_what_a_receiver_takes_only_in_part_has_failed(tmp_path, monkeypatch):
    class Server:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def send_message(self, _letter):
            return {"it@north": (550, b"no such user")}

    mail = channel("mail", host="h", sender="a@b", recipients=("it@north", "c@d"))
    monkeypatch.setattr(mail, "_connect", Server)
    with pytest.raises(ChannelError, match="refused 1 recipients"):
        mail.send(replace(MESSAGE, safety=Safety.INTACT))
    monkeypatch.setattr("os.write", lambda _descriptor, line: len(line) - 1)
    with pytest.raises(ChannelError, match=r"took \d+ of \d+ bytes"):
        channel("file", path=str(tmp_path / "x")).send(MESSAGE)
    monkeypatch.undo()
    snmp = channel("snmp", host="127.0.0.1")

    async def refuse(*_args, **_kwargs):
        return TimeoutError()

    monkeypatch.setattr(snmp, "_send", refuse)
    with pytest.raises(ChannelError, match="gave no answer"):
        snmp.send(MESSAGE)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_child_of_chat_says_whether_it_was_sent(monkeypatch, capsys):
    for url, word in (("nonsense://", "refused\n"), ("json://127.0.0.1:9/", "refused\n")):
        given = json.dumps({"url": url, "title": "t", "body": "b", "kind": "info"})
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        assert chat.main() == 0
        assert capsys.readouterr().out == word
    logging.disable(logging.NOTSET)


def test_a_driver_that_is_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysnmp.hlapi.v3arch", None)
    with pytest.raises(ChannelDriverMissingError, match="needs `pysnmp`") as caught:
        channel("snmp", host="127.0.0.1").send(MESSAGE)
    assert "extra `alerts`" in str(caught.value)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ChannelDriverMissingError, match="needs `apprise`"):
        channel("chat", {"URL": "json://x"}, url="env:URL").send(MESSAGE)


def test_a_plug_in_is_found_by_its_entry_point(monkeypatch):
    point = metadata.EntryPoint("pigeon", "holdfast.reliability.notify.file:make", "holdfast.channels")
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [point])
    assert maker_of("pigeon") is maker_of("file")
    monkeypatch.setattr(metadata, "entry_points", lambda **_: [])
    with pytest.raises(ConfigError, match="no kind of channel"):
        maker_of("owl")


def test_an_unreachable_host_fails_within_its_time():
    port = process.free_port()
    for kind, more in (("mail", {"sender": "a@b", "recipients": ("c@d",)}), ("syslog", {"transport": "tcp"})):
        with pytest.raises(ChannelError):
            channel(kind, host="127.0.0.1", port=port, timeout_seconds=1, **more).send(MESSAGE)


def test_channels_by_address_need_no_resolver(tmp_path, monkeypatch):
    """Inside an air-gapped network a question to a resolver takes half a minute: none is asked."""
    real = socket.getaddrinfo
    asked: list[str] = []

    def getaddrinfo(host, *arguments, **named):
        if host and not re.fullmatch(r"[0-9.:a-f]+", host if isinstance(host, str) else host.decode()):
            asked.append(str(host))
        return real(host, *arguments, **named)

    def refuse(*arguments):
        asked.append(str(arguments))
        raise OSError("there is no resolver")

    for folder in ("post", "log", "trap"):
        (tmp_path / folder).mkdir()
    with (
        mail_server(tmp_path / "post") as post,
        syslog_collector(tmp_path / "log") as log,
        trap_receiver(tmp_path / "trap") as trap,
        hook() as (port, came),
    ):
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        for name in ("gethostbyaddr", "gethostbyname", "gethostbyname_ex", "getfqdn"):
            monkeypatch.setattr(socket, name, refuse)
        mail = {"host": "127.0.0.1", "port": post.port, "sender": "a@b", "recipients": ("c@d",)}
        assert channel("mail", **mail).send(MESSAGE).reference
        assert channel("syslog", host="127.0.0.1", port=log.port, transport="tcp").send(MESSAGE).reference
        assert channel("syslog", host="127.0.0.1", port=log.port).send(MESSAGE).reference
        assert channel("snmp", host="127.0.0.1", port=trap.port).send(MESSAGE).reference
        assert channel("webhook", {"URL": f"http://127.0.0.1:{port}/x"}, url="env:URL").send(MESSAGE).reference
        assert len(came) == 1
        assert len(post.letters()) == 1
        monkeypatch.undo()
    assert asked == []
