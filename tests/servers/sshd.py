"""OpenSSH's server on this machine, with a host key and a user key of its own; SFTP, and forced commands where asked for."""

from __future__ import annotations

import getpass
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import install, process


@dataclass(frozen=True, slots=True)
class SshServer:
    """Where it listens, and the files that a client needs."""

    port: int
    user: str
    known_hosts: Path
    private_key: Path
    authorized_keys: Path

    def url(self, path: object, scheme: str = "sftp", port: int | None = None) -> str:
        """Return the URL of a folder."""
        return f"{scheme}://{self.user}@127.0.0.1:{port or self.port}{path}"

    def hosts_at(self, port: int) -> Path:
        """Return a file of known hosts in which the same key stands for another port: that of a proxy."""
        found = self.known_hosts.with_name(f"known_hosts_{port}")
        found.write_text(self.known_hosts.read_text().replace(f":{self.port} ", f":{port} "))
        return found

    def authorize(self, key: Path, options: str) -> None:
        """Let another key in, with options such as a forced command."""
        with open(self.authorized_keys, "a") as file:
            file.write(f"{options} {key.with_suffix('.pub').read_text()}")


def make_key(path: Path) -> Path:
    """Make a key without passphrase; return its private file."""
    install.debian("ssh-keygen", "openssh-client")
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(command, check=True, timeout=60)
    return path


@contextmanager
def sshd(folder: Path) -> Iterator[SshServer]:
    """Run a server that lets this user in by the key in `folder`."""
    program = install.debian("sshd", "openssh-server")
    host, user = make_key(folder / "host"), make_key(folder / "user")
    authorized = folder / "authorized"
    authorized.write_text(user.with_suffix(".pub").read_text())
    authorized.chmod(0o600)
    port = process.free_port()
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nAuthorizedKeysFile {authorized}\n"
        f"PidFile {folder / 'pid'}\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nMaxStartups 100\nMaxSessions 100\n"
        "Subsystem sftp internal-sftp\nPermitUserEnvironment no\nAcceptEnv HOLDFAST_*\nPermitRootLogin yes\n"
    )
    kind, key, *_ = host.with_suffix(".pub").read_text().split()
    known = folder / "known"
    known.write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    command = [program, "-D", "-e", "-f", str(folder / "config")]
    with process.running(command, log=folder / "sshd.log", ready=lambda: process.answers(port)):
        yield SshServer(port, getpass.getuser(), known, user, authorized)
