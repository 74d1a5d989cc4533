"""The framework that starts real servers: one that answers is waited for, one that cannot start is said with its log."""

from __future__ import annotations

import os
import sys

import pytest

from servers import install, process


def test_a_server_is_started_waited_for_and_ended_with_its_children(tmp_path):
    port = process.free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    with process.running(command, log=tmp_path / "log", ready=lambda: process.answers(port)) as server:
        assert process.answers(port)
        assert os.getpgid(server.pid) == server.pid
    assert not process.answers(port)


def test_a_server_that_does_not_come_up_shows_its_log(tmp_path):
    command = [sys.executable, "-c", "print('no such port'); raise SystemExit(3)"]
    with (
        pytest.raises(AssertionError, match="no such port"),
        process.running(command, log=tmp_path / "log", ready=lambda: False),
    ):
        pass


def test_a_program_of_the_machine_is_found():
    assert install.debian("sh", "dash").endswith("/sh")
