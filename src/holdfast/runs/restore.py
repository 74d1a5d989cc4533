"""A restore, from a snapshot to files. The engine reads each pack once and writes files out of order; this decides where to."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.events import Finding, Note, Progress, ignore
from holdfast.base.values import dataclass
from holdfast.errors import DamageError, NotPermittedError, TargetInsideVaultError, TargetNotEmptyError, UsageError
from holdfast.repository.forget import require_classes
from holdfast.repository.placed import PlacedStore
from holdfast.runs.approvals import authorise, break_glass_alert
from holdfast.runs.damage import unlisted
from holdfast.runs.governed import GovernedRun, governed
from holdfast.runs.reading import refuse_cold, restore_plan
from holdfast.runs.restore_paths import resolved
from holdfast.runs.results import RestoreResult
from holdfast.runs.trees import Trees

if TYPE_CHECKING:
    from holdfast.base.events import Events
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import Cancel, Damaged, Limits, Overwrite

POLL_SECONDS = 0.25
RESUME_NAME = b".holdfast-restore"
"""The engine's folder in the target until a restore is complete: one that holds it was interrupted, and is gone on with."""


@dataclass(frozen=True, slots=True)
class RestoreRequest:
    """What to restore, where to, and what to do with files that exist."""

    to: bytes
    include: tuple[bytes, ...] = ()
    exclude: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    overwrite: Overwrite = "never"
    damaged: Damaged = "keep"
    in_place: bool = False
    dry_run: bool = False
    owners: bool | None = None
    break_glass: str = ""


def run_restore(
    vault: OpenVault,
    info: SnapshotInfo,
    request: RestoreRequest,
    *,
    events: Events = ignore,
    limits: Limits | None = None,
    stop: Cancel | None = None,
) -> RestoreResult:
    """Restore; see `Snapshot.restore`."""
    safe = "files that have their names are whole and verified; nothing else was touched."
    with governed(vault, limits, kind="restore", label=info.label, events=events, stop=stop, safe=safe) as steered:
        result = _restored(vault, info, request, events, steered)
        return replace(result, governor=steered.record())


def _restored(
    vault: OpenVault, info: SnapshotInfo, request: RestoreRequest, events: Events, steered: GovernedRun
) -> RestoreResult:
    began = vault.env.monotonic()
    target = os.path.abspath(request.to)
    _check_target(vault, target, request)
    classes = frozenset(vault.repository.class_id(name) for name in request.classes) or None
    require_classes(info, frozenset(request.classes))
    if info.dropped and not classes:
        gone = ", ".join(sorted(part.class_name for part in info.dropped))
        events(Note(f"this snapshot has no {gone} any more: forgotten by retention; the rest is restored"))
    authorise_restore(vault, info, request, classes, events)
    if not request.dry_run:
        refuse_cold(vault, info, request.include, classes)
    cut: list[bytes] = []
    with engine.translated():
        trees = Trees(vault, info, classes)
        include = resolved(trees, request.include, cut)
    findings = _lost(info, trees, cut)
    lost_parts = len(findings)
    for finding in findings:
        events(finding)
    if isinstance(vault.store, PlacedStore):
        vault.store.take_read()  # what was read before, for other ends
    with engine.translated(), engine.written_to_target():
        extract = engine.Extract(
            reader=trees.reader,
            trees=list(trees.trees.items()),
            target=target,
            include=include,
            exclude=list(request.exclude),
            options=engine.ExtractOptions(
                overwrite=request.overwrite,
                owners=os.geteuid() == 0 if request.owners is None else request.owners,
                dry_run=request.dry_run,
                keep_damaged=request.damaged == "keep",
            ),
            limits=vault.limits,
        )
        finished = _pump(vault, extract, findings, events, steered)
    if finished.damaged:
        _tell_unlisted(vault, info, classes, events)
    if isinstance(vault.store, PlacedStore) and not request.dry_run:
        vault.store.placements.note_restored(vault.store.take_read(), vault.env.now().timestamp())
    return RestoreResult(
        snapshot=info.id,
        files=finished.files,
        folders=finished.folders,
        bytes=finished.bytes,
        skipped=finished.skipped,
        seconds=vault.env.monotonic() - began,
        findings=tuple(findings),
        classes_missing=trees.missing,
        dry_run=request.dry_run,
        damaged=finished.damaged or lost_parts > 0,
        plan=restore_plan(vault, info, include=request.include, classes=classes) if request.dry_run else None,
    )


def _tell_unlisted(vault: OpenVault, info: SnapshotInfo, classes: frozenset[int] | None, events: Events) -> None:
    """Say if what could not be read is not lost, but not listed."""
    try:
        count = unlisted(vault, info, classes)
    except (DamageError, NotPermittedError):
        return
    if count:
        text = f"{count} segments that this snapshot needs are not lost, perhaps, but not listed: run `holdfast repair`"
        events(Note(text, "not-listed"))


def _lost(info: SnapshotInfo, trees: Trees, cut: list[bytes]) -> list[Finding]:
    """Return what is lost before the engine begins: the envelope, whole classes, and places of includes that name it."""
    found = [
        Finding(
            b"",
            "damaged",
            f"the whole of data class {part.class_name} is not restored, up to {part.files_bucket} entries: {error.what}",
            part.class_id,
        )
        for part, error in trees.lost.items()
    ]
    if info.salvaged:
        found.append(
            Finding(
                b"",
                "damaged",
                "the snapshot's envelope cannot be read: there may have been more data classes than these",
            )
        )
    found += [
        Finding(path, "damaged", "an include may mean more here: a part of the tree cannot be read") for path in cut
    ]
    return found


def authorise_restore(
    vault: OpenVault, info: SnapshotInfo, request: RestoreRequest, classes: frozenset[int] | None, events: Events
) -> None:
    """Ask for the approvals that classes need, unless the glass is broken: then nothing is asked, and a person is told."""
    if request.dry_run:
        return
    if request.break_glass:
        hear = vault.trail.hear if events is ignore else events
        hear(break_glass_alert(info.id))
        return
    for part in info.classes:
        if classes is None or part.class_id in classes:
            authorise(vault, f"restore:{part.class_name}", {"snapshot": info.id})


def _check_target(vault: OpenVault, target: bytes, request: RestoreRequest) -> None:
    """Refuse a target inside the vault or the local state, and one that holds something unless told so."""
    if vault.owns(target):
        raise TargetInsideVaultError("the target lies in the vault or in Holdfast's own state")
    if request.in_place or request.overwrite != "never" or request.dry_run:
        return
    try:
        held = os.listdir(target)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise UsageError("the target is not a folder", next="name a folder that is empty or not there yet.") from None
    if held and RESUME_NAME not in held:
        raise TargetNotEmptyError("the target holds something already")


def _pump(
    vault: OpenVault, extract: engine.Extract, findings: list[Finding], events: Events, steered: GovernedRun
) -> engine.ExtractFinished:
    """Report until the engine is finished. `Interrupted` if told to stop: what is whole stays, the rest goes on later."""
    began = vault.env.monotonic()
    stopping = False
    while True:
        if not stopping and steered.is_over():
            stopping = True
            extract.stop()
        event = extract.poll(POLL_SECONDS)
        if isinstance(event, engine.ExtractFinished):
            return event
        if isinstance(event, engine.FindingReady):
            finding = Finding(event.path, event.kind, event.detail, event.class_id)
            findings.append(finding)
            events(finding)
        elif isinstance(event, engine.ExtractProgress):
            events(
                Progress(
                    phase="write",
                    seconds=vault.env.monotonic() - began,
                    files=event.files,
                    bytes=event.bytes,
                    stored_bytes=event.stored_bytes,
                    files_total=event.files_total,
                    bytes_total=event.bytes_total,
                    findings=len(findings),
                )
            )
        elif stopping and extract.stopped:
            raise steered.why()
