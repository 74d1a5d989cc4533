"""versitygw: an S3 server over a folder, with versions, object lock, users and bucket policies."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import install, process
from servers.s3 import S3Server

VERSION = "v1.8.0"
KEY, SECRET = "holdfastroot", "holdfast-root-secret"


@contextmanager
def versitygw(folder: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[S3Server]:
    """Run a server whose buckets are folders below `folder`; with a certificate and its key it speaks TLS."""
    program = install.go("versitygw", f"github.com/versity/versitygw/cmd/versitygw@{VERSION}")
    for name in ("objects", "versions", "iam"):
        (folder / name).mkdir(parents=True)
    port = process.free_port()
    command = [program, "--port", f"127.0.0.1:{port}", "--iam-dir", str(folder / "iam")]
    if certificate is not None:
        command += ["--cert", str(certificate[0]), "--key", str(certificate[1])]
    command += ["posix"]
    command += ["--versioning-dir", str(folder / "versions"), str(folder / "objects")]
    environ = {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
    with process.running(command, log=folder / "versitygw.log", ready=lambda: process.answers(port), environ=environ):
        yield S3Server(port, KEY, SECRET)


def make_user(server: S3Server, key: str, secret: str) -> None:
    """Make a user who may do nothing by himself."""
    program = install.go("versitygw", f"github.com/versity/versitygw/cmd/versitygw@{VERSION}")
    command = [program, "admin", "create-user", "--access", key, "--secret", secret, "--role", "user"]
    environ = {
        "ADMIN_ACCESS_KEY_ID": server.key,
        "ADMIN_SECRET_ACCESS_KEY": server.secret,
        "ADMIN_ENDPOINT_URL": server.endpoint,
    }
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
