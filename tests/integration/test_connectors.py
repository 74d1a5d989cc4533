"""SQLite, Redis, OpenLDAP and Orthanc for real: each consistent under a live writer, and brought back."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time

import pytest

from holdfast import errors
from holdfast.base.environment import system
from holdfast.config import SecretRef
from holdfast.sources.connectors import openldap, orthanc, redis, sqlite
from holdfast.sources.connectors.protocol import Connection, Member, Verdict
from holdfast.sources.consistency import consistent
from holdfast.testing.connectors import ConnectorSuite
from servers import install, loops
from servers import orthanc as orthanc_server
from servers import redis as redis_server
from servers import slapd as slapd_server


class Live:
    """A writer in a thread: `write(number)` until the end; `acknowledged` counts what is done."""

    def __init__(self, write):
        self.write, self.acknowledged, self.error = write, 0, None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.is_set():
            self.write(self.acknowledged + 1)
            self.acknowledged += 1
            time.sleep(0.002)

    def __enter__(self):
        self._thread.start()
        while self.acknowledged < 20:
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)


class Thawed(ConnectorSuite):
    """Connectors that make nobody wait."""

    def frozen(self, make):
        return False


def captured(connector):
    return consistent([Member(connector)], env=system())


# ---- SQLite


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "clinic.db"
    session = sqlite3.connect(path)
    session.execute("PRAGMA journal_mode = WAL")
    session.execute("CREATE TABLE log (id INTEGER PRIMARY KEY, said TEXT)")
    session.execute("INSERT INTO log VALUES (0, 'first')")
    session.commit()
    yield path
    session.close()


@pytest.mark.parametrize("mode", ["backup", "vacuum"])
class TestSqlite(Thawed):
    @pytest.fixture
    def make(self, database, mode):
        return lambda: sqlite.FACTORY.make(Connection("clinic", path=str(database), options={"mode": mode}), system())


@pytest.mark.parametrize("mode", ["backup", "vacuum"])
def test_a_copy_of_sqlite_has_what_was_committed_before_though_it_is_only_in_the_log(database, mode, tmp_path):
    writer = sqlite3.connect(database, check_same_thread=False, isolation_level=None, timeout=30)

    def write(number):
        writer.execute("INSERT INTO log VALUES (?, 'x')", (number,))

    connector = sqlite.FACTORY.make(Connection("clinic", path=str(database), options={"mode": mode}), system())
    with Live(write) as live, captured(connector) as group:
        (path,) = group.captures[0].paths
        counted = live.acknowledged
        copy = sqlite3.connect(os.fsdecode(path))
        rows = [row[0] for row in copy.execute("SELECT id FROM log ORDER BY id")]
        copy.close()
        (end,) = group.conclude()
    writer.close()
    assert rows == list(range(len(rows)))
    assert 21 <= len(rows) <= counted + 2
    assert ("quick-check", "ok") in end.evidence.proofs
    assert not os.path.exists(os.path.dirname(path))


def test_what_is_no_database_or_locked_is_said(database, tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)

    def check(path):
        connector = sqlite.FACTORY.make(Connection("x", path=str(path)), system())
        connector.check()
        return connector

    with pytest.raises(errors.ApplicationUnreachableError):
        check(tmp_path / "none")
    (tmp_path / "noise").write_bytes(b"no database at all, but long enough to be one" * 100)
    with pytest.raises(errors.ApplicationUnsuitableError):
        check(tmp_path / "noise")
    plain = tmp_path / "plain.db"
    holder = sqlite3.connect(plain, isolation_level=None)
    holder.execute("CREATE TABLE t (x)")
    connector = check(plain)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(errors.ApplicationBusyError):
        check(plain)
    with pytest.raises(errors.ApplicationBusyError):
        connector.capture(5)
    holder.close()
    connector.capture(5)
    with open(connector._copied, "r+b") as file:
        file.write(b"damage" * 100)
    with pytest.raises(errors.CaptureError, match="check"):
        connector.conclude()
    connector.close()
    with pytest.raises(errors.ConfigError):
        sqlite.FACTORY.make(Connection("x", path="/p", options={"mode": "copy"}), system())
    assert "setfacl" in sqlite.FACTORY.grants(Connection("x"))


# ---- Redis


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    with redis_server.redis(tmp_path_factory.mktemp("redis") / "data", "--appendonly", "yes") as found:
        assert b"+OK" in found.call(*redis.FACTORY.grants(Connection("cache")).replace("PASSWORD", "geheim").split())
        yield found


@pytest.fixture
def cache_at(cache, tmp_path):
    (tmp_path / "secret").write_text("geheim")
    return Connection("cache", port=cache.port, user="holdfast", password=SecretRef("file", str(tmp_path / "secret")))


class TestRedis(Thawed):
    @pytest.fixture
    def make(self, cache_at):
        return lambda: redis.FACTORY.make(cache_at, system())


def test_a_save_of_redis_has_what_was_acknowledged_before_and_starts_again(cache, cache_at, tmp_path):
    connector = redis.FACTORY.make(cache_at, system())
    with Live(lambda number: cache.call("SET", f"live:{number}", "x")) as live:
        before = live.acknowledged
        with captured(connector) as group:
            (path,) = group.captures[0].paths
            subprocess.run(["cp", "-a", os.fsdecode(path), str(tmp_path / "again")], check=True, timeout=60)
            (end,) = group.conclude()
    assert end.evidence.verdict is Verdict.APPLICATION
    assert cache.call("CONFIG", "GET", "auto-aof-rewrite-percentage").endswith(b"$3\r\n100\r\n")
    assert not os.path.exists(path)
    for options in (("--appendonly", "no"), ("--appendonly", "yes")):
        with redis_server.redis(tmp_path / "again", *options) as other:
            time.sleep(0.3)
            assert other.call("EXISTS", f"live:{before}") == b":1\r\n", options


def test_what_is_wrong_with_redis_is_said(cache, cache_at, tmp_path):
    with pytest.raises(errors.ApplicationUnreachableError):
        redis.FACTORY.make(Connection("cache", port=1), system()).check()
    with pytest.raises(errors.ApplicationUnreachableError):
        redis.FACTORY.make(Connection("cache", host="/nowhere"), system()).check()
    (tmp_path / "wrong").write_text("wrong")
    wrong = Connection("cache", port=cache.port, user="holdfast", password=SecretRef("file", str(tmp_path / "wrong")))
    with pytest.raises(errors.ApplicationAccessError):
        redis.FACTORY.make(wrong, system()).check()
    cache.call("ACL", "SETUSER", "poor", "on", ">geheim", "+auth", "+info")
    poor = Connection("cache", port=cache.port, user="poor", password=cache_at.password)
    refused = redis.FACTORY.make(poor, system())
    with pytest.raises(errors.ApplicationAccessError, match="CONFIG"):
        refused.check()
    refused.close()
    connector = redis.FACTORY.make(cache_at, system())
    connector.capture(60)
    with open(connector._copied, "r+b") as file:
        file.write(b"damage")
    with pytest.raises(errors.CaptureError, match="redis-check-rdb"):
        connector.conclude()
    connector._run = "another"
    with pytest.raises(errors.ApplicationChangedError, match="restarted"):
        connector.conclude()
    connector.close()


# ---- OpenLDAP


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    with slapd_server.slapd(tmp_path_factory.mktemp("slapd")) as found:
        yield found


class TestOpenLdap(Thawed):
    @pytest.fixture
    def make(self, directory):
        return lambda: openldap.FACTORY.make(Connection("staff", path=str(directory.config)), system())


def test_a_directory_comes_back_from_its_streams(directory, tmp_path):
    connector = openldap.FACTORY.make(Connection("staff", path=str(directory.config)), system())
    first = 100
    with Live(lambda number: directory.add(slapd_server.person(first + number))) as live:
        before = live.acknowledged
        with captured(connector) as group:
            parts = [
                subprocess.run(row.command, capture_output=True, check=True, timeout=60).stdout
                for row in group.captures[0].streams
            ]
            (end,) = group.conclude()
    assert end.evidence.verdict is Verdict.APPLICATION
    assert b"entryUUID" in parts[1]
    for name in ("slapd.d", "data"):
        (tmp_path / name).mkdir()
    add = install.debian("slapadd", "slapd")
    parts[0] = parts[0].replace(str(directory.root).encode(), str(tmp_path).encode())
    for number, text in enumerate(parts):
        command = [add, "-n", str(number), "-F", str(tmp_path / "slapd.d")]
        subprocess.run(command, input=text, check=True, capture_output=True, timeout=60)
    found = subprocess.run(
        ["/usr/sbin/slapcat", "-n", "1", "-F", str(tmp_path / "slapd.d")], capture_output=True, check=True, timeout=60
    ).stdout
    assert f"dn: cn=p{first + before},".encode() in found


def test_what_is_wrong_with_a_directory_is_said(tmp_path):
    with pytest.raises(errors.ApplicationUnreachableError):
        openldap.FACTORY.make(Connection("x", path=str(tmp_path / "none")), system()).check()
    with pytest.raises(errors.CaptureError, match="configuration"):
        openldap.FACTORY.make(Connection("x", path=str(tmp_path)), system()).check()
    assert "setfacl" in openldap.FACTORY.grants(Connection("x"))


# ---- Orthanc


@pytest.fixture(scope="module")
def imaging(tmp_path_factory):
    with orthanc_server.orthanc(tmp_path_factory.mktemp("orthanc")) as found:
        for number in range(12):
            found.store(number)
        yield found


class TestOrthancFiles(Thawed):
    @pytest.fixture
    def make(self, imaging):
        return lambda: orthanc.FACTORY.make(Connection("pacs", url=imaging.url, path=str(imaging.storage)), system())


def test_the_files_of_an_imaging_store_fill_an_empty_one(imaging, tmp_path):
    connector = orthanc.FACTORY.make(Connection("pacs", url=imaging.url, path=str(imaging.storage)), system())
    with captured(connector) as group:
        imaging.store(50)
        imaging.delete(imaging.store(51))
        imaging.delete(imaging.get("/instances")[0])
        (end,) = group.conclude()
    proofs = dict(end.evidence.proofs)
    # Orthanc takes a deleted object's arrival out of its feed.
    assert (proofs["new"], proofs["verify-md5"], proofs["deleted"]) == ("1", "12", "1")
    assert "deleted meanwhile" in " ".join(end.evidence.notes)
    known = set(imaging.get("/instances"))
    with orthanc_server.orthanc(tmp_path / "empty") as other:
        for path in imaging.storage.rglob("*"):
            data = path.read_bytes() if path.is_file() and not path.name.startswith("index") else b""
            if data[128:132] == b"DICM":
                other.post("/instances", data)
        assert set(other.get("/instances")) >= known


@pytest.mark.skipif(not loops.possible(), reason="only root mounts file systems")
def test_index_and_storage_of_one_moment_start_as_another_orthanc(tmp_path):
    """Under uploads: every object acknowledged before the snapshot is there, and matches its checksum."""
    with loops.mounted("btrfs", tmp_path / "image", tmp_path / "fs") as place:
        with orthanc_server.orthanc(tmp_path / "first", place / "storage") as server:
            done = []
            connector = orthanc.FACTORY.make(
                Connection(
                    "pacs", url=server.url, path=str(place / "storage"), options={"mode": "snapshot", "volume": "btrfs"}
                ),
                system(),
            )
            with Live(lambda number: done.append(server.store(number))):
                before = list(done)
                with captured(connector) as group:
                    (path,) = group.captures[0].paths
                    subprocess.run(["cp", "-a", os.fsdecode(path), str(tmp_path / "copy")], check=True, timeout=60)
                    (end,) = group.conclude()
        assert end.evidence.verdict is Verdict.CRASH
        assert not os.path.exists(path)
        with orthanc_server.orthanc(tmp_path / "second", tmp_path / "copy") as other:
            assert set(before) <= set(other.get("/instances"))
            for instance in before:
                other.post(f"/instances/{instance}/attachments/dicom/verify-md5", b"")


def test_what_is_wrong_with_an_imaging_store_is_said(imaging, tmp_path):
    def check(**settings):
        orthanc.FACTORY.make(
            Connection("pacs", **{"url": imaging.url, "path": str(imaging.storage), **settings}), system()
        ).check()

    with pytest.raises(errors.ApplicationUnreachableError):
        check(url="http://127.0.0.1:1")
    with pytest.raises(errors.CaptureError, match="404"):
        check(url=f"{imaging.url}/nothing")
    with pytest.raises(errors.ApplicationUnsuitableError):
        check(path=str(tmp_path / "none"))
    with pytest.raises(errors.ConfigError) as caught:
        check(url="ftp://x", options={"mode": "magic", "sample": "all"})
    assert len(caught.value.problems) == 3
    connector = orthanc.FACTORY.make(Connection("pacs", url=imaging.url, path=str(imaging.storage)), system())
    connector._cursor = 10**9
    with pytest.raises(errors.ApplicationChangedError):
        connector.conclude()
