"""Drills of a tiny host: the scenario of a lost host, a host that would not start, one whose disks cannot be made; killed ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from tests.integration.hosts.conftest import a_site, tiny_host

import holdfast
from holdfast import errors
from servers import loops

pytestmark = pytest.mark.skipif(not loops.possible(), reason="only root mounts file systems")

SERVICE = '[services.ward]\nsource = "ward"\napplication = "host"\n'


@pytest.fixture(scope="module")
def site():
    with a_site() as found:
        found.services = SERVICE
        with tiny_host(found):
            found.backup()
            found.backup("broken", exclude=("/**/bin/true",))
            stream = holdfast.Stream(".holdfast-host/inventory.json", ("cat", str(found.root / "inventory.json")))
            with found.open() as vault:
                vault.backup([found.root / "holdfast.toml"], label="plain")
                (found.root / "inventory.json").write_bytes(_layered(vault))
                vault.backup([found.host], label="layered", options=holdfast.BackupOptions(streams=(stream,)))
        yield found


def _layered(vault: holdfast.Vault) -> bytes:
    """Return the inventory of the same host as if its root were on a logical volume."""
    from dataclasses import replace

    from holdfast.sources.hosts.inventory import Layer, encode_inventory

    return encode_inventory(replace(vault.host_inventory("latest:ward"), layers=(Layer("dm-0", "lvm", ("sda2",)),)))


def outcomes(report) -> dict[str, str]:
    return {outcome.name: outcome.state for outcome in report.record.outcomes}


def test_a_lost_host_is_played_and_comes_back(site):
    with site.open() as vault:
        played = vault.drill_scenario("ward", "lost-host")
        assert played.good, played.outcome
        assert played.verdict == "passed"
    site.nothing_left()


def test_a_host_that_would_not_start_fails_its_drill_with_the_cause(site):
    with site.open() as vault:
        broken = vault.snapshot("latest:broken").id
        report = vault.drill("ward", holdfast.DrillOptions(snapshot=broken))
    assert report.record.verdict == "failed"
    assert "not even true runs" in report.record.cause
    site.nothing_left()


def test_a_host_without_an_inventory_fails_its_drill(site):
    with site.open() as vault:
        plain = vault.snapshot("latest:plain").id
        report = vault.drill("ward", holdfast.DrillOptions(snapshot=plain))
    assert "no inventory" in report.record.cause


def test_a_host_whose_disks_are_not_made_again_is_drilled_in_a_folder_and_says_so(site):
    with site.open() as vault:
        layered = vault.snapshot("latest:layered").id
        report = vault.drill("ward", holdfast.DrillOptions(snapshot=layered))
    assert report.record.verdict == "passed", report.record.cause
    (found,) = [outcome for outcome in report.record.outcomes if outcome.name == "disks"]
    assert found.state == "skipped"
    assert "lvm" in found.cause


def test_a_host_is_not_drilled_on_a_mount_nor_by_an_ordinary_user(site, monkeypatch):
    with site.open() as vault:
        with pytest.raises(errors.UsageError, match="mount"):
            vault.drill("ward", holdfast.DrillOptions(kind="mounted"))
        assert vault.drill("ward", holdfast.DrillOptions(kind="partial")).record.kind == "partial"
        monkeypatch.setattr("holdfast.runs.drill.hosts.os.geteuid", lambda: 1000)
        with pytest.raises(errors.DrillRefusedError):
            vault.drill("ward")


KILLED = """
import os, signal, sys
from holdfast import Vault
from holdfast.services.hosts.disks import DiskWork
plain = DiskWork.run

def run(self, what, command, **more):
    if what == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
    return plain(self, what, command, **more)

DiskWork.run = run
with Vault.open(sys.argv[1]) as vault:
    vault.drill("ward")
"""


@pytest.mark.parametrize("when", ["writing a partition table", "filling a file system"])
def test_a_killed_drill_is_swept_with_its_mounts_and_devices(site, when):
    command = [sys.executable, "-c", KILLED, str(site.configuration()), when]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert os.listdir(site.place)
    with site.open() as vault:
        assert vault.drill("ward").passed
    site.nothing_left()
    assert not os.listdir(site.place)
