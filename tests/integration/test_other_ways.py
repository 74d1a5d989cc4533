"""What is dead cannot say so: a full store, a mail server, a collector, a clock and a database, each told of by another way.

Real file systems, servers and processes: the service of a host runs, the thing dies, and what people are told is looked for where
it should arrive.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.scheduled import Site

from holdfast.runs.alerting import open_book
from holdfast.runs.schedule.records import RunState
from servers import install, loops, process
from servers.mail import mail_server
from servers.redis import redis
from servers.rsyslog import syslog_collector


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))


@pytest.mark.skipif(not loops.possible(), reason="only root mounts file systems")
def test_a_full_store(tmp_path):
    """The disk of the vault takes no more: the file channel, on another disk, tells of it; with room the next run ends it."""
    with loops.mounted("ext4", tmp_path / "disk.img", tmp_path / "disk", mib=24) as disk:
        site = Site(tmp_path, vault=disk / "vault")
        site.gate.touch()
        (site.folder / "data" / "big").write_bytes(os.urandom(4 << 20))
        ballast = disk / "ballast"
        with open(ballast, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - (64 << 10))
        with site.service():
            site.now("nightly")
            assert site.state() is RunState.FAILED
            site.eventually(lambda: "store-full" in site.codes())
            (message,) = [each for each in site.told() if "store-full" in each["codes"]]
            assert message["subjects"] == ["nightly"]
            ballast.unlink()
            site.now("nightly")
            assert site.state() is RunState.DONE
            site.eventually(lambda: any(each["kind"] == "resolved" for each in site.told()))


def test_a_dead_mail_server(tmp_path):
    """Mail goes by the post; the server dies; the same person is told by syslog at once, and the dead mail is an alert itself."""
    (tmp_path / "post").mkdir()
    (tmp_path / "rsyslog").mkdir()
    with syslog_collector(tmp_path / "rsyslog") as collector, ExitStack() as posts:
        server = posts.enter_context(mail_server(tmp_path / "post"))
        site = Site(
            tmp_path,
            f"""[channels.post]
kind = "mail"
host = "127.0.0.1"
port = {server.port}
sender = "holdfast@north"
recipients = ["it@north"]
timeout_seconds = 5
[channels.collector]
kind = "syslog"
host = "127.0.0.1"
port = {collector.port}
transport = "tcp"
[contacts.berta]
channels = ["post", "collector"]
[retry.delivery]
first_seconds = 0.1
""",
        )
        site.gate.touch()
        with site.service(), open_book() as book:

            def tries() -> set[tuple[str, bool]]:
                return {
                    (d.channel, d.delivered) for d in book.deliveries() if d.contact == "berta" and d.kind == "alert"
                }

            site.now("broken")
            site.eventually(lambda: ("post", True) in tries())
            assert len(server.letters()) == 1
            assert not collector.messages()
            posts.close()
            shutil.rmtree(site.folder / "data")
            site.now("nightly")
            site.eventually(lambda: [m for m in collector.messages() if "nightly" in m["data"] + m["text"]])
            site.eventually(lambda: {("post", False), ("collector", True)} <= tries())
            (failed,) = [record for record in book.live() if record.code == "channel-failed"]
            assert failed.subject == "post"


def test_a_dead_collector(tmp_path):
    """Who watches at the collector sees a quiet night: the host tells its own people that nothing arrives there."""
    site = Site(
        tmp_path,
        f"""[collectors.siem]
host = "127.0.0.1"
port = {process.free_port()}
protocol = "tcp"
timeout_seconds = 2
[[escalation.rows]]
safety = "untouched"
retry = "later"
""",
    )
    site.gate.touch()
    with site.service():
        site.now("nightly")
        assert site.state() is RunState.DONE, "no operation waits for a collector"
        site.eventually(lambda: "collector-away" in site.codes())
        (message,) = [each for each in site.told() if "collector-away" in each["codes"]]
        assert message["subjects"] == ["siem"]


def test_a_dead_clock(tmp_path):
    """The machine's clock goes a day ahead under the running service (by libfaketime, which nothing else of this machine sees)."""
    program = install.debian("faketime", "faketime")
    library = next(path for path in Path("/usr/lib").rglob("libfaketimeMT.so.1"))
    assert program
    site = Site(tmp_path)
    site.gate.touch()
    stamp = tmp_path / "clock"
    stamp.write_text("+0\n")
    environ = {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(stamp), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    with site.service(**environ):
        stamp.write_text("+1d\n")
        site.eventually(lambda: "clock-stepped" in site.codes())
        (message,) = [each for each in site.told() if "clock-stepped" in each["codes"]]
        assert "clock went forward by 24 h" in message["body"]


def test_a_dead_database(tmp_path):
    """An application's server dies between two runs: the second is told of, by name; when it lives again, that is over."""
    port = process.free_port()
    site = Site(
        tmp_path,
        f"""[jobs.cache]
applications = ["cache"]
[applications.cache]
connector = "redis"
host = "127.0.0.1"
port = {port}
path = "{tmp_path}/redis"
acquire_ms = 5000
hold_ms = 5000
[schedule.cache]
job = "cache"
every_seconds = "300d"
attempts = 1
[retry.application_unreachable]
attempts = 2
first_seconds = 0.1
""",
    )
    with site.service():
        with redis(tmp_path / "redis", port=port):
            site.now("cache")
            assert site.state("cache") is RunState.DONE
        site.now("cache")
        assert site.state("cache") is RunState.FAILED
        site.eventually(lambda: "application-unreachable" in site.codes())
        (message,) = [each for each in site.told() if "application-unreachable" in each["codes"]]
        assert message["subjects"] == ["cache"]
        with redis(tmp_path / "redis", port=port):
            site.now("cache")
            assert site.state("cache") is RunState.DONE
        site.eventually(lambda: any(each["kind"] == "resolved" for each in site.told()))


@pytest.mark.parametrize("book", ["alerts.sqlite", "schedule.sqlite"])
def test_a_dead_book_of_our_own(tmp_path, book):
    """Holdfast's own databases: damaged, they are set aside and begun anew, and that is told."""
    site = Site(tmp_path)
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state" / book).write_bytes(b"nonsense" * 2000)
    with site.service():
        site.eventually(lambda: {"alert-book-lost", "schedule-book-lost"} & site.codes())
    assert (tmp_path / "state" / f"{book}.damaged").exists()
