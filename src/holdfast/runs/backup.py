"""A backup, from paths to a committed snapshot.

The order of effects is that of `docs/format/protocol.md`: session, index, packs, runs and checkpoints, references and
parts, decision; only then the local cache. A crash after any line leaves every earlier snapshot whole, and what was
stored up to the last checkpoint is found in the index and not stored again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import field, replace
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.data_classes import class_rank
from holdfast.base.events import Finding, Note, Progress, ignore
from holdfast.base.values import dataclass
from holdfast.errors import (
    InternalError,
    RevokedError,
)
from holdfast.repository.names import DATA_KIND
from holdfast.repository.session import RunPayload, Session
from holdfast.repository.states import is_long, next_number, read_state
from holdfast.repository.types import ClassDraft, SnapshotDraft
from holdfast.runs import backup_checks, continuity, parents, witness
from holdfast.runs.anomaly import Anomaly
from holdfast.runs.assembly import class_keys, engine_index
from holdfast.runs.catalog import after_backup
from holdfast.runs.conclusion import concluded, is_partial, moves, sealed_evidence
from holdfast.runs.draft import part_findings, stored_refs
from holdfast.runs.governed import GovernedRun, governed
from holdfast.runs.home_copies import copy_after
from holdfast.runs.locking import locked_anew
from holdfast.runs.placing import begin, outages_told, packs_pending, retain_until
from holdfast.runs.protection import Protection
from holdfast.runs.raising import RaisedFolders, detectable
from holdfast.runs.results import BackupResult, BackupStats, ClassCount, DetectedCount
from holdfast.runs.streams import engine_streams, with_inventory
from holdfast.runs.suspicion import facts_of, judged
from holdfast.runs.uploads import Uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from holdfast.base.events import Events
    from holdfast.repository.types import SnapshotInfo
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.conclusion import Conclusions
    from holdfast.runs.continuity import Caches, Source
    from holdfast.runs.options import BackupOptions, Cancel

POLL_SECONDS = 0.25
PROGRAM = "holdfast 0.1.0"
PASSES_MAX = 6
"""Passes of one session: to raise what lies beside something sensitive, and to store anew what a prune condemned."""
LOOK_SECONDS = 60.0
"""A run that stores nothing new looks for prunes this often."""


@dataclass(frozen=True, slots=True)
class BackupRequest:
    """What to back up, and how. Paths are made absolute; symlinks on the way to them are kept as they are."""

    paths: tuple[bytes, ...]
    label: str
    options: BackupOptions
    dry_run: bool = False
    moving: tuple[bytes, ...] = ()  # absolute folders whose files may change or vanish while they are read without harm
    conclude: Callable[[Sequence[Finding]], Conclusions] | None = None  # once, before the commit; never redone
    judged: bool = True  # compared with its history; not so what is emptied after each run, such as a spool of logs


@dataclass(slots=True)
class _Run:
    """What one attempt at a run carries along."""

    vault: OpenVault
    request: BackupRequest
    source: Source
    caches: Caches
    events: Events
    governed: GovernedRun
    started: datetime
    began: float
    raised: RaisedFolders
    protection: Protection
    findings: list[Finding] = field(default_factory=list)
    told: set[Finding] = field(default_factory=set)
    content: Counter[int] = field(default_factory=Counter)  # bytes of data packs by class
    fences: dict[int, tuple[int, ...]] = field(
        default_factory=dict
    )  # condemned lists by the fence asked for after them


def run_backup(
    vault: OpenVault,
    request: BackupRequest,
    *,
    events: Events = ignore,
    stop: Cancel | None = None,
) -> BackupResult:
    """Back up and commit; see `Vault.backup`. A revoked session is begun again once."""
    options = with_inventory(request.options, events)
    request = replace(request, paths=backup_checks.absolute(request.paths), options=options)
    backup_checks.check(vault, request)
    source = continuity.identify(vault.repository, request.paths, request.label)
    with governed(
        vault,
        request.options.limits,
        kind="backup",
        label=request.label,
        events=events,
        stop=stop,
        # What an application has to conclude is concluded once: such a run holds still instead of beginning again.
        can_yield=request.conclude is None,
        last_good=lambda: parents.last_good(vault, source),
        paths=request.paths,
    ) as steered:
        result = steered.attempts(lambda: _attempts(vault, request, source, events, steered))
        return replace(result, governor=steered.record())


def _attempts(
    vault: OpenVault, request: BackupRequest, source: Source, events: Events, steered: GovernedRun
) -> BackupResult:
    if not request.dry_run:
        begin(vault, events)
    with continuity.held(vault.folder("cache"), source.id) as caches:

        def attempt() -> BackupResult:
            run = _Run(
                vault,
                request,
                source,
                caches,
                events,
                steered,
                vault.env.now(),
                vault.env.monotonic(),
                RaisedFolders.read(caches.raised),
                Protection(vault, events),
            )
            return _attempt(run)

        with engine.translated(), outages_told(vault, events):
            try:
                return attempt()
            except RevokedError:
                if request.conclude is not None:
                    raise
                events(Note("the session was revoked by a prune; the run is begun again and stores nothing twice"))
                caches.discard()
                return attempt()


def _attempt(run: _Run) -> BackupResult:
    """One session, from its announcement to its commit."""
    vault, request = run.vault, run.request
    run.events(Progress(phase="scan"))
    before = vault.store.counts()
    class_ids = _class_ids(vault, request.options)
    if request.dry_run:
        return _dry_run(run, class_ids)
    witness.begin(vault, run.events)
    # The session first: what a snapshot listed after that needs, its reference sets too, no prune takes away any more.
    session = Session.begin(vault.repository, vault.indexes, source=run.source.id, classes=class_ids)
    history = parents.history(vault, run.source, run.events)
    parent = history[-1] if history else None
    passes = [_pass(run, session, class_ids)]
    facts = facts_of(passes[0], run.content, parent)
    if run.raised.learn(passes[0].raised):
        # Names never sink: what lies beside something sensitive, and the folders above it, are as sensitive as that.
        run.events(Note("folders hold more than their path says; they are raised with what is in them"))
        passes.append(_again(run, session, class_ids))
    while passes[-1].lost or not session.settle([row.refs.encode_full() for row in passes[-1].classes]):
        if len(passes) == PASSES_MAX:
            raise RevokedError("prunes condemned what this run rests on, time and again")
        run.events(Note("a prune condemned what this run rests on; that is read and stored again"))
        passes.append(_again(run, session, class_ids))
    finished = passes[-1]
    end = concluded(request.conclude, run.findings, run.events)
    judgement = judged(run.caches.history, facts, parent, history) if request.judged else None
    anomaly = judgement.anomaly if judgement is not None else Anomaly()
    info = session.commit(_draft(run, finished, parent, end, anomaly.score))
    run.protection.finish()
    run.caches.accept()
    witness.committed(vault, info.id)
    if judgement is not None:
        judgement.committed(info, history, run.events)
        locked_anew(vault, (*history, info), run.events)
    copy_after(vault, run.events)
    if request.options.update_catalog:
        after_backup(vault, run.events)
    counts = vault.store.counts()
    stats = _stats(run, passes, counts.bytes_put - before.bytes_put, counts.objects_put - before.objects_put)
    return BackupResult(
        info,
        info.partial,
        stats,
        tuple(run.findings),
        pending=packs_pending(vault),
        evidence=end.evidence,
        anomaly=anomaly,
    )


def _again(run: _Run, session: Session, class_ids: Sequence[int]) -> engine.Finished:
    """Go through everything once more: what the pass before stored is known, what must not be used is read again."""
    run.caches.accept()
    run.findings[:] = [finding for finding in run.findings if finding.kind == "silent-change"]
    return _pass(run, session, class_ids)


def _pass(run: _Run, session: Session, class_ids: Sequence[int]) -> engine.Finished:
    """Read everything that is not known, store it, and make it known."""
    run.fences.clear()
    ingest = _ingest(run, engine_index(session.view), class_ids)
    with Uploads(
        run.protection.around(session.put_pack), ingest.pack_stored, run.request.options.upload_threads
    ) as uploads:
        try:
            finished = _pump(run, session, ingest, uploads)
        except BaseException:
            ingest.stop()
            raise
    _publish_last(run, session, finished)
    return finished


def _dry_run(run: _Run, class_ids: Sequence[int]) -> BackupResult:
    """Walk and compare; write nothing but the local copy of the index."""
    ingest = _ingest(run, run.vault.index(), class_ids)
    try:
        finished = _pump(run, None, ingest, None)
    except BaseException:
        ingest.stop()
        raise
    return BackupResult(
        None, is_partial(run.findings), _stats(run, [finished], 0, 0), tuple(run.findings), dry_run=True
    )


def _class_ids(vault: OpenVault, options: BackupOptions) -> list[int]:
    """Return the classes that entries can fall into, most sensitive first. `UsageError` for one that the credential lacks."""
    names = {options.default_class}
    names.update(rule.class_name for rule in options.class_rules)
    names.update(stream.class_name for stream in options.streams if stream.class_name)
    said = {vault.repository.class_id(name) for name in names}
    found = detectable(said, vault.repository.classes) if options.detect else set()
    return sorted(said | found, key=class_rank)


def _ingest(run: _Run, index: engine.Index, class_ids: Sequence[int]) -> engine.Ingest:
    """Start the engine on the request."""
    vault, options = run.vault, run.request.options
    state = _state(run)
    return engine.Ingest(
        plan=_plan(vault, run.request, run.raised),
        classes=[_ingest_class(vault, class_id) for class_id in class_ids],
        streams=engine_streams(vault, options),
        index=index,
        cache_in=run.caches.current_or_none(),
        cache_out=str(run.caches.next),
        state_in=state,
        maps=_maps(run, index) if state else None,
        options=engine.IngestOptions(
            level=options.level,
            workers=options.workers,
            pack_bytes=options.pack_bytes,
            checkpoint_bytes=options.checkpoint_bytes,
            checkpoint_seconds=options.checkpoint_seconds,
            paranoid=options.paranoid,
            audit_files=options.audit_files,
            dry_run=run.request.dry_run,
            detect=options.detect,
            state_base=not state and is_long(vault.repository, run.source.id),
            marks=[word.encode() for word in vault.watch.extensions],
            notes=[word.encode() for word in vault.watch.notes],
        ),
        limits=vault.limits,
    )


def _state(run: _Run) -> list[bytes]:
    """Return the writer's state from the vault, if the local cache is lost."""
    if run.caches.current_or_none() is not None:
        return []
    found = read_state(run.vault.repository, run.source.id)
    if found:
        run.events(Note("the local cache was lost; the vault's copy of the writer's state is used"))
    return found


def _maps(run: _Run, index: engine.Index) -> engine.Reader:
    """Return a reader of this writer's own map packs: they say how large files of a writer's state are stored."""
    repository = run.vault.repository
    keyring = engine.KeyRing([class_keys(s) for s in repository.all_secrets()], repository.open_envelope)
    return engine.Reader(index, keyring, run.vault.source())


def _plan(vault: OpenVault, request: BackupRequest, raised: RaisedFolders) -> engine.ScanPlan:
    options = request.options
    return engine.ScanPlan(
        roots=list(request.paths),
        own_paths=vault.own_folders(),
        exclude=list(options.exclude),
        exclude_caches=options.exclude_caches,
        exclude_larger_than=options.exclude_larger_than,
        one_file_system=options.one_file_system,
        class_rules=[(rule.pattern, vault.repository.class_id(rule.class_name)) for rule in options.class_rules],
        default_class=vault.repository.class_id(options.default_class),
        raised=raised.rows() if options.detect else (),
    )


def _ingest_class(vault: OpenVault, class_id: int) -> engine.IngestClass:
    secrets = vault.repository.secrets(class_id)
    key = vault.repository.new_run_key(class_id)
    return engine.IngestClass(class_keys(secrets), key.key, key.envelope, key.map_key, key.map_envelope)


def _pump(run: _Run, session: Session | None, ingest: engine.Ingest, uploads: Uploads | None) -> engine.Finished:
    """Carry what the engine hands out to where it belongs, until it is finished. `Interrupted` after a checkpoint.

    Without a session (a dry run) the engine hands out nothing to be stored.
    """
    told = looked = run.vault.env.monotonic()
    has_objective = run.governed.governor.plan.rpo is not None
    expected = parents.expected_bytes(run.vault, run.source) if has_objective else None
    while True:
        if run.governed.is_over():
            ingest.stop()
        event = ingest.poll(POLL_SECONDS)
        if uploads is not None:
            uploads.check()
        if isinstance(event, engine.Finished) or (event is None and ingest.stopped):
            if uploads is not None:
                uploads.drain()
            if event is None:
                raise run.governed.why()
            run.events(_progress(run, ingest.progress_now(), "commit"))
            return event
        if isinstance(event, engine.FindingReady):
            _note_finding(run, event)
        elif event is not None and session is not None and uploads is not None:
            _store(run, event, session, ingest, uploads)
        looked = _look(run, session, ingest, looked)
        if run.vault.env.monotonic() - told >= POLL_SECONDS:
            told = run.vault.env.monotonic()
            progress = ingest.progress_now()
            run.governed.governor.progress(progress.bytes, expected)
            run.events(_progress(run, progress, "read"))


def _store(
    run: _Run,
    event: engine.PackReady | engine.CheckpointReady | engine.Fenced | engine.IngestProgress,
    session: Session,
    ingest: engine.Ingest,
    uploads: Uploads,
) -> None:
    """Store what the engine hands out to be stored."""
    if isinstance(event, engine.PackReady):
        run.content[event.class_id] += len(event.data) * (event.kind == DATA_KIND)
        uploads.submit(event.name, event.kind, event.data)
    elif isinstance(event, engine.CheckpointReady):
        done = session.checkpoint(_payloads(event.runs), packs=event.packs, stored_bytes=event.stored_bytes)
        ingest.checkpoint_done(event.number, list(done.sorted_runs))
        _fence(run, done.waiting, ingest)
    elif isinstance(event, engine.Fenced):
        asked = [run.fences.pop(number) for number in sorted(run.fences) if number <= event.number]
        if event.clean and asked:
            session.acknowledge(asked[-1])


def _look(run: _Run, session: Session | None, ingest: engine.Ingest, last: float) -> float:
    """Look for prunes now and then where nothing new is stored; return when that was done last."""
    now = run.vault.env.monotonic()
    if session is None or now - last < LOOK_SECONDS:
        return last
    _fence(run, session.look(), ingest)
    return now


def _fence(run: _Run, waiting: tuple[int, ...], ingest: engine.Ingest) -> None:
    """Ask the engine whether the run rests on what was condemned: not before all looked up so far is in the trees."""
    if waiting and waiting not in run.fences.values():
        run.fences[ingest.fence()] = waiting


def _publish_last(run: _Run, session: Session, finished: engine.Finished) -> None:
    """Make the last packs known, and keep the writer's state: nothing of it if the run stored nothing."""
    if finished.runs:
        done = session.checkpoint(_payloads(finished.runs), packs=finished.packs, stored_bytes=finished.stored_bytes)
        index = engine_index(session.view)
        for path in done.sorted_runs:
            index.add(path, True)
    if finished.state is not None:
        number = next_number(run.vault.repository, run.source.id)
        session.put_state(run.source.id, number, finished.state)


def _note_finding(run: _Run, event: engine.FindingReady) -> None:
    finding = Finding(event.path, event.kind, event.detail, event.class_id)
    if moves(finding, run.request.moving):
        return
    run.findings.append(finding)
    if finding not in run.told:
        run.told.add(finding)
        run.events(finding)


def _progress(run: _Run, event: engine.IngestProgress, phase: str) -> Progress:
    return Progress(
        phase=phase,
        seconds=run.vault.env.monotonic() - run.began,
        files=event.files,
        bytes=event.bytes,
        new_bytes=event.new_bytes,
        stored_bytes=event.stored_bytes,
        findings=len(run.findings),
    )


def _payloads(runs: Iterable[tuple[int, int, bytes]]) -> list[RunPayload]:
    return [RunPayload(class_id, generation, payload) for class_id, generation, payload in runs]


def _draft(
    run: _Run, finished: engine.Finished, parent: SnapshotInfo | None, end: Conclusions, anomaly: int
) -> SnapshotDraft:
    """Return the snapshot to commit."""
    if not finished.classes:
        raise InternalError("the engine finished without a tree")
    by_class = part_findings(run.findings, [row.class_id for row in finished.classes])
    return SnapshotDraft(
        classes=tuple(
            ClassDraft(
                class_id=row.class_id,
                root=row.root,
                entries=row.entries,
                content_bytes=row.bytes,
                refs_payload=refs.payload,
                refs_same=refs.same,
                segments=row.refs.segments,
                findings=tuple(by_class[row.class_id]),
            )
            for row in finished.classes
            for refs in (stored_refs(run.vault.repository, row, parent),)
        ),
        parent=parent.id if parent is not None else "",
        started=run.started,
        partial=is_partial(run.findings),
        program=PROGRAM,
        host=run.source.host,
        label=run.source.label,
        paths=run.source.paths,
        tags=run.request.options.tags,
        retain_until=retain_until(run.vault, [row.class_id for row in finished.classes], run.started),
        evidence=sealed_evidence(end),
        anomaly=anomaly,
    )


def _stats(run: _Run, passes: Sequence[engine.Finished], stored_bytes: int, objects: int) -> BackupStats:
    """Return what the run did. A second pass stores again what was raised; what changed, the first one saw."""
    names = run.vault.repository.classes
    first, last = passes[0], passes[-1]
    new_bytes: Counter[int] = Counter()
    class_stored: Counter[int] = Counter()
    for finished in passes:
        new_bytes.update({row.class_id: row.new_bytes for row in finished.classes})
        class_stored.update({row.class_id: row.stored_bytes for row in finished.classes})
    return BackupStats(
        files=last.files,
        folders=last.folders,
        bytes=last.bytes,
        new_bytes=sum(finished.new_bytes for finished in passes),
        stored_bytes=stored_bytes,
        new=first.new,
        changed=first.changed,
        unchanged=first.unchanged,
        removed=first.removed,
        seconds=run.vault.env.monotonic() - run.began,
        objects=objects,
        classes=tuple(
            ClassCount(
                row.class_id,
                names.get(row.class_id, ""),
                row.files,
                row.bytes,
                new_bytes[row.class_id],
                class_stored[row.class_id],
            )
            for row in last.classes
        ),
        detected=tuple(DetectedCount(*row) for row in first.detections),
    )
