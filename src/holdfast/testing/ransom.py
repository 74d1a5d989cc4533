"""Days of a source as statistics, ordinary and under attack: how well the signs of ransomware tell them apart.

Only what a run counts exists here: sizes, kinds, how content compresses. A tree lives its days (`day`), is attacked (`attack`),
and each run of it is judged by its own history, as `runs.suspicion` does. Everything is drawn from a seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from holdfast.repository.retention import ANOMALY_PINS_FROM
from holdfast.runs.anomaly import Anomaly, ClassFacts, KindFacts, PastRun, RunFacts, judge
from holdfast.runs.suspicion import HISTORY_MAX

__all__ = [
    "ATTACK",
    "ATTACKS",
    "ORDINARY",
    "PLAIN",
    "SLOWLY",
    "SLOW_DAYS",
    "SLOW_PART",
    "TREES",
    "File",
    "Made",
    "Row",
    "Seen",
    "Tree",
    "attacked",
    "figures",
    "ordinary",
]

PADDING_MAX = 1.03
NOISE = 0.999
"""A ratio from here on is noise."""


@dataclass(frozen=True, slots=True)
class Made:
    """Files of one kind in a tree: what the name promises, how well it compresses, how large it is."""

    kind: str
    size: float
    """The median, in bytes; sizes are lognormal."""
    ratio: tuple[float, float]
    share: float
    """Part of the tree's files."""
    rewritten: float = 1.0
    """How readily a file of the kind is changed; 0: it is written once."""


@dataclass(slots=True)
class File:
    """A file as its statistics."""

    made: Made
    size: int
    ratio: float
    noise: float
    """Part of its samples that are noise."""
    signed: bool = True
    """What it begins with is what its name promises."""
    named: bool = True
    """Its name still tells its kind."""

    @property
    def kind(self) -> str:
        """What the engine takes it for."""
        return self.made.kind if self.named else "other"

    @property
    def dense(self) -> bool:
        """Whether the engine takes noise in it for no wonder."""
        return self.kind == "dense" or (self.kind in {"document", "image"} and self.signed)


DOCUMENTS = (
    Made("document", 180e3, (0.85, 1.0), 0.45),
    Made("text", 12e3, (0.15, 0.4), 0.35),
    Made("image", 400e3, (0.97, 1.0), 0.12, 0.1),
    Made("dense", 900e3, (1.0, 1.0), 0.03, 0.2),
    Made("other", 60e3, (0.2, 0.7), 0.05),
)
DICOM = (Made("dicom", 520e3, (0.4, 0.7), 0.97, 0.02), Made("text", 4e3, (0.2, 0.4), 0.03))
DICOM_COMPRESSED = (Made("dicom", 180e3, (1.0, 1.0), 0.97, 0.02), Made("text", 4e3, (0.2, 0.4), 0.03))
DATABASE = (
    Made("other", 8e6, (0.2, 0.5), 0.7, 6.0),
    Made("database", 60e6, (0.2, 0.5), 0.2, 6.0),
    Made("text", 20e3, (0.1, 0.3), 0.1),
)
LOGS = (Made("text", 300e3, (0.05, 0.15), 0.6, 4.0), Made("dense", 40e3, (1.0, 1.0), 0.4, 0.0))
MIXED = tuple(
    replace(made, share=made.share * part)
    for part, kinds in ((0.6, DOCUMENTS), (0.25, DICOM), (0.02, DATABASE), (0.13, LOGS))
    for made in kinds
)
TREES: Mapping[str, tuple[Made, ...]] = {
    "documents": DOCUMENTS,
    "DICOM": DICOM,
    "DICOM, compressed": DICOM_COMPRESSED,
    "database files": DATABASE,
    "logs": LOGS,
    "mixed": MIXED,
}


@dataclass(slots=True)
class Seen:
    """What one run reads."""

    fresh: list[tuple[File, float]] = field(default_factory=list)
    """Files with the bytes of them that are not stored yet."""
    new: int = 0
    removed: int = 0
    moved: int = 0
    veiled: int = 0
    come: set[int] = field(default_factory=set)
    """Files that are new, under their names."""


class Tree:
    """A source of one kind. `files` is how many it begins with."""

    def __init__(self, kinds: Iterable[Made], seed: object, *, files: int = 2000) -> None:
        """Make the files; nothing is backed up yet."""
        self.rng = random.Random(str(seed))
        self.kinds = tuple(kinds)
        self.files = [self._made() for _ in range(files)]
        self.history: list[PastRun] = []
        self.marked = self.notes = 0
        self._bytes_before = 0
        self._day = 0

    def _made(self, made: Made | None = None, size: float = 0.0) -> File:
        chosen = made or self.rng.choices(self.kinds, [kind.share for kind in self.kinds])[0]
        ratio = self.rng.uniform(*chosen.ratio)
        noise = 1.0 if ratio >= NOISE else max(0.0, (ratio - 0.75) / 0.25)
        return File(chosen, int(size or chosen.size * self.rng.lognormvariate(0, 1)) + 300, ratio, noise)

    # --- runs -----------------------------------------------------------------------------------------------------------

    def first(self) -> Anomaly:
        """Judge the first backup."""
        seen = Seen([(file, file.size) for file in self.files], new=len(self.files))
        seen.come.update(map(id, self.files))
        return self._run(seen, entries=0)

    def _run(self, seen: Seen, *, entries: int) -> Anomaly:
        facts = self._facts(seen, entries)
        before = self.history[-1].facts if self.history else None
        ordinary_runs = [past for past in self.history if past.score < ANOMALY_PINS_FROM]
        found, shares = judge(facts, ordinary_runs, bytes_before=self._bytes_before, before=before)
        self._bytes_before = facts.bytes
        past = PastRun(str(len(self.history)), facts, found.score, tuple(shares.items()))
        self.history = [*self.history, past][-HISTORY_MAX:]
        return found

    def _facts(self, seen: Seen, entries: int) -> RunFacts:
        kinds: dict[str, list[float]] = {}
        stored = dense = 0.0
        for file, fresh in seen.fresh:
            row = kinds.setdefault(file.kind, [0, 0, 0, 0, 0, 0])
            row[0] += 1
            row[1] += file.size
            row[2] += 0 if file.dense else file.size * file.noise
            row[3] += file.kind not in {"dense", "other"} and (
                not file.signed or (file.kind == "text" and file.noise > 0.25)
            )
            opaque = not file.dense and (not file.signed or file.made.kind == "other") and file.noise > 0.9
            row[4] += opaque
            row[5] += opaque and id(file) not in seen.come
            dense += file.size * file.noise if file.dense else 0
            stored += fresh * file.ratio
        new_bytes = int(sum(fresh for _, fresh in seen.fresh))
        changed = len(seen.fresh) - seen.new + seen.moved
        return RunFacts(
            bytes=sum(file.size for file in self.files),
            entries_before=entries,
            new=seen.new,
            changed=max(0, changed),
            removed=seen.removed,
            moved=seen.moved,
            veiled=seen.veiled,
            marked=self.marked,
            notes=self.notes,
            classes=(ClassFacts(1, new_bytes, int(stored * self.rng.uniform(1, PADDING_MAX)), int(dense)),),
            kinds=tuple(KindFacts(kind, *map(int, row)) for kind, row in kinds.items()),
            follows=bool(self.history),
        )

    # --- ordinary days --------------------------------------------------------------------------------------------------

    def _churn(self, part: float) -> Seen:
        """Change a part of the files, add some, remove some."""
        rng, count = self.rng, len(self.files)
        wanted = max(1, round(count * part))
        weights = [file.made.rewritten for file in self.files]
        changed = {id(file): file for file in rng.choices(self.files, weights, k=wanted)} if any(weights) else {}
        seen = Seen()
        for file in changed.values():
            # A database changes by pages, a log at its end, a document as a whole.
            fresh = rng.uniform(0.01, 0.2) if file.made.size > 1e6 else rng.uniform(0.2, 1.0)
            seen.fresh.append((file, file.size * fresh))
        for _ in range(rng.randrange(1, 2 + count // 100)):
            made = self._made()
            self.files.append(made)
            seen.fresh.append((made, made.size))
            seen.new += 1
            seen.come.add(id(made))
        for _ in range(rng.randrange(1, 2 + count // 150)):
            self.files.pop(rng.randrange(len(self.files)))
            seen.removed += 1
        return seen

    def day(self) -> Anomaly:
        """Live a day of 1 to 5 % churn and what comes with it, and back up."""
        self._day += 1
        rng, entries = self.rng, len(self.files)
        burst = self._day % 30 == 0
        seen = self._churn(rng.uniform(0.08, 0.12) if burst else rng.uniform(0.01, 0.05))
        for chance, event in _EVENTS:
            if rng.random() < chance:
                event(self, seen)
        return self._run(seen, entries=entries)

    def upload(self, seen: Seen) -> None:
        """A big compressed export comes, under a name of its own."""
        size = sum(file.size for file in self.files) * self.rng.uniform(0.02, 0.15)
        self._come(seen, self._made(Made("dense", 1, (1.0, 1.0), 0), size))

    def overwrite(self, seen: Seen) -> None:
        """The nightly export is written over as a whole; the first time after a while of none."""
        size = sum(file.size for file in self.files) * 0.1
        exports = [file for file in self.files if file.made is _EXPORT]
        if not exports:
            self._come(seen, self._made(_EXPORT, size))
        else:
            seen.fresh.append((exports[0], exports[0].size))

    def _come(self, seen: Seen, file: File) -> None:
        self.files.append(file)
        seen.fresh.append((file, file.size))
        seen.new += 1
        seen.come.add(id(file))

    def move(self, seen: Seen) -> None:
        """A folder of 5 to 30 % of the files has another name."""
        count = int(len(self.files) * self.rng.uniform(0.05, 0.3))
        seen.new += count
        seen.removed += count
        seen.moved += count

    def pack_away(self, seen: Seen) -> None:
        """Old files of 2 to 10 % become one compressed file."""
        count = int(len(self.files) * self.rng.uniform(0.02, 0.1))
        old, self.files = self.files[:count], self.files[count:]
        seen.removed += count
        packed = sum(file.size * file.ratio for file in old)
        self._come(seen, self._made(Made("dense", 1, (1.0, 1.0), 0), packed))

    def rotate(self, seen: Seen) -> None:
        """Logs move one name further, the newest are begun anew, the one before is compressed."""
        logs = [file for file in self.files if file.made.kind == "text" and file.made.rewritten > 1][:40]
        for log in logs:
            gone = self._made(Made("dense", 1, (1.0, 1.0), 0), log.size * log.ratio)
            seen.fresh += [(gone, gone.size), (log, log.size * 0.1)]
            self.files.append(gone)
            seen.new += 1
            seen.come.add(id(gone))

    def encrypt_exports(self, seen: Seen) -> None:
        """A few exports come encrypted, as they should: by names that say so, and one that does not."""
        for kind in ("dense", "dense", "other"):
            self._come(seen, self._made(Made(kind, 200e3, (1.0, 1.0), 0)))

    # --- attacks --------------------------------------------------------------------------------------------------------

    def attack(self, way: str, part: float, *, days: int = 1) -> tuple[Anomaly, ...]:
        """Encrypt a part of the files in a way of `ATTACKS`, over so many days of ordinary churn; judge each of them."""
        targets = self.rng.sample(self.files, max(1, int(len(self.files) * part)))
        found = []
        for day in range(days):
            entries = len(self.files)
            seen = self._churn(self.rng.uniform(0.01, 0.05))
            for file in targets[day::days]:
                ATTACKS[way](self, file, seen)
            found.append(self._run(seen, entries=entries))
        return tuple(found)

    def _encrypt(self, file: File, seen: Seen, *, part: float = 1.0) -> None:
        file.noise = max(file.noise, part)
        file.ratio = file.ratio * (1 - part) + part
        seen.fresh = [row for row in seen.fresh if row[0] is not file]
        seen.fresh.append((file, file.size * (part if file.made.size > 1e6 else 1.0)))

    def in_place(self, file: File, seen: Seen) -> None:
        """Encrypt a file where it is."""
        file.signed = False
        self._encrypt(file, seen)

    def renamed(self, file: File, seen: Seen) -> None:
        """Encrypt a file where it is, and give it an extension that nobody knows."""
        self.in_place(file, seen)
        seen.new += 1
        seen.removed += 1
        seen.come.add(id(file))
        seen.veiled += not file.dense

    def known(self, file: File, seen: Seen) -> None:
        """The same with an extension that is known, and a note in each folder."""
        self.renamed(file, seen)
        self.marked += 1
        if self.marked % 50 == 1:
            self.notes += 1
            seen.new += 1

    def masked(self, file: File, seen: Seen) -> None:
        """Encrypt a file, and give it a name that says nothing."""
        file.named = False
        self.renamed(file, seen)

    def striped(self, file: File, seen: Seen) -> None:
        """Encrypt every other block of a file, the first one too."""
        file.signed = False
        self._encrypt(file, seen, part=0.4)

    def behind_the_head(self, file: File, seen: Seen) -> None:
        """Encrypt every other block of a file from the second one on: what it begins with stays."""
        self._encrypt(file, seen, part=0.5)


_EXPORT = Made("dense", 1, (1.0, 1.0), 0)
_EVENTS: tuple[tuple[float, Callable[[Tree, Seen], None]], ...] = (
    (0.05, Tree.upload),
    (0.1, Tree.overwrite),
    (0.05, Tree.move),
    (0.03, Tree.pack_away),
    (0.15, Tree.rotate),
    (0.05, Tree.encrypt_exports),
)
ATTACKS: Mapping[str, Callable[[Tree, File, Seen], None]] = {
    "in place": Tree.in_place,
    "with an unknown extension": Tree.renamed,
    "with a known extension and notes": Tree.known,
    "under names that say nothing": Tree.masked,
    "every other block": Tree.striped,
    "behind the first block": Tree.behind_the_head,
}
"""How files are encrypted."""


ORDINARY, ATTACK, SLOWLY = "ordinary", "attack", "slowly"
SLOW_PART, SLOW_DAYS = 0.1, 20
"""An attack that takes weeks: so much of the files, in so many days."""
PLAIN = ("in place", "with an unknown extension", "with a known extension and notes", "every other block")
"""Ways that leave no file's beginning as it was and its kind to be told by its name."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of figures."""

    tree: str
    what: str
    """`ORDINARY`, `ATTACK` or `SLOWLY`."""
    way: str
    part: float
    runs: int
    found: int
    """Runs (of attacks: attacks) that were suspicious."""
    lowest: int
    highest: int


def ordinary(tree: str, seed: int, *, days: int = 100) -> tuple[int, ...]:
    """Return the scores of so many ordinary days of a tree, its first backup among them."""
    lived = Tree(TREES[tree], f"{tree} {seed}")
    return (lived.first().score, *(lived.day().score for _ in range(days)))


def attacked(tree: str, way: str, part: float, seed: int, *, before: int = 20, days: int = 1) -> int:
    """Return the highest score of the days of an attack, after so many ordinary days."""
    lived = Tree(TREES[tree], f"{tree} {way} {part} {seed}")
    lived.first()
    for _ in range(before):
        lived.day()
    return max(found.score for found in lived.attack(way, part, days=days))


def figures(
    seeds: int,
    *,
    trees: Iterable[str] = tuple(TREES),
    days: int = 100,
    parts: Iterable[float] = (0.01, 0.05, 0.25, 1.0),
) -> tuple[Row, ...]:
    """Return how ordinary days and attacks on kinds of trees are judged; of each attack as many as there are seeds.

    Attacks come after 0, 15 and 30 ordinary days, in turn.
    """
    rows = []
    for tree in trees:
        scores = [score for seed in range(seeds) for score in ordinary(tree, seed, days=days)]
        rows.append(_row(tree, ORDINARY, "", 0.0, scores))
        for part in parts:
            for way in ATTACKS:
                scores = [attacked(tree, way, part, seed, before=seed % 3 * 15) for seed in range(seeds)]
                rows.append(_row(tree, ATTACK, way, part, scores))
        scores = [attacked(tree, "in place", SLOW_PART, seed, days=SLOW_DAYS) for seed in range(seeds)]
        rows.append(_row(tree, SLOWLY, "in place", SLOW_PART, scores))
    return tuple(rows)


def _row(tree: str, what: str, way: str, part: float, scores: list[int]) -> Row:
    found = sum(score >= ANOMALY_PINS_FROM for score in scores)
    return Row(tree, what, way, part, len(scores), found, min(scores), max(scores))
