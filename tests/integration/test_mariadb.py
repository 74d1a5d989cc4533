"""MariaDB for real: held still by the backup stages around a btrfs snapshot, dumped as a stream, and brought back to moments."""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest

from holdfast import errors
from holdfast.base.environment import system
from holdfast.config import SecretRef
from holdfast.sources.connectors.mariadb import FACTORY
from holdfast.sources.connectors.mariadb_recovery import Position, plan_replay, replay, settle
from holdfast.sources.connectors.protocol import Budgets, Connection, Member, Verdict
from holdfast.sources.connectors.volume import FACTORY as VOLUMES
from holdfast.sources.consistency import consistent
from holdfast.sources.programs import SystemPrograms
from holdfast.testing.connectors import ConnectorSuite
from servers import loops, mariadb

pytestmark = pytest.mark.skipif(not loops.possible(), reason="only root mounts file systems")
SECRET = "quo\"ted'\\pass"
SEED = 20261125
WIDE = Budgets(acquire_seconds=10, hold_seconds=10)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server whose data folder lies on btrfs, with an account that has the printed rights and no more."""
    root = tmp_path_factory.mktemp("mariadb")
    with (
        loops.mounted("btrfs", root / "image", root / "fs", mib=1500) as place,
        mariadb.mariadb(place / "server") as found,
    ):
        literal = SECRET.replace("\\", "\\\\").replace("'", "\\'")
        found.run(f"CREATE USER bk@localhost IDENTIFIED BY '{literal}'", *grants("snapshot"))
        found.run("CREATE DATABASE ehr", "CREATE TABLE ehr.log (id INT PRIMARY KEY, said VARCHAR(40)) ENGINE=InnoDB")
        yield found


def grants(mode):
    text = FACTORY.grants(Connection("ehr", user="bk", options={"mode": mode}))
    return [statement for statement in text.split(";") if statement.strip().startswith("GRANT")]


@pytest.fixture
def connection(server, tmp_path):
    (tmp_path / "secret").write_text(SECRET + "\n")

    def made(**options):
        secret = SecretRef("file", str(tmp_path / "secret"))
        given = {"volume": "btrfs", **options}
        return Connection("ehr", host=str(server.socket), user="bk", password=secret, options=given)

    return made


class TestMariaDb(ConnectorSuite):
    @pytest.fixture
    def make(self, server, connection):
        self.server = server
        return lambda: FACTORY.make(connection(), system())

    def frozen(self, make):
        """A commit that does not wait is refused while it stands still."""
        session = self.server.connect(read_timeout=20)
        try:
            with session.cursor() as cursor:
                cursor.execute("SET SESSION lock_wait_timeout = 0")
                try:
                    cursor.execute("REPLACE INTO ehr.log VALUES (-1, 'probe')")
                except session.OperationalError as error:
                    return error.args[0] == 1205
                return False
        finally:
            session.close()


class Writer:
    """Commits numbered rows, and knows when each was begun and acknowledged, and the longest wait."""

    def __init__(self, server, first):
        self.server, self.next = server, first
        self.began, self.acknowledged = {}, {}
        self.stall = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        session = self.server.connect()
        with session.cursor() as cursor:
            while not self._stop.is_set():
                self.began[self.next] = time.time()
                cursor.execute("INSERT INTO ehr.log VALUES (%s, 'x')", (self.next,))
                self.acknowledged[self.next] = time.time()
                self.stall = max(self.stall, self.acknowledged[self.next] - self.began[self.next])
                self.next += 1
                time.sleep(0.002)
        session.close()

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(60)


def rows_of(server):
    session = server.connect()
    with session.cursor() as cursor:
        cursor.execute("CHECK TABLE ehr.log")
        assert cursor.fetchall()[-1][-1] == "OK"
        cursor.execute("SELECT id FROM ehr.log WHERE id > 0")
        found = {row[0] for row in cursor.fetchall()}
    session.close()
    return found


@contextmanager
def captured(connector, tmp_path):
    with consistent([Member(connector, WIDE)], env=system(), folder=tmp_path / "watchdog") as group:
        yield group


def restored(path, to):
    """Copy the captured data folder, and settle it as a restore does."""
    to.mkdir(parents=True)
    subprocess.run(["cp", "-a", "--reflink=auto", f"{os.fsdecode(path)}/.", str(to / "data")], check=True, timeout=120)
    (to / "binlog").mkdir()
    settle(
        SystemPrograms(), mariadb.server(), os.fsencode(to / "data"), *mariadb.as_user(), "--innodb-log-file-size=32M"
    )
    return to


def test_what_was_captured_starts_and_has_every_commit_acknowledged_before(server, connection, tmp_path):
    with Writer(server, 1_000_000) as writer:
        while len(writer.acknowledged) < 50:
            time.sleep(0.01)
        before = set(writer.acknowledged)
        with captured(FACTORY.make(connection(), system()), tmp_path) as group:
            after = writer.next
            restored(group.captures[0].paths[0], tmp_path / "again")
            (end,) = group.conclude()
    evidence = end.evidence
    assert evidence.verdict is Verdict.APPLICATION
    (beside,) = end.beside
    assert beside.path.endswith(b"/data/holdfast_binlog_info")
    proofs = dict(evidence.proofs)
    assert Position.read(beside.content) == Position(proofs["binlog-file"], int(proofs["binlog-position"]))
    assert dict(evidence.facts) == {"mode": "snapshot", "role": "primary", "binlog": "true"}
    with mariadb.serving(tmp_path / "again") as other:
        found = {row for row in rows_of(other) if row >= 1_000_000}
    assert before <= found
    assert max(found) <= after


def test_every_moment_comes_back_from_a_capture_and_the_binary_log(server, connection, tmp_path):
    """Random whole seconds under a continuous writer: all acknowledged before are there, none begun at or after it is."""
    with Writer(server, 2_000_000) as writer:
        time.sleep(0.3)
        with captured(FACTORY.make(connection(), system()), tmp_path) as group:
            base = restored(group.captures[0].paths[0], tmp_path / "base")
            (end,) = group.conclude()
        start = int(time.time()) + 1
        while time.time() < start + 6.5:
            time.sleep(0.1)
            if int(time.time()) == start + 3:
                server.run("FLUSH BINARY LOGS")
                time.sleep(1)
    position = Position.read(end.beside[0].content)
    for number, second in enumerate(random.Random(SEED).sample(range(start + 1, start + 7), 5)):
        place = tmp_path / f"target{number}"
        subprocess.run(["cp", "-a", str(base), str(place)], check=True, timeout=60)
        moment = datetime.fromtimestamp(second, UTC)
        plan = plan_replay(map(os.fsencode, os.listdir(server.binlogs)), position, until=moment)
        with mariadb.serving(place) as other:
            replay(
                plan, os.fsencode(server.binlogs), ["mariadb", "--no-defaults", f"--socket={other.socket}", "-uroot"]
            )
            found = {row for row in rows_of(other) if row >= 2_000_000}
        assert {row for row, when in writer.acknowledged.items() if when < second} <= found
        assert not found & {row for row, when in writer.began.items() if when >= second}


def test_a_dump_is_a_stream_that_another_server_takes(server, connection, tmp_path):
    server.run(*grants("dump"))
    connector = FACTORY.make(connection(mode="dump", databases="ehr"), system())
    with Writer(server, 3_000_000) as writer:
        while len(writer.acknowledged) < 20:
            time.sleep(0.01)
        before = set(writer.acknowledged)
        with captured(connector, tmp_path) as group:
            (stream,) = group.captures[0].streams
            assert not any(SECRET in word for word in stream.command)
            dump = subprocess.run(stream.command, capture_output=True, timeout=60, check=True).stdout
            (end,) = group.conclude()
    assert end.evidence.verdict is Verdict.APPLICATION
    assert end.evidence.hold_ms == 0
    assert not os.path.exists(stream.command[1].partition("=")[2])
    assert b"CHANGE MASTER TO MASTER_LOG_FILE" in dump
    with mariadb.mariadb(tmp_path / "other") as other:
        client = ["mariadb", "--no-defaults", f"--socket={other.socket}", "-uroot"]
        subprocess.run(client, input=dump, timeout=60, check=True)
        assert before <= rows_of(other)


def test_tables_without_transactions_spoil_a_dump_and_say_so(server, connection, tmp_path):
    server.run(*grants("dump"), "CREATE TABLE ehr.old (id INT) ENGINE=MyISAM")
    try:
        with captured(FACTORY.make(connection(mode="dump"), system()), tmp_path) as group:
            (end,) = group.conclude()
    finally:
        server.run("DROP TABLE ehr.old")
    assert end.evidence.verdict is Verdict.NONE
    assert "1 tables have no transactions" in " ".join(end.evidence.notes)


def test_the_server_s_own_tool_runs_only_when_its_stall_is_accepted(server, connection, tmp_path):
    with pytest.raises(errors.ConfigError, match="longer than any budget"):
        FACTORY.make(connection(mode="mariadb-backup"), system())
    server.run(*grants("mariadb-backup"))
    connector = FACTORY.make(connection(mode="mariadb-backup", **{"unsafe-stall": "accepted"}), system())
    with captured(connector, tmp_path) as group:
        (stream,) = group.captures[0].streams
        done = subprocess.run(stream.command, capture_output=True, timeout=120, check=True)
        (end,) = group.conclude()
    assert b"completed OK!" in done.stderr
    assert "beyond any budget" in " ".join(end.evidence.notes)


def test_what_is_wrong_with_account_and_address_is_said_before_anything_stands_still(server, connection, tmp_path):
    (tmp_path / "wrong").write_text("wrong")
    cases = (
        (
            Connection("ehr", host=str(server.socket), user="bk", password=SecretRef("file", str(tmp_path / "wrong"))),
            errors.ApplicationAccessError,
        ),
        (Connection("ehr", host="127.0.0.1", port=1, user="bk"), errors.ApplicationUnreachableError),
        (Connection("ehr", host="/nowhere", user="bk"), errors.ApplicationUnreachableError),
    )
    for wrong, error in cases:
        with pytest.raises(error):
            FACTORY.make(wrong, system()).check()
    server.run("CREATE USER poor@localhost IDENTIFIED BY 'wrong'")
    poor = Connection("ehr", host=str(server.socket), user="poor", password=SecretRef("file", str(tmp_path / "wrong")))
    with (
        closing(FACTORY.make(poor, system())) as connector,
        pytest.raises(errors.ApplicationAccessError, match="RELOAD, PROCESS, BINLOG MONITOR") as caught,
    ):
        connector.check()
    assert "GRANT RELOAD, PROCESS, BINLOG MONITOR ON" in caught.value.next
    with pytest.raises(errors.ConfigError, match="mode = one of"):
        FACTORY.make(connection(mode="magic"), system())


def test_a_table_that_is_locked_by_others_is_an_overrun_within_the_budget(server, connection):
    session = server.connect()
    with session.cursor() as cursor:
        cursor.execute("LOCK TABLES ehr.log WRITE")
        connector = FACTORY.make(connection(), system())
        connector.check()
        began = time.monotonic()
        with pytest.raises(errors.FreezeOverrunError):
            connector.freeze(0.3)
        assert time.monotonic() - began < 5
        connector.thaw()
        connector.close()
    session.close()


def test_a_session_that_the_server_ended_is_an_interrupted_capture(server, connection):
    connector = FACTORY.make(connection(), system())
    connector.check()
    connector.freeze(5)
    server.run(f"KILL CONNECTION {connector._session.id}")
    with pytest.raises(errors.ApplicationChangedError):
        connector.verify_frozen()
    connector.thaw()
    with pytest.raises(errors.ApplicationChangedError, match="ended before the capture"):
        connector.verify_thawed()
    connector.close()


def test_a_hold_captures_only_the_log_for_a_group_whose_volume_captures_the_files(server, connection, tmp_path):
    files = VOLUMES.make(Connection("files", path=str(server.data), options={"volume": "btrfs"}), system())
    held = FACTORY.make(connection(mode="hold"), system())
    with consistent([Member(held, WIDE), Member(files, WIDE)], env=system(), folder=tmp_path / "watchdog") as group:
        first, second = group.captures
        assert first.paths == first.moving == (os.fsencode(server.binlogs),)
        assert os.path.exists(os.path.join(second.paths[0], b"ibdata1"))
        ends = group.conclude()
    assert [end.evidence.verdict for end in ends] == [Verdict.APPLICATION, Verdict.CRASH]
    assert ends[0].evidence.hold_ms > 0
