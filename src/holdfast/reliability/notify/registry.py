"""Which module makes which kind of channel. Modules are imported when a channel of their kind is made."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from importlib import metadata

from holdfast.base.environment import Environment
from holdfast.config import ChannelSettings
from holdfast.config.checks import CHANNEL_GROUP, CHANNEL_NEEDS
from holdfast.errors import ConfigError
from holdfast.reliability.notify.protocol import Channel, Maker

__all__ = ["build", "maker_of"]


def maker_of(kind: str) -> Maker:
    """Return what makes channels of a kind. `ConfigError` if there is no such kind."""
    if kind in CHANNEL_NEEDS:
        found: Maker = importlib.import_module(f"holdfast.reliability.notify.{kind}").make
        return found
    for point in metadata.entry_points(group=CHANNEL_GROUP, name=kind):
        plugin: Maker = point.load()
        return plugin
    raise ConfigError(f"there is no kind of channel {kind}")


def build(name: str, settings: ChannelSettings, environ: Mapping[str, str], env: Environment) -> Channel:
    """Make a configured channel."""
    return maker_of(settings.kind)(name, settings, environ, env)
