"""What applications do when their programs say something unusual: a scripted cell stands in for the real one."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from types import SimpleNamespace

import pytest

from holdfast.base.environment import ManualClock
from holdfast.errors import DrillProgramError, UsageError
from holdfast.services import applications, keeper
from holdfast.services.applications import named
from holdfast.services.applications.ground import ApplicationFailed, Ground, any_answer, command_answer, http_answer
from holdfast.services.applications.mariadb import MariaDB
from holdfast.services.applications.orthanc import Orthanc
from holdfast.services.applications.postgresql import PostgreSQL
from holdfast.services.applications.sqlite import SQLite
from holdfast.services.catalogue import Check, Service
from holdfast.services.isolation import Ran


class Process:
    """A server's process that was told how it ends."""

    def __init__(self, code: int | None) -> None:
        self.code = code

    def poll(self):
        return self.code


class ScriptedCell:
    """Answers commands by their program's name; the last answer of a program is kept."""

    level = "namespaces"

    def __init__(self, answers=None, *, code: int | None = None, said: str = "") -> None:
        self.answers = answers or {}
        self.env = ManualClock().environment()
        self.commands: list[list[str]] = []
        self.code, self.said = code, said
        self.ended = 0

    def run(self, command, **_):
        self.commands.append([*command])
        found = self.answers.get(os.path.basename(command[0]), Ran(0, "", ""))
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        if isinstance(found, Exception):
            raise found
        return found

    def serve(self, command, **_):
        self.commands.append([*command])
        return SimpleNamespace(poll=lambda: self.code, said=lambda *_: self.said)

    def end(self, _server, **_):
        self.ended += 1


@pytest.fixture
def ground(tmp_path, monkeypatch):
    """Return what makes a ground of a cell and a service."""
    monkeypatch.setattr("holdfast.services.applications.ground.found_program", lambda name, *_: f"/programs/{name}")
    for name in ("restored", "data", "run"):
        (tmp_path / name).mkdir()

    def make(cell, **more):
        service = Service("s", **({"ready_seconds": 1} | more))
        return Ground(service, cell, str(tmp_path / "restored"), str(tmp_path / "data"), str(tmp_path / "run"))

    return make


def psql(*answers):
    return {"psql": [Ran(0, answer, "") for answer in answers]}


def cluster(tmp_path, *, control="", **answers):
    (tmp_path / "data" / "PG_VERSION").write_text("15\n")
    return ScriptedCell({"pg_controldata": Ran(0, control, ""), **psql("f", "admin", ""), **answers})


def test_postgresql_is_made_safe_whatever_the_site_s_own_settings_say(tmp_path, ground):
    data = tmp_path / "data"
    (data / "postgresql.auto.conf").write_text("archive_command = 'cp %p /production'")
    (data / "standby.signal").touch()
    (data / "backup_label").write_text("kept")
    (data / "pg_tblspc").mkdir()
    (data / "pg_tblspc" / "16400").symlink_to("/srv/space")
    cell = cluster(tmp_path, control="max_connections setting:      300\n")
    application = PostgreSQL(ground(cell))
    application.start()
    server = next(command for command in cell.commands if command[0].endswith("/postgres"))
    for setting in ("archive_mode=off", "archive_command=", "restore_command=", "primary_conninfo=", "listen_addresses=",
                    "max_connections=300",
                    "shared_preload_libraries="):  # fmt: skip
        assert setting in server
    assert (data / "postgresql.auto.conf").read_text() == ""
    assert not (data / "standby.signal").exists()
    assert (data / "backup_label").read_text() == "kept"
    assert os.readlink(data / "pg_tblspc" / "16400") == str(tmp_path / "restored" / "srv/space")
    application.ask(Check("c", query="select 1"))
    assert "admin" in cell.commands[-1]
    assert application.ask(Check("c", kind="http")).problem
    application.stop()
    application.stop()
    assert cell.ended == 1


def test_postgresql_that_cannot_start_names_why(tmp_path, ground):
    with pytest.raises(ApplicationFailed, match="no PostgreSQL data directory"):
        PostgreSQL(ground(ScriptedCell())).start()
    broken = cluster(tmp_path, pg_controldata=Ran(1, "", "incorrect checksum in control file"))
    with pytest.raises(ApplicationFailed, match="control file is damaged"):
        PostgreSQL(ground(broken)).start()
    unclear = cluster(tmp_path, pg_controldata=Ran(1, "", "?"))
    with pytest.raises(ApplicationFailed, match="cannot be read"):
        PostgreSQL(ground(unclear)).start()
    late = cluster(tmp_path, psql=Ran(2, "", "starting up"))
    with pytest.raises(ApplicationFailed, match="did not answer within 1 s"):
        PostgreSQL(ground(late)).start()


def test_postgresql_s_tools_are_understood(tmp_path, ground):
    def outcomes(**answers):
        cell = cluster(tmp_path, **answers)
        application = PostgreSQL(ground(cell))
        application.start()
        return {outcome.name: outcome for outcome in application.verify()}

    none = outcomes(pg_checksums=Ran(1, "", "pg_checksums: error: data checksums are not enabled in cluster"))
    assert none["pg-checksums"].state == "skipped"
    bad = outcomes(pg_amcheck=Ran(2, "?", ""), pg_checksums=Ran(1, "Blocks scanned:  20\nBad checksums:  3\n", ""))
    assert bad["pg-amcheck"].cause == "pg_amcheck finds a table or an index corrupted"
    assert bad["pg-checksums"].found == "3 bad of 20 pages"
    assert bad["pg-checksums"].state == "failed"
    assert outcomes(pg_checksums=Ran(1, "", "boom"))["pg-checksums"].found == "? bad of ? pages"
    refused = cluster(tmp_path, **psql("f", ""))
    application = PostgreSQL(ground(refused))
    application.start()
    refused.answers["psql"] = Ran(3, "", "ERROR: odd")
    assert application.ask(Check("c", query="x")).problem == "PostgreSQL refuses the question"


def test_mariadb_is_started_without_anything_of_the_site_s(tmp_path, ground, monkeypatch):
    with pytest.raises(ApplicationFailed, match="no MariaDB data directory"):
        MariaDB(ground(ScriptedCell())).start()
    (tmp_path / "data" / "mysql").mkdir()

    def only_old_names(name, *_):
        if name.startswith("mariadb"):
            raise DrillProgramError("gone")
        return f"/old/{name}"

    monkeypatch.setattr("holdfast.services.applications.ground.found_program", only_old_names)
    cell = ScriptedCell({"mysql": Ran(0, "1\n", ""), "mysqlcheck": Ran(0, "error    : Corrupt\n", "")})
    application = MariaDB(ground(cell))
    application.start()
    assert {"--skip-networking", "--skip-slave-start", "--no-defaults"} <= set(cell.commands[0])
    (outcome,) = application.verify()
    assert outcome.cause == "mariadb-check finds a table or an index corrupted"
    cell.code = 1
    (outcome,) = application.verify()
    assert outcome.found == "the server broke down"
    cell.answers["mysql"] = Ran(1, "", "ERROR 9: odd")
    assert application.ask(Check("c", query="x", database="d")).problem == "MariaDB refuses the question"
    application.stop()
    application.stop()


def test_orthanc_s_answers_are_understood(tmp_path, ground):
    with pytest.raises(ApplicationFailed, match="no Orthanc index"):
        Orthanc(ground(ScriptedCell())).start()
    (tmp_path / "data" / "index").touch()
    python = os.path.basename(sys.executable)
    cell = ScriptedCell({python: Ran(0, '[200, "[1, 2]"]', ""), "python3": Ran(0, '[200, "[1, 2]"]', "")})
    application = Orthanc(ground(cell))
    application.start()
    assert application.ask(Check("c", kind="http", path="count:/instances")).value == "2"
    assert application.ask(Check("c", kind="query")).problem
    for name in (python, "python3"):
        cell.answers[name] = Ran(1, "", "")
    assert application.ask(Check("c", kind="http", path="/x")).problem == "the question could not be asked"
    (outcome,) = application.verify()
    assert outcome.state == "failed"
    for name in (python, "python3"):
        cell.answers[name] = Ran(0, '[0, ""]', "")
    assert http_answer(ground(cell), "http://127.0.0.1:1/").problem == "nobody answers there"
    application.stop()
    application.stop()


def sqlite_says(text):
    python = os.path.basename(sys.executable)
    return ScriptedCell({python: Ran(0, text, ""), "python3": Ran(0, text, "")})


def test_sqlite_s_answers_are_understood(tmp_path, ground):
    with pytest.raises(ApplicationFailed, match="no SQLite database"):
        SQLite(ground(sqlite_says("{}"))).start()
    for name in ("a", "b"):
        (tmp_path / "data" / f"{name}.db").write_bytes(b"SQLite format 3\0" + b"x" * 100)
    (tmp_path / "data" / "link").symlink_to("a.db")
    with pytest.raises(ApplicationFailed, match="SQLite did not answer"):
        SQLite(ground(sqlite_says("?"))).start()
    broken = json.dumps({"rows": [], "error": "DatabaseError SQLITE_NOTADB", "table": False})
    with pytest.raises(ApplicationFailed, match="SQLITE_NOTADB"):
        SQLite(ground(sqlite_says(broken))).start()
    application = SQLite(ground(sqlite_says(json.dumps({"rows": ["ok", ""], "error": ""}))))
    application.start()
    assert application.ask(Check("c", query="x")).problem == "there are several databases and the check names none"
    assert application.ask(Check("c", query="x", database="b.db")).value == "ok"
    assert application.ask(Check("c", kind="http")).problem
    (outcome,) = application.verify()
    assert outcome.state == "passed"
    one = Ground(
        Service("s"),
        sqlite_says(json.dumps({"rows": ["ok"], "error": ""})),
        "",
        str(tmp_path / "data" / "a.db"),
        str(tmp_path),
    )
    single = SQLite(one)
    single.start()
    assert single.ask(Check("c", query="x")).value == "ok"
    single.stop()


def test_commands_and_files_answer(tmp_path, ground):
    found = ground(
        ScriptedCell(
            {"slow": Ran(-9, "", "", timed_out=True), "bad": Ran(3, "", ""), "none": DrillProgramError("not here")}
        )
    )
    assert "did not end" in command_answer(found, Check("c", command=("slow",))).problem
    assert "exit code 3" in command_answer(found, Check("c", command=("bad",))).problem
    assert command_answer(found, Check("c", command=("none",))).problem == "not here"
    assert any_answer(found, Check("f", kind="file", path="/gone"), what="x").problem == "the file is not there"
    (tmp_path / "restored" / "empty").touch()
    assert any_answer(found, Check("f", kind="file", path="/empty"), what="x").problem == "the file is empty"
    (tmp_path / "data" / "x").write_text("123")
    found.service = Service("s", data="/srv/pg")
    assert any_answer(found, Check("f", kind="file", path="/srv/pg/x"), what="x").value == "3"


def test_an_application_is_found_by_its_name_or_its_entry_point(ground, monkeypatch):
    found = ground(ScriptedCell())
    files = named("files", found)
    files.start()
    assert list(files.verify()) == []
    assert files.ask(Check("c", kind="http")).problem
    files.stop()
    with pytest.raises(UsageError, match="no application 'his'"):
        named("his", found)
    point = SimpleNamespace(load=lambda: lambda ground: ("his", ground))
    monkeypatch.setattr("importlib.metadata.entry_points", lambda **_: [point])
    assert named("his", found) == ("his", found)
    assert applications.KNOWN


def test_a_command_that_ends_at_once_is_said(ground):
    from holdfast.services.applications.command import Command

    failing = Command(ground(ScriptedCell(code=3), command=("x",)))
    with pytest.raises(ApplicationFailed, match="exit code 3"):
        failing.start()
    assert failing.ask(Check("c")).problem == "the application has ended with exit code 3"
    assert list(failing.verify()) == []


# -- the keeper, with the kernel's calls written down instead of made


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """Run the keeper's program on a line of input; return its answer and its mounts."""
    calls: list[tuple[object, ...]] = []
    monkeypatch.setattr(keeper, "_mount", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(keeper, "_loopback_up", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    def run(**wanted):
        out = io.StringIO()
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(json.dumps(wanted).encode() + b"\n")))
        monkeypatch.setattr(sys, "stdout", out)
        assert keeper.main() == 0
        return json.loads(out.getvalue()), calls

    return run


def test_the_keeper_shuts_everything_but_the_drill_s_folder(kept, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "key").write_text("x")
    answer, calls = kept(writable=["/drills/d"], conceal=[str(tmp_path / "secret"), str(tmp_path / "key"), "/gone"])
    assert answer == {"ok": True, "failed": []}
    assert calls[0][3] == keeper.MS_REC | keeper.MS_PRIVATE
    assert calls[1][:2] == ("/drills/d", "/drills/d")
    assert ("none", str(tmp_path / "secret"), "tmpfs") == calls[2][:3]
    assert ("/dev/null", str(tmp_path / "key")) == calls[3][:2]
    closed = [call[1] for call in calls if call[3] & keeper.MS_RDONLY and call[3] & keeper.MS_REMOUNT]
    assert "/" in closed


def test_the_keeper_says_what_it_could_not_do(kept, monkeypatch, tmp_path):
    def refused(_source, target, _kind, flags, _data=None):
        if target != "/" or flags & keeper.MS_REMOUNT:
            raise OSError(1, "not permitted")

    monkeypatch.setattr(keeper, "_mount", refused)
    (tmp_path / "secret").mkdir()
    answer, _ = kept(writable=[], conceal=[str(tmp_path / "secret")])
    assert "conceal: not permitted" in answer["failed"]
    assert "shared memory: not permitted" in answer["failed"]

    def dead():
        raise OSError(1, "no loopback")

    monkeypatch.setattr(keeper, "_loopback_up", dead)
    assert kept(writable=[], conceal=[])[0] == {"ok": False, "why": "no loopback"}


def test_a_mount_that_the_kernel_refuses_is_an_error():
    with pytest.raises(OSError, match=r".+"):
        keeper._mount("none", "/no/such/place", "tmpfs", 0)
