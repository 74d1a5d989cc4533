"""Suspicion: a run is judged before its commit, remembered after it, and a person is told; what is pinned is listed.

The history that a run is compared with is local and derived, beside the stat cache. Losing it makes the next runs' judgement
weaker (docs/anomaly.md), never a snapshot. A line that cannot be read is passed over.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, fields
from typing import TYPE_CHECKING

from holdfast.base.events import Alert, Note
from holdfast.base.values import dataclass
from holdfast.errors import Retry, Safety
from holdfast.repository.retention import ANOMALY_PINS_FROM, history_of, pins
from holdfast.runs.anomaly import SCORE_MAX, Anomaly, ClassFacts, KindFacts, PastRun, RunFacts, Sign, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from holdfast import engine
    from holdfast.base.events import Events
    from holdfast.repository.types import SnapshotInfo

__all__ = ["HISTORY_MAX", "Judged", "Suspicion", "facts_of", "judged", "read_history", "sign_text", "suspicions"]

HISTORY_MAX = 32
"""Runs of a source that are remembered."""
ID_SHOWN = 12
_COUNTS = {field.name for field in fields(RunFacts)} - {"classes", "kinds", "follows"}
_WORDS = {
    "scrambled": "of its bytes turned into noise",
    "defaced": "of its entries are files that are not what their names say",
    "veiled": "of its entries were replaced in their place by files that look encrypted",
    "creeping": "of what pins came in small steps over the last runs",
    "rewritten": "of its bytes were replaced",
    "lost": "of its entries are gone",
    "renamed": "of its entries have other names",
    "replaced": "of its entries were replaced by others",
    "collapsed": "of its size is gone",
}


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A suspicious snapshot that nobody released yet, and what it pins."""

    snapshot: str
    source: str
    label: str
    """The source's name; empty without the key of its main class."""
    finished: datetime
    anomaly: int
    """Its score, 500 to 1000."""
    last_good: str
    """The newest unsuspicious snapshot before it: it cannot be forgotten now. Empty if there is none."""
    last_good_finished: datetime | None
    kept: int
    """Snapshots of the source that retention keeps because of it."""
    objects: int = 0
    """Objects that a restore of the last good one needs; 0: this host extended no locks."""
    locked: int = 0
    """Objects among them that their stores were asked to keep until `locked_until`."""
    locked_until: datetime | None = None
    """Before then no store that can lock lets them be deleted."""

    @property
    def subject(self) -> str:
        """What its alert is about: the source's name, or its id where that is not readable."""
        return self.label or self.source


@dataclass(frozen=True, slots=True)
class Judged:
    """A run that was judged and is to be committed."""

    anomaly: Anomaly
    facts: RunFacts
    shares: tuple[tuple[str, float], ...]
    place: Path
    past: tuple[PastRun, ...]

    def committed(self, info: SnapshotInfo, history: Sequence[SnapshotInfo], events: Events) -> None:
        """Tell a person if the run is suspicious, and remember it. `history`: the snapshots of the source before it."""
        if self.anomaly.suspicious:
            events(_alert(self.anomaly, info, history))
        run = PastRun(info.id, self.facts, self.anomaly.score, self.shares)
        try:
            _write(self.place, (*self.past, run)[-HISTORY_MAX:])
        except OSError:
            events(Note("what the run counted could not be remembered; later ones are compared without it", "history"))


def judged(place: Path, facts: RunFacts, parent: SnapshotInfo | None, history: Sequence[SnapshotInfo]) -> Judged:
    """Judge a run by its history at `place`. `history`: the source's snapshots, of which a person may have released some."""
    past = read_history(place)
    released = {info.id for info in history if info.released}
    ordinary = [row for row in past if row.score < ANOMALY_PINS_FROM or row.snapshot in released]
    before = past[-1].facts if past else None
    anomaly, shares = judge(facts, ordinary, bytes_before=_bytes_before(parent, past), before=before)
    return Judged(anomaly, facts, tuple(shares.items()), place, past)


def facts_of(finished: engine.Finished, content: Mapping[int, int], parent: SnapshotInfo | None) -> RunFacts:
    """Return what a pass of the engine counted. `content`: bytes of its packs of content, by class (those of trees left out)."""
    keys = {(row.class_id, row.generation) for row in finished.classes}
    known = {(part.class_id, part.generation) for part in parent.classes} if parent is not None else set()
    dense = dict(finished.dense_bytes)
    return RunFacts(
        bytes=finished.bytes,
        entries_before=finished.changed + finished.unchanged + finished.removed if parent is not None else 0,
        new=finished.new,
        removed=finished.removed,
        changed=finished.changed,
        moved=finished.moved,
        veiled=finished.veiled,
        marked=finished.marked,
        notes=finished.notes,
        classes=tuple(
            ClassFacts(row.class_id, row.new_bytes, content.get(row.class_id, 0), dense.get(row.class_id, 0))
            for row in finished.classes
        ),
        kinds=tuple(KindFacts(*row) for row in finished.kinds),
        follows=parent is not None and keys <= known,
    )


def _bytes_before(parent: SnapshotInfo | None, past: Sequence[PastRun]) -> int:
    """Return the size of the snapshot before: exactly if this host remembers it, else what its envelope says it has at least."""
    if parent is None:
        return 0
    known = next((row.facts.bytes for row in reversed(past) if row.snapshot == parent.id), None)
    return sum(part.bytes_bucket // 2 for part in parent.classes) if known is None else known


def read_history(place: Path) -> tuple[PastRun, ...]:
    """Return the runs that are remembered, oldest first."""
    try:
        lines = place.read_text("utf-8").splitlines()[-HISTORY_MAX:]
    except (OSError, UnicodeDecodeError):
        return ()
    found = []
    for line in lines:
        try:
            found.append(_past(json.loads(line)))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return tuple(found)


def _past(row: dict[str, object]) -> PastRun:
    facts = dict(row["facts"])  # type: ignore[call-overload]
    classes = tuple(ClassFacts(*map(int, part)) for part in facts.pop("classes"))
    kinds = tuple(KindFacts(str(kind), *map(int, counts)) for kind, *counts in facts.pop("kinds", ()))
    shares = tuple((str(name), float(share)) for name, share in row["shares"])  # type: ignore[attr-defined]
    follows = bool(facts.pop("follows"))
    counts = {name: int(value) for name, value in facts.items() if name in _COUNTS}
    found = RunFacts(**counts, classes=classes, kinds=kinds, follows=follows)
    return PastRun(str(row["snapshot"]), found, int(str(row["score"])), shares)


def _write(place: Path, past: Iterable[PastRun]) -> None:
    rows = []
    for run in past:
        row = asdict(run)
        for name in ("classes", "kinds"):
            row["facts"][name] = [list(part.values()) for part in row["facts"][name]]
        rows.append(json.dumps(row) + "\n")
    temporary = place.with_suffix(".history.new")
    temporary.write_text("".join(rows), "utf-8")
    os.chmod(temporary, 0o600)
    temporary.replace(place)


def _alert(anomaly: Anomaly, info: SnapshotInfo, history: Sequence[SnapshotInfo]) -> Alert:
    good = next((row.last_good for row in suspicions((*history, info)) if row.snapshot == info.id), "")
    signs = "; ".join(map(sign_text, anomaly.signs))
    kept = f"the last good one is {good[:ID_SHOWN]}: it and all" if good else "all"
    return Alert(
        "anomaly",
        info.label or info.source,
        f"snapshot {info.id[:ID_SHOWN]} looks like the work of ransomware: {anomaly.score} of {SCORE_MAX} ({signs})",
        safety=Safety.AT_RISK,
        retry=Retry.NEVER,
        safe=f"the snapshot is stored; {kept} of its source are kept until a person releases it.",
        next=(
            "look at the source now."
            + (
                f" An attack: `holdfast restore {good[:ID_SHOWN]} --to DIR` brings the last good one back."
                if good
                else ""
            )
            + f" The change was meant: `holdfast findings release {info.id[:ID_SHOWN]} --reason …`."
        ),
    )


def sign_text(sign: Sign) -> str:
    """Say a sign as people read it: parts and counts, never a name."""
    if sign.name == "named":
        return f"names that ransomware gives, worth {sign.share:.0f} files"
    return f"{sign.share:.1%} {_WORDS[sign.name]}"


def suspicions(snapshots: Sequence[SnapshotInfo]) -> tuple[Suspicion, ...]:
    """Return the suspicious snapshots that nobody released, oldest first. Pure."""
    by_id = {info.id: info for info in snapshots}
    found = []
    for suspect, good in pins(snapshots):
        info = by_id[suspect]
        found.append(
            Suspicion(
                snapshot=info.id,
                source=info.source,
                label=info.label,
                finished=info.finished,
                anomaly=info.anomaly,
                last_good=good,
                last_good_finished=by_id[good].finished if good else None,
                kept=sum(history_of(other) == history_of(info) for other in snapshots),
            )
        )
    return tuple(sorted(found, key=lambda row: (row.finished, row.snapshot)))
