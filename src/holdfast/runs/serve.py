"""Serving a vault's folder over a stream: what an SSH forced command runs."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from holdfast import engine
from holdfast.errors import UsageError, VaultMissingError
from holdfast.runs.assembly import open_local

if TYPE_CHECKING:
    from holdfast.runs.options import PathLike

__all__ = ["run_serve"]


def run_serve(folder: PathLike, source: IO[bytes], sink: IO[bytes], *, add_only: bool) -> int:
    """Answer one client until its stream ends; return how many requests there were.

    Only a folder of this machine is served. `VaultMissingError` if it is not there: nothing is made through a key that may
    only add.
    """
    from holdfast.stores.dialogue import serve

    store = open_local(folder, engine.Limits())
    if store.local_root is None:
        raise UsageError("only a folder of this machine can be served", next="give --vault DIR")
    if not store.exists():
        raise VaultMissingError("there is no vault at this place")
    return serve(store, source, sink, add_only=add_only)
