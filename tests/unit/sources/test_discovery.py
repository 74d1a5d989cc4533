"""Discovery: what is decided from processes and folders, and what a file backup would corrupt."""

from __future__ import annotations

import pytest

from holdfast.sources import discovery
from holdfast.sources.connectors import kinds
from holdfast.sources.connectors.protocol import Found
from holdfast.sources.discovery import Danger, ProcessSeen, configuration, endangered, look, propose, signature


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["PG_VERSION", "global", "base", "pg_wal"], "postgresql"),
        (["ibdata1", "mysql", "ehr"], "mariadb"),
        (["dump.rdb"], "redis"),
        (["data.mdb", "lock.mdb"], "openldap"),
        (["index", "index-wal", "00"], "orthanc"),
        (["WiredTiger", "WiredTiger.wt"], "mongodb"),
        (["IRIS.DAT"], "iris"),
        (["PG_VERSION"], ""),
        ([], ""),
    ],
)
def test_data_folders_are_known_by_the_names_in_them(names, kind):
    assert signature(names) == kind


def test_servers_are_matched_with_their_folders_once():
    processes = (
        ProcessSeen("mariadbd", ("mariadbd", "--datadir=/srv/ehr/"), "/", 3306),
        ProcessSeen("postgres", ("postgres", "-D", "/srv/pg"), "/srv/pg", 5432),
        ProcessSeen("postgres", ("postgres: checkpointer",), "/srv/pg"),
        ProcessSeen("redis-server", ("redis-server *:6379",), "/srv/redis", 6379),
        ProcessSeen("Orthanc", ("Orthanc", "/etc/orthanc"), "/", 8042),
        ProcessSeen("bash", ("bash",), "/"),
    )
    folders = {"/srv/pg": "postgresql", "/srv/redis": "redis", "/srv/dicom": "orthanc", "/srv/old": "mariadb"}
    assert propose(processes, folders) == (
        Found("mariadb", "mariadb", (("path", "/srv/ehr"), ("port", "3306")), (b"/srv/ehr",)),
        Found("postgresql", "postgresql", (("path", "/srv/pg"), ("port", "5432")), (b"/srv/pg",)),
        Found("redis", "redis", (("path", "/srv/redis"), ("port", "6379")), (b"/srv/redis",)),
        Found("orthanc", "orthanc", (("path", "/srv/dicom"), ("url", "http://127.0.0.1:8042")), (b"/srv/dicom",)),
        Found("mariadb", "mariadb-2", (("path", "/srv/old"),), (b"/srv/old",)),
    )


def test_a_live_database_in_a_plain_path_is_a_danger_and_forbidden_for_phi():
    found = (Found("mariadb", "mariadb", (), (b"/srv/ehr/db",)), Found("redis", "redis", (), (b"/srv/cache",)))
    jobs = {"all": ([b"/srv"], "phi"), "public": ([b"/srv/ehr/"], "public"), "other": ([b"/home"], "phi")}
    assert endangered(jobs, found, ["mariadb"]) == (
        Danger("all", "mariadb", b"/srv/ehr/db", live=True, forbidden=True),
        Danger("all", "redis", b"/srv/cache", live=False, forbidden=False),
        Danger("public", "mariadb", b"/srv/ehr/db", live=True, forbidden=False),
    )
    assert [row.connector for row in endangered(jobs, found, ["mariadb"], [b"/srv/ehr/db/"])] == ["redis"]


def test_the_proposed_configuration_loads_and_what_has_no_connector_is_a_comment(tmp_path):
    from holdfast import config

    found = (
        Found("mariadb", "mariadb", (("path", '/srv/"q"'), ("port", "3306"))),
        Found("db2", "db2", (("path", "/m"),)),
    )
    text = configuration(found, kinds())
    file = tmp_path / "holdfast.toml"
    file.write_text('[vault]\nurl = "/v"\n' + text)
    settings = config.load(str(file), {}).settings
    assert (settings.applications["mariadb"].port, settings.applications["mariadb"].path) == (3306, '/srv/"q"')
    assert '# connector = "db2"' in text
    assert configuration((), kinds()) == ""


def test_folders_below_the_roots_are_walked_within_limits(tmp_path, monkeypatch):
    (tmp_path / "a" / "redis").mkdir(parents=True)
    (tmp_path / "a" / "redis" / "dump.rdb").touch()
    (tmp_path / "clinic.db").write_bytes(b"SQLite format 3\x00" + b"x" * 100)
    (tmp_path / "other.db").write_bytes(b"nothing")
    (tmp_path / "worked").mkdir()
    (tmp_path / "worked" / "dump.rdb").touch()
    seen = [ProcessSeen("redis-server", ("redis-server",), str(tmp_path / "worked"), 1)]
    found, live = look([str(tmp_path)], processes=lambda: seen)
    assert {(row.connector, row.name in live) for row in found} == {
        ("redis", True),
        ("redis", False),
        ("sqlite", False),
    }
    monkeypatch.setattr(discovery, "FOLDERS_MAX", 0)
    assert look([str(tmp_path / "a")], processes=tuple)[0] == ()
    monkeypatch.undo()
    monkeypatch.setattr(discovery, "DEPTH_MAX", 0)
    assert [row.connector for row in look([str(tmp_path / "a")], processes=tuple)[0]] == []
