"""Ransomware signs: how unlike its source's own history a run was, as a score. Pure: what runs counted in, a judgement out.

A run is judged by counts that cost next to nothing: how many entries came, changed and went, how many bytes were new and how
well they compressed, and what the engine saw while it read (`crates/engine/src/promise.rs`): bytes that cannot be told from
random ones where a file's name promises others. No name and no content gets here. The signs:

- *scrambled*: noise stands where this source had none. The part of the source's bytes that is new, no growth, and noise beyond
  what its kind of file, or its data class, usually is; files that are dense by design (archives, images) are no wonder.
- *defaced*: files whose bytes contradict their name, or that were written over with what looks encrypted, beyond what is
  usual, as a part of all entries.
- *named*: files that carry an extension of known ransomware, or the name of its note, more than the run before saw.
- *veiled*: files that are gone, and in whose place on the disk stands a new one, under another name, that looks encrypted.
- *creeping*: the same as scrambled and defaced, over the last runs together: what stays below the limits each day.
- *rewritten*: the part of the source's bytes that is new and no growth.
- *lost*: the part of the entries that is gone and was not replaced by others.
- *renamed*: the part of the entries whose content stands under another name. Alone it pins nothing.
- *replaced*: the part of the entries that is gone while as many others came. Alone it pins nothing.
- *collapsed*: the part of the source's bytes that is gone since its last good run.

Each sign rises from 0 to 1 between limits that its history widens: what a source did before without anybody minding is
ordinary for it. Signs add up like independent doubts: ``1 - product(1 - sign)``. See docs/anomaly.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod

from holdfast.base.values import dataclass
from holdfast.repository.retention import ANOMALY_PINS_FROM

__all__ = ["SCORE_MAX", "Anomaly", "ClassFacts", "KindFacts", "PastRun", "RunFacts", "Sign", "judge"]

SCORE_MAX = 1000
BYTES_MIN = 64 << 10
"""Fewer bytes, new or in the source, say nothing about how they compress or what became of them."""
ENTRIES_MIN = 20
"""A source with fewer entries says nothing by how many of them are gone."""
RUNS_MIN = 3
"""So many runs that followed another one must be known before *rewritten* alone may pin: some sources are new each night."""
CAUTIOUS_MAX = 0.4
"""The most that a sign alone may say which must not pin alone."""
NOISE_MIN = 0.95
"""Content that usually compresses no better than this cannot be told from noise by compressing it."""
QUARTILE = 0.75
"""Which of a history's ratios, in order, is the usual one: odd days above it move nothing."""
OTHER = "other"
"""The kind of files whose names promise nothing."""
DENSE = "dense"
"""The kind of files that are compressed or encrypted by design."""
DENSE_FILES_MAX = 3
"""So few files that are dense by design may be written over, however large they are: a nightly export, not an attack."""
CREEPING_RUNS = 13
"""Earlier runs that *creeping* looks back upon: two weeks of nightly runs, with the one that is judged."""
KIND_FILES_MIN = 5
"""Fewer files of a kind say nothing about what is usual for it."""


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """New content of one data class: plaintext bytes, what they take in packs, and noise in files that are dense by design."""

    class_id: int
    new_bytes: int
    stored_bytes: int
    dense_bytes: int = 0

    @property
    def doubtful(self) -> tuple[int, int]:
        """New bytes, and what they take, without what is dense by design."""
        return max(0, self.new_bytes - self.dense_bytes), max(0, self.stored_bytes - self.dense_bytes)


@dataclass(frozen=True, slots=True)
class KindFacts:
    """New and changed files of one kind, by what their names promise (`text`, `document`, …)."""

    kind: str
    files: int
    bytes: int
    noise_bytes: int = 0
    """Bytes among them that are noise without a reason to be."""
    defaced: int = 0
    """Files among them whose bytes contradict their name."""
    opaque: int = 0
    """Files among them that look encrypted from their first byte on, and nothing says why."""
    opaque_changed: int = 0
    """Changed files among those."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run counted. Entries are files, folders and links; `entries_before` those of the snapshot it followed."""

    bytes: int
    entries_before: int = 0
    new: int = 0
    changed: int = 0
    removed: int = 0
    moved: int = 0
    """Files that are gone, and whose content came under another name."""
    veiled: int = 0
    """Files that are gone, and in whose place on the disk stands a new one that looks encrypted."""
    marked: int = 0
    """Files of the tree with an extension of known ransomware."""
    notes: int = 0
    """Files of the tree named like one of its notes."""
    classes: tuple[ClassFacts, ...] = ()
    kinds: tuple[KindFacts, ...] = ()
    follows: bool = True
    """Whether it followed a snapshot of the same classes and keys; if not, that content is new means nothing."""

    @property
    def new_bytes(self) -> int:
        """Plaintext bytes that were not stored before."""
        return sum(row.new_bytes for row in self.classes)

    @property
    def replaced(self) -> int:
        """Entries that went while as many others came; those whose content moved are no others."""
        return max(0, min(self.new, self.removed) - self.moved)

    def kind(self, name: str) -> KindFacts:
        """Return what was read of a kind."""
        return next((row for row in self.kinds if row.kind == name), KindFacts(name, 0, 0))


@dataclass(frozen=True, slots=True)
class Sign:
    """One reason to doubt a run."""

    name: str
    """`scrambled`, `defaced`, `named`, `veiled`, `creeping`, `rewritten`, `lost`, `renamed`, `replaced` or `collapsed`."""
    share: float
    """The part of the source that it is about, 0 to 1; of *named*, how many files."""
    strength: float
    """How much it says, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """How unlike its source's history a snapshot is."""

    score: int = 0
    """0 (as always) to 1000; from 500 on it pins what is good until a person releases it."""
    signs: tuple[Sign, ...] = ()
    """What it was made of, the strongest first; only those that say something."""
    compared: int = 0
    """Runs of the source that it was compared with. Without any, most signs are blind."""

    @property
    def suspicious(self) -> bool:
        """Whether it pins its source."""
        return self.score >= ANOMALY_PINS_FROM


@dataclass(frozen=True, slots=True)
class PastRun:
    """An earlier run of the source as its history remembers it."""

    snapshot: str
    facts: RunFacts
    score: int = 0
    shares: tuple[tuple[str, float], ...] = ()
    """The share of each sign, as it was then."""

    def share(self, name: str) -> float:
        """Return the share of one sign; 0 if it was not measured."""
        return dict(self.shares).get(name, 0.0)


@dataclass(frozen=True, slots=True)
class _Limits:
    """Where a sign begins, where it pins alone, and where it is certain; and how many files that must be, of a share of files."""

    begins: float
    pins: float
    certain: float
    files: tuple[int, int, int] = (0, 0, 0)

    def of(self, entries: int) -> _Limits:
        """Return the limits of a source with so many entries: a small one needs as many files as any."""
        if not any(self.files):
            return self
        parts = zip((self.begins, self.pins, self.certain), self.files, strict=True)
        begins, pins, certain = (max(share, files / max(1, entries)) for share, files in parts)
        return _Limits(begins, pins, certain)

    def strength(self, share: float, usual: float) -> float:
        """Return how much a share says where `usual` is the most that the history shows."""
        begins, pins, certain = (
            max(self.begins, 1.25 * usual),
            max(self.pins, 1.5 * usual),
            max(self.certain, 2 * usual),
        )
        if share <= begins:
            return 0.0
        if share < pins:
            return 0.5 * (share - begins) / (pins - begins)
        return min(1.0, 0.5 + 0.5 * (share - pins) / (certain - pins))


_LIMITS = {
    "scrambled": _Limits(0.005, 0.02, 0.15),
    "defaced": _Limits(0.0002, 0.001, 0.01, (1, 5, 20)),
    "named": _Limits(0, 5, 25),
    "veiled": _Limits(0.0005, 0.002, 0.01, (2, 8, 30)),
    "creeping": _Limits(0.5, 1, 4),
    "rewritten": _Limits(0.3, 0.5, 0.9),
    "lost": _Limits(0.3, 0.5, 0.9),
    "renamed": _Limits(0.2, 0.5, 0.9),
    "replaced": _Limits(0.2, 0.5, 0.9),
    "collapsed": _Limits(0.3, 0.5, 0.9),
}
_CAUTIOUS = frozenset({"renamed", "replaced"})
_UNWIDENED = frozenset({"named", "creeping"})
"""Signs that look at the history themselves."""
_CREEPING_BYTES = 0.05
_CREEPING_FILES = _Limits(0, 0.002, 0, (0, 10, 0))
"""Where *creeping* pins: noise as a part of the bytes, and defaced files as a part of the entries, over two weeks."""
_NOTE_WEIGHT = 2.5
"""A note says as much as so many marked files: two of them pin."""


def judge(
    facts: RunFacts, history: Sequence[PastRun], *, bytes_before: int = 0, before: RunFacts | None = None
) -> tuple[Anomaly, dict[str, float]]:
    """Return the judgement and the share of every sign, for the history.

    `history`: the runs of the source that nobody doubts (unsuspicious or released), oldest first; their limits count.
    `bytes_before`: the bytes of the source in the snapshot before, or at least so many; 0 if that is not known. `before`: what
    the run before counted, doubted or not.
    """
    shares = _shares(facts, history, bytes_before)
    shares["named"] = _named(facts, before or RunFacts(0))
    following = [past for past in history if past.facts.follows]
    signs = []
    for name, share in shares.items():
        usual = 0.0 if name in _UNWIDENED else max((past.share(name) for past in following), default=0.0)
        strength = _LIMITS[name].of(facts.entries_before).strength(share, usual)
        if name in _CAUTIOUS or (name == "rewritten" and len(following) < RUNS_MIN):
            strength = min(strength, CAUTIOUS_MAX)
        if strength > 0:
            signs.append(Sign(name, round(share, 4), round(strength, 4)))
    signs.sort(key=lambda sign: -sign.strength)
    score = round(SCORE_MAX * (1 - prod(1 - sign.strength for sign in signs)))
    return Anomaly(score, tuple(signs), len(history)), shares


def _shares(facts: RunFacts, history: Sequence[PastRun], bytes_before: int) -> dict[str, float]:
    shares = dict.fromkeys(_LIMITS, 0.0)
    entries = facts.entries_before
    if entries >= ENTRIES_MIN:
        shares["renamed"] = _share(facts.moved, entries)
        shares["replaced"] = _share(facts.replaced, entries)
        shares["lost"] = _share(facts.removed - min(facts.new, facts.removed), entries)
    last = history[-1].facts.bytes if history else bytes_before
    if last >= BYTES_MIN:
        shares["collapsed"] = max(0.0, 1 - facts.bytes / last)
    if bytes_before >= BYTES_MIN:
        growth = max(0, facts.bytes - bytes_before)
        shares["scrambled"] = _share(_noise(facts, history) - growth, bytes_before)
        if facts.follows and facts.new_bytes >= BYTES_MIN:
            shares["rewritten"] = _share(facts.new_bytes - _exports(facts) - growth, bytes_before)
    if entries:
        # What only came beside what was there destroyed nothing.
        defaced = min(_defaced(facts, history), facts.changed + facts.removed)
        shares["defaced"] = _share(defaced, entries)
        shares["veiled"] = _share(_veiled(facts, history), entries)
    shares["creeping"] = _creeping(shares, history, entries)
    return shares


def _share(part: float, whole: int) -> float:
    return min(1.0, max(0.0, part / whole))


def _exports(facts: RunFacts) -> int:
    """Return the bytes of the few large files that are dense by design and were written over as a whole."""
    dense = facts.kind(DENSE)
    return dense.bytes if dense.files <= DENSE_FILES_MAX else 0


def _named(facts: RunFacts, before: RunFacts) -> float:
    """Return how many more marked files and notes there are than in the run before, in marked files."""
    return max(0, facts.marked - before.marked) + _NOTE_WEIGHT * max(0, facts.notes - before.notes)


def _creeping(shares: dict[str, float], history: Sequence[PastRun], entries: int) -> float:
    """Return how much the last runs together say, in parts of what pins; 0 if this one adds nothing.

    Runs that were suspicious and were released do not count: a person looked at them.
    """
    quiet = [past for past in history[-CREEPING_RUNS:] if past.facts.follows and past.score < ANOMALY_PINS_FROM]
    limits = {"scrambled": _CREEPING_BYTES, "defaced": _CREEPING_FILES.of(entries).pins}
    sums = [
        (shares[name] + sum(past.share(name) for past in quiet)) / limit
        for name, limit in limits.items()
        if shares[name] > 0
    ]
    return max(sums, default=0.0)


def _noise(facts: RunFacts, history: Sequence[PastRun]) -> float:
    """Return how many of the new bytes are noise where the source's new bytes usually are none."""
    by_ratio = 0.0
    for row in facts.classes:
        fresh, stored = row.doubtful
        if fresh >= BYTES_MIN:
            usual = _usual(history, lambda past, row=row: _stored_ratio(past, row.class_id))  # type: ignore[misc]
            if usual is None:
                usual = _usual(history, lambda past: _stored_ratio(past, None))
            by_ratio += fresh * _beyond(stored / fresh, usual)
    return max(by_ratio, sum(_strange_noise(facts, history)))


def _strange_noise(facts: RunFacts, history: Sequence[PastRun]) -> list[float]:
    """Return, for each kind of file, the bytes of noise beyond what is usual for it."""
    found = []
    for row in facts.kinds:
        usual = _usual(history, lambda past, row=row: _noise_ratio(past.kind(row.kind)))  # type: ignore[misc]
        if usual is None and any(past.facts.kinds for past in history):
            usual = 0.0  # a kind that the source never had; as far as it only came to what was there, it is growth
        found.append(0.0 if usual is None else max(0.0, row.noise_bytes - row.bytes * usual))
    return found


def _veiled(facts: RunFacts, history: Sequence[PastRun]) -> float:
    """Return how many veiled files a run's unusual noise explains, or that are more than the source ever had such files."""
    noise = sum(row.noise_bytes for row in facts.kinds)
    part = sum(_strange_noise(facts, history)) / noise if noise else 0.0
    known = max((sum(row.opaque for row in past.facts.kinds) for past in history), default=facts.veiled)
    return max(facts.veiled * part, facts.veiled - known)


def _defaced(facts: RunFacts, history: Sequence[PastRun]) -> float:
    """Return how many files contradict their names beyond what is usual for their kind.

    Where names promise nothing, files that were written over with what looks encrypted: what came new may be meant so.
    """
    found = 0.0
    for row in facts.kinds:
        past = [run.facts.kind(row.kind) for run in history]
        usual = _usual(history, lambda facts, row=row: _defaced_ratio(facts.kind(row.kind)))  # type: ignore[misc]
        overall = sum(map(_strange, past)) / max(1, sum(kind.files for kind in past))
        seen = row.opaque_changed if row.kind == OTHER else row.defaced
        found += max(0.0, seen - row.files * max(usual or 0.0, overall))
    return found


def _strange(row: KindFacts) -> int:
    """Return how many files of a kind contradict their names; where those promise nothing, how many look encrypted."""
    return row.opaque if row.kind == OTHER else row.defaced


def _beyond(ratio: float, usual: float | None) -> float:
    """Return which part must be noise for a ratio to have risen so far above the usual one."""
    if usual is None or usual >= NOISE_MIN:
        return 0.0
    return min(1.0, max(0.0, (ratio - usual) / (1 - usual)))


def _usual(history: Iterable[PastRun], of: Callable[[RunFacts], float | None]) -> float | None:
    """Return the upper quartile of what the runs say, leaving out those that say nothing; None if none does."""
    said = sorted(ratio for past in history if (ratio := of(past.facts)) is not None)
    return said[int(QUARTILE * (len(said) - 1) + 0.5)] if said else None


def _stored_ratio(facts: RunFacts, class_id: int | None) -> float | None:
    rows = [row.doubtful for row in facts.classes if class_id in (None, row.class_id)]
    return _ratio(sum(stored for _, stored in rows), sum(fresh for fresh, _ in rows))


def _noise_ratio(row: KindFacts) -> float | None:
    return _ratio(row.noise_bytes, row.bytes)


def _defaced_ratio(row: KindFacts) -> float | None:
    enough = row.files >= (1 if row.kind == OTHER else KIND_FILES_MIN)
    return _strange(row) / row.files if enough else None


def _ratio(part: int, whole: int) -> float | None:
    return min(1.0, part / whole) if whole >= BYTES_MIN else None
