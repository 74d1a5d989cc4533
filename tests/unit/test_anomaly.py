"""Ransomware signs, as pure statistics: ordinary days raise nothing, encryption of 5, 25 and 100 % does, each sign by a table."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from holdfast.runs.anomaly import Anomaly, ClassFacts, PastRun, RunFacts, Sign, judge
from holdfast.runs.suspicion import HISTORY_MAX

MIB = 1 << 20
SEEDS = range(10)
DAYS = 100


@dataclass
class File:
    size: int
    ratio: float


class Tree:
    """A synthetic source: three quarters text that compresses, a quarter images that do not; only its statistics exist."""

    def __init__(self, seed: int, files: int = 2000) -> None:
        self.rng = random.Random(seed)
        self.files = [self.made() for _ in range(files)]
        self.exports: list[File] = []
        self.history: list[PastRun] = []
        self.bytes_before = 0

    def made(self) -> File:
        size = int(self.rng.lognormvariate(10.5, 1.2)) + 5000
        return File(size, 1.0 if self.rng.random() < 0.25 else self.rng.uniform(0.15, 0.5))

    def size(self) -> int:
        return sum(file.size for file in (*self.files, *self.exports))

    def run(self, read: list[tuple[float, float]], *, new: int = 0, removed: int = 0, entries: int = 0) -> Anomaly:
        """Judge and remember a run. `read`: new bytes and how they compress. Packs are padded, by up to 3 %."""
        fresh = int(sum(size for size, _ in read))
        stored = int(sum(size * ratio for size, ratio in read) * self.rng.uniform(1, 1.03))
        facts = RunFacts(
            self.size(), entries, new, removed, 0, (ClassFacts(1, fresh, stored),), follows=bool(self.history)
        )
        ordinary = [past for past in self.history if past.score < 500]
        found, shares = judge(facts, ordinary, bytes_before=self.bytes_before)
        self.bytes_before = facts.bytes
        past = PastRun(str(len(self.history)), facts, found.score, tuple(shares.items()))
        self.history = [*self.history, past][-HISTORY_MAX:]
        return found

    def first(self) -> Anomaly:
        return self.run([(file.size, file.ratio) for file in self.files], new=len(self.files))

    def day(self, *, busy: bool = True) -> Anomaly:
        """Change 1 to 5 % of the files, add and remove some; on some days a compressed export comes, or a folder moves.

        An export has a name of its own and is never written again; for one that is, see below.
        """
        rng, entries = self.rng, len(self.files)
        changed = rng.sample(self.files, int(entries * rng.uniform(0.01, 0.05)))
        read = [(file.size * rng.uniform(0.2, 1.0), file.ratio) for file in changed]
        added = [self.made() for _ in range(rng.randrange(1, 1 + entries // 100))]
        gone = rng.randrange(1, 1 + entries // 150)
        moved = 0
        if busy and rng.random() < 0.1:
            self.exports.append(File(self.size() // 20, 1.0))
            read.append((self.exports[-1].size, 1.0))
        if busy and rng.random() < 0.07:
            moved = entries // 20
        for _ in range(gone):
            self.files.pop(rng.randrange(len(self.files)))
        self.files += added
        read += [(file.size, file.ratio) for file in added]
        return self.run(read, new=len(added) + moved, removed=gone + moved, entries=entries)

    def encrypt(self, part: float, *, rename: bool) -> Anomaly:
        chosen = self.rng.sample(self.files, int(len(self.files) * part))
        for file in chosen:
            file.ratio = 1.0
        names = len(chosen) if rename else 0
        return self.run([(file.size, 1.0) for file in chosen], new=names, removed=names, entries=len(self.files))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_hundred_ordinary_days_raise_no_alarm(seed):
    tree = Tree(seed)
    scores = [tree.first().score, *(tree.day().score for _ in range(DAYS))]
    print(f"seed {seed}: highest score {max(scores)} of {len(scores)} runs")  # noqa: T201 - a figure of docs/anomaly.md
    assert max(scores) < 500


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("rename", [True, False], ids=["renamed", "in-place"])
@pytest.mark.parametrize("days", [0, 1, 40], ids="after-{}-days".format)
@pytest.mark.parametrize("part", [0.05, 0.25, 1.0])
def test_encryption_is_seen(part, days, rename, seed):
    tree = Tree(seed)
    tree.first()
    for _ in range(days):
        tree.day()
    found = tree.encrypt(part, rename=rename)
    print(f"seed {seed}: {found.score}")  # noqa: T201 - a figure of docs/anomaly.md
    assert found.suspicious
    assert "scrambled" in {sign.name for sign in found.signs}
    assert tree.day(busy=False).score < 1000, "what follows is judged by what was ordinary before"


def past(number: int = 0, *, size: int = 100 * MIB, score: int = 0, ratio: float = 0.3, **shares: float) -> PastRun:
    fresh = 10 * MIB
    facts = RunFacts(size, 1000, 10, 10, 0, (ClassFacts(1, fresh, int(fresh * ratio)),))
    return PastRun(str(number), facts, score, tuple(shares.items()))


QUIET = [past(number) for number in range(5)]
TODAY = RunFacts(100 * MIB, 1000, 10, 10, 0, (ClassFacts(1, 2 * MIB, int(0.6 * MIB)),))


def signs(facts: RunFacts, history=QUIET, bytes_before: int = 100 * MIB) -> dict[str, float]:
    return {sign.name: sign.strength for sign in judge(facts, history, bytes_before=bytes_before)[0].signs}


def fresh(size: float, ratio: float, **more) -> RunFacts:
    return replace(TODAY, classes=(ClassFacts(1, int(size * MIB), int(size * MIB * ratio)),), **more)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (TODAY, set()),
        (fresh(6, 1.0), {"scrambled"}),
        (fresh(6, 1.0, bytes=106 * MIB), set()),
        (fresh(0.01, 1.0), set()),
        (fresh(60, 0.3), {"rewritten"}),
        (fresh(60, 0.3, bytes=160 * MIB), set()),
        (fresh(60, 0.3, follows=False), set()),
        (replace(TODAY, removed=700), {"lost"}),
        (replace(TODAY, removed=7, entries_before=10), set()),
        (replace(TODAY, new=700, removed=700), {"renamed"}),
        (replace(TODAY, bytes=20 * MIB), {"collapsed"}),
        (fresh(6, 0.3, opaque_bytes=6 * MIB), {"scrambled"}),
    ],
)
def test_each_sign_has_its_cause(facts, expected):
    assert set(signs(facts)) == expected


def test_a_moved_tree_alone_pins_nothing_and_with_new_content_it_does():
    moved = replace(TODAY, new=1000, removed=1000)
    assert not judge(moved, QUIET, bytes_before=100 * MIB)[0].suspicious
    rewritten = fresh(100, 0.3, new=1000, removed=1000)
    assert judge(rewritten, QUIET, bytes_before=100 * MIB)[0].suspicious


def test_what_a_source_always_does_is_ordinary():
    dump = fresh(100, 0.3)
    nightly = [past(number, rewritten=1.0) for number in range(3)]
    assert signs(dump, nightly) == {}
    assert judge(dump, QUIET, bytes_before=100 * MIB)[0].suspicious
    spool = replace(TODAY, removed=1000)
    assert signs(spool, [past(lost=0.9)]) == {}


def test_a_source_that_is_not_known_long_is_not_pinned_by_being_new():
    found, _ = judge(fresh(100, 0.3), QUIET[:2], bytes_before=100 * MIB)
    assert found.signs == (Sign("rewritten", 1.0, 0.4),)
    assert not found.suspicious


def test_an_export_written_over_is_doubted_once():
    """What is known to be a false alarm: one big compressed file in place of itself looks like many small ones."""
    export = fresh(5, 1.0)
    first, shares = judge(export, QUIET, bytes_before=100 * MIB)
    assert first.suspicious
    released = [*QUIET, PastRun("9", export, first.score, tuple(shares.items()))]
    assert not judge(export, released, bytes_before=100 * MIB)[0].suspicious


def test_noise_that_was_noise_before_is_no_sign():
    assert signs(fresh(20, 1.0), [past(ratio=1.0) for _ in range(3)]) == {}
    assert signs(fresh(20, 1.0), []) == {}


def test_a_class_seen_for_the_first_time_is_compared_with_the_source():
    other = replace(TODAY, classes=(ClassFacts(9, 20 * MIB, 20 * MIB),))
    assert set(signs(other)) == {"scrambled"}


def test_without_a_history_the_envelope_s_size_still_tells_a_collapse():
    assert set(signs(replace(TODAY, bytes=MIB, classes=()), [])) == {"collapsed"}
    assert signs(TODAY, [], bytes_before=0) == {}


def test_a_score_adds_doubts_and_stays_within_its_scale():
    found, shares = judge(fresh(100, 1.0, new=1000, removed=1000), QUIET, bytes_before=100 * MIB)
    assert found.score == 1000
    assert found.compared == len(QUIET)
    assert [sign.name for sign in found.signs][-1] == "renamed"
    assert shares["scrambled"] == 1.0
    assert past().share("nothing") == 0.0
