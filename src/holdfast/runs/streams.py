"""The command behind a stream as the engine takes it: its class by number, its environment stated. The inventory is one."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.events import Note
from holdfast.errors import SourceMissingError
from holdfast.runs.options import Stream

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import BackupOptions

__all__ = ["engine_streams", "with_inventory"]

COLLECTOR = "holdfast.sources.hosts.collect"


def with_inventory(options: BackupOptions, events: Events) -> BackupOptions:
    """Return options with the inventory of the host among the streams, if that is asked for.

    What cannot be found out for want of a program is said now, while somebody can install it; the inventory lists it, too.
    """
    if not options.host_root:
        return options
    from holdfast.services.hosts.disks import found_on_machine
    from holdfast.sources.hosts.collect import needed_programs
    from holdfast.sources.hosts.inventory import INVENTORY_PATH

    if not os.path.isdir(options.host_root):
        raise SourceMissingError("the root of the host, whose inventory is asked for, is no folder")
    missing = needed_programs(found_on_machine)
    if missing:
        text = f"the inventory of the host lacks its disks: {', '.join(missing)} is not installed"
        events(Note(text, "host-inventory-incomplete"))
    command = (sys.executable, "-I", "-m", COLLECTOR, os.path.abspath(options.host_root))
    return replace(options, host_root="", streams=(*options.streams, Stream(INVENTORY_PATH, command)))


def engine_streams(vault: OpenVault, options: BackupOptions) -> list[engine.IngestStream]:
    """Return a run's streams in the engine's form."""
    return [_engine_stream(vault, stream, options) for stream in options.streams]


def _engine_stream(vault: OpenVault, stream: Stream, options: BackupOptions) -> engine.IngestStream:
    """Return a stream in the engine's form. It inherits few variables, and those that it names if they are set."""
    from holdfast.sources.programs import environment_of

    passed = {name: os.environ[name] for name in stream.environment if name in os.environ}
    return engine.IngestStream(
        os.fsencode(stream.path).strip(b"/"),
        list(stream.command),
        vault.repository.class_id(stream.class_name) if stream.class_name else 0,
        environment=list(environment_of(passed).items()),
        show_errors=options.show_stream_errors,
    )
