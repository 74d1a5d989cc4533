"""Holdfast and its peers behind one interface: how each is told to do the same work, with its default settings.

Programs are found on PATH, or where an environment variable says: HOLDFAST, RESTIC, RUSTIC, KOPIA, BORG. Encryption is on
in all but `tar | zstd`, which is a floor. kopia and borg get zstd, which is not their default; otherwise nothing is tuned.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

SECRET = "benchmark"  # noqa: S105 (of a vault that lives for minutes)


@dataclass
class Place:
    """Where one tool keeps its repository and everything else; the source it backs up."""

    base: Path
    source: Path
    count: int = 0
    """Backups made so far."""
    repository: Path = field(init=False)
    home: Path = field(init=False)

    def __post_init__(self) -> None:
        """Make the folders."""
        self.repository = self.base / "repository"
        self.home = self.base / "home"
        self.home.mkdir(parents=True)


@dataclass(frozen=True)
class Step:
    """A command; `shell` if it is a pipeline."""

    argv: tuple[str, ...]
    shell: bool = False


class Tool:
    """One program. Each method returns the step that does the work, or None where the program cannot."""

    name = ""
    variable = ""
    note = ""

    def __init__(self) -> None:
        """Find the program."""
        self.program = os.environ.get(self.variable) or shutil.which(self.name) or ""

    def available(self) -> bool:
        """Whether it is installed."""
        return bool(self.program)

    def version(self) -> str:
        """Return its first line about itself."""
        done = subprocess.run([*shlex.split(self.program), "--version"], capture_output=True, text=True, check=False)
        return (done.stdout or done.stderr).strip().splitlines()[0].split(" compiled")[0].split(" build:")[0]

    def env(self, place: Place) -> dict[str, str]:
        """Return the environment: nothing of the user's own."""
        return {"PATH": os.environ["PATH"], "HOME": str(place.home), "LANG": "C.UTF-8", **self.own_env(place)}

    def own_env(self, _place: Place) -> dict[str, str]:
        """Return the variables that this program reads."""
        return {}

    def call(self, *words: object) -> Step:
        """Make a step of the program's own command."""
        return Step((*shlex.split(self.program), *map(str, words)))

    def init(self, place: Place) -> list[Step]:
        """Make the repository."""
        raise NotImplementedError

    def backup(self, place: Place) -> Step:
        """Back the source up."""
        raise NotImplementedError

    def list_all(self, place: Place) -> Step | None:
        """List every path of the newest snapshot."""
        raise NotImplementedError

    def find(self, place: Place, name: str) -> Step | None:
        """Find a file by name in all snapshots."""
        raise NotImplementedError

    def known_path(self, place: Place, path: Path) -> Step | None:
        """Show one known path of the newest snapshot."""
        raise NotImplementedError

    def restore(self, place: Place, target: Path) -> Step:
        """Restore the newest snapshot."""
        raise NotImplementedError

    def verify(self, place: Place) -> Step:
        """Read and check all data."""
        raise NotImplementedError

    def restored_root(self, place: Place, target: Path) -> Path:
        """Return where the source's files are after a restore."""
        return target / place.source.relative_to("/")


class Holdfast(Tool):
    """Holdfast."""

    name = "holdfast"
    variable = "HOLDFAST"

    def own_env(self, place: Place) -> dict[str, str]:
        """Keep its state in the place."""
        return {
            "HOLDFAST_VAULT": str(place.repository),
            "HOLDFAST_KEY_FILE": str(place.home / "vault.key"),
            "HOLDFAST_STATE": str(place.home / "state"),
        }

    def init(self, place: Place) -> list[Step]:
        return [self.call("init")]

    def backup(self, place: Place) -> Step:
        return self.call("backup", place.source)

    def list_all(self, place: Place) -> Step:
        return self.call("ls", "latest", "--recursive")

    def find(self, place: Place, name: str) -> Step:
        return self.call("find", name)

    def known_path(self, place: Place, path: Path) -> Step:
        return self.call("ls", "latest", path)

    def restore(self, place: Place, target: Path) -> Step:
        return self.call("restore", "latest", "--to", target)

    def verify(self, place: Place) -> Step:
        return self.call("verify")


class Restic(Tool):
    """restic."""

    name = "restic"
    variable = "RESTIC"

    def version(self) -> str:
        """Ask in its own way."""
        done = subprocess.run([self.program, "version"], capture_output=True, text=True, check=False)
        return done.stdout.strip().split(" compiled")[0]

    def own_env(self, place: Place) -> dict[str, str]:
        """Keep its cache in the place."""
        return {
            "RESTIC_REPOSITORY": str(place.repository),
            "RESTIC_PASSWORD": SECRET,
            "RESTIC_CACHE_DIR": str(place.home / "cache"),
        }

    def init(self, place: Place) -> list[Step]:
        return [self.call("init")]

    def backup(self, place: Place) -> Step:
        return self.call("backup", place.source)

    def list_all(self, place: Place) -> Step:
        return self.call("ls", "latest")

    def find(self, place: Place, name: str) -> Step:
        return self.call("find", name)

    def known_path(self, place: Place, path: Path) -> Step:
        return self.call("ls", "latest", path)

    def restore(self, place: Place, target: Path) -> Step:
        return self.call("restore", "latest", "--target", target)

    def verify(self, place: Place) -> Step:
        return self.call("check", "--read-data")


class Rustic(Tool):
    """rustic."""

    name = "rustic"
    variable = "RUSTIC"

    def own_env(self, place: Place) -> dict[str, str]:
        """Keep its cache in the place."""
        return {
            "RUSTIC_REPOSITORY": str(place.repository),
            "RUSTIC_PASSWORD": SECRET,
            "RUSTIC_CACHE_DIR": str(place.home / "cache"),
            "RUSTIC_NO_PROGRESS": "true",
        }

    def init(self, place: Place) -> list[Step]:
        return [self.call("init")]

    def backup(self, place: Place) -> Step:
        return self.call("backup", place.source)

    def list_all(self, place: Place) -> Step:
        return self.call("ls", "latest")

    def find(self, place: Place, name: str) -> Step:
        return self.call("find", "--glob", name)

    def known_path(self, place: Place, path: Path) -> Step:
        return self.call("ls", f"latest:{path}")

    def restore(self, place: Place, target: Path) -> Step:
        return self.call("restore", "latest", target)

    def verify(self, place: Place) -> Step:
        return self.call("check", "--read-data")


class Kopia(Tool):
    """kopia."""

    name = "kopia"
    variable = "KOPIA"
    note = "zstd (its default is none)"

    def own_env(self, place: Place) -> dict[str, str]:
        """Keep its cache, configuration and logs in the place."""
        return {
            "KOPIA_PASSWORD": SECRET,
            "KOPIA_CONFIG_PATH": str(place.home / "kopia.config"),
            "KOPIA_CACHE_DIRECTORY": str(place.home / "cache"),
            "KOPIA_LOG_DIR": str(place.home / "logs"),
            "KOPIA_CHECK_FOR_UPDATES": "false",
        }

    def init(self, place: Place) -> list[Step]:
        create = self.call("repository", "create", "filesystem", f"--path={place.repository}")
        return [create, self.call("policy", "set", "--global", "--compression=zstd")]

    def backup(self, place: Place) -> Step:
        return self.call("snapshot", "create", "--no-progress", place.source)

    def _newest(self, place: Place) -> str:
        words = [self.program, "snapshot", "list", "--json", str(place.source)]
        done = subprocess.run(words, env=self.env(place), capture_output=True, check=True)
        return str(json.loads(done.stdout)[-1]["rootEntry"]["obj"])

    def list_all(self, place: Place) -> Step:
        return self.call("ls", "-r", self._newest(place))

    def find(self, place: Place, name: str) -> Step:
        listing = shlex.join([self.program, "ls", "-r", self._newest(place)])
        return Step((f"{listing} | grep -F {shlex.quote(name)}",), shell=True)

    def known_path(self, place: Place, path: Path) -> Step:
        return self.call("ls", "-l", f"{self._newest(place)}/{path.parent.relative_to(place.source)}")

    def restore(self, place: Place, target: Path) -> Step:
        return self.call("restore", "--no-progress", self._newest(place), target)

    def verify(self, place: Place) -> Step:
        return self.call("snapshot", "verify", "--verify-files-percent=100", "--no-progress")

    def restored_root(self, place: Place, target: Path) -> Path:
        """Return the target: it restores without leading folders."""
        return target


class Borg(Tool):
    """borg."""

    name = "borg"
    variable = "BORG"
    note = "zstd,3 (its default is lz4)"

    def own_env(self, place: Place) -> dict[str, str]:
        """Keep its cache and keys in the place."""
        return {"BORG_PASSPHRASE": SECRET, "BORG_BASE_DIR": str(place.home), "BORG_REPO": str(place.repository)}

    def init(self, place: Place) -> list[Step]:
        return [self.call("init", "--encryption", "repokey-blake2")]

    def backup(self, place: Place) -> Step:
        return self.call("create", "--compression", "zstd,3", f"::backup-{place.count:04d}", place.source)

    def list_all(self, place: Place) -> Step:
        return self.call("list", f"::backup-{place.count - 1:04d}")

    def find(self, place: Place, name: str) -> Step:
        return self.call("list", f"::backup-{place.count - 1:04d}", f"sh:**/{name}")

    def known_path(self, place: Place, path: Path) -> Step:
        return self.call("list", f"::backup-{place.count - 1:04d}", path.relative_to("/"))

    def restore(self, place: Place, target: Path) -> Step:
        extract = shlex.join([self.program, "extract", f"::backup-{place.count - 1:04d}"])
        return Step((f"cd {shlex.quote(str(target))} && exec {extract}",), shell=True)

    def verify(self, place: Place) -> Step:
        return self.call("check", "--verify-data")


class TarZstd(Tool):
    """tar and zstd: neither encryption nor deduplication, a floor."""

    name = "tar+zstd"
    variable = "TAR"
    note = "no encryption, no deduplication: a floor"

    def __init__(self) -> None:
        """Both must be there."""
        self.program = "tar" if shutil.which("tar") and shutil.which("zstd") else ""

    def _file(self, place: Place, number: int) -> str:
        return shlex.quote(str(place.repository / f"{number:04d}.tar.zst"))

    def init(self, place: Place) -> list[Step]:
        return [Step(("mkdir", str(place.repository)))]

    def backup(self, place: Place) -> Step:
        source = shlex.quote(str(place.source.relative_to("/")))
        return Step((f"tar -C / -cf - {source} | zstd -q -3 -T0 -o {self._file(place, place.count)}",), shell=True)

    def list_all(self, place: Place) -> Step:
        return Step((f"zstd -dcq {self._file(place, place.count - 1)} | tar -tvf -",), shell=True)

    def find(self, place: Place, name: str) -> Step:
        return Step((f"zstd -dcq {self._file(place, place.count - 1)} | tar -tf - | grep -F {name}",), shell=True)

    def known_path(self, place: Place, path: Path) -> Step:
        return self.find(place, path.name)

    def restore(self, place: Place, target: Path) -> Step:
        unpack = f"zstd -dcq {self._file(place, place.count - 1)} | tar -C {shlex.quote(str(target))} -xpf -"
        return Step((unpack,), shell=True)

    def verify(self, place: Place) -> Step:
        return Step(("zstd", "-tq", *map(str, sorted(place.repository.iterdir()))))


TOOLS: dict[str, type[Tool]] = {tool.name: tool for tool in (Holdfast, Restic, Rustic, Kopia, Borg, TarZstd)}
