"""Around the commands: help is quick and complete, errors are three lines, signals and pipes end cleanly, paths stay private."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import click
import pytest
from rich.console import Console

from holdfast import cli, errors
from holdfast.base.events import Progress
from holdfast.cli.commands import COMMANDS
from holdfast.cli.exits import combined
from holdfast.cli.main import cli as group
from holdfast.cli.output import Output
from holdfast.cli.progress import Bar, describe
from holdfast.cli.signals import interruptible
from holdfast.runs import results

from .conftest import EVENTS, FINDING

HEAVY = ("rich", "pydantic", "cryptography", "zstandard", "holdfast.runs", "holdfast.config", "holdfast._core")


def test_help_lists_every_command_and_imports_nothing_heavy():
    program = "import sys; from holdfast.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    for name, entry in COMMANDS.items():
        assert name in done.stdout
        assert entry.line in done.stdout
    assert not [name for name in done.stderr.split() if name.startswith(HEAVY)]


def every_command(found: click.Command = group, name: str = "holdfast"):
    context = click.Context(found, info_name=name)
    if isinstance(found, click.Group):
        for child in found.list_commands(context):
            command = found.get_command(context, child)
            assert command is not None
            yield from every_command(command, f"{name} {child}")
    else:
        yield name, found


@pytest.mark.parametrize(
    ("name", "command"), list(every_command()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_is_documented(name, command, run):
    words = name.split()[1:]
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert out.startswith(f"Usage: {name}")
    top = COMMANDS[words[0]].line.rstrip(".").split(":")[0].split(";")[0]
    whole = group.get_command(click.Context(group), words[0])
    assert whole is not None
    assert (whole.help or "").startswith(top.split(",")[0].removesuffix(" small hospital"))
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help or parameter.name == "help", parameter.name
    if words[0] not in ("completion", "demo", "serve"):
        assert {"as_json", "quiet"} <= {parameter.name for parameter in command.params}
    assert group.get_command(click.Context(group), "nonsense") is None


def test_the_code_that_counts():
    assert combined() == 0
    assert combined(0, 0) == 0
    assert combined(3, 0) == 3
    assert combined(3, 1) == 1
    assert combined(1, 7) == 7
    assert combined(7, 4, 3) == 4
    assert combined(4, 130) == 130


def test_an_error_of_the_library_is_three_lines_and_its_code(vault, run):
    vault.answers["open"] = errors.StoreUnreachableError("the store does not answer")
    code, out, err = run("check")
    assert code == 7
    assert not out
    assert err.splitlines()[0] == "holdfast: the store does not answer"
    code, out, _ = run("check", "--json")
    assert code == 7
    record = json.loads(out)
    assert record["type"] == "error"
    assert record["code"] == "store-unreachable"
    assert record["safety"] == "intact"
    assert record["retry"] == "later"


def test_notes_are_printed_and_a_traceback_only_on_demand(vault, run, monkeypatch):
    error = errors.DamageError("an object is damaged")
    error.add_note("round 3 of prune")
    vault.answers["open"] = error
    code, _, err = run("check")
    assert code == 4
    assert "note: round 3 of prune" in err
    assert "Traceback" not in err
    monkeypatch.setenv("HOLDFAST_TRACEBACK", "1")
    assert "Traceback" in run("check")[2]


def test_a_fault_is_named_without_its_text(vault, run):
    vault.answers["open"] = OSError(5, "Input/output error", "/srv/ehr/Müller.hl7")
    code, _, err = run("check")
    assert code == 1
    assert "OSError" in err
    assert "Input/output error" in err
    assert "Müller" not in err
    vault.answers["open"] = KeyError("Müller")
    assert "Müller" not in run("check")[2]


def test_other_ends(vault, run):
    vault.answers["open"] = KeyboardInterrupt()
    assert run("check")[0] == 130
    vault.answers["open"] = click.Abort()
    assert run("check")[0] == 130
    vault.answers["open"] = click.ClickException("no")
    assert run("check")[0] == 2
    assert run("--version") == (0, "holdfast, version 0.1.0\n", "")


def test_a_reader_that_has_enough_ends_the_command():
    program = (
        "import sys\nfrom holdfast.cli import main\ncode = 0\nwhile code == 0: code = main(['explain'])\nsys.exit(code)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.read(10)
        child.stdout.close()
        assert child.wait(30) == 141
        assert not child.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_and_decides_the_code(vault, run, number):
    def backup(stop: threading.Event, **_: object) -> None:
        os.kill(os.getpid(), number)
        assert stop.wait(10)
        raise errors.Interrupted

    vault.answers["backup"] = backup
    before = signal.getsignal(number)
    code, _, err = run("backup", "/x")
    assert code == 128 + number
    assert "checkpoint is kept" in err
    assert signal.getsignal(number) is before


def test_the_second_signal_ends_it_at_once():
    with pytest.raises(errors.Interrupted, match="SIGTERM"), interruptible() as stop:  # noqa: PT012 - signals in order
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    with pytest.raises(errors.Interrupted, match="SIGINT"), interruptible(at_once=True):  # noqa: PT012 - as above
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
    with pytest.raises(errors.Interrupted), interruptible():
        raise errors.Interrupted


def test_no_path_leaves_without_being_asked_for(vault, run):
    vault.answers["backup"] = results.BackupResult(None, partial=True, stats=results.BackupStats(), findings=(FINDING,))
    for arguments in (("backup", "/x"), ("backup", "/x", "--json"), ("backup", "/x", "--quiet")):
        _, out, err = run(*arguments)
        assert "Erika" not in out + err
    code, out, err = run("backup", "/x", "--show-paths")
    assert "Erika" in err
    code, out, _ = run("backup", "/x", "--json", "--show-paths")
    assert code == 3
    found = [json.loads(line) for line in out.splitlines()]
    assert [record["type"] for record in found] == ["progress", "note", "finding", "backup"]
    assert "Erika" in found[2]["path"]
    _, out, _ = run("backup", "/x", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert found[2]["path_digest"] == found[3]["findings"][0]["path_digest"]
    assert "path" not in found[2]


def test_quiet_is_quiet(vault, run):
    vault.answers["backup"] = results.BackupResult(None, partial=False, stats=results.BackupStats())
    assert run("backup", "/x", "-q") == (0, "", "")


def test_many_findings_are_counted(vault, run):
    def backup(events, **_):
        for _number in range(30):
            events(FINDING)
        return results.BackupResult(None, partial=True, stats=results.BackupStats())

    vault.answers["backup"] = backup
    _, _, err = run("backup", "/x")
    assert err.count("unreadable") == 20
    assert "and 11 more findings" in err


def test_a_terminal_gets_a_bar_and_paths(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    out = Output(as_json=False, quiet=False, show_paths=None)
    assert out.show_paths
    assert not Output(as_json=False, quiet=False, show_paths=False).show_paths
    assert not Output(as_json=True, quiet=False, show_paths=None).show_paths
    with out.events("backup") as events:
        for event in EVENTS:
            events(event)
    text = capsys.readouterr().err
    assert "unreadable: srv/ehr/M" in text
    assert "note: a session was resumed" in text


def test_the_bar_says_rate_new_known_files_findings_and_time_left():
    event = EVENTS[0]
    assert isinstance(event, Progress)
    assert describe(event) == "100 B · 50 B/s · new 40 B · dedup 60 B · 3 files · 1 findings · 2.0 s left"
    assert describe(Progress("scan")) == "0 B · 0 B/s · 0 files"
    console = Console(force_terminal=True, width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.file, Bar("backup", console) as bar:
        bar.update(event)
        bar.update(Progress("scan"))
        bar.print("a [line]")
        bar.print("")
    assert "a [line]" in console.export_text()


def test_main_is_the_module_too():
    done = subprocess.run([sys.executable, "-m", "holdfast", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("holdfast, version ")
    assert cli.main(["explain", "usage"]) == 0
