"""The Rust engine under its Python name: the only importer of the extension module.

Its errors become Holdfast's through :func:`translate`, the one place where the two trees meet.
"""

from __future__ import annotations

from contextlib import contextmanager
from errno import ENOENT
from os import strerror
from typing import TYPE_CHECKING

from holdfast import errors
from holdfast._core import (
    DETECT_BYTES,
    Affected,
    Change,
    CheckpointReady,
    Classify,
    ClassKeys,
    ClassResult,
    DamageError,
    EngineError,
    Entry,
    Extract,
    ExtractFinished,
    ExtractOptions,
    ExtractProgress,
    Fenced,
    FindingReady,
    Finished,
    Index,
    IndexCounts,
    Ingest,
    IngestClass,
    IngestOptions,
    IngestProgress,
    IngestStream,
    IoError,
    KeyRing,
    LimitError,
    Limits,
    LimitsUsed,
    Mount,
    MountProgress,
    NetClient,
    NetError,
    NetSigner,
    PackCost,
    PackData,
    PackReady,
    PackRow,
    PackSource,
    PackVerdict,
    ParityRows,
    Reader,
    RefSet,
    ScanPlan,
    SegmentPlace,
    StoppedError,
    Tree,
    TreeCost,
    Verify,
    VerifyProgress,
    WrongKeyError,
    check_pages,
    detect,
    detection_rules,
    encode_run,
    put_file,
    read_directory,
    read_file,
    repack,
    run_segments,
    self_test,
    split_run,
    unmount_place,
    unreadable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DETECT_BYTES",
    "Affected",
    "Change",
    "CheckpointReady",
    "ClassKeys",
    "ClassResult",
    "Classify",
    "DamageError",
    "EngineError",
    "Entry",
    "Extract",
    "ExtractFinished",
    "ExtractOptions",
    "ExtractProgress",
    "Fenced",
    "FindingReady",
    "Finished",
    "Index",
    "IndexCounts",
    "Ingest",
    "IngestClass",
    "IngestOptions",
    "IngestProgress",
    "IngestStream",
    "IoError",
    "KeyRing",
    "LimitError",
    "Limits",
    "LimitsUsed",
    "Mount",
    "MountProgress",
    "NetClient",
    "NetError",
    "NetSigner",
    "PackCost",
    "PackData",
    "PackReady",
    "PackRow",
    "PackSource",
    "PackVerdict",
    "ParityRows",
    "Reader",
    "RefSet",
    "ScanPlan",
    "SegmentPlace",
    "StoppedError",
    "Tree",
    "TreeCost",
    "Verify",
    "VerifyProgress",
    "WrongKeyError",
    "check_pages",
    "detect",
    "detection_rules",
    "encode_run",
    "put_file",
    "read_directory",
    "read_file",
    "repack",
    "run_segments",
    "self_test",
    "split_run",
    "translate",
    "translated",
    "unmount_place",
    "unreadable",
    "written_to_target",
]


_BY_CODE: dict[str, type[errors.HoldfastError]] = {
    "unknown-version": errors.VersionError,
}
_BY_NET_CODE: dict[str, type[errors.HoldfastError]] = {
    "net-too-long": errors.StoreRefusedError,
    "net-credential": errors.StoreAccessError,
    "net-settings": errors.UsageError,
}


def translate(error: EngineError) -> errors.HoldfastError:
    """Return the Holdfast error that an engine's error means. Text and code are kept; neither holds a path."""
    what = str(error)
    if isinstance(error, DamageError):
        return errors.DamageError(what, engine=error.code)
    if isinstance(error, LimitError):
        return errors.LimitError(what, engine=error.code)
    if isinstance(error, WrongKeyError):
        return errors.WrongKeyError(what, engine=error.code)
    if isinstance(error, StoppedError):
        return errors.Interrupted()
    if isinstance(error, IoError) and error.errno == ENOENT:
        return errors.ObjectMissingError("a pack that the index lists is not in the store", engine=error.code)
    if isinstance(error, NetError):
        return _BY_NET_CODE.get(error.code, errors.StoreUnreachableError)(what, engine=error.code)
    if isinstance(error, IoError):
        return errors.StoreUnreachableError(what, engine=error.code, errno=error.errno)
    return _BY_CODE.get(error.code, errors.InternalError)(what, engine=error.code)


@contextmanager
def written_to_target() -> Iterator[None]:
    """Raise `TargetError` where what is restored cannot be written. A pack that cannot be read is the store's affair."""
    try:
        yield
    except IoError as error:
        if "pack" in str(error):
            raise
        reason = strerror(error.errno) if error.errno else str(error)
        raise errors.TargetError(f"what is restored cannot be written ({reason})", errno=error.errno) from error


@contextmanager
def translated() -> Iterator[None]:
    """Raise Holdfast's errors in place of the engine's."""
    try:
        yield
    except EngineError as error:
        raise translate(error) from error
