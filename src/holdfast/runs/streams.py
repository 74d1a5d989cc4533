"""The command behind a stream as the engine takes it: its class by number, its environment stated."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from holdfast import engine

if TYPE_CHECKING:
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import BackupOptions, Stream

__all__ = ["engine_stream"]


def engine_stream(vault: OpenVault, stream: Stream, options: BackupOptions) -> engine.IngestStream:
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
