"""Foreign programs: their end, their output, their limits. Real but tiny programs: this is the module that starts them."""

from __future__ import annotations

import subprocess
import sys

import psutil
import pytest

from holdfast.sources import programs

RUN = programs.SystemPrograms().run


def python(text, **more):
    return RUN([sys.executable, "-c", text], timeout=more.pop("timeout", 30), **more)


def test_how_a_program_ended_is_what_it_said():
    done = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(5)")
    assert (done.code, done.out, done.err, done.ok, done.timed_out) == (5, b"out\n", b"err\n", False, False)
    assert done.text == "out\n"
    assert python("pass").ok


def test_what_cannot_be_started_is_an_answer_too(tmp_path):
    assert RUN(["holdfast-no-such-program"], timeout=5).code == programs.NOT_FOUND
    assert RUN([str(tmp_path)], timeout=5).code == programs.NOT_STARTED


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path):
    script = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"
    done = python(script, timeout=1.0)
    assert done.timed_out
    assert not done.ok
    child = int(done.out)
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_children_that_outlive_a_program_do_not_hold_its_caller():
    done = python("import subprocess; subprocess.Popen(['sleep', '600']); print('done', flush=True)")
    assert (done.code, done.out) == (0, b"done\n")


def test_it_gets_what_it_is_given_and_little_else(monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_CALLER", "x")
    done = python(
        "import os, sys; print(sorted(os.environ)); print(sys.stdin.read())", environ={"GIVEN": "1"}, stdin=b"typed"
    )
    assert "SECRET_OF_THE_CALLER" not in done.text
    assert "'GIVEN'" in done.text
    assert "'LC_ALL'" in done.text
    assert done.text.endswith("typed\n")


def test_a_program_that_reads_no_input_and_one_that_prints_without_end_are_bounded(monkeypatch):
    monkeypatch.setattr(programs, "OUTPUT_BYTES_MAX", 1000)
    assert python("pass", stdin=b"x" * (1 << 20)).code == 0
    done = python("print('y' * 100_000)")
    assert (done.code, len(done.out)) == (0, 1000)


def test_an_interrupted_caller_leaves_no_program(monkeypatch):
    real, began = subprocess.Popen.wait, []

    def interrupted(self, timeout=None):
        if not began:
            began.append(self)
            raise KeyboardInterrupt
        return real(self, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        python("import time; time.sleep(600)")
    assert began[0].returncode == -9
