"""From the options of an application to its volume provider. The only place that knows all providers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from holdfast.base.environment import Environment
from holdfast.errors import ConfigError
from holdfast.sources.programs import Programs
from holdfast.sources.volumes.protocol import VolumeProvider

__all__ = ["VOLUME_OPTIONS", "provider_of"]

VOLUME_OPTIONS = {
    "volume": "",
    "volume-folder": "/run/holdfast/lvm",
    "volume-instance": "",
    "volume-shell": "",
}
"""Options of every application that can be captured by a volume snapshot, with their defaults."""
KINDS = ("btrfs", "ebs", "lvm", "vss", "zfs")


def provider_of(
    options: Mapping[str, str], targets: Sequence[bytes], *, env: Environment, programs: Programs
) -> VolumeProvider:
    """Return the provider that `volume` names. `ConfigError` for one that there is not, or that lacks an option."""
    kind = options["volume"]
    if kind == "btrfs":
        from holdfast.sources.volumes.btrfs import Btrfs

        return Btrfs(_tops(targets), programs=programs, env=env)
    if kind == "lvm":
        from holdfast.sources.volumes.lvm import Lvm

        return Lvm(os.fsencode(options["volume-folder"]), programs=programs, env=env)
    if kind == "zfs":
        from holdfast.sources.volumes.zfs import Zfs

        return Zfs(programs=programs, env=env)
    if kind == "ebs" and options["volume-instance"]:
        from holdfast.sources.volumes.ebs import Ebs

        return Ebs(options["volume-instance"], programs=programs, env=env)
    if kind == "vss" and options["volume-shell"]:
        from holdfast.sources.volumes.vss import Vss

        return Vss(options["volume-shell"].split(), options["volume-folder"], programs=programs, env=env)
    raise ConfigError(
        "an application needs a volume provider, and none can be made of its options",
        problems=(
            f"volume = one of {', '.join(KINDS)}; ebs needs volume-instance, vss volume-shell and volume-folder",
        ),
    )


def _tops(targets: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the folders above the targets in which a lost run may have left snapshots."""
    return tuple(os.path.dirname(os.path.realpath(target)) for target in targets)
