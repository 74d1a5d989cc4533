"""Ceph's object gateway over a cluster of one monitor and one store in memory: a second, independent S3 server.

Its create-if-absent holds on plain buckets and was seen not to hold on buckets with versions, which is what makes it a test.
"""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from servers import install, process
from servers.s3 import S3Server

PACKAGES = ("ceph-mon", "ceph-osd", "radosgw", "ceph-common")
FOLDERS = ("/usr/bin", "/usr/sbin")
KEY, SECRET = "cephkey", "ceph-secret-of-the-tests"

_CONF = """[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd crush chooseleaf type = 0
osd objectstore = memstore
memstore device bytes = 1073741824
osd max object name len = 460
osd max object namespace len = 64
mon max pg per osd = 1000
mon pg warn min per osd = 0
mon allow pool size one = true
run dir = {dir}
log file = {dir}/$name.log
admin socket =
pid file =
keyring = {dir}/keyring
public network = 127.0.0.0/8
[mon.a]
mon data = {dir}/mon
[osd.0]
osd data = {dir}/osd
keyring = {dir}/osd/keyring
public addr = 127.0.0.1
cluster addr = 127.0.0.1
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw dns name =
rgw enable usage log = false
"""


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-1000:]} {done.stderr[-2000:]}"
    return done.stdout


@contextmanager
def ceph(folder: Path) -> Iterator[S3Server]:
    """Run the gateway; what it stores is in memory."""
    for program in PACKAGES[:3]:
        install.debian(program, *PACKAGES, folders=FOLDERS)
    v1, v2, port = process.free_port(), process.free_port(), process.free_port()
    fsid, conf, keyring = str(uuid.uuid4()), str(folder / "ceph.conf"), str(folder / "keyring")
    (folder / "osd").mkdir()
    Path(conf).write_text(_CONF.format(fsid=fsid, v1=v1, v2=v2, dir=folder, port=port))
    tool = ("ceph-authtool", keyring)
    _run(*tool, "--create-keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
    caps = ("--cap", "mon", "allow *", "--cap", "osd", "allow *", "--cap", "mgr", "allow *")
    for name in ("client.admin", "client.rgw.a"):
        _run(*tool, "--gen-key", "-n", name, *caps)
    monmap = str(folder / "monmap")
    _run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v2:127.0.0.1:{v2},v1:127.0.0.1:{v1}]", monmap)
    _run("ceph-mon", "-c", conf, "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
    with ExitStack() as stack:

        def start(ready: object, *command: str) -> None:
            assert callable(ready)
            stack.enter_context(
                process.running([*command, "-c", conf, "-f"], log=folder / f"{command[0]}.out", ready=ready)
            )

        start(lambda: process.answers(v2), "ceph-mon", "-i", "a")
        admin = ("ceph", "-c", conf, "-k", keyring, "--connect-timeout", "30")
        osd = str(uuid.uuid4())
        _run(*admin, "osd", "new", osd)
        key = ("--cap", "mon", "allow profile osd", "--cap", "osd", "allow *")
        _run("ceph-authtool", str(folder / "osd/keyring"), "--create-keyring", "--gen-key", "-n", "osd.0", *key)
        _run(*admin, "auth", "add", "osd.0", "-i", str(folder / "osd/keyring"))
        _run("ceph-osd", "-c", conf, "-i", "0", "--mkfs", "--osd-uuid", osd)
        start(lambda: "1 up" in _run(*admin, "osd", "stat"), "ceph-osd", "-i", "0")
        start(lambda: process.answers(port), "radosgw", "-n", "client.rgw.a", "-k", keyring)
        user = ("--uid=t", "--display-name=t", f"--access-key={KEY}", f"--secret={SECRET}")
        _run("radosgw-admin", "-c", conf, "-k", keyring, "-n", "client.rgw.a", "user", "create", *user)
        yield S3Server(port, KEY, SECRET, region="default")
