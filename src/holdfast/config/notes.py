"""What a valid configuration names and this host does not have now: no fault, for it may come later, or be there for a service only.

A file, folder or program that is not there, or a variable that is not set, keeps a channel from reaching anybody; a restore must not
be refused for it. It is said where the configuration is looked at, and in the service's log. Nothing is asked of any network.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from holdfast.config.secrets import SecretRef

if TYPE_CHECKING:
    from holdfast.config.schema import Settings
    from holdfast.config.schema.alerts import ChannelSettings

__all__ = ["channel_notes"]


def channel_notes(settings: Settings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return, for each option of a channel that nothing stands behind on this host, a sentence without its value."""
    return tuple(
        f"channels.{name}.{option}: {text}; until it is there, the channel reaches nobody"
        for name, channel in settings.channels.items()
        for option, text in _of_channel(channel, environ)
    )


def _of_channel(channel: ChannelSettings, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for option in ("url", "key", "password", "privacy", "community"):
        secret = getattr(channel, option)
        if isinstance(secret, SecretRef):
            if secret.scheme == "env" and secret.place not in environ:
                yield option, "the environment has no such variable here"
            elif secret.scheme == "file" and not os.access(secret.place, os.R_OK):
                yield option, "the file of the secret is not there, or cannot be read"
    if channel.ca_file and not os.access(channel.ca_file, os.R_OK):
        yield "ca_file", "the file is not there, or cannot be read"
    if channel.kind == "command" and channel.command and shutil.which(channel.command[0]) is None:
        yield "command", "there is no such program, or it may not be run"
    if channel.kind == "file" and channel.path and not os.path.isdir(os.path.dirname(channel.path) or "."):
        yield "path", "the folder of the file is not there"
    if channel.kind == "syslog" and channel.transport == "unix" and channel.path and not os.path.exists(channel.path):
        yield "path", "the socket is not there"
