"""Services come back in the order of their needs, each in a folder of its own; an interrupted restore goes on where it was."""

from __future__ import annotations

import pytest

import holdfast
from holdfast.errors import Interrupted, PathMissingError, SnapshotMissingError, TargetInsideVaultError, UsageError

SERVICES = """
[services.identity]
criticality = "vital"
source = "all"
paths = ["{srv}/identity"]
rto = "15m"
[services.ehr]
criticality = "vital"
source = "all"
paths = ["{srv}/ehr"]
needs = ["identity"]
[services.papers]
source = "all"
paths = ["{srv}/papers"]
[services.nowhere]
source = "all"
paths = ["{srv}/nowhere"]
[services.never]
"""


@pytest.fixture
def hospital(site):
    for name in ("identity", "ehr", "papers"):
        (site.source / name).mkdir()
        for number in range(20):
            (site.source / name / f"{number}.txt").write_text(f"{name} {number} " * 200)
    site.services = SERVICES.format(srv=site.source)
    site.backup("all")
    return site


def text(site, target, service, number=0):
    return (target / service / str(site.source).lstrip("/") / service / f"{number}.txt").read_text()


def test_a_service_comes_back_after_what_it_needs(hospital, tmp_path):
    target = tmp_path / "restore"
    events: list[holdfast.Event] = []
    with hospital.open() as vault:
        planned = vault.restore_service("ehr", target, dry_run=True)
        assert not target.exists()
        assert [(each.service, each.wave) for each in planned.services] == [("identity", 1), ("ehr", 2)]
        assert planned.dry_run
        result = vault.restore_service(["papers", "ehr"], target, events=events.append)
        again = vault.restore_service("ehr", target)
        alone = vault.restore_service("ehr", tmp_path / "alone", needs=False)
    assert isinstance(result, holdfast.ServiceRestore)
    assert [(each.service, each.wave) for each in result.services] == [("identity", 1), ("papers", 1), ("ehr", 2)]
    assert result.exit_code == 0
    assert all(each.files == 20 for each in result.services)
    assert text(hospital, target, "ehr") == "ehr 0 " * 200
    assert all(each.resumed for each in again.services)
    assert [each.service for each in alone.services] == ["ehr"]
    progress = [event for event in events if isinstance(event, holdfast.Progress)]
    assert progress[-1].bytes_total == sum(each.bytes for each in result.services)
    assert progress[-1].fraction == 1.0


def test_an_interrupted_restore_goes_on_where_it_stopped(hospital, tmp_path):
    class Stop:
        asked = 0

        def is_set(self):
            Stop.asked += 1
            return Stop.asked > 2

    with hospital.open() as vault:
        with pytest.raises(Interrupted):
            vault.restore_service("ehr", tmp_path / "out", stop=Stop())
        result = vault.restore_service("ehr", tmp_path / "out")
    assert result.exit_code == 0
    assert text(hospital, tmp_path / "out", "ehr", 19) == "ehr 19 " * 200


def test_what_makes_no_sense_is_refused_before_anything_is_written(hospital, tmp_path):
    with hospital.open() as vault:
        for names, error in (
            ("labs", UsageError),
            ([], UsageError),
            ("never", SnapshotMissingError),
            ("nowhere", PathMissingError),
        ):
            with pytest.raises(error):
                vault.restore_service(names, tmp_path / "out")
        with pytest.raises(TargetInsideVaultError):
            vault.restore_service("ehr", hospital.root / "vault" / "x")
        with (
            pytest.raises(UsageError),
            holdfast.Vault.open(hospital.root / "vault", key_file=hospital.root / "key") as bare,
        ):
            bare.restore_service("ehr", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_damage_is_said_and_costs_only_its_service(hospital, tmp_path):
    with hospital.open() as vault:
        packs = sorted((hospital.root / "vault" / "data").rglob("*"), key=lambda path: path.is_file())
        content = [path for path in packs if path.is_file()]
        assert content
        for path in content:
            path.chmod(0o600)
            data = bytearray(path.read_bytes())
            data[200::50] = bytes(len(data[200::50]))
            path.write_bytes(data)
        result = vault.restore_service("ehr", tmp_path / "out")
        assert result.exit_code == 4
        report = vault.drill("ehr")
    assert report.exit_code == 4
    assert "damaged in the vault" in report.record.cause
    hospital.nothing_left()
