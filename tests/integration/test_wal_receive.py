"""WAL through a replication slot, for real: received to the last moment, across restarts and kills, and its losses are said."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

import holdfast
from holdfast import config
from holdfast.base.environment import system
from holdfast.base.events import Alert, Note
from holdfast.cli import main
from holdfast.errors import (
    ApplicationAccessError,
    ApplicationUnsuitableError,
    ConfigError,
    DriverMissingError,
    StoreFullError,
    WalMissingError,
)
from holdfast.runs.applications import connection_of, receiver_of
from holdfast.runs.recovery import RecoveryTarget
from holdfast.runs.start import check_recovery
from holdfast.sources.connectors import factory
from holdfast.sources.connectors.postgresql import receiver
from holdfast.sources.connectors.postgresql.checks import grants
from holdfast.sources.connectors.postgresql.receiver import slot_name
from holdfast.sources.spool import PARTIAL, STREAM, Spool
from servers import postgresql


@contextmanager
def a_cluster(**settings: str):
    with (
        postgresql.place() as place,
        postgresql.cluster(place / "pg", segment_mb=1, wal_level="replica", **settings) as cluster,
    ):
        cluster.make_role()
        cluster.sql("ALTER ROLE bkr REPLICATION")
        cluster.sql("CREATE TABLE admission (id int PRIMARY KEY, note text)")
        (place / "holdfast.toml").write_text(
            postgresql.configuration(cluster, place, spool=cluster.folder / "received", wal="stream")
        )
        yield place, cluster


@pytest.fixture
def site(monkeypatch):
    with a_cluster() as (place, cluster):
        monkeypatch.setenv("HOLDFAST_STATE", str(place / "state"))
        yield place, cluster


def made(place, **options):
    return receiver_of(config.load(place / "holdfast.toml").settings, "ehr-db", system())


def until(condition, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def receiving(found, events=lambda _event: None):
    """Receive in a thread, as the service does; yield what it returned, once it is over."""
    stop, outcome = threading.Event(), []
    thread = threading.Thread(target=lambda: outcome.append(found.run(stop, events=events)))
    thread.start()
    try:
        yield outcome
    finally:
        stop.set()
        thread.join()


def is_active(cluster) -> bool:
    return bool(cluster.sql("SELECT count(*) FROM pg_stat_replication")[0][0] == 1)


def fill(cluster, first: int, rows: int) -> None:
    cluster.sql(
        "INSERT INTO admission SELECT n, repeat('x', 2000) FROM generate_series(%s::int, %s::int) n",
        first,
        first + rows - 1,
    )


def check(place):
    settings = config.load(place / "holdfast.toml").settings
    connector = factory("postgresql").make(connection_of(settings, "ehr-db"), system())
    try:
        return connector.check()
    finally:
        connector.close()


def test_what_was_committed_a_moment_ago_comes_back(site):
    place, cluster = site
    holdfast.Vault.create(place / "vault", key_file=place / "key").close()
    with holdfast.Vault.open(place / "holdfast.toml") as vault, receiving(made(place)) as outcome:
        until(lambda: is_active(cluster))
        facts = check(place)
        assert dict(facts.facts)["wal"] == "streamed"
        assert "max_slot_wal_keep_size" in facts.notes[-1]
        fill(cluster, 1, 100)
        assert vault.backup("ehr").exit_code == 0
        fill(cluster, 101, 3000)
        vault.store_wal("ehr-db")  # an older tail, which the next store replaces
        fill(cluster, 4000, 10)
        last = cluster.sql("SELECT pg_current_wal_flush_lsn()")[0][0]
        until(lambda: cluster.sql("SELECT flush_lsn >= %s::pg_lsn FROM pg_stat_replication", last)[0][0])
        vault.store_wal("ehr-db")
        spool = Spool(cluster.folder / "received", system())
        assert [name for name in spool.names() if name.endswith(PARTIAL)]
        assert not spool.state().gaps
        vault.check()
        prepared = vault.prepare_recovery("ehr-db", place / "out", target=RecoveryTarget("latest"))
    assert outcome[0].starts == 1
    assert outcome[0].segments > 3
    assert outcome[0].bytes >= outcome[0].segments << 20
    whole = [("postgres", "SELECT count(*) = 3110 AND max(id) = 4009 FROM admission")]
    report = check_recovery(prepared, env=system(), bin_folder=cluster.bin, durable=False, statements=whole)
    assert (report.structure, report.page_checksums) == ("clean", "clean")


def test_it_goes_on_after_a_kill_and_a_restart_of_the_server_without_a_gap(site):
    place, cluster = site
    notes = []
    spool = Spool(cluster.folder / "received", system())
    with receiving(made(place)):
        until(lambda: is_active(cluster))
        fill(cluster, 1, 1500)
        until(lambda: spool.state().segments > 1)
    fill(cluster, 2000, 1500)  # nobody receives: the slot keeps it
    command = [sys.executable, "-m", "holdfast", "wal", "receive", "ehr-db", "--config", str(place / "holdfast.toml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        before = spool.state().segments
        until(lambda: spool.state().segments > before + 1)
        process.kill()
    until(lambda: not is_active(cluster))
    with receiving(made(place), notes.append) as outcome:
        until(lambda: is_active(cluster))
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        fill(cluster, 4000, 1500)
        until(lambda: is_active(cluster))
        last = cluster.sql("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
        until(lambda: last in spool.names())
    assert outcome[0].starts == 2
    assert [note.code for note in notes if isinstance(note, Note)] == ["wal-not-received"]
    assert spool.state().gaps == ()
    # The newest whole segment stays where the receiver looks for its place.
    left = [name for name in os.listdir(spool.folder / STREAM) if not name.endswith(PARTIAL)]
    assert len(left) == 1


def test_the_service_ends_when_it_is_told_to(site, capsys):
    place, cluster = site
    command = [sys.executable, "-m", "holdfast", "wal", "receive", "ehr-db", "--config", str(place / "holdfast.toml")]
    with subprocess.Popen([*command, "--json"], stdout=subprocess.PIPE) as process:
        until(lambda: is_active(cluster))
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0, out
    assert b'"wal-received"' in out
    assert main(["wal", "receive", "ehr-db"]) == 2
    assert "configuration" in capsys.readouterr().err


def test_wal_that_the_server_let_go_is_said_and_never_passed_over(monkeypatch):
    with a_cluster(max_slot_wal_keep_size="2MB", max_wal_size="2MB", min_wal_size="2MB") as (place, cluster):
        monkeypatch.setenv("HOLDFAST_STATE", str(place / "state"))
        (cluster.folder / "received").mkdir()
        with pytest.raises(ApplicationUnsuitableError, match="no replication slot"):
            check(place)
        found = made(place)
        with receiving(found):
            until(lambda: is_active(cluster))
            assert check(place).notes == ()
        with pytest.raises(ApplicationUnsuitableError, match="nobody receives"):
            check(place)
        fill(cluster, 1, 8000)
        cluster.sql("CHECKPOINT")
        until(lambda: cluster.sql("SELECT wal_status FROM pg_replication_slots") == [("lost",)])
        with pytest.raises(WalMissingError, match="removed WAL before it was received"):
            made(place).run(threading.Event())
        with pytest.raises(WalMissingError):
            found._judge(print, 0.0)
        with pytest.raises(ApplicationUnsuitableError, match="the slot is lost"):
            check(place)


def test_what_is_missing_is_named(site, monkeypatch):
    place, cluster = site
    text = (place / "holdfast.toml").read_text()
    cluster.sql("ALTER ROLE bkr NOREPLICATION")
    with pytest.raises(ApplicationAccessError, match='ALTER ROLE "bkr" REPLICATION'):
        made(place).run(threading.Event())
    assert 'ALTER ROLE "bkr" REPLICATION;' in grants("bkr", streams=True)
    assert "REPLICATION;" not in grants("bkr")
    cluster.sql("ALTER ROLE bkr REPLICATION")
    (place / "holdfast.toml").write_text(text.replace('wal = "stream"', 'wal = "stream", programs = "/nowhere"'))
    with pytest.raises(DriverMissingError, match="pg_receivewal"):
        made(place).run(threading.Event())
    (place / "holdfast.toml").write_text(text.replace('wal = "stream"', 'wal = "archive"'))
    with pytest.raises(ConfigError, match="does not get its WAL"):
        made(place)


def test_a_spool_without_room_is_an_alert_and_nothing_is_let_go(site, monkeypatch):
    place, cluster = site
    events: list[object] = []
    found, full = made(place), [True]
    push = Spool.push

    def refuse(spool, source, **more):
        if full[0]:
            raise StoreFullError("the WAL spool has no room left")
        return push(spool, source, **more)

    monkeypatch.setattr(Spool, "push", refuse)
    with receiving(found, events.append):
        until(lambda: is_active(cluster))
        fill(cluster, 1, 3000)
        until(lambda: [event for event in events if isinstance(event, Alert)])
        until(lambda: len(os.listdir(found.spool.folder / STREAM)) > 3)
        time.sleep(2 * receiver.LOOK_SECONDS)
        assert len([event for event in events if isinstance(event, Alert)]) == 1
        full[0] = False
        until(lambda: found.spool.state().segments > 2)
    assert found.spool.state().gaps == ()


def test_a_server_that_stays_away_calls_somebody(site, monkeypatch):
    place, cluster = site
    events: list[object] = []
    monkeypatch.setattr(receiver, "QUIET_SECONDS", 0.0)
    found = made(place)
    with receiving(found, events.append):
        until(lambda: is_active(cluster))
        cluster.running.send_signal(signal.SIGINT)
        until(lambda: [event for event in events if isinstance(event, Alert)])
    (alert, *_) = [event for event in events if isinstance(event, Alert)]
    assert (alert.code, alert.subject) == ("wal-not-received", "ehr-db")


def test_a_receiver_that_does_not_end_is_killed():
    command = [
        sys.executable,
        "-c",
        "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(99)",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process, pytest.MonkeyPatch.context() as patch:
        patch.setattr(receiver, "END_SECONDS", 0.1)
        assert process.stdout.readline()
        receiver._end(process)
        assert process.wait() == -signal.SIGKILL


def test_a_slot_is_named_after_its_application():
    assert slot_name("EHR-db") == "holdfast_ehr_db"
    assert slot_name("x", "mine") == "mine"
    assert len(slot_name("x" * 100)) == 63


def test_an_unfinished_segment_is_taken_once_and_never_over_what_was_archived(tmp_path):
    spool = Spool(tmp_path, system())
    spool.take_tail()  # nothing is received here
    stream = tmp_path / STREAM
    stream.mkdir()
    first, second = "000000010000000000000001.partial", "000000010000000000000002.partial"
    (stream / first).write_bytes(b"1")
    spool.take_tail()
    assert (tmp_path / first).read_bytes() == b"1"
    (stream / first).rename(stream / second)
    (stream / second).write_bytes(b"22")
    spool.take_tail()
    assert spool.names() == (second,)
    archived = Path(tmp_path / "from" / second)
    archived.parent.mkdir()
    archived.write_bytes(b"archived")
    (tmp_path / second).unlink()
    spool.push(archived)
    spool.take_tail()
    assert (tmp_path / second).read_bytes() == b"archived"


def test_a_segment_that_the_receiver_takes_over_meanwhile_is_no_fault(tmp_path, monkeypatch):
    spool, name = Spool(tmp_path, system()), "000000010000000000000001"
    (tmp_path / STREAM).mkdir()
    (tmp_path / STREAM / name).write_bytes(b"x")
    asked = []

    def taken(self, source, **_):
        asked.append(source.name)
        source.unlink()
        raise WalMissingError("it is gone")

    monkeypatch.setattr(Spool, "push", taken)
    spool.take_tail()
    assert asked == [name]

    def missing(self, source, **_):
        raise WalMissingError("the spool is gone")

    (tmp_path / STREAM / name).write_bytes(b"x")
    monkeypatch.setattr(Spool, "push", missing)
    with pytest.raises(WalMissingError):
        spool.take_tail()
