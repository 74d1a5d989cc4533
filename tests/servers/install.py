"""Programs that tests need, brought by the machine's own package clients: once, under a lock, kept in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast-tests"
SECONDS_MAX = 2400


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Let one process at a time install; the others wait, then find it done."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: list[str], **environ: str) -> None:
    done = subprocess.run(
        command,
        env=os.environ | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} {command[1]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def _found(program: str, *folders: str) -> str | None:
    places = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", *folders))
    return shutil.which(program, path=places)


def debian(program: str, *packages: str, folders: tuple[str, ...] = ()) -> str:
    """Return the path of a program, installing the Debian packages that bring it where it is missing.

    `folders` are searched beside PATH and the folders of system programs. Services are not started by the installation.
    """
    found = _found(program, *folders)
    if found is None:
        with only_one("apt"):
            found = _found(program, *folders)
            if found is None:
                apt = [] if os.geteuid() == 0 else ["sudo", "-n"]
                run([*apt, "apt-get", "-qq", "update"])
                run(
                    [*apt, "apt-get", "-qq", "install", "--no-install-recommends", "-y", *packages],
                    DEBIAN_FRONTEND="noninteractive",
                    RUNLEVEL="1",
                )
                found = _found(program, *folders)
    assert found is not None, f"{program} is not there after installing {packages}"
    return found


def go(program: str, module: str) -> str:
    """Return the path of a Go program, building `module` (with its version) where it is missing."""
    target = CACHE / "bin" / program
    if not target.exists():
        with only_one(f"go-{program}"):
            if not target.exists():
                run(["go", "install", module], GOBIN=str(CACHE / "bin"), CGO_ENABLED="0")
    return str(target)


def npm(package: str, version: str) -> Path:
    """Return the folder of an npm package (`node_modules/PACKAGE`), installing it where it is missing."""
    root = CACHE / "npm" / f"{package.replace('/', '-')}-{version}"
    target = root / "node_modules" / package
    if not (root / "done").exists():
        with only_one(f"npm-{package.replace('/', '-')}"):
            if not (root / "done").exists():
                root.mkdir(parents=True, exist_ok=True)
                run(["npm", "install", "--prefix", str(root), "--no-audit", "--no-fund", f"{package}@{version}"])
                (root / "done").touch()
    return target


def maven(group: str, artifact: str, version: str) -> Path:
    """Return the path of a jar, fetching it where it is missing."""
    coordinates = f"{group}:{artifact}:{version}"
    target = CACHE / "maven" / f"{artifact}-{version}.jar"
    if not target.exists():
        with only_one(f"maven-{artifact}"):
            if not target.exists():
                run(["mvn", "-q", "-B", "dependency:get", f"-Dartifact={coordinates}", "-Dtransitive=false"])
                local = Path.home() / ".m2" / "repository" / group.replace(".", "/") / artifact / version
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(local / f"{artifact}-{version}.jar", target.with_suffix(".part"))
                target.with_suffix(".part").replace(target)
    return target


def maven_closure(name: str, *coordinates: str) -> Path:
    """Return a folder with jars and all that they need, fetching them where they are missing. `coordinates` as G:A:V."""
    folder = CACHE / "maven" / f"{name}-{hashlib.sha256(' '.join(coordinates).encode()).hexdigest()[:16]}"
    if not (folder / "done").exists():
        with only_one(f"maven-{name}"):
            if not (folder / "done").exists():
                folder.mkdir(parents=True, exist_ok=True)
                rows = (
                    dict(zip(("groupId", "artifactId", "version"), each.split(":"), strict=True))
                    for each in coordinates
                )
                needs = "".join(
                    f"<dependency>{''.join(f'<{k}>{v}</{k}>' for k, v in row.items())}</dependency>" for row in rows
                )
                (folder / "pom.xml").write_text(_POM.format(name=name, needs=needs))
                mvn = debian("mvn", "maven")
                copy = ["dependency:copy-dependencies", f"-DoutputDirectory={folder / 'lib'}"]
                run([mvn, "-q", "-B", "-f", str(folder / "pom.xml"), *copy])
                (folder / "done").touch()
    return folder / "lib"


_POM = (
    '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>holdfast.tests</groupId>'
    "<artifactId>{name}</artifactId><version>1</version><dependencies>{needs}</dependencies></project>"
)
