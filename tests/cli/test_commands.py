"""Each command parses its options, makes one call of the library, prints the answer, and returns its exit code."""

from __future__ import annotations

import dataclasses
import json
import os
import stat

import pytest

from holdfast import errors
from holdfast.runs import results
from holdfast.runs.options import ClassRule, Limits, Stream

from .conftest import FINDING, ID, INFO, MOMENT, SECRET_PATH, entry

STATS = results.BackupStats(
    files=3,
    folders=2,
    bytes=2_000_000,
    new_bytes=1000,
    stored_bytes=500,
    new=1,
    changed=1,
    unchanged=1,
    seconds=2.5,
    classes=(results.ClassCount(1, "phi", 2, 10), results.ClassCount(3, "imaging", 1, 20)),
)
BACKUP = results.BackupResult(INFO, partial=False, stats=STATS)


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_init_makes_a_vault(vault, run):
    code, out, _ = run("init", "--vault", "/v", "--key-file", "/k", "--label", "site")
    assert code == 0
    assert vault.asked("create") == {
        "url": "/v",
        "key_file": "/k",
        "passphrase": None,
        "key_service": None,
        "label": "site",
        "stores": {},
        "tiers": None,
    }
    assert vault.id in out
    code, out, _ = run("init", "--json")
    assert lines_of(out) == [{"type": "init", "vault": vault.id, "url": "/vault", "exit_code": 0}]


def test_init_needs_a_place_and_a_key_and_no_credential(vault, run, monkeypatch):
    monkeypatch.delenv("HOLDFAST_KEY_FILE")
    assert run("init")[0] == 2
    assert run("init", "--credential", "/c")[0] == 2
    monkeypatch.delenv("HOLDFAST_VAULT")
    code, _, err = run("init", "--key-file", "/k")
    assert code == 2
    assert "no vault was named" in err
    assert "NEXT: give --vault DIR" in err


def test_a_passphrase_comes_by_reference(vault, run, monkeypatch, tmp_path):
    monkeypatch.setenv("P", "sesame")
    run("init", "--passphrase", "env:P")
    assert vault.asked("create")["passphrase"] == "sesame"
    code, _, err = run("check", "--passphrase", "sesame")
    assert code == 2
    assert "sesame" not in err
    monkeypatch.setattr("click.prompt", lambda *_, **__: "typed")
    vault.answers["check"] = results.CheckReport(1, 1, 1, 1)
    run("check", "--passphrase", "ask")
    assert vault.asked("open")["passphrase"] == "typed"


def test_backup_passes_every_option(vault, run):
    vault.answers["backup"] = BACKUP
    code, out, err = run(
        "backup", "/srv/ehr", "--label", "ehr", "--exclude", "*.tmp", "--exclude-larger-than", "1GiB", "--include-caches",
        "--one-file-system", "--class-rule", "*.dcm=imaging", "--default-class", "database", "--tag", "a", "--tag", "b",
        "--paranoid", "--stdin-command", "dump.sql=pg_dump --all 'my db'", "--stdin-env", "PGPASSFILE",
        "--limit-read", "1MB", "--limit-write", "2MB", "--dry-run",
    )  # fmt: skip
    assert code == 0
    asked = vault.asked("backup")
    assert asked["args"] == ((b"/srv/ehr",),)
    assert asked["label"] == "ehr"
    assert asked["dry_run"] is True
    options = asked["options"]
    assert options.exclude == ("*.tmp",)
    assert options.exclude_larger_than == 1 << 30
    assert options.exclude_caches is False
    assert options.one_file_system is True
    assert options.class_rules == (ClassRule("*.dcm", "imaging"),)
    assert options.default_class == "database"
    assert options.tags == ("a", "b")
    assert options.paranoid is True
    assert options.streams == (Stream("dump.sql", ("pg_dump", "--all", "my db"), environment=("PGPASSFILE",)),)
    assert options.limits == Limits(1_000_000, 2_000_000)
    assert f"Snapshot {ID} is stored." in out
    assert "imaging: 1 files" in out
    assert "unreadable: #" in err
    assert "note: a session was resumed" in err


def test_backup_says_partial_and_dry(vault, run):
    vault.answers["backup"] = dataclasses.replace(BACKUP, partial=True, findings=(FINDING,))
    code, out, _ = run("backup", "/x")
    assert code == 3
    assert "PARTIAL: 1 findings" in out
    vault.answers["backup"] = results.BackupResult(None, partial=False, stats=STATS, dry_run=True)
    code, out, _ = run("backup", "/x", "--dry-run")
    assert code == 0
    assert "Would back up 3 files" in out
    assert "Nothing was stored." in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("backup",),
        ("backup", "--job", "a"),
        ("backup", "/x", "--class-rule", "nonsense"),
        ("backup", "/x", "--stdin-command", "nonsense"),
        ("backup", "/x", "--stdin-command", "a='"),
        ("backup", "/x", "--limit-read", "fast"),
        ("backup", "/x", "--nonsense"),
        ("nonsense",),
        ("restore", "latest"),
        ("restore", "latest", "--to", "/x", "--in-place"),
        ("restore", "latest", "--stdout"),
        ("restore", "latest", "--to", "/x", "--overwrite", "maybe"),
        ("forget",),
        ("forget", ID, "--keep-last", "1"),
        ("prune", "--undo", "soon"),
        ("verify", "--sample", "200%"),
        ("verify", "--sample", "x"),
        ("find", "x", "--before", "2026-11-23"),
        ("find", "x", "--versions", "--before", "yesterday"),
        ("hold", "set", "x"),
        ("explain", "nonsense"),
        ("config", "show"),
        ("config", "check"),
        ("config", "explain", "nonsense"),
    ],
)
def test_what_makes_no_sense_is_refused_with_three_lines(vault, run, arguments):
    code, out, err = run(*arguments)
    assert code == 2
    assert not out
    first, safe, following = err.splitlines()
    assert first.startswith("holdfast: ")
    assert safe.startswith("SAFE: ")
    assert following.startswith("NEXT: ")


CONFIG = """
[vault]
url = "/configured"
credential = "file:/c"
[jobs.ehr]
paths = ["/srv/ehr"]
exclude = ["*.bak"]
[jobs.pacs]
paths = ["/srv/pacs"]
default_class = "imaging"
[limits]
read_bytes_per_s = 4096
[retention]
last = 3
[prune]
undo_seconds = "2d"
repack_below = 0.25
[verify]
sample = 0.5
older_than_days = 3
bytes_max = "1MB"
seconds_max = 60
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    place = tmp_path / "site.toml"
    place.write_text(CONFIG)
    monkeypatch.delenv("HOLDFAST_VAULT", raising=False)
    monkeypatch.delenv("HOLDFAST_KEY_FILE", raising=False)
    monkeypatch.setenv("HOLDFAST_CONFIG", str(place))
    return place


def test_configured_jobs_run_one_after_another_and_the_worst_code_counts(vault, run, config):
    answers = iter([dataclasses.replace(BACKUP, partial=True), BACKUP])
    vault.answers["backup"] = lambda **_: next(answers)
    code, _, _ = run("backup", "--exclude", "*.tmp")
    assert code == 3
    asked = vault.asked("open")
    assert set(asked.pop("config").settings.jobs) == {"ehr", "pacs"}
    assert asked == {
        "url": "/configured",
        "key_file": None,
        "passphrase": None,
        "credential": "/c",
        "shares": (),
        "key_service": None,
        "stores": {},
        "tiers": None,
    }
    first, second = [arguments for name, arguments in vault.calls if name == "backup"]
    assert first["args"] == (("/srv/ehr",),)
    assert first["label"] == "ehr"
    assert first["options"].exclude == ("*.bak", "*.tmp")
    assert first["options"].limits == Limits(4096, None)
    assert second["options"].default_class == "imaging"


def test_a_job_whose_source_is_gone_keeps_no_other_from_its_backup(vault, run, config):
    answers = iter([errors.SourceMissingError("1 of the 1 paths to back up do not exist"), BACKUP])

    def backup(**_):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    vault.answers["backup"] = backup
    code, out, err = run("backup", "--json")
    assert code == 2
    assert "note: this was the job ehr" in err
    types = [json.loads(row)["type"] for row in out.splitlines()]
    assert [name for name in types if name in {"error", "backup"}] == ["error", "backup"]
    vault.answers["backup"] = errors.SourceMissingError("1 of the 1 paths to back up do not exist")
    assert run("backup", "--job", "pacs")[0] == 2


def test_one_job_can_be_named_and_must_exist(vault, run, config):
    vault.answers["backup"] = BACKUP
    assert run("backup", "--job", "pacs")[0] == 0
    assert vault.asked("backup")["label"] == "pacs"
    code, _, err = run("backup", "--job", "none")
    assert code == 2
    assert "its jobs are: ehr, pacs" in err
    assert run("backup", "--job", "pacs", "/x")[0] == 2
    vault.calls.clear()
    assert run("backup", "/x", "--vault", "/other")[0] == 0
    assert vault.asked("open")["url"] == "/other"
    assert vault.asked("backup")["options"].limits == Limits(4096, None)


def test_retention_prune_and_verify_take_their_settings_from_the_configuration(vault, run, config):
    vault.answers["forget"] = results.ForgetResult(results.ForgetPlan(()), ())
    vault.answers["prune"] = results.PruneResult("nothing", None)
    vault.answers["verify"] = results.VerifyReport(1, 1, 1, 1)
    assert run("forget")[0] == 0
    assert vault.asked("forget")["args"][0].last == 3
    assert run("prune")[0] == 0
    assert vault.asked("prune")["undo_days"] == 2
    assert vault.asked("prune")["repack_below"] == 0.25
    assert run("verify")[0] == 0
    assert vault.asked("verify")["sample"] == 0.5
    assert vault.asked("verify")["older_than_days"] == 3
    assert vault.asked("verify")["bytes_max"] == 1_000_000
    assert vault.asked("verify")["seconds_max"] == 60
    assert vault.asked("verify")["limits"] == Limits(4096, None)


def test_snapshots_are_listed(vault, run):
    code, out, _ = run("snapshots", "--source", "ehr")
    assert code == 0
    assert vault.asked("snapshots") == {"source": "ehr"}
    assert ID[:12] in out
    assert "2026-11-23 03:00:00Z" in out
    assert "partial (1 findings) held #nightly" in out
    _, out, _ = run("snapshots", "--json")
    (row,) = lines_of(out)
    assert row["type"] == "snapshot"
    assert row["paths_count"] == 1
    assert row["finished"] == "2026-11-23T03:00:00.000000Z"
    _, out, _ = run("snapshots", "--json", "--show-paths")
    assert lines_of(out)[0]["paths"] == ["/srv/ehr"]


def test_ls_lists_a_folder(vault, run):
    rows = [entry(b"srv", "folder"), entry(b"srv/a\nb"), entry(b"srv/l", "symlink", target=b"x", mtime_ns=2**70)]
    vault.answers["ls"] = rows
    vault.answers["walk"] = rows[:1]
    code, out, _ = run("ls", "latest", "/srv")
    assert code == 0
    assert vault.asked("ls")["path"] == b"/srv"
    assert out.splitlines() == ["srv/", "srv/a\\x0ab", "srv/l"]
    _, out, _ = run("ls", "-l", "latest", "/srv")
    assert "drw-r-----" in out
    assert "root:0" in out
    assert "srv/l -> x" in out
    assert "@" in out
    _, out, _ = run("ls", "-r")
    assert vault.asked("walk")["path"] == b""
    vault.answers["ls"] = [entry()]
    _, out, _ = run("ls", "latest", "--json")
    (row,) = lines_of(out)
    assert row["path"] == "srv/ehr/M\ufffdller, Erika.hl7"
    assert row["path_base64"] == "c3J2L2Voci9N/GxsZXIsIEVyaWthLmhsNw=="


def test_find_searches_everywhere_in_one_snapshot_and_by_version(vault, run):
    found = [results.FoundEntry(ID, MOMENT, entry(b"a")), results.FoundEntry(ID, MOMENT, entry(b"b"))]
    vault.answers |= {"find": found, "versions": found, "snapshot.find": [entry(b"a"), entry(b"b")]}
    code, out, _ = run("find", "*.hl7", "--source", "ehr")
    assert code == 0
    assert vault.asked("find")["args"] == ("*.hl7",)
    assert vault.asked("find")["source"] == "ehr"
    assert out.splitlines()[0] == f"{ID[:12]} 2026-11-23 03:00:00Z a"
    _, out, _ = run("find", "*", "--limit", "1")
    assert "stopped after 1" in out
    _, out, _ = run("find", "*", "--snapshot", "latest", "--limit", "1")
    assert out.splitlines()[0] == "a"
    run("find", "--versions", "/a", "--before", "2026-11-23T03:00Z")
    assert vault.asked("versions")["before"] == MOMENT
    _, out, _ = run("find", "*", "--json")
    assert lines_of(out)[0]["entry"]["path"] == "a"


def test_diff_shows_changes_and_counts_them(vault, run):
    vault.answers["diff"] = [
        results.Change("added", b"a", after=entry(b"a")),
        results.Change("changed", b"b", entry(b"b"), entry(b"b", size=7000)),
    ]
    code, out, _ = run("diff", "old", "new")
    assert code == 0
    assert out.splitlines() == ["+ a", "M b  (5 B → 7 kB)", "1 added, 0 removed, 1 changed, 0 metadata"]
    _, out, _ = run("diff", "old", "--json")
    assert [row["kind"] for row in lines_of(out)] == ["added", "changed"]


RESTORED = results.RestoreResult(ID, 3, 1, 2000, 0, 1.5)


def test_restore_passes_every_option(vault, run):
    vault.answers["restore"] = RESTORED
    code, out, _ = run(
        "restore", "latest", "--to", "/out", "/srv/a", "/srv/b/**", "--exclude", "*.tmp", "--class", "phi", "--overwrite",
        "older", "--damaged", "skip", "--no-owners", "--limit-read", "1kB", "--limit-write", "2kB", "--dry-run",
    )  # fmt: skip
    assert code == 0
    asked = vault.asked("restore")
    del asked["events"], asked["stop"]
    assert asked == {
        "to": b"/out", "include": (b"/srv/a", b"/srv/b/**"), "exclude": ("*.tmp",), "classes": ("phi",), "overwrite": "older",
        "damaged": "skip", "in_place": False, "dry_run": True, "owners": False, "break_glass": "", "limits": Limits(1000, 2000),
    }  # fmt: skip
    assert "Restored 3 files, 1 folders, 2 kB" in out


def test_restore_in_place_goes_where_the_files_came_from(vault, run):
    vault.answers["restore"] = dataclasses.replace(RESTORED, dry_run=True, skipped=2)
    code, out, _ = run("restore", "--in-place")
    assert code == 0
    assert vault.asked("restore")["to"] == b"/"
    assert vault.asked("restore")["in_place"] is True
    assert "Would restore" in out
    assert "2 left as they were" in out


def test_restore_says_what_is_missing_and_what_is_damaged(vault, run):
    vault.answers["restore"] = dataclasses.replace(RESTORED, findings=(FINDING,), classes_missing=1)
    code, out, _ = run("restore", "--to", "/o")
    assert code == 3
    assert out.count("PARTIAL") == 2
    vault.answers["restore"] = dataclasses.replace(RESTORED, damaged=True)
    code, out, _ = run("restore", "--to", "/o")
    assert code == 4
    assert "DAMAGE" in out


def test_restore_streams_one_file(vault, run):
    vault.answers["read"] = lambda path, fd, limits: os.write(fd, b"content of " + path)
    code, out, _ = run("restore", "latest", "--stdout", "/srv/a", "--limit-read", "9kB")
    assert code == 0
    assert out == "content of /srv/a"
    assert vault.asked("read")["limits"] == Limits(9000)


def test_forget_by_rules_and_by_id(vault, run):
    plan = results.ForgetPlan(
        (results.ForgetDecision(ID, True, ("last", "daily")), results.ForgetDecision("00" * 16, False, ()))
    )
    vault.answers["forget"] = results.ForgetResult(plan, ("00" * 16,))
    code, out, _ = run(
        "forget", "--source", "ehr", "--keep-last", "1", "--keep-hourly", "2", "--keep-daily", "3", "--keep-weekly", "4",
        "--keep-monthly", "5", "--keep-yearly", "6", "--keep-within-days", "7", "--keep-tag", "t", "--reason", "why",
    )  # fmt: skip
    assert code == 0
    asked = vault.asked("forget")
    assert asked["args"] == (results.RetentionPolicy(1, 2, 3, 4, 5, 6, 7, frozenset({"t"})),)
    assert asked["reason"] == "why"
    assert out.splitlines()[0] == f"keep   {ID[:12]} last, daily"
    assert "Forgot 1 snapshots" in out
    vault.calls.clear()
    vault.answers["forget"] = results.ForgetResult(plan, (), dry_run=True)
    code, out, _ = run("forget", ID, "--dry-run")
    assert vault.asked("forget")["snapshots"] == (ID,)
    assert vault.asked("forget")["args"] == (None,)
    assert "Would forget 1" in out


def test_prune_says_what_comes_next(vault, run):
    vault.answers["prune"] = results.PruneResult(
        "condemned", 3, packs_condemned=2, delete_after=MOMENT, sessions_waiting=1, sessions_revoked=1
    )
    code, out, _ = run("prune", "--undo", "36h", "--repack-below", "0.3", "--revoke-silent", "--dry-run")
    assert code == 0
    asked = vault.asked("prune")
    assert (asked["undo_days"], asked["repack_below"], asked["revoke_silent"], asked["dry_run"]) == (
        1.5,
        0.3,
        True,
        True,
    )
    assert "round 3" in out
    assert "2026-11-23 03:00Z" in out
    assert "--revoke-silent" in out
    assert "were revoked" in out
    vault.calls.clear()
    run("prune")
    assert vault.asked("prune")["undo_days"] == 7


def test_hold_and_release(vault, run):
    vault.answers |= {"hold": ID, "release": ID}
    code, out, _ = run("hold", "set", "latest", "--reason", "court")
    assert code == 0
    assert "is held" in out
    assert vault.asked("hold")["reason"] == "court"
    _, out, _ = run("hold", "release", "latest", "--reason", "over")
    assert "is released" in out


def test_check_reports(vault, run):
    vault.answers["check"] = results.CheckReport(9, 3, 1000, 2, notes=("a note",))
    code, out, _ = run("check")
    assert code == 0
    assert "note: a note" in out
    assert ": sound" in out
    problems = tuple(f"pack {n} is missing" for n in range(60))
    vault.answers["check"] = results.CheckReport(9, 3, 1000, 2, problems=problems)
    code, out, _ = run("check")
    assert code == 4
    assert "DAMAGE: pack 0 is missing" in out
    assert "and 10 more problems" in out
    code, out, _ = run("check", "--json")
    assert lines_of(out)[-1]["exit_code"] == 4


def test_verify_reports(vault, run):
    pack = results.DamagedPack("fe" * 32, "hash", "phi", (ID,), 2, (SECRET_PATH,))
    vault.answers["verify"] = results.VerifyReport(
        3,
        9,
        1000,
        50,
        (pack, dataclasses.replace(pack, files=-1)),
        ("object x is damaged",),
        1.25,
        "damaged/1",
        2.0,
        1,
        left=5,
    )
    code, out, _ = run(
        "verify", "--sample", "10%", "--older-than-days", "2", "--snapshot", ID, "--no-mark", "--content",
        "--limit-read", "9kB", "--max-bytes", "2MB", "--max-time", "2h",
    )  # fmt: skip
    assert code == 4
    asked = vault.asked("verify")
    del asked["events"], asked["stop"]
    assert asked == {
        "sample": 0.1, "older_than_days": 2.0, "snapshots": (ID,), "show_paths": False, "mark_damaged": False,
        "due": False, "content": True, "limits": Limits(9000, None), "bytes_max": 2_000_000, "seconds_max": 7200,
    }  # fmt: skip
    assert "5 packs wait for the next run" in out
    assert "hash; 2 files, 0 B in 1 snapshots" in out
    assert "not counted" in out
    assert "stores the affected content again" in out
    assert "1.2 days ago" in out
    assert "PARTIAL" in out
    vault.calls.clear()
    _, out, _ = run("verify", "--json")
    assert vault.asked("verify")["sample"] == 1.0
    assert lines_of(out)[-1]["damaged"][0]["paths_count"] == 1
    vault.answers["verify"] = results.VerifyReport(3, 9, 1000, 50)
    code, out, _ = run("verify")
    assert code == 0
    assert "no damage" in out


def test_stats_show_where_the_space_goes(vault, run):
    vault.answers["stats"] = results.VaultStats(
        5, 10_000, 2,
        (results.ClassSpace(1, "phi", 2, 3000, 7, 9000),),
        (results.SourceSpace("cd" * 16, "", 2, 3000, 1000),),
        (results.SnapshotSpace(ID, 3000, 500),),
        123,
    )  # fmt: skip
    code, out, _ = run("stats")
    assert code == 0
    assert "phi" in out
    assert "cdcdcdcdcdcd" in out
    assert "10 kB in 5 objects" in out
    vault.calls.clear()
    _, out, _ = run("stats", "--by", "class")
    assert vault.asked("stats") == {"by_snapshot": False}
    assert "SNAPSHOTS" not in out
    _, out, _ = run("stats", "--json")
    assert lines_of(out)[0]["unreferenced_bytes"] == 123


def test_catalog_is_updated_and_rebuilt(vault, run):
    vault.answers |= {"catalog_update": 2, "catalog_rebuild": 9}
    assert "2 snapshots added" in run("catalog", "update")[1]
    assert "9 snapshots held" in run("catalog", "rebuild")[1]


def test_secrets_go_to_files_of_their_owner(vault, run, tmp_path, monkeypatch):
    vault.answers |= {"recovery_kit": b"KIT", "enroll_host": b"CREDENTIAL", "add_passphrase": "55" * 16}
    kit, credential = tmp_path / "kit", tmp_path / "credential"
    code, out, _ = run("key", "kit", "--out", str(kit))
    assert code == 0
    assert kit.read_bytes() == b"KIT"
    assert stat.S_IMODE(kit.stat().st_mode) == 0o600
    assert "KIT" not in out
    code, _, err = run("key", "kit", "--out", str(kit))
    assert code == 2
    assert "exists already" in err
    assert run("key", "kit", "--out", str(tmp_path / "none" / "kit"))[0] == 7
    assert run("enroll", "create", "ward7", "--class", "phi", "--within", "2d", "--out", str(credential))[0] == 0
    assert credential.read_bytes() == b"CREDENTIAL"
    assert vault.asked("enroll_host") == {"args": ("ward7", ("phi",)), "group": "", "days": 2.0}
    monkeypatch.setenv("NEW", "sesame")
    monkeypatch.setenv("EMPTY", "")
    assert "55" * 16 in run("key", "add-passphrase", "--new", "env:NEW")[1]
    assert vault.asked("add_passphrase")["args"] == ("sesame",)
    assert run("key", "add-passphrase", "--new", "env:EMPTY")[0] == 2
    assert run("key", "revoke-writer", "ward7")[0] == 0
    assert vault.asked("revoke_writer")["args"] == ("ward7",)


def test_config_is_shown_explained_checked_and_sampled(vault, run, config):
    code, out, _ = run("config", "show")
    assert code == 0
    assert "site.toml:3" in out
    _, out, _ = run("config", "show", "--json")
    assert {"type": "setting", "key": "verify.sample", "value": "0.5", "origin": "file site.toml:19"} in lines_of(out)
    _, out, _ = run("config", "explain", "limits.read_bytes_per_s")
    assert "4.1 kB/s" in out
    code, out, _ = run("config", "check")
    assert "site.toml is valid: 2 jobs." in out
    assert "nobody is told" not in out
    plain = config.read_text()
    config.write_text(plain + '\n[schedule.proof]\nkind = "verify"\nevery_seconds = "1d"\n')
    code, out, _ = run("config", "check")
    assert (code, "note: nobody is told when a run of the schedule fails" in out) == (0, True)
    config.write_text(plain)
    assert "[jobs.ehr]" in run("config", "sample")[1]
    config.write_text("[vault]\nurl = 3\n[nonsense]\n")
    code, _, err = run("config", "check")
    assert code == 2
    assert "site.toml:2: vault.url" in err
    assert "site.toml:3: nonsense: no such key" in err


def test_windows_that_contradict_each_other_are_found_before_a_run_is(run, tmp_path):
    path = tmp_path / "night.toml"
    path.write_text(
        '[vault]\nurl = "/v"\n[windows.w]\nmode = "closed"\ndays = ["daily"]\nstart = "00:00"\nend = "00:00"\n'
    )
    code, _, err = run("config", "check", "--config", path)
    assert code == 2
    assert "no time in which anything may run" in err


def test_a_code_is_explained_however_it_is_written(run):
    for code in ("RPO-MISSED", "Damage"):
        assert run("explain", code)[:2] == run("explain", code.lower())[:2]
        assert run("explain", code)[0] == 0


def test_every_error_code_is_explained(run):
    _, out, _ = run("explain")
    for cls in errors.error_classes():
        assert cls.code in out
        code, text, _ = run("explain", cls.code)
        assert code == 0
        assert cls.meaning in text
        assert cls.next in text
    _, out, _ = run("explain", "damage", "--json")
    assert lines_of(out)[0]["exit_code"] == 4


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run, shell):
    code, out, _ = run("completion", shell)
    assert code == 0
    assert "_HOLDFAST_COMPLETE" in out


def test_completion_completes(run, monkeypatch):
    monkeypatch.setenv("_HOLDFAST_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "holdfast sna")
    monkeypatch.setenv("COMP_CWORD", "1")
    _, out, _ = run()
    assert "snapshots" in out
