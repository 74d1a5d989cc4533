"""Ransomware signs: how unlike its source's own history a run was, as a score. Pure: what runs counted in, a judgement out.

A run is judged by what it costs nothing to know: how many entries came, changed and went, how many bytes were new, and how
well they compressed. No name and no content is looked at. The signs:

- *scrambled*: content that cannot be compressed stands where content could be. The part of the source's bytes that is new,
  no growth of the source, and as noise-like as this source's new bytes never were.
- *rewritten*: the part of the source's bytes that is new and no growth.
- *lost*: the part of the entries that is gone and was not replaced by others.
- *renamed*: the part of the entries that is gone and was replaced by others. Alone it pins nothing.
- *collapsed*: the part of the source's bytes that is gone since its last good run.

Each sign rises from 0 to 1 between limits that its history widens: what a source did before without anybody minding is
ordinary for it. Signs add up like independent doubts: ``1 - product(1 - sign)``. See docs/anomaly.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod

from holdfast.base.values import dataclass
from holdfast.repository.retention import ANOMALY_PINS_FROM

__all__ = ["SCORE_MAX", "Anomaly", "ClassFacts", "PastRun", "RunFacts", "Sign", "judge"]

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


@dataclass(frozen=True, slots=True)
class ClassFacts:
    """New content of one data class: plaintext bytes, and what they take in packs."""

    class_id: int
    new_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a run counted. Entries are files, folders and links; `entries_before` those of the snapshot it followed."""

    bytes: int
    entries_before: int = 0
    new: int = 0
    removed: int = 0
    opaque_bytes: int = 0
    """Bytes of new and changed files that the detectors found to be noise."""
    classes: tuple[ClassFacts, ...] = ()
    follows: bool = True
    """Whether it followed a snapshot of the same classes and keys; if not, that content is new means nothing."""

    @property
    def new_bytes(self) -> int:
        """Plaintext bytes that were not stored before."""
        return sum(row.new_bytes for row in self.classes)

    @property
    def renamed(self) -> int:
        """Entries that went while as many came."""
        return min(self.new, self.removed)


@dataclass(frozen=True, slots=True)
class Sign:
    """One reason to doubt a run."""

    name: str
    """`scrambled`, `rewritten`, `lost`, `renamed` or `collapsed`."""
    share: float
    """The part of the source that it is about, 0 to 1."""
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
    """Where a sign begins, where it pins alone, and where it is certain."""

    begins: float
    pins: float
    certain: float

    def strength(self, share: float, usual: float) -> float:
        """Return how much a share says where `usual` is the most that the history shows."""
        begins, pins, certain = (
            max(self.begins, 1.25 * usual),
            max(self.pins, 1.5 * usual),
            max(self.certain, 2 * usual),
        )
        if share <= begins:
            return 0.0
        if share <= pins:
            return 0.5 * (share - begins) / (pins - begins)
        return min(1.0, 0.5 + 0.5 * (share - pins) / (certain - pins))


_LIMITS = {
    "scrambled": _Limits(0.005, 0.02, 0.15),
    "rewritten": _Limits(0.3, 0.5, 0.9),
    "lost": _Limits(0.3, 0.5, 0.9),
    "renamed": _Limits(0.2, 0.5, 0.9),
    "collapsed": _Limits(0.3, 0.5, 0.9),
}


def judge(facts: RunFacts, history: Sequence[PastRun], *, bytes_before: int = 0) -> tuple[Anomaly, dict[str, float]]:
    """Return the judgement and the share of every sign, for the history.

    `history`: the runs of the source that nobody doubts (unsuspicious or released), oldest first; their limits count.
    `bytes_before`: the bytes of the source in the snapshot before, or at least so many; 0 if that is not known.
    """
    shares = _shares(facts, history, bytes_before)
    following = [past for past in history if past.facts.follows]
    signs = []
    for name, share in shares.items():
        usual = max((past.share(name) for past in following), default=0.0)
        strength = _LIMITS[name].strength(share, usual)
        if name == "renamed" or (name == "rewritten" and len(following) < RUNS_MIN):
            strength = min(strength, CAUTIOUS_MAX)
        if strength > 0:
            signs.append(Sign(name, round(share, 4), round(strength, 4)))
    signs.sort(key=lambda sign: -sign.strength)
    score = round(SCORE_MAX * (1 - prod(1 - sign.strength for sign in signs)))
    return Anomaly(score, tuple(signs), len(history)), shares


def _shares(facts: RunFacts, history: Sequence[PastRun], bytes_before: int) -> dict[str, float]:
    shares = dict.fromkeys(_LIMITS, 0.0)
    if facts.entries_before >= ENTRIES_MIN:
        shares["renamed"] = facts.renamed / facts.entries_before
        shares["lost"] = (facts.removed - facts.renamed) / facts.entries_before
    last = history[-1].facts.bytes if history else bytes_before
    if last >= BYTES_MIN:
        shares["collapsed"] = max(0.0, 1 - facts.bytes / last)
    if bytes_before >= BYTES_MIN and facts.new_bytes >= BYTES_MIN:
        growth = max(0, facts.bytes - bytes_before)
        shares["scrambled"] = _share(_noise(facts, history) - growth, bytes_before)
        if facts.follows:
            shares["rewritten"] = _share(facts.new_bytes - growth, bytes_before)
    return shares


def _share(part: float, whole: int) -> float:
    return min(1.0, max(0.0, part / whole))


def _noise(facts: RunFacts, history: Sequence[PastRun]) -> float:
    """Return how many of the new bytes are noise where the source's new bytes usually are none."""
    by_ratio = 0.0
    for row in facts.classes:
        if row.new_bytes >= BYTES_MIN:
            usual = _usual(history, lambda past, row=row: _stored_ratio(past, row.class_id))  # type: ignore[misc]
            if usual is None:
                usual = _usual(history, lambda past: _stored_ratio(past, None))
            by_ratio += row.new_bytes * _beyond(row.stored_bytes / row.new_bytes, usual)
    usual_opaque = _usual(history, lambda past: _ratio(past.opaque_bytes, past.new_bytes))
    by_look = facts.new_bytes * _beyond(facts.opaque_bytes / facts.new_bytes, usual_opaque)
    return max(by_ratio, by_look)


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
    rows = [row for row in facts.classes if class_id in (None, row.class_id)]
    return _ratio(sum(row.stored_bytes for row in rows), sum(row.new_bytes for row in rows))


def _ratio(part: int, whole: int) -> float | None:
    return min(1.0, part / whole) if whole >= BYTES_MIN else None
