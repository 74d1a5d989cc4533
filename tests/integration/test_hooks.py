"""Hooks of a site: commands and HTTP calls with real processes and a real server, under the watchdog."""

from __future__ import annotations

import http.server
import threading

import pytest

from holdfast import errors
from holdfast.base.environment import system
from holdfast.sources.connectors.hooks import FACTORY
from holdfast.sources.connectors.protocol import Budgets, Connection, Member, Verdict
from holdfast.sources.consistency import consistent
from holdfast.testing.connectors import ConnectorSuite

WIDE = Budgets(acquire_seconds=10, hold_seconds=10)


class TestCommands(ConnectorSuite):
    """Exit code 5 is success, as with InterSystems products: the map says so, for the watchdog too."""

    @pytest.fixture
    def make(self, tmp_path):
        self.flag = flag = tmp_path / "flag"
        (tmp_path / "data").mkdir(exist_ok=True)
        options = {
            "check": "true",
            "freeze": f"sh -c 'set -C; : > {flag} && exit 5'",
            "freeze-succeeds": "5",
            "frozen": f"test -e {flag}",
            "thaw": f"sh -c 'rm -f {flag}; exit 5'",
            "thaw-succeeds": "5",
            "vouches": "yes",
            "version": "1.0",
        }
        return lambda: FACTORY.make(Connection("emr", path=str(tmp_path / "data"), options=options), system())

    def frozen(self, make):
        return self.flag.exists()


class Application(http.server.BaseHTTPRequestHandler):
    frozen = False
    secrets: list[str] = []  # noqa: RUF012 - one server for one test

    def do_POST(self):
        type(self).secrets.append(self.headers.get("Authorization", ""))
        if self.path == "/freeze":
            type(self).frozen = True
        elif self.path == "/thaw":
            type(self).frozen = False
        self._answer(200)

    def do_GET(self):
        self._answer(200 if self.path == "/up" or type(self).frozen else 409)

    def _answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def web(tmp_path, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


class TestHttp(ConnectorSuite):
    @pytest.fixture
    def make(self, web, tmp_path):
        calls = {"check": "GET", "freeze": "POST", "frozen": "GET", "thaw": "POST"}
        paths = {"check": "up"}
        options = {step: f"{method} {web}/{paths.get(step, step)}" for step, method in calls.items()} | {
            "vouches": "yes"
        }
        return lambda: FACTORY.make(Connection("emr", path=str(tmp_path), options=options), system())

    def frozen(self, make):
        return Application.frozen


def make(tmp_path, **options):
    return FACTORY.make(Connection("emr", path=str(tmp_path), options=options), system())


def test_outcomes_are_recorded_and_nobody_vouches_for_files_without_a_freeze(tmp_path):
    with consistent(
        [Member(make(tmp_path, check="true", after="sh -c 'exit 3'", **{"after-succeeds": "0 3"}), WIDE)], env=system()
    ) as group:
        (end,) = group.conclude()
    assert end.evidence.verdict is Verdict.NONE
    assert end.evidence.proofs == (("vouched-by", "nobody"), ("check-code", "0"), ("after-code", "3"))


def test_what_hooks_do_wrong_is_said(tmp_path):
    with pytest.raises(errors.ApplicationUnreachableError, match="7"):
        make(tmp_path, check="sh -c 'exit 7'").check()
    with pytest.raises(errors.ApplicationUnreachableError, match="timeout"):
        make(tmp_path, check="sleep 60", timeout="0.2").check()
    with pytest.raises(errors.ApplicationBusyError):
        make(tmp_path, frozen="true").check()
    with pytest.raises(errors.ApplicationUnsuitableError, match="1 of 1"):
        make(tmp_path / "none").check()
    with pytest.raises(errors.CaptureError, match="9"):
        make(tmp_path, after="sh -c 'exit 9'").conclude()
    frozen = make(tmp_path, freeze="sh -c 'exit 4'", thaw="sh -c 'exit 6'")
    with pytest.raises(errors.ApplicationError, match="4"):
        frozen.freeze(5)
    with pytest.raises(errors.StillFrozenError, match="6"):
        frozen.thaw()
    slow = make(tmp_path, freeze="sleep 60", thaw="true", frozen="true")
    with pytest.raises(errors.FreezeOverrunError):
        slow.freeze(0.1)
    slow.thaw()
    with pytest.raises(errors.StillFrozenError, match="after its thaw"):
        slow.verify_thawed()
    unreachable = make(tmp_path, check="GET http://127.0.0.1:1/up")
    with pytest.raises(errors.ApplicationUnreachableError, match="-1"):
        unreachable.check()


def test_faults_of_the_options_are_listed_at_once(tmp_path):
    with pytest.raises(errors.ConfigError) as caught:
        FACTORY.make(
            Connection("emr", options={"freeze": "a", "check": "'", "after": "x", "after-succeeds": "good"}), system()
        )
    assert len(caught.value.problems) == 4
    assert "sudoers" in FACTORY.grants(Connection("emr"))


def test_hooks_get_their_account_in_the_environment_and_nothing_on_the_command_line(tmp_path, monkeypatch):
    from holdfast.config import SecretRef

    (tmp_path / "secret").write_text("geheim")
    connection = Connection(
        "emr",
        path=str(tmp_path),
        user="backup",
        password=SecretRef("file", str(tmp_path / "secret")),
        options={
            "check": f"sh -c 'echo $HOLDFAST_APPLICATION $HOLDFAST_STEP $HOLDFAST_USER $HOLDFAST_PASSWORD > {tmp_path}/said'"
        },
    )
    FACTORY.make(connection, system()).check()
    assert (tmp_path / "said").read_text() == "emr check backup geheim\n"
