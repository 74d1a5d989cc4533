"""versitygw: an S3 server over a folder, with versions, object lock, users and bucket policies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import install, process
from servers.s3 import S3Server

VERSION = "v1.8.0"
KEY, SECRET = "holdfastroot", "holdfast-root-secret"


@contextmanager
def versitygw(folder: Path) -> Iterator[S3Server]:
    """Run a server whose buckets are folders below `folder`."""
    program = install.go("versitygw", f"github.com/versity/versitygw/cmd/versitygw@{VERSION}")
    for name in ("objects", "versions", "iam"):
        (folder / name).mkdir(parents=True)
    port = process.free_port()
    command = [program, "--port", f"127.0.0.1:{port}", "--iam-dir", str(folder / "iam"), "posix"]
    command += ["--versioning-dir", str(folder / "versions"), str(folder / "objects")]
    environ = {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
    with process.running(command, log=folder / "versitygw.log", ready=lambda: process.answers(port), environ=environ):
        yield S3Server(port, KEY, SECRET)
