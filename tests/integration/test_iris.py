"""IRIS against its executable double, around a ZFS double: exit codes, and the write daemon that the watchdog resumes."""

from __future__ import annotations

import os

import pytest

from holdfast import errors
from holdfast.base.environment import system
from holdfast.sources.connectors.iris import IrisFactory
from holdfast.sources.connectors.protocol import Connection
from holdfast.sources.programs import SystemPrograms
from holdfast.testing.connectors import ConnectorSuite
from holdfast.testing.iris import IrisDouble
from holdfast.testing.volumes import ZfsDouble


class Both(ZfsDouble):
    """ZFS is a double; everything else is run."""

    def run(self, command, *, timeout, environ=None, stdin=b""):
        if command[0] in ("zfs", "mount", "umount"):
            return super().run(command, timeout=timeout, environ=environ, stdin=stdin)
        return SystemPrograms().run(command, timeout=timeout, environ=environ, stdin=stdin)

    def answer(self, words, stdin):
        from holdfast.sources.programs import Done

        return Done(0) if words[0] in ("mount", "umount") else super().answer(words, stdin)


@pytest.fixture
def double(tmp_path):
    return IrisDouble(tmp_path / "iris")


@pytest.fixture
def make(double):
    program, programs = double.install(), Both()
    options = {"volume": "zfs", "program": program}
    return lambda: IrisFactory(programs).make(
        Connection(f"his-{os.getpid()}", path="/srv/db", options=options), system()
    )


class TestIris(ConnectorSuite):
    def frozen(self, make):
        return self.double.suspended

    @pytest.fixture(autouse=True)
    def _double(self, double):
        self.double = double
        yield
        assert not (double.folder / "unknown").exists()


def test_the_steps_are_those_of_the_manual_and_the_journal_is_switched(make, double):
    connector = make()
    connector.check()
    connector.freeze(5)
    connector.verify_frozen()
    connector.capture(5)
    connector.thaw()
    connector.verify_thawed()
    end = connector.conclude()
    connector.close()
    assert [call.partition(").")[2].partition("(")[0] or call for call in double.calls] == [
        "qlist IRIS", "IsWDSuspendedExt", "ExternalFreeze", "IsWDSuspendedExt", "IsWDSuspendedExt", "ExternalThaw",
        "IsWDSuspendedExt", "ExternalSetHistory",
    ]  # fmt: skip
    assert 'ExternalFreeze("","holdfast",1,10,0,0,60)' in " ".join(double.calls)
    assert dict(end.proofs)["exit-ExternalFreeze"] == "5"


def test_what_goes_wrong_is_said_and_the_daemon_resumes(make, double):
    (double.folder / "down").touch()
    with pytest.raises(errors.ApplicationUnreachableError):
        make().check()
    (double.folder / "down").unlink()
    (double.folder / "suspended").touch()
    with pytest.raises(errors.ApplicationBusyError):
        make().check()
    (double.folder / "suspended").unlink()
    (double.folder / "fail-freeze").touch()
    with pytest.raises(errors.ApplicationError, match="ended with 3"):
        make().freeze(5)
    (double.folder / "fail-freeze").unlink()
    connector = make()
    connector.freeze(5)
    (double.folder / "suspended").unlink()
    with pytest.raises(errors.ApplicationChangedError):
        connector.verify_frozen()
    connector.thaw()
    with pytest.raises(errors.ApplicationChangedError, match="ended the freeze"):
        connector.verify_thawed()
    (double.folder / "fail-thaw").touch()
    connector = make()
    connector.freeze(5)
    connector.thaw()
    assert not double.suspended, "the last resort resumed the daemon"
    (double.folder / "fail-stat").touch()
    connector.freeze(5)
    with pytest.raises(errors.StillFrozenError):
        connector.thaw()
    with pytest.raises(errors.StillFrozenError):
        connector.verify_thawed()
    with pytest.raises(errors.FreezeOverrunError):
        connector.freeze(0)
    assert "%Admin_Operate" in IrisFactory().grants(Connection("his"))
