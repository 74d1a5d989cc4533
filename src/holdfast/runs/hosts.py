"""A whole host from a snapshot to empty disks: plan, partition, make, mount, restore, make bootable, check by chroot.

Everything is mounted in a namespace that ends with the restore, so nothing stays mounted whatever happens. A journal in the
local state says how far it is: the same call goes on there. The decisions are those of `services.hosts`; this does them in order.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.base.events import Note, Progress, ignore
from holdfast.errors import (
    HostError,
    HostInventoryError,
    HostRefusedError,
    Interrupted,
    PathMissingError,
    TargetNotEmptyError,
)
from holdfast.runs.host_results import HostPhase, HostPlan, HostRestore
from holdfast.runs.reading import refuse_cold
from holdfast.runs.restore import RestoreRequest, authorise_restore, run_restore
from holdfast.runs.trees import Trees, tree_path
from holdfast.services.hosts.boot import BootPlan, plan_boot
from holdfast.services.hosts.check import HostCheck
from holdfast.services.hosts.disks import DiskWork, found_on_machine
from holdfast.services.hosts.plan import Layout, check_programs, plan_layout, targets_by_name
from holdfast.services.hosts.private import in_private_mounts
from holdfast.services.isolation import open_cell, run_as
from holdfast.services.judge import Outcome
from holdfast.sources.hosts.inventory import INVENTORY_PATH, Inventory, decode_inventory
from holdfast.sources.programs import SystemPrograms

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import Cancel, Limits
    from holdfast.services.hosts.disks import Mounted
    from holdfast.services.isolation import Ran

__all__ = ["HostRequest", "plan_host", "read_inventory", "restore_host"]

MOUNTS = "/run/holdfast/hosts"
"""Where a host is mounted while it is restored: a path that every user may pass."""
BOOT_SECONDS = 900.0
FOLDERS = {"dev": 0o755, "proc": 0o555, "sys": 0o555, "run": 0o755, "tmp": 0o1777}
"""What a root must have and a backup that stays on its file systems may lack."""
LEFTOVER = ".holdfast-restore"


@dataclass(frozen=True, slots=True)
class HostRequest:
    """Where a host is restored to: disks, or file systems that are mounted already."""

    disks: tuple[str, ...] = ()
    """`NAME=PATH`, or `PATH` for a host of one disk."""
    into: str = ""
    """A folder where file systems were mounted by hand; instead of disks."""
    erase: bool = False
    break_glass: str = ""


def read_inventory(trees: Trees) -> Inventory:
    """Return the inventory in a snapshot. `HostInventoryError`; `DamageError` if its content is lost."""
    descriptor = os.memfd_create("inventory")
    with os.fdopen(descriptor, "rb") as file:
        try:
            trees.read(INVENTORY_PATH.encode(), descriptor)
        except PathMissingError:
            raise HostInventoryError("the snapshot has no inventory of its host") from None
        file.seek(0)
        return decode_inventory(file.read())


@dataclass(slots=True)
class _Journal:
    """How far the restore of one snapshot to certain disks is."""

    path: Path
    done: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, vault: OpenVault, snapshot: str, places: Sequence[str]) -> _Journal:
        """Read it, or begin an empty one."""
        name = hashlib.sha256(json.dumps([snapshot, sorted(places)]).encode()).hexdigest()[:16]
        path = vault.state_dir / "hosts" / f"{name}.json"
        with suppress(OSError, ValueError, TypeError):
            return cls(path, [str(step) for step in json.loads(path.read_bytes())])
        return cls(path)

    @property
    def begun(self) -> bool:
        """Whether something was written to the disks."""
        return bool(self.done)

    def note(self, step: str) -> None:
        """Keep that a step is done, durably."""
        if step in self.done:
            return
        self.done.append(step)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".part")
        with fresh.open("w") as file:
            json.dump(self.done, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)

    def end(self) -> None:
        """Forget it: all is done."""
        self.path.unlink(missing_ok=True)


@dataclass(slots=True)
class _Host:
    """One restore under way."""

    vault: OpenVault
    info: SnapshotInfo
    request: HostRequest
    inventory: Inventory
    layout: Layout | None
    journal: _Journal
    work: DiskWork
    events: Events
    limits: Limits | None
    stop: Cancel | None
    phases: list[HostPhase] = field(default_factory=list)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a step; none begins after a wish to stop."""
        if self.stop is not None and self.stop.is_set():
            raise Interrupted(
                safe="nothing is mounted any more, and what was done so far is kept.",
                next="give the same command again: it goes on where it stopped.",
            )
        began = self.vault.env.monotonic()
        self.events(Progress(phase=name))
        try:
            yield
        finally:
            self.phases.append(HostPhase(name, self.vault.env.monotonic() - began))


def _prepared(
    vault: OpenVault, info: SnapshotInfo, request: HostRequest, events: Events, limits: Limits | None,
    stop: Cancel | None,
) -> tuple[_Host, Trees]:  # fmt: skip
    """Read the inventory, look at the disks, and decide. Nothing is written."""
    if os.geteuid() != 0:
        raise HostRefusedError("only root can write disks", next="run it as root on the machine that gets the host.")
    if bool(request.disks) == bool(request.into):
        raise HostRefusedError("no disk was named, or both disks and a folder")
    trees = Trees(vault, info)
    inventory = read_inventory(trees)
    work = DiskWork(SystemPrograms(vault.env), vault.env)
    if request.into:
        journal = _Journal.of(vault, info.id, [os.path.realpath(request.into)])
        _check_folder(vault, request.into, inventory, journal)
        return _Host(vault, info, request, inventory, None, journal, work, events, limits, stop), trees
    named = targets_by_name(inventory, request.disks)
    if any(vault.owns(os.fsencode(os.path.realpath(path))) for path in named.values()):
        raise HostRefusedError("a disk that was named lies in the vault or in Holdfast's own state")
    journal = _Journal.of(vault, info.id, [f"{name}={os.path.realpath(path)}" for name, path in named.items()])
    targets = {name: work.look(path, reclaim=journal.begun) for name, path in named.items()}
    layout = plan_layout(inventory, targets, architecture=os.uname().machine, erase=request.erase or journal.begun)
    check_programs(layout, found_on_machine)
    return _Host(vault, info, request, inventory, layout, journal, work, events, limits, stop), trees


def _check_folder(vault: OpenVault, into: str, inventory: Inventory, journal: _Journal) -> None:
    if vault.owns(os.fsencode(os.path.realpath(into))) or not os.path.isdir(into):
        raise HostRefusedError(
            "the place named by --into is no folder, or lies in the vault or in Holdfast's own state"
        )
    if inventory.architecture != os.uname().machine:
        raise HostRefusedError(f"the host is of the architecture {inventory.architecture}, this machine is not")
    held = [name for name in os.listdir(into) if name != "lost+found" and not _leads_to_mount(os.path.join(into, name))]
    if held and not journal.begun:
        raise TargetNotEmptyError("the place named by --into holds something already")


def _leads_to_mount(path: str) -> bool:
    """Return whether a folder is where something is mounted, or only leads there."""
    if os.path.ismount(path):
        return True
    if os.path.islink(path) or not os.path.isdir(path):
        return False
    names = os.listdir(path)
    return bool(names) and all(_leads_to_mount(os.path.join(path, name)) for name in names)


def plan_host(vault: OpenVault, info: SnapshotInfo, request: HostRequest) -> HostPlan:
    """Plan; see `Vault.plan_host`."""
    host, trees = _prepared(vault, info, request, ignore, None, None)
    inventory, entries, size = host.inventory, 0, 0
    for entry in trees.walk(tree_path(os.fsencode(inventory.root))):
        entries += 1
        size += entry.size if entry.kind == "file" else 0
    return HostPlan(
        snapshot=info.id,
        started=info.started.strftime("%Y-%m-%d %H:%M UTC"),
        system=inventory.system,
        architecture=inventory.architecture,
        firmware=inventory.firmware,
        loader=inventory.loader,
        packages=len(inventory.packages),
        services=len(inventory.services),
        entries=entries,
        bytes=size,
        disks=host.layout.disks if host.layout else (),
        file_systems=host.layout.file_systems if host.layout else (),
        missing=inventory.missing,
        resumes=host.journal.begun,
    )


def restore_host(
    vault: OpenVault,
    info: SnapshotInfo,
    request: HostRequest,
    *,
    events: Events = ignore,
    limits: Limits | None = None,
    stop: Cancel | None = None,
) -> HostRestore:
    """Restore; see `Vault.restore_host`."""
    host, _ = _prepared(vault, info, request, events, limits, stop)
    # Before a disk is touched: what the restore itself would refuse.
    authorise_restore(vault, info, RestoreRequest(b"/", break_glass=request.break_glass), None, events)
    refuse_cold(vault, info, (), None)
    return in_private_mounts(partial(_restored, host))


def _restored(host: _Host) -> HostRestore:
    began, resumed = host.vault.env.monotonic(), host.journal.begun
    base = os.path.join(MOUNTS, host.journal.path.stem)
    if resumed:
        host.events(Note("an interrupted restore of this host is gone on with", "host-resumed"))
    root = (base + host.inventory.root).rstrip("/")
    os.makedirs(root, mode=0o711, exist_ok=True)
    host.journal.note("begun")
    with ExitStack() as stack:
        mounted, known = _places(host, stack, root)
        with host.phase("restore"):
            files, size, findings, damaged = _tree(host, base, root, resumed=resumed)
        with host.phase("boot"):
            boot, made = _bootable(host, mounted, root)
        with host.phase("check"):
            outcomes = (*made, *_checked(host, root, known))
        if mounted is not None:
            host.work.clear_staged(mounted)
    with suppress(OSError):
        os.removedirs(root)
    if not damaged and all(outcome.state != "failed" for outcome in outcomes):
        host.journal.end()
    return HostRestore(
        snapshot=host.info.id,
        files=files,
        bytes=size,
        seconds=host.vault.env.monotonic() - began,
        phases=tuple(host.phases),
        outcomes=outcomes,
        findings=findings,
        damaged=damaged,
        resumed=resumed,
        by_hand=boot.by_hand,
    )


def _places(host: _Host, stack: ExitStack, root: str) -> tuple[Mounted | None, frozenset[str]]:
    """Bring the host's file systems to `root`: made and mounted, or bound from where a person mounted them."""
    if host.layout is None:
        host.work.run("binding a folder", ["mount", "--rbind", host.request.into, root])
        stack.callback(host.work.run, "unmounting a folder", ["umount", "--recursive", root])
        return None, frozenset()
    devices = stack.enter_context(host.work.attached(host.layout))
    if "partitioned" not in host.journal.done:
        with host.phase("partition"):
            host.work.partition(host.layout, devices)
        host.journal.note("partitioned")
    host.work.show_partitions(host.layout, devices)
    if "made" not in host.journal.done:
        with host.phase("file systems"):
            for each in host.layout.file_systems:
                host.work.make(each, devices)
        host.journal.note("made")
    known = host.work.known_names(host.layout, devices)
    return stack.enter_context(host.work.mounted(host.layout, devices, root)), known


def _tree(host: _Host, base: str, root: str, *, resumed: bool) -> tuple[int, int, int, bool]:
    """Restore the files; what has its name from an interrupted call is whole and stays."""
    own = tree_path(os.fsencode(host.inventory.root))
    request = RestoreRequest(
        to=os.fsencode(base),
        include=(own,) if own else (),
        exclude=() if own else ("/" + INVENTORY_PATH.partition("/")[0],),
        overwrite="older",  # and so that folders that are mounted get their modes and owners
        owners=True,
        break_glass=host.request.break_glass,
    )
    result = run_restore(host.vault, host.info, request, events=host.events, limits=host.limits, stop=host.stop)
    if resumed:
        _clear_leftovers(root)
    for name, mode in FOLDERS.items():
        place = os.path.join(root, name)
        if not os.path.lexists(place):
            os.mkdir(place)
            os.chmod(place, mode)
    host.journal.note("restored")
    return result.files, result.bytes, len(result.findings) + result.classes_missing, result.damaged


def _clear_leftovers(root: str) -> None:
    """Remove unfinished files that a killed restore left beside their places."""
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith(f"{LEFTOVER}-") and name.removeprefix(f"{LEFTOVER}-").isdecimal():
                os.unlink(os.path.join(folder, name))


def _bootable(host: _Host, mounted: Mounted | None, root: str) -> tuple[BootPlan, tuple[Outcome, ...]]:
    """Write the boot loader and what it needs, by the restored host's own programs; what fails is an outcome."""
    device = mounted.devices[host.layout.boot_disk] if mounted is not None and host.layout is not None else ""
    plan = plan_boot(host.inventory, device, partial(_has, root))
    outcomes: list[Outcome] = []
    with _inside(host, root) if plan.commands else nullcontext():
        for what, command in plan.commands:
            start = ["setpriv", "--pdeathsig=KILL", "unshare", "--pid", "--fork", "--kill-child=SIGKILL",
                     f"--root={root}", "--wd=/", "--"]  # fmt: skip
            try:
                host.work.run(what, [*start, *command], seconds=BOOT_SECONDS, around=len(start))
            except HostError as error:
                outcomes.append(Outcome(what, "host", "failed", "done", "not done", error.what))
            else:
                outcomes.append(Outcome(what, "host", "passed", "done", "done"))
    if mounted is not None:
        host.work.fill_staged(mounted)
    host.journal.note("bootable")
    return plan, tuple(outcomes)


@contextmanager
def _inside(host: _Host, root: str) -> Iterator[None]:
    """Let the restored root see devices, processes and the kernel's settings, as its own programs need them."""
    bound: list[str] = []
    try:
        for name in ("dev", "proc", "sys"):
            place = os.path.join(root, name)
            host.work.run("preparing the restored root", ["mount", "--rbind", f"/{name}", place])
            bound.append(place)
        yield
    finally:
        for place in reversed(bound):
            host.work.run("leaving the restored root", ["umount", "--recursive", "--lazy", place])


def _has(root: str, path: str) -> bool:
    """Return whether a root has a file; in an EFI folder, which knows no case, in any spelling."""
    place = root
    for part in path.strip("/").split("/"):
        if os.path.lexists(os.path.join(place, part)):
            place = os.path.join(place, part)
            continue
        try:
            found = [name for name in os.listdir(place) if name.lower() == part.lower()] if "/EFI" in path else []
        except OSError:
            return False
        if not found:
            return False
        place = os.path.join(place, found[0])
    return True


def _checked(host: _Host, root: str, known: frozenset[str]) -> tuple[Outcome, ...]:
    """Check the restored root by chroot, in a cell."""
    user, group = run_as(root)
    with open_cell(MOUNTS, host.vault.env, user=user, group=group, required=False) as cell:

        def run(command: Sequence[str], seconds: float) -> Ran:
            return cell.run(command, seconds=seconds)

        return HostCheck(root, host.inventory, known, run).outcomes()
