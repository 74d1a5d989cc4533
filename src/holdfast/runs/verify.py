"""A verification: packs read back and proved, and what damage costs named by pack, class, snapshot and file.

Without keys a pack is proved by its name, the hash of its bytes; with its class's key every segment is opened and every
chunk id recomputed, once: later proofs show by the name that the bytes are still those (ADR 0027). What is damaged goes into
a signed list, so that the next backups rest nothing on it.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

from holdfast import engine
from holdfast.base.events import Note, Progress, ignore
from holdfast.base.values import dataclass
from holdfast.errors import DamageError, HoldfastError, StoreUnreachableError
from holdfast.repository import names
from holdfast.repository.check import check
from holdfast.repository.roles import VOUCH
from holdfast.repository.rounds import read_damaged, write_damaged
from holdfast.repository.snapshots import select
from holdfast.repository.vouching import vouch
from holdfast.runs.compare import compare_all
from holdfast.runs.copies import due_packs, scrub_copies, within_reach
from holdfast.runs.damage import attribute, packs_needed
from holdfast.runs.governed import GovernedRun, governed
from holdfast.runs.ledger import Ledger
from holdfast.runs.protection import ParityScrubbed, scrub_parity, shelf_of
from holdfast.runs.results import VerifyReport

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from holdfast.base.events import Events
    from holdfast.runs.assembly import OpenVault
    from holdfast.runs.options import Cancel, Limits

POLL_SECONDS = 0.25
LEDGER_FILE = "verified"
FITS = "fits"
"""What the ledger keeps of a parity object that is what its packs make, in place of a record."""
_PARITY_DAYS = 30.0
"""With `due`, parity is read back as often as patient data."""
LEDGER_EVERY_PACKS = 64
"""The ledger is saved after so many packs: an interrupted verification goes on where it stopped."""


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """What to read, and what to do about damage."""

    sample: float = 1.0
    older_than_days: float | None = None
    snapshots: tuple[str, ...] = ()
    show_paths: bool = False
    mark_damaged: bool = True
    due: bool = False
    """Only packs of which a copy was not read back within its class's interval."""
    content: bool = False
    """Open every segment, whether or not this host did so before."""
    bytes_max: int | None = None
    """Read no more bytes than these, of packs and of parity: one pack and one parity object at least. Copies come on top."""
    seconds_max: float | None = None
    """Begin no pack and no parity object after so long; what was begun is finished."""


def choose(packs: Iterable[str], ledger: Ledger, ages: Mapping[str, float | None], request: VerifyRequest) -> list[str]:
    """Return the packs to read, those that waited longest first. Pure.

    `sample` counts against all of `packs`: 0.1 every day proves every byte within ten days. Budgets cut the rest later.
    """
    # What was proved by a clock that was ahead has no age: it is read like what was never proved.
    every = sorted(ledger.order(packs), key=lambda pack: ages.get(pack) is not None)
    wanted = every
    if request.older_than_days is not None:
        limit = request.older_than_days
        wanted = [pack for pack in every if (age := ages[pack]) is None or age >= limit]
    return wanted[: math.ceil(len(every) * min(1.0, max(0.0, request.sample)))]


def affordable(packs: Sequence[str], sizes: Mapping[str, int], bytes_max: int | None) -> list[str]:
    """Return the first packs, as many as a budget of bytes pays for: one at least, so that each run goes on. Pure."""
    if bytes_max is None:
        return [*packs]
    spent = accumulate(sizes[pack] for pack in packs)
    return [
        pack
        for position, (pack, bytes_) in enumerate(zip(packs, spent, strict=True))
        if not position or bytes_ <= bytes_max
    ]


def run_verify(
    vault: OpenVault,
    request: VerifyRequest,
    *,
    events: Events = ignore,
    limits: Limits | None = None,
    stop: Cancel | None = None,
) -> VerifyReport:
    """Verify; see `Vault.verify`."""
    safe = "nothing was changed; what was proved is noted and not read again first."
    with governed(vault, limits, kind="verify", events=events, stop=stop, safe=safe) as steered:
        report = _verified(vault, request, events, steered)
        return replace(report, governor=steered.record())


def _verified(vault: OpenVault, request: VerifyRequest, events: Events, steered: GovernedRun) -> VerifyReport:
    began = vault.env.monotonic()
    with engine.translated():
        structure = check(vault.repository)
        rows = {row.name.hex(): row for row in vault.refresh_index().packs()}
        live = frozenset(rows)
        ledger = Ledger.load(vault.folder("ledger") / LEDGER_FILE)
        now = vault.env.now()
        scope = packs_needed(vault, request.snapshots) if request.snapshots else live
        if request.due:
            scope &= due_packs(vault, scope, ledger)
        chosen = choose(scope, ledger, {pack: ledger.age_days(pack, now) for pack in scope}, request)
        reach = within_reach(vault, chosen)
        cold = len(chosen) - len(reach)
        sizes = {pack: rows[pack].size for pack in reach}
        share = _packs_share(vault, request, sum(sizes.values()))
        chosen = affordable(reach, sizes, None if request.bytes_max is None else int(request.bytes_max * share))
        until = None if request.seconds_max is None else began + request.seconds_max * share
        proof = _Proof(ledger)
        known = frozenset[str]() if request.content else frozenset(chosen) & ledger.records.keys()
        _read(vault, chosen, known, proof, events, steered, until)
        further = scrub_copies(vault, proof.seen(chosen), proof.sound, now.timestamp())
        parity = _parity(vault, request, ledger, steered, began, proof.bytes)
        ledger.forget(proof.damaged)
        ledger.save(live | parity.listed)
        cost = attribute(vault, proof.damaged, rows, show_paths=request.show_paths, wrong=proof.wrong)
        listed = _publish(vault, proof, events) if request.mark_damaged else ""
        said = _sign(vault, request, ledger, events)
    classes = {row.class_id for row in rows.values()}
    return VerifyReport(
        packs=proof.packs,
        packs_total=len(live),
        bytes=proof.bytes,
        segments=proof.segments,
        damaged=cost.packs,
        costs=cost.snapshots,
        problems=(*structure.problems, *further.problems, *parity.problems, *said.problems),
        parity=parity.objects,
        parity_bytes=parity.bytes,
        oldest_days=ledger.oldest_days(live, vault.env.now()),
        damaged_list=listed,
        seconds=vault.env.monotonic() - began,
        copies=further.copies,
        cold=cold,
        left=len(reach) - proof.packs,
        sets_compared=said.sets_compared,
        runs_countersigned=said.runs_countersigned,
        classes_missing=sum(not vault.repository.can_read(class_id) for class_id in classes),
    )


def _packs_share(vault: OpenVault, request: VerifyRequest, packs_bytes: int) -> float:
    """Return the part of the budgets that packs get, by what there is to read: parity is never left with nothing."""
    if request.snapshots or (request.bytes_max is None and request.seconds_max is None):
        return 1.0
    parity_bytes = sum(shelf_of(vault).listed().values()) * min(1.0, request.sample)
    return packs_bytes / (packs_bytes + parity_bytes) if packs_bytes else 1.0


def _parity(
    vault: OpenVault, request: VerifyRequest, ledger: Ledger, steered: GovernedRun, began: float, spent: int
) -> ParityScrubbed:
    """Read back as large a part of the parity objects as of the packs; none where snapshots were asked for.

    It has what is left of the budgets: of the bytes what packs did not spend, and of the time since the run began.
    """
    if request.snapshots:
        return ParityScrubbed()
    now = vault.env.now()

    def chosen(shas: Sequence[str]) -> list[str]:
        due = replace(request, older_than_days=_PARITY_DAYS) if request.due else request
        return choose(shas, ledger, {sha: ledger.age_days(sha, now) for sha in shas}, due)

    def over() -> bool:
        late = request.seconds_max is not None and vault.env.monotonic() - began >= request.seconds_max
        return late or steered.is_over()

    proved = () if request.content else ledger.records.keys()
    left = None if request.bytes_max is None else max(0, request.bytes_max - spent)
    scrubbed = scrub_parity(vault, chosen, proved, over, left)
    ledger.note(scrubbed.sound, now)
    ledger.records.update(dict.fromkeys(scrubbed.fitting & scrubbed.sound, FITS))
    return scrubbed


@dataclass(frozen=True, slots=True)
class _Said:
    """What a verifier said for others to rely on."""

    sets_compared: int = 0
    runs_countersigned: int = 0
    problems: tuple[str, ...] = ()


def _sign(vault: OpenVault, request: VerifyRequest, ledger: Ledger, events: Events) -> _Said:
    """Compare reference sets with trees, and vouch for index runs whose packs are proved. Only with the root key."""
    if not vault.repository.may(VOUCH) or not request.mark_damaged:
        return _Said()
    chosen = {select(vault.snapshots(), snapshot).id for snapshot in request.snapshots}
    found = compare_all(vault, chosen, events=events)
    lacking = tuple(
        f"snapshot {snapshot}: a reference set lacks what its tree needs; nothing is pruned"
        for snapshot in found.wanting
    )
    try:
        return _Said(found.sets, vouch(vault.repository, ledger.records), lacking)
    except DamageError as error:  # a run that cannot be read: the check says which
        events(Note(f"no index run was countersigned: {error.what}", error.code))
        return _Said(found.sets, 0, lacking)


class _Proof:
    """What was read so far."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.packs = self.bytes = self.segments = 0
        self.sound: set[str] = set()
        self.unsaved: list[str] = []
        self.damaged: dict[str, str] = {}
        self.wrong: set[tuple[bytes, int]] = set()

    def take(self, verdict: engine.PackVerdict) -> None:
        name = verdict.name.hex()
        self.packs += 1
        self.bytes += verdict.size
        self.segments += verdict.segments
        if verdict.reason:
            self.damaged[name] = verdict.reason
            self.wrong.update(verdict.damaged)
            return
        self.sound.add(name)
        self.unsaved.append(name)
        if verdict.record is not None:
            self.ledger.records[name] = verdict.record.hex()

    def seen(self, packs: Sequence[str]) -> list[str]:
        """Return those of the packs that were read."""
        return [pack for pack in packs if pack in self.sound or pack in self.damaged]

    def note(self, now: datetime, *, save: bool) -> None:
        """Put into the ledger what is proved."""
        self.ledger.note(self.unsaved, now)
        self.unsaved.clear()
        if save:
            self.ledger.save(self.ledger.proved)


def _read(
    vault: OpenVault,
    chosen: list[str],
    known: frozenset[str],
    proof: _Proof,
    events: Events,
    steered: GovernedRun,
    until: float | None,
) -> None:
    """Prove the chosen packs; the content of some is known. `Interrupted`, and the end of the time, keep what is proved."""
    began = vault.env.monotonic()
    verify = engine.Verify(
        index=vault.index(),
        keys=vault.keyring_or_none(),
        source=vault.source(),
        packs=[bytes.fromhex(pack) for pack in chosen],
        limits=vault.limits,
        proved=[bytes.fromhex(pack) for pack in known],
    )
    while not verify.finished:
        if steered.is_over():
            verify.stop()
            proof.note(vault.env.now(), save=True)
            raise steered.why()
        if until is not None and vault.env.monotonic() >= until:
            verify.stop()
            break
        event = verify.poll(POLL_SECONDS)
        if isinstance(event, engine.PackVerdict):
            proof.take(event)
            if len(proof.unsaved) >= LEDGER_EVERY_PACKS:
                proof.note(vault.env.now(), save=True)
        elif isinstance(event, engine.VerifyProgress):
            events(
                Progress(
                    phase="verify",
                    seconds=vault.env.monotonic() - began,
                    files=event.packs,
                    bytes=event.bytes,
                    stored_bytes=event.bytes,
                    files_total=event.packs_total,
                    bytes_total=event.bytes_total,
                    findings=len(proof.damaged),
                )
            )
    proof.note(vault.env.now(), save=False)


def _publish(vault: OpenVault, proof: _Proof, events: Events) -> str:
    """Put the list of damaged packs if it grew, or shrank because a pack is whole again; return its name."""
    repository = vault.repository
    if not repository.may(VOUCH):
        return ""
    if all(repository.store.size(name) is None for name in (names.VAULT, names.twin(names.VAULT))):
        raise StoreUnreachableError(
            "the vault is not at its place any more, so what was found missing says nothing about its packs",
            safe="nothing was changed; no pack was listed as damaged.",
            next="mount or reconnect the disk that holds the vault, then run again",
        )
    known = read_damaged(repository.home)
    now = (known | proof.damaged.keys()) - proof.sound
    if now == known:
        return ""
    try:
        return write_damaged(repository.home, repository.signer(VOUCH), frozenset(now))
    except HoldfastError as error:
        events(Note(f"the list of damaged packs could not be stored: {error.what}", error.code))
        return ""
