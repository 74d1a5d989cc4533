"""OpenLDAP of Debian: a directory `dc=clinic,dc=example` in an mdb database, listening on a socket in its folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import install, process

CONFIG = """dn: cn=config
objectClass: olcGlobal
cn: config
olcPidFile: {root}/pid

dn: cn=module{{0}},cn=config
objectClass: olcModuleList
cn: module{{0}}
olcModulePath: /usr/lib/ldap
olcModuleLoad: back_mdb

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file:///etc/ldap/schema/core.ldif
include: file:///etc/ldap/schema/cosine.ldif
include: file:///etc/ldap/schema/inetorgperson.ldif

dn: olcDatabase={{1}}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {{1}}mdb
olcSuffix: dc=clinic,dc=example
olcDbDirectory: {root}/data
olcDbMaxSize: 67108864
olcRootDN: cn=admin,dc=clinic,dc=example
olcRootPW: secret
"""
BASE = """dn: dc=clinic,dc=example
objectClass: dcObject
objectClass: organization
dc: clinic
o: Clinic

"""


@dataclass(frozen=True)
class Slapd:
    """Where its configuration and its data are, and where it listens."""

    root: Path
    url: str

    @property
    def config(self) -> Path:
        """The folder `slapd.d`."""
        return self.root / "slapd.d"

    def add(self, text: str) -> None:
        """Add entries through the server, as its administrator."""
        _run(
            [
                install.debian("ldapadd", "ldap-utils"),
                "-x",
                "-H",
                self.url,
                "-D",
                "cn=admin,dc=clinic,dc=example",
                "-w",
                "secret",
            ],
            text,
        )


def _run(command: list[str], text: str = "") -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
    return done.stdout


def person(number: int) -> str:
    """Return an entry."""
    return f"dn: cn=p{number},dc=clinic,dc=example\nobjectClass: inetOrgPerson\ncn: p{number}\nsn: Person {number}\n\n"


@contextmanager
def slapd(root: Path, entries: int = 20) -> Iterator[Slapd]:
    """Make a directory in `root` with some entries, and serve it."""
    program = install.debian("slapd", "slapd", "ldap-utils")
    for name in ("slapd.d", "data"):
        (root / name).mkdir(parents=True)
    _run([install.debian("slapadd", "slapd"), "-n", "0", "-F", str(root / "slapd.d")], CONFIG.format(root=root))
    text = BASE + "".join(map(person, range(entries)))
    _run([install.debian("slapadd", "slapd"), "-n", "1", "-F", str(root / "slapd.d")], text)
    sockets = Path("/tmp") / f"holdfast-slapd-{os.getpid()}-{process.free_port()}"  # noqa: S108 - short, and removed below
    sockets.mkdir(mode=0o700)
    url = "ldapi://" + urllib.parse.quote(str(sockets / "s"), safe="")
    command = [program, "-d", "0", "-F", str(root / "slapd.d"), "-h", url]
    try:
        with process.running(command, log=root / "log", ready=(sockets / "s").exists):
            yield Slapd(root, url)
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
