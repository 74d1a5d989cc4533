"""The command line on a real vault: what an administrator types, what programs read, and what a signal leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.cli.shapes import problems

COMMAND = [sys.executable, "-m", "holdfast"]


@pytest.fixture
def site(tmp_path):
    """A vault, its key, a source, and a function that runs a command on them."""
    source = tmp_path / "srv" / "ehr"
    source.mkdir(parents=True)
    for number in range(20):
        (source / f"{number}.hl7").write_text(f"MSH|{number}|" * 50)
    environ = os.environ | {"HOLDFAST_VAULT": str(tmp_path / "vault"), "HOLDFAST_KEY_FILE": str(tmp_path / "key")}

    def run(*arguments: str, code: int = 0, **more: str) -> str:
        done = subprocess.run(
            [*COMMAND, *arguments], env=environ | more, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == code, done.stdout + done.stderr
        if "--json" in arguments:
            for line in done.stdout.splitlines():
                assert not problems(json.loads(line)), line
        return done.stdout + done.stderr

    run("init")
    return source, run, environ


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_day_in_the_life(site, tmp_path):
    source, run, _ = site
    first = records(run("backup", str(source), "--label", "ehr", "--json"))[-1]
    assert first["type"] == "backup"
    assert first["exit_code"] == 0
    assert first["stats"]["files"] == 20
    (source / "3.hl7").write_text("changed")
    (source / "4.hl7").unlink()
    assert "is stored" in run("backup", str(source), "--label", "ehr", "--tag", "nightly")
    listed = records(run("snapshots", "--json"))
    assert [row["label"] for row in listed] == ["ehr", "ehr"]
    older, newer = (row["id"] for row in listed)
    assert "#nightly" in run("snapshots")
    assert "1 removed, 1 changed" in run("diff", older, newer)
    assert f"{source}/3.hl7"[1:] in run("ls", "latest", str(source))
    assert len(run("find", "4.hl7", "-q").splitlines()) == 1
    assert len(run("find", "--versions", f"{source}/3.hl7", "-q").splitlines()) == 2
    run("restore", older[:8], "--to", str(tmp_path / "out"))
    assert (tmp_path / "out" / str(source)[1:] / "4.hl7").read_text().startswith("MSH|4|")
    assert run("restore", "latest", "--stdout", f"{source}/3.hl7") == "changed"
    assert ": sound" in run("check")
    assert "no damage" in run("verify")
    assert "phi" in run("stats")
    run("hold", "set", older, "--reason", "court")
    assert "SAFE: " in run("forget", older, code=6)
    run("hold", "release", older, "--reason", "over")
    assert "Forgot 1" in run("forget", "--keep-last", "1")
    assert "condemned" in run("prune")
    assert "1 snapshots" in run("catalog", "rebuild")
    run("key", "kit", "--out", str(tmp_path / "kit"))
    assert newer[:12] in run("snapshots", HOLDFAST_KEY_FILE=str(tmp_path / "kit"))


def test_a_writer_adds_and_reads_nothing(site, tmp_path):
    source, run, environ = site
    run("key", "issue", "writer", "ward7", "--to", str(tmp_path / "credential"))
    del environ["HOLDFAST_KEY_FILE"]
    environ["HOLDFAST_CREDENTIAL"] = str(tmp_path / "credential")
    assert "is stored" in run("backup", str(source))
    assert "holdfast: " in run("restore", "--to", str(tmp_path / "out"), code=6)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_each_bad_input_has_its_code(site, tmp_path):
    source, run, _ = site
    assert "SAFE: " in run("backup", str(tmp_path / "gone"), code=2)
    run("snapshots", code=5, HOLDFAST_VAULT=str(tmp_path / "elsewhere"))
    run("restore", "latest", "--to", str(tmp_path / "out"), code=5)
    run("init", code=2)
    (tmp_path / "other").mkdir()
    run("init", HOLDFAST_VAULT=str(tmp_path / "other" / "vault"), HOLDFAST_KEY_FILE=str(tmp_path / "other" / "key"))
    run("snapshots", code=6, HOLDFAST_KEY_FILE=str(tmp_path / "other" / "key"))
    run("backup", str(source))
    run("restore", "latest", "--to", str(source), code=2)
    run("restore", "latest", "--to", str(tmp_path / "vault" / "x"), code=2)
    run("ls", "latest", "/no/such/path", code=5)


def test_a_finding_makes_it_partial_and_names_no_path(site):
    source, run, _ = site
    (source / "Erika.sock").symlink_to("nowhere")
    os.mkfifo(source / "fifo")
    import socket

    here = Path.cwd()
    os.chdir(source)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("Erika Muster.socket")
    finally:
        os.chdir(here)
    text = run("backup", str(source))
    assert "Erika" not in text
    assert "socket" in text
    assert "Erika" in run("backup", str(source), "--show-paths")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_checkpoint_and_the_next_run_goes_on(site, number):
    source, run, environ = site
    for part in range(4):
        with (source / f"{part}.bin").open("wb") as file:
            for _ in range(16):
                file.write(os.urandom(1 << 20))
    command = [*COMMAND, "backup", str(source), "--limit-read", "8MB", "--json"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert any('"progress"' in line for line in child.stdout)
        child.send_signal(number)
        _, err = child.communicate(timeout=60)
    assert child.returncode == 128 + number
    assert "SAFE: " in err
    assert records(run("snapshots", "--json")) == []
    assert "is stored" in run("backup", str(source))
    assert "no damage" in run("verify")


def test_a_snapshot_that_cannot_be_read_is_listed(site, tmp_path):
    source, run, _ = site
    run("backup", str(source))
    (envelope,) = (tmp_path / "vault" / "snapshot").iterdir()
    envelope.chmod(0o600)
    envelope.write_bytes(envelope.read_bytes()[:-1])
    assert envelope.name in run("snapshots", code=4)
    assert envelope.name in run("snapshots", "--json", code=4)


def test_an_output_that_takes_no_more_is_no_fault_of_the_vault(site):
    source, run, environ = site
    (source / "large").write_bytes(bytes(range(256)) * 8192)
    run("backup", str(source))
    command = [*COMMAND, "restore", "latest", "--stdout", str(source / "large")]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, env=environ, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be written (No space left on device)" in done.stderr
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as piped:
        assert piped.stdout is not None
        assert piped.stderr is not None
        piped.stdout.read(10)
        piped.stdout.close()
        assert piped.stderr.read() == b""
    assert piped.returncode == 141


def test_a_folder_is_no_key(site, tmp_path):
    _, run, _ = site
    assert "the key cannot be read: Is a directory" in run("snapshots", "--key-file", str(tmp_path), code=6)


def test_streams_that_could_not_mean_what_was_meant_are_refused(site):
    _, run, _ = site
    for command in ("a=echo hi; exit 3", "a=echo hi | cat", "a=true && echo x", "../a=echo x", "a/./b=echo x"):
        run("backup", "--stdin-command", command, code=2)
    run("backup", "--stdin-command", "a=echo x", "--stdin-command", "/a=echo y", code=2)
    run("backup", "--stdin-command", "a=sh -c 'echo hi; exit 3'", code=3)
    run("backup", "--stdin-command", "a=sh -c 'echo hi; echo \"it | works\"'")
    assert run("restore", "latest", "--stdout", "a") == "hi\nit | works\n"


def test_what_is_holdfast_s_own_is_no_source(site, tmp_path):
    source, run, _ = site
    assert "in the vault" in run("backup", str(tmp_path / "vault" / "key"), code=2)
    assert "one line" in run("backup", str(source), "--label", "a\nb", code=2)
    assert "one line" in run("backup", str(source), "--tag", "\udcff", code=2)


def test_an_interrupted_restore_is_gone_on_with(site, tmp_path):
    source, run, _ = site
    run("backup", str(source))
    target = tmp_path / "target"
    run("restore", "latest", "--to", str(target))
    run("restore", "latest", "--to", str(target), code=2)
    (target / ".holdfast-restore").mkdir()
    lost = target / str(source)[1:] / "3.hl7"
    lost.unlink()
    run("restore", "latest", "--to", str(target))
    assert lost.read_bytes() == (source / "3.hl7").read_bytes()
    assert not (target / ".holdfast-restore").exists()


def test_a_lost_index_is_made_anew_from_the_packs(site, tmp_path):
    source, run, _ = site
    run("backup", str(source))
    runs = list((tmp_path / "vault" / "index").iterdir())
    for entry in runs:
        entry.unlink()
    run("check", code=4)
    run("restore", "latest", "--to", str(tmp_path / "early"), code=4)
    would = json.loads(run("repair", "index", "--dry-run", "--json").splitlines()[-1])
    assert would["packs_read"] == 2
    assert not list((tmp_path / "vault" / "index").iterdir())
    done = json.loads(run("repair", "index", "--json").splitlines()[-1])
    assert (done["packs_listed"], done["packs_damaged"], done["runs_put"]) == (2, 0, 1)
    run("check")
    run("restore", "latest", "--to", str(tmp_path / "restored"))
    restored = tmp_path / "restored" / source.relative_to("/")
    assert {f.name: f.read_bytes() for f in restored.iterdir()} == {f.name: f.read_bytes() for f in source.iterdir()}
    pack = next(p for p in (tmp_path / "vault" / "data").rglob("*") if p.is_file())
    pack.chmod(0o600)
    pack.write_bytes(pack.read_bytes()[:-1])
    for entry in (tmp_path / "vault" / "index").iterdir():
        entry.unlink()
    assert "1 packs are damaged" in run("repair", "index", code=4)
