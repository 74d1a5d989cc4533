"""The suite that every volume snapshot provider passes, and doubles of the programs that cannot run everywhere.

A provider's own test is a few lines::

    class TestMyProvider(VolumeSuite):
        @pytest.fixture
        def provider(self): ...
        @pytest.fixture
        def targets(self): ...

The doubles are state machines behind `holdfast.sources.programs.Programs`: they hold volumes, pools and snapshots, fail as the
real programs do, keep every command in `calls`, and refuse (`UnknownCallError`) what they do not know, so that no test passes by
asking for nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import pytest

from holdfast.base.environment import ManualClock
from holdfast.errors import VolumeSnapshotError, VolumeUnsuitableError
from holdfast.sources.programs import Done
from holdfast.sources.volumes.protocol import Tag, VolumeProvider, VolumeSnapshot, sweep

__all__ = [
    "AwsDouble",
    "DiskshadowDouble",
    "LvmDouble",
    "ProgramDouble",
    "UnknownCallError",
    "VolumeSuite",
    "ZfsDouble",
]


class UnknownCallError(AssertionError):
    """A double was asked for something that it does not know: a fault of the caller, or a gap in the double."""


@dataclass
class ProgramDouble:
    """What all doubles of programs share: they remember, and fail on demand."""

    calls: list[tuple[str, ...]] = field(default_factory=list)
    failing: dict[str, Done] = field(default_factory=dict)
    """Words of a command; a command that holds one ends like this, once."""

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        environ: Mapping[str, str] | None = None,  # noqa: ARG002 - the interface
        stdin: bytes = b"",
    ) -> Done:
        """Take a command; see `Programs`."""
        assert timeout > 0
        words = tuple(command)
        self.calls.append(words)
        for word in tuple(self.failing):
            if word in words or word.encode() in stdin:
                return self.failing.pop(word)
        return self.answer(words, stdin)

    def answer(self, words: tuple[str, ...], stdin: bytes) -> Done:
        """Do what the real program would."""
        raise NotImplementedError

    def refuse(self, words: tuple[str, ...]) -> NoReturn:
        """Fail the test."""
        raise UnknownCallError(f"{type(self).__name__} does not know: {' '.join(words)}")


@dataclass
class LvmDouble(ProgramDouble):
    """Logical volumes of one group `vg`, thin (in `pool`) or thick; a pool that is full makes no snapshot."""

    volumes: dict[str, dict[str, str]] = field(default_factory=dict)
    mounted: dict[str, str] = field(default_factory=dict)
    used_percent: float = 10.0

    def __post_init__(self) -> None:
        """Begin with a pool, a thin volume and a thick one."""
        self._add("pool", "", "thin,pool", "")
        self._add("data", "", "thin,sparse", "pool")
        self._add("plain", "", "linear", "")

    def _add(self, name: str, tags: str, layout: str, pool: str) -> None:
        self.volumes[f"vg/{name}"] = {
            "lv_full_name": f"vg/{name}",
            "lv_path": "" if name == "pool" else f"/dev/vg/{name}",
            "lv_tags": tags,
            "lv_layout": layout,
            "pool_lv": pool,
        }

    def answer(self, words: tuple[str, ...], stdin: bytes) -> Done:  # noqa: ARG002, PLR0911 - the interface; one arm for each command
        """Answer `lvs`, `lvcreate`, `lvchange`, `lvremove`, `mount` and `umount`."""
        match words:
            case ("lvs", "--reportformat", "json", "--all", "-o", _):
                used = f"{self.used_percent:.2f}"
                rows = [{**row, "data_percent": used, "metadata_percent": "3.00"} for row in self.volumes.values()]
                return Done(0, json.dumps({"report": [{"lv": rows}]}).encode())
            case ("lvcreate", "-s", "-n", name, *room, "--addtag", tag, origin):
                row = self.volumes.get(origin)
                if row is None or f"vg/{name}" in self.volumes:
                    return Done(5, err=b"Failed to find logical volume, or it exists")
                if bool(row["pool_lv"]) == bool(room):
                    return Done(5, err=b"a thin snapshot takes no size, a thick one needs it")
                self._add(name, tag, "thin,sparse" if row["pool_lv"] else "linear", row["pool_lv"])
                return Done(0)
            case ("lvchange", "-ay", "-K", name):
                return Done(0 if name in self.volumes else 5)
            case ("lvremove", "-f", name):
                if name in self.mounted.values() or name not in self.volumes:
                    return Done(5, err=b"contains a filesystem in use")
                del self.volumes[name]
                return Done(0)
            case ("mount", "-t", _, "-o", options, device, place):
                assert options.startswith("ro")
                self.mounted[place] = device.removeprefix("/dev/")
                return Done(0)
        return self.refuse(words)


@dataclass
class ZfsDouble(ProgramDouble):
    """A pool with datasets; snapshots that clones depend on are not destroyed."""

    datasets: dict[str, str] = field(
        default_factory=lambda: {"tank": "/tank", "tank/db": "/srv/db", "tank/db/log": "/srv/db/log"}
    )
    snapshots: list[str] = field(default_factory=list)
    clones: dict[str, str] = field(default_factory=dict)

    def answer(self, words: tuple[str, ...], stdin: bytes) -> Done:  # noqa: ARG002, PLR0911 - the interface; one arm for each command
        """Answer `list`, `snapshot`, `clone` and `destroy`."""
        match words:
            case ("zfs", "list", "-H", "-t", "filesystem", "-o", "name,mountpoint"):
                return Done(0, "".join(f"{name}\t{place}\n" for name, place in self.datasets.items()).encode())
            case ("zfs", "list", "-H", "-t", "snapshot", "-o", "name"):
                return Done(0, "".join(f"{name}\n" for name in self.snapshots).encode())
            case ("zfs", "snapshot", "-r", "-o", _, "-o", _, name):
                top, _, tag = name.partition("@")
                made = [f"{each}@{tag}" for each in self.datasets if each == top or each.startswith(f"{top}/")]
                if not made or set(made) & set(self.snapshots):
                    return Done(1, err=b"cannot create snapshot: dataset already exists")
                self.snapshots += made
                return Done(0)
            case ("zfs", "clone", snapshot, name):
                if snapshot not in self.snapshots:
                    return Done(1, err=b"cannot open: dataset does not exist")
                self.datasets[name], self.clones[name] = f"/{name}", snapshot
                return Done(0)
            case ("zfs", "destroy", "-r", name):
                top, _, tag = name.partition("@")
                gone = [
                    each
                    for each in self.snapshots
                    if each.endswith(f"@{tag}") and (each.startswith((f"{top}@", f"{top}/")))
                ]
                if set(gone) & set(self.clones.values()):
                    return Done(1, err=b"cannot destroy snapshot: snapshot has dependent clones")
                self.snapshots = [each for each in self.snapshots if each not in gone]
                return Done(0 if gone else 1)
            case ("zfs", "destroy", name) if name in self.clones:
                del self.datasets[name], self.clones[name]
                return Done(0)
        return self.refuse(words)


@dataclass
class AwsDouble(ProgramDouble):
    """An instance with two data disks; a second snapshot within `rate_limited` calls is refused as the service does."""

    disks: tuple[str, ...] = ("vol-1", "vol-2")
    snapshots: dict[str, str] = field(default_factory=dict)
    rate_limited: bool = False

    def answer(self, words: tuple[str, ...], stdin: bytes) -> Done:  # noqa: ARG002 - the interface; one arm for each command
        """Answer `create-snapshots`, `describe-volumes`, `describe-snapshots`, `delete-snapshot`."""
        match words:
            case ("aws", "ec2", "describe-volumes", *_):
                return _json({"Volumes": [{"VolumeId": each} for each in self.disks]})
            case ("aws", "ec2", "create-snapshots", *_, specification):
                if self.rate_limited:
                    return Done(254, err=b"An error occurred (SnapshotCreationPerVolumeRateExceeded)")
                tag = re.findall(r"Value=([^}]+)}", specification)[0]
                made = [f"snap-{len(self.snapshots) + number}" for number, _ in enumerate(self.disks)]
                self.snapshots.update(dict.fromkeys(made, tag))
                return _json({"Snapshots": [{"SnapshotId": each} for each in made]})
            case ("aws", "ec2", "describe-snapshots", *_):
                rows: list[dict[str, Any]] = [
                    {"SnapshotId": name, "Tags": [{"Key": "holdfast", "Value": tag}]}
                    for name, tag in self.snapshots.items()
                ]
                return _json(
                    {"Snapshots": [*rows, {"SnapshotId": "snap-foreign", "Tags": [{"Key": "Name", "Value": "x"}]}]}
                )
            case ("aws", "ec2", "delete-snapshot", "--output", "json", "--snapshot-id", name):
                return Done(0) if self.snapshots.pop(name, None) else Done(254, err=b"InvalidSnapshot.NotFound")
        return self.refuse(words)


@dataclass
class DiskshadowDouble(ProgramDouble):
    """A Windows host: shadow copies, and writers that fail or take longer than the minute that Windows gives them."""

    shadows: dict[str, str] = field(default_factory=dict)
    writers: dict[str, str] = field(default_factory=lambda: {"SqlServerWriter": "Stable", "System Writer": "Stable"})
    freeze_seconds: float = 1.0
    storage_full: bool = False

    def answer(self, words: tuple[str, ...], stdin: bytes) -> Done:  # noqa: C901, PLR0912 - one arm for each command
        """Carry out a script, line by line."""
        if words[-1] != "diskshadow" or not stdin.endswith(b"exit\r\n"):
            self.refuse(words)
        said: list[str] = []
        added: dict[str, str] = {}
        for line in stdin.decode().split("\r\n"):
            match line.split():
                case ["list", "writers", "status"]:
                    said += [f"* WRITER '{name}'\r\n  State: [1] {state}" for name, state in self.writers.items()]
                case ["set", "context", "persistent"] | ["begin", "backup"] | ["end", "backup"] | ["exit"] | []:
                    pass
                case ["add", "volume", drive, "alias", alias]:
                    added[alias] = f"{len(self.shadows) + len(added):08d}-0000-0000-0000-{ord(drive[0]):012d}"
                case ["create"]:
                    if self.storage_full:
                        return Done(1, b"VSS_E_INSUFFICIENT_STORAGE")
                    if self.freeze_seconds > 60:
                        return Done(1, b"VSS_E_HOLD_WRITES_TIMEOUT")
                    said += [f"* Shadow copy ID = {{{each}}} %{alias}%" for alias, each in added.items()]
                case ["expose", alias, place]:
                    self.shadows[added[alias.strip("%")]] = place
                case ["list", "shadows", "all"]:
                    said += [
                        f"* Shadow copy ID = {{{each}}}\r\n  - Exposed locally as: {place}"
                        for each, place in self.shadows.items()
                    ]
                case ["delete", "shadows", "id", name]:
                    if self.shadows.pop(name.strip("{}"), None) is None:
                        return Done(1, b"VSS_E_OBJECT_NOT_FOUND")
                case _:
                    self.refuse((line,))
        return Done(0, "\r\n".join(said).encode())


def _json(value: object) -> Done:
    return Done(0, json.dumps(value).encode())


class VolumeSuite:
    """Subclass it in a test module and give the fixtures `provider` and `targets` (paths that it can take a snapshot of)."""

    readable = True
    """Whether views lead to files on this machine."""

    def make(self, provider: VolumeProvider, targets: Sequence[bytes], seconds: int = 600) -> VolumeSnapshot:
        """Return a new snapshot, made at the clock of tests."""
        return provider.create(provider.prepare(targets), Tag.of(ManualClock().environment(), seconds))

    def test_is_a_provider_that_says_what_it_can(self, provider: VolumeProvider) -> None:
        """It has every method and a price."""
        assert isinstance(provider, VolumeProvider)
        assert provider.capabilities().cost
        assert provider.capabilities().crash_consistent

    def test_a_snapshot_is_found_by_its_tag_and_deleted_twice(
        self, provider: VolumeProvider, targets: Sequence[bytes]
    ) -> None:
        """What was made is listed, belongs to its owner, goes, and going again is no error."""
        snapshot = self.make(provider, targets)
        assert [row.tag for row in provider.tagged()] == [snapshot.tag]
        provider.delete(provider.tagged()[0])
        assert provider.tagged() == ()
        provider.delete(snapshot)

    def test_leaks_are_swept_and_living_runs_are_left_alone(
        self, provider: VolumeProvider, targets: Sequence[bytes]
    ) -> None:
        """Past the deadline or without a living owner it goes; else it stays."""
        clock = ManualClock()
        living = self.make(provider, targets)
        orphan = self.make(provider, targets)
        swept = sweep(provider, clock.environment(), lambda owner: owner == living.tag.owner)
        assert (swept.removed, swept.failed, swept.kept) == (1, 0, 1)
        assert orphan.tag not in {row.tag for row in provider.tagged()}
        clock.sleep(601)
        assert sweep(provider, clock.environment(), lambda _owner: True).removed == 1
        assert provider.tagged() == ()

    def test_views_and_clones_are_given_or_refused_as_said(
        self, provider: VolumeProvider, targets: Sequence[bytes]
    ) -> None:
        """A writable copy exists exactly where it is claimed; a found snapshot without targets has no views."""
        snapshot = self.make(provider, targets)
        if provider.capabilities().writable_clone:
            assert provider.clone(snapshot)
        else:
            with pytest.raises(VolumeUnsuitableError):
                provider.clone(snapshot)
        with pytest.raises(VolumeUnsuitableError):
            provider.views(provider.tagged()[0])
        provider.delete(snapshot)
        assert provider.tagged() == ()

    def test_a_place_without_a_volume_is_refused_before_anything_is_made(self, provider: VolumeProvider) -> None:
        """The refusal is the provider's own error, and leaves nothing."""
        with pytest.raises(VolumeSnapshotError):
            provider.prepare([b"/proc/none"])
        assert provider.tagged() == ()
