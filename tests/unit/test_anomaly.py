"""Ransomware signs, as pure statistics: ordinary days raise nothing, encryption of 5, 25 and 100 % does, each sign by a table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.runs.anomaly import Anomaly, ClassFacts, KindFacts, PastRun, RunFacts, Sign, judge
from holdfast.testing.ransom import ATTACKS, PLAIN, TREES, attacked, figures, ordinary

MIB = 1 << 20
SEEDS = range(2)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tree", TREES)
def test_a_hundred_ordinary_days_raise_no_alarm(tree, seed):
    scores = ordinary(tree, seed)
    print(f"{tree}, seed {seed}: highest score {max(scores)} of {len(scores)} runs")  # noqa: T201 - a figure
    assert max(scores) < 500


@pytest.mark.parametrize("part", [0.05, 0.25, 1.0])
@pytest.mark.parametrize("way", PLAIN)
@pytest.mark.parametrize("tree", TREES)
def test_encryption_is_seen(tree, way, part):
    for before in (0, 15):
        assert attacked(tree, way, part, seed=before, before=before) >= 500


@pytest.mark.parametrize("tree", TREES)
def test_an_attack_that_takes_weeks_is_seen(tree):
    assert attacked(tree, "in place", 0.1, seed=1, days=20) >= 500


@pytest.mark.parametrize("way", ATTACKS)
def test_one_percent_of_documents_is_seen_however_they_are_encrypted(way):
    assert attacked("documents", way, 0.01, seed=2) >= 500


def test_figures_are_rows_of_trees_and_ways():
    rows = figures(1, trees=["logs"], days=3, parts=[0.5])
    assert [(row.tree, row.runs, row.found) for row in rows[:2]] == [("logs", 4, 0), ("logs", 1, 1)]
    assert len(rows) == 2 + len(ATTACKS)
    assert rows[0].lowest <= rows[0].highest < 500


def past(number: int = 0, *, size: int = 100 * MIB, score: int = 0, ratio: float = 0.3, **shares: float) -> PastRun:
    fresh = 10 * MIB
    facts = RunFacts(
        size, entries_before=1000, new=10, removed=10, classes=(ClassFacts(1, fresh, int(fresh * ratio)),), kinds=USUAL
    )
    return PastRun(str(number), facts, score, tuple(shares.items()))


USUAL = (KindFacts("text", 100, 10 * MIB), KindFacts("document", 100, 10 * MIB, 5 * MIB), KindFacts("other", 9, MIB))
QUIET = [past(number) for number in range(5)]
TODAY = RunFacts(
    100 * MIB, entries_before=1000, new=10, changed=50, removed=10, classes=(ClassFacts(1, 2 * MIB, int(0.6 * MIB)),)
)


def signs(facts: RunFacts, history=QUIET, bytes_before: int = 100 * MIB) -> dict[str, float]:
    return {sign.name: sign.strength for sign in judge(facts, history, bytes_before=bytes_before)[0].signs}


def fresh(size: float, ratio: float, dense: float = 0, **more) -> RunFacts:
    row = ClassFacts(1, int(size * MIB), int(size * MIB * ratio), int(dense * MIB))
    return replace(TODAY, classes=(row,), **more)


def read(kind: str, files: int, size: float = 1, noise: float = 0, **more) -> RunFacts:
    return replace(TODAY, kinds=(KindFacts(kind, files, int(size * MIB), int(noise * MIB), **more),))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (TODAY, set()),
        (fresh(6, 1.0), {"scrambled", "creeping"}),
        (fresh(6, 1.0, bytes=106 * MIB), set()),
        (fresh(6, 1.0, dense=6), set()),
        (fresh(12, 1.0, dense=6), {"scrambled", "creeping"}),
        (fresh(0.01, 1.0), set()),
        (fresh(60, 0.3), {"rewritten"}),
        (fresh(60, 0.3, bytes=160 * MIB), set()),
        (fresh(60, 0.3, follows=False), set()),
        (replace(fresh(60, 1.0, dense=60), kinds=(KindFacts("dense", 1, 60 * MIB),)), set()),
        (replace(fresh(60, 1.0, dense=60), kinds=(KindFacts("dense", 9, 60 * MIB),)), {"rewritten"}),
        (replace(TODAY, removed=700), {"lost"}),
        (replace(TODAY, removed=7, entries_before=10), set()),
        (replace(TODAY, new=700, removed=700), {"replaced"}),
        (replace(TODAY, new=700, removed=700, moved=700), {"renamed"}),
        (replace(TODAY, bytes=20 * MIB), {"collapsed"}),
        (read("text", 20, 6, 6), {"scrambled", "creeping"}),
        (read("document", 20, 6, 3), set()),
        (read("image", 20, 6, 6), {"scrambled", "creeping"}),
        (read("text", 20, defaced=6), {"defaced", "creeping"}),
        (replace(read("text", 20, defaced=6), changed=0, removed=0), set()),
        (read("other", 20, opaque=6), set()),
        (read("other", 20, opaque=6, opaque_changed=6), {"defaced", "creeping"}),
        (replace(read("other", 20, opaque=9), veiled=9), {"veiled"}),
        (replace(TODAY, marked=6), {"named"}),
        (replace(TODAY, notes=1), {"named"}),
    ],
)
def test_each_sign_has_its_cause(facts, expected):
    assert set(signs(facts)) == expected


@pytest.mark.parametrize(
    ("marked", "notes", "strength"), [(40, 2, 0), (45, 2, 0.5), (40, 4, 0.5), (41, 2, 0.1), (30, 0, 0)]
)
def test_names_count_by_how_many_more_there_are(marked, notes, strength):
    before = replace(TODAY, marked=40, notes=2)
    found, _ = judge(replace(TODAY, marked=marked, notes=notes), QUIET, bytes_before=100 * MIB, before=before)
    assert sum(sign.strength for sign in found.signs if sign.name == "named") == strength


def test_the_first_backup_of_a_host_that_was_attacked_before_is_doubted():
    assert judge(replace(TODAY, marked=30), [])[0].suspicious


def test_files_that_were_noise_before_are_no_sign():
    often = [replace(row, facts=replace(row.facts, kinds=(KindFacts("database", 9, MIB, MIB, 9),))) for row in QUIET]
    assert signs(read("database", 9, 6, 6, defaced=9), often) == {}
    sealed = [replace(row, facts=replace(row.facts, kinds=(KindFacts("other", 2, MIB, MIB, 0, 2),))) for row in QUIET]
    assert signs(read("other", 9, 6, 6, opaque=9, opaque_changed=9), sealed) == {}
    assert signs(replace(read("other", 9, 6, 6, opaque=9), veiled=2), sealed) == {}


def test_histories_of_before_know_no_kinds_and_say_nothing_of_them():
    bare = [replace(row, facts=replace(row.facts, kinds=())) for row in QUIET]
    assert signs(read("text", 20, 6, 6), bare) == {}


def test_small_steps_add_up_and_days_that_a_person_looked_at_do_not():
    step = read("text", 20, defaced=2)
    assert not judge(step, QUIET, bytes_before=100 * MIB)[0].suspicious
    slow = [past(number, defaced=0.002) for number in range(6)]
    assert signs(step, slow)["creeping"] >= 0.5
    assert "creeping" not in signs(step, [replace(row, score=700) for row in slow])
    assert "creeping" not in signs(TODAY, slow), "a run that adds nothing says nothing"


def test_a_moved_tree_alone_pins_nothing_and_with_new_content_it_does():
    moved = replace(TODAY, new=1000, removed=1000, moved=990)
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


def test_a_large_compressed_file_written_over_for_the_first_time_is_no_sign():
    export = replace(fresh(30, 1.0, dense=30), kinds=(KindFacts("dense", 1, 30 * MIB),))
    assert judge(export, QUIET, bytes_before=100 * MIB)[0] == Anomaly(0, (), len(QUIET))


def test_noise_that_was_noise_before_is_no_sign():
    assert signs(fresh(20, 1.0), [past(ratio=1.0) for _ in range(3)]) == {}
    assert signs(fresh(20, 1.0), []) == {}


def test_a_class_seen_for_the_first_time_is_compared_with_the_source():
    other = replace(TODAY, classes=(ClassFacts(9, 20 * MIB, 20 * MIB),))
    assert set(signs(other)) == {"scrambled", "creeping"}


def test_without_a_history_the_envelope_s_size_still_tells_a_collapse():
    assert set(signs(replace(TODAY, bytes=MIB, classes=()), [])) == {"collapsed"}
    assert signs(TODAY, [], bytes_before=0) == {}


def test_a_score_adds_doubts_and_stays_within_its_scale():
    found, shares = judge(fresh(100, 1.0, new=1000, removed=1000), QUIET, bytes_before=100 * MIB)
    assert found.score == 1000
    assert found.compared == len(QUIET)
    assert [sign.name for sign in found.signs][-1] == "replaced"
    assert shares["scrambled"] == 1.0
    assert past().share("nothing") == 0.0
