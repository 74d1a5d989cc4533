"""Whether a restored root would start: looked at from outside, and asked from inside by chroot.

What is looked at needs no program of the restored host. What is asked runs its own programs (`dpkg`, `getent`, `systemd-analyze`)
in a cell without network, rights or a writable file system, as a user that is root there only. Causes hold no path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdfast.errors import DrillProgramError
from holdfast.services.hosts.boot import INITRAMFS_NAMES
from holdfast.services.isolation import Ran, found_program
from holdfast.services.judge import Outcome
from holdfast.sources.hosts.inventory import Inventory

__all__ = ["HostCheck", "names_of", "unresolved"]

KIND = "host"
SECONDS = 600.0
PSEUDO = frozenset(
    {"proc", "sysfs", "tmpfs", "devpts", "devtmpfs", "cgroup", "cgroup2", "nfs", "nfs4", "cifs", "fuse", "overlay"}
)
UNIT_FOLDERS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system", "/run/systemd/system")
PROGRAM_FOLDERS = ("/bin/", "/sbin/", "/lib/", "/lib64/", "/usr/bin/", "/usr/sbin/", "/usr/lib/")
_UUID_IN_GRUB = re.compile(
    r"(?:--fs-uuid\b.*?|root=UUID=|--set=root\s+)([0-9A-F]{4}-[0-9A-F]{4}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
)
LINKS_MAX = 40
ENTER = 'for each in run tmp; do mount -t tmpfs -o size=16m,mode=755 none "$0/$each" 2>/dev/null; done; exec chroot "$0" "$@"'
"""A backup that stays on its file systems has an empty /run, which programs expect to be able to write to."""


def names_of(identities: Sequence[tuple[str, str, str, str]]) -> frozenset[str]:
    """Return the names by which an fstab may know file systems, from (device, UUID, label, partition UUID) of each."""
    found = set()
    for device, uuid, label, part in identities:
        found |= {device, f"UUID={uuid.lower()}", f"LABEL={label}", f"PARTUUID={part.lower()}"}
        found |= {
            f"/dev/disk/by-uuid/{uuid.lower()}",
            f"/dev/disk/by-label/{label}",
            f"/dev/disk/by-partuuid/{part.lower()}",
        }
    return frozenset(found)


def unresolved(fstab: str, known: Collection[str]) -> tuple[int, int]:
    """Return how many lines of an fstab must mount, and how many of these name a file system that is not known. Pure."""
    lines = wrong = 0
    for line in fstab.splitlines():
        words = line.split()
        if len(words) < 4 or words[0].startswith("#"):  # noqa: PLR2004 - device, place, kind, options: fstab(5)
            continue
        options = set(words[3].split(","))
        local = words[2] not in PSEUDO and ("=" in words[0] or words[0].startswith("/dev/"))
        if not local or options & {"noauto", "nofail", "bind", "rbind"}:
            continue
        lines += 1
        key, separator, value = words[0].replace('"', "").partition("=")
        name = f"{key}={value if key == 'LABEL' else value.lower()}" if separator else key
        wrong += name not in known
    return lines, wrong


@dataclass(frozen=True, slots=True)
class HostCheck:
    """The check of one restored root."""

    root: str
    """Where the restored root is here."""
    inventory: Inventory
    known: Collection[str]
    """Names of the file systems there are; empty: fstab is not held against them."""
    run: Callable[[Sequence[str], float], Ran]
    """Runs a command in the cell."""

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return what every check came to."""
        return (*self.looked_at(), *self.asked())

    def looked_at(self) -> Iterator[Outcome]:
        """Yield what can be seen without running anything of the host."""
        yield self._fstab()
        yield self._kernels()
        yield self._boot()
        yield self._units()

    def asked(self) -> Iterator[Outcome]:
        """Yield what the host's own programs say."""
        try:
            started = self._chroot("/bin/true")
        except DrillProgramError as error:
            yield Outcome("starts a program", KIND, "failed", "it runs", "nothing", error.what)
            return
        cause = "" if started.code == 0 else f"not even true runs in the restored root (exit code {started.code})"
        yield self._outcome("starts a program", "it runs", "it runs" if not cause else "nothing", cause)
        if cause:
            return
        yield self._users()
        if self.inventory.package_format == "dpkg":
            yield self._packages()
            yield self._audit()
            yield self._files()
        if self._has("/usr/bin/systemd-analyze"):
            yield self._verified()

    def _outcome(self, name: str, wanted: str, found: str, cause: str = "") -> Outcome:
        return Outcome(name, KIND, "failed" if cause else "passed", wanted, found, cause)

    def ask(self, command: Sequence[str], seconds: float) -> Ran:
        """Run a command with the restored root as its root, in a user namespace of its own, with an empty /run and /tmp."""
        start = [
            found_program("unshare"),
            "--user",
            "--map-root-user",
            "--mount",
            "--",
            found_program("sh"),
            "-c",
            ENTER,
        ]
        return self.run([*start, self.root, *command], seconds)

    def _chroot(self, *command: str) -> Ran:
        return self.ask(command, SECONDS)

    def _place(self, path: str) -> Path | None:
        """Return where a file of the host is here, its links followed within its root. None if they lead nowhere."""
        parts, done, followed = [part for part in path.split("/") if part], Path(self.root), 0
        while parts:
            part = parts.pop(0)
            if part == "..":
                done = done.parent if done != Path(self.root) else done
                continue
            if part == ".":
                continue
            place = done / part
            if place.is_symlink():
                followed += 1
                if followed > LINKS_MAX:
                    return None
                target = os.readlink(place)
                done = Path(self.root) if target.startswith("/") else done
                parts = [each for each in target.split("/") if each] + parts
            else:
                done = place
        return done if done.exists() else None

    def _has(self, path: str) -> bool:
        return self._place(path) is not None

    def _text(self, path: str) -> str | None:
        place = self._place(path)
        try:
            return None if place is None else place.read_text(errors="replace")
        except OSError:
            return None

    def _fstab(self) -> Outcome:
        wanted = "every file system that it mounts is there"
        text = self._text("/etc/fstab")
        if text is None:
            return self._outcome("fstab", wanted, "no fstab", "the restored root has no fstab")
        lines, wrong = unresolved(text, self.known) if self.known else (0, 0)
        cause = f"{wrong} of {lines} lines of fstab name a file system that is not there" if wrong else ""
        return self._outcome("fstab", wanted, f"{lines - wrong} of {lines}", cause)

    def _kernels(self) -> Outcome:
        lacking = []
        for version in self.inventory.kernels:
            if not any(self._has(f"/boot/{name}-{version}") for name in ("vmlinuz", "vmlinux")):
                lacking.append(f"the kernel {version}")
            if not self._has(f"/lib/modules/{version}/modules.dep"):
                lacking.append(f"the modules of {version}")
        for version in self.inventory.initramfs:
            forms = (self._place(f"/boot/{form.format(version)}") for form in INITRAMFS_NAMES)
            place = next(filter(None, forms), None)
            if place is None or place.stat().st_size == 0:
                lacking.append(f"the initramfs of {version}")
        count = len(self.inventory.kernels)
        cause = f"not there: {', '.join(lacking)}" if lacking else ""
        return self._outcome("kernel", "kernels with modules and initramfs", f"{count} kernels", cause)

    def _boot(self) -> Outcome:
        wanted = "a configuration that names file systems which are there"
        loader = self.inventory.loader
        if not loader:
            return Outcome("boot configuration", KIND, "skipped", wanted, "none", "the host had no boot loader")
        if loader != "grub":
            return Outcome(
                "boot configuration", KIND, "skipped", wanted, loader, f"that of {loader} is not looked into"
            )
        text = self._text("/boot/grub/grub.cfg") or self._text("/boot/grub2/grub.cfg")
        if not text:
            return self._outcome("boot configuration", wanted, "none", "the boot loader's configuration is not there")
        named = {match.lower() for match in _UUID_IN_GRUB.findall(text)}
        wrong = sum(f"UUID={uuid}" not in self.known for uuid in named) if self.known else 0
        cause = f"the boot loader's configuration names {wrong} file systems that are not there" if wrong else ""
        return self._outcome("boot configuration", wanted, f"{len(named) - wrong} of {len(named)}", cause)

    def _units(self) -> Outcome:
        lacking = sum(
            not any(self._has(f"{folder}/{unit}") for folder in UNIT_FOLDERS) for unit in self.inventory.services
        )
        count = len(self.inventory.services)
        cause = f"{lacking} of {count} enabled services have no unit file" if lacking else ""
        return self._outcome("enabled services", "a unit file of each", f"{count - lacking} of {count}", cause)

    def _users(self) -> Outcome:
        ran = self._chroot("/usr/bin/getent", "passwd", "root")
        cause = "" if ran.code == 0 and ran.out.startswith("root:") else "the restored system does not know root"
        return self._outcome("users", "root is known", "known" if not cause else "not known", cause)

    def _packages(self) -> Outcome:
        wanted = {(each.name, each.version, each.architecture) for each in self.inventory.packages}
        ran = self._chroot("/usr/bin/dpkg-query", "-f=${Package}\t${Version}\t${Architecture}\n", "-W")
        found = {tuple(line.split("\t")) for line in ran.out.splitlines()}
        other = len(wanted ^ found)
        cause = f"{other} packages are not as in the inventory" if ran.code or other else ""
        return self._outcome("packages", f"{len(wanted)} as recorded", f"{len(found)}", cause)

    def _audit(self) -> Outcome:
        ran = self._chroot("/usr/bin/dpkg", "--audit")
        cause = "dpkg names packages that are not installed properly" if ran.code or ran.out.strip() else ""
        return self._outcome("package state", "nothing half installed", "nothing" if not cause else "something", cause)

    def _files(self) -> Outcome:
        """Hold files against their packages. What an administrator changed is no fault; a program that is not there is one."""
        ran = self._chroot("/usr/bin/dpkg", "--verify")
        rows = [line.split(maxsplit=1) for line in ran.out.splitlines() if line.strip()]
        gone = sum(row[0] == "missing" and row[-1].split()[-1].startswith(PROGRAM_FOLDERS) for row in rows)
        cause = f"{gone} programs or libraries of packages are not there" if gone else ""
        return self._outcome("package files", "no program missing", f"{len(rows)} differ, {gone} missing", cause)

    def _verified(self) -> Outcome:
        ran = self._chroot("/usr/bin/systemd-analyze", "verify", "--man=no", "default.target")
        cause = (
            f"systemd finds the units wrong that lead to its default target (exit code {ran.code})" if ran.code else ""
        )
        return self._outcome("units", "they verify", "they verify" if not cause else "they do not", cause)
