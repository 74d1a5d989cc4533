"""An auditor with the files, the public key and one head kept elsewhere finds every change before that head: 1,000 of 1,000.

The tamperer may be clever: besides plain changes he recomputes hashes, takes records out and numbers the rest anew, rolls the
whole folder back to an older state, or begins the log again with a key of his own.
"""

from __future__ import annotations

import random
import shutil

import pytest

from holdfast.errors import AuditDamagedError
from holdfast.reliability.audit import AuditLog, PublicKey, SignedHead, files
from holdfast.reliability.audit.head import genesis
from holdfast.reliability.audit.merkle import chain_hash
from holdfast.reliability.audit.verify import verify_log

from .logs import ENV, filled, record

TAMPERINGS = 1000
SEED = 20261125


def lines_in(folder) -> list[bytes]:
    return [line for _, path in files.segments(folder) for line in path.read_bytes().splitlines()]


def write(folder, lines: list[bytes]) -> None:
    for _, path in files.segments(folder):
        path.unlink()
    (folder / files.segment_name(0)).write_bytes(b"".join(line + b"\n" for line in lines))


def rehashed(lines: list[bytes], start: bytes) -> list[bytes]:
    """Number lines anew and make every hash right: what somebody does who knows how the log works."""
    chain, out = start, []
    for number, line in enumerate(lines):
        stored = b"%d %s" % (number, line[:-65].split(b" ", 1)[1])
        chain = chain_hash(stored, chain)
        out.append(stored + b" " + chain.hex().encode())
    return out


def change(lines, dice):
    place = dice.randrange(len(lines))
    line = bytearray(lines[place])
    line[dice.randrange(len(line))] ^= 1 << dice.randrange(8)
    return [*lines[:place], bytes(line), *lines[place + 1 :]]


def remove(lines, dice):
    place = dice.randrange(len(lines))
    return [*lines[:place], *lines[place + dice.randrange(1, 4) :]]


def swap(lines, dice):
    one, two = sorted(dice.sample(range(len(lines)), 2))
    return [*lines[:one], lines[two], *lines[one + 1 : two], lines[one], *lines[two + 1 :]]


def repeat(lines, dice):
    place = dice.randrange(len(lines))
    return [*lines[:place], lines[place], *lines[place:]]


def invent(lines, dice):
    place = dice.randrange(len(lines))
    return [*lines[:place], lines[place].replace(b'"success"', b'"failure"'), *lines[place + 1 :]]


def truncate(lines, dice):
    return lines[: dice.randrange(len(lines))]


WAYS = (change, remove, swap, repeat, invent, truncate)


def test_a_thousand_tamperings_are_all_found(tmp_path):
    folder = tmp_path / "a"
    log, heads = filled(folder, 120, head_every=40)
    original = lines_in(folder)
    write(folder, original)
    assert verify_log(folder, ENV, public=log.public, anchored=heads).sound
    dice = random.Random(SEED)
    start = genesis(log.id, log.public)
    kinds: dict[str, int] = {}
    found, number = 0, -1
    while found < TAMPERINGS:
        number += 1
        way = WAYS[number % len(WAYS)]
        tampered = way(original, dice)
        if number // len(WAYS) % 2:
            try:
                tampered = rehashed(tampered, start)
            except IndexError:  # the change was of the blank after the number
                continue
        if tampered == original:  # e.g. a change of a hash that was made right again
            tampered = truncate(original, dice)
        write(folder, tampered)
        # Only the one head that was kept elsewhere, and none of the folder's own.
        report = verify_log(folder, ENV, public=log.public, anchored=heads[-1:])
        assert not report.sound, (SEED, number, way.__name__)
        kinds[report.problems[0].kind] = kinds.get(report.problems[0].kind, 0) + 1
        found += 1
    assert sum(kinds.values()) == TAMPERINGS
    assert {"changed", "missing", "reordered", "truncated", "head"} <= kinds.keys()


def test_the_place_of_a_change_is_named(tmp_path):
    folder = tmp_path / "a"
    log, _ = filled(folder, 30)
    original = lines_in(folder)
    for lines, kind, place in (
        ([*original[:7], original[7].replace(b"ward7", b"ward8"), *original[8:]], "changed", 7),
        ([*original[:7], *original[9:]], "missing", 7),
        ([*original[:7], original[8], original[7], *original[9:]], "missing", 7),
        ([*original[:7], b"", *original[8:]], "changed", 7),
        ([*original[:7], b"7 x", *original[8:]], "changed", 7),
        ([*original[:7], original[3], *original[8:]], "reordered", 7),
    ):
        write(folder, lines)
        first = verify_log(folder, ENV, public=log.public).problems[0]
        assert (first.kind, first.record) == (kind, place)


def test_a_folder_rolled_back_whole_is_found_by_the_anchored_head(tmp_path):
    folder = tmp_path / "a"
    log, _ = filled(folder, 30)
    shutil.copytree(folder, tmp_path / "old")
    log.append([record(n) for n in range(30, 40)])
    anchored = log.head()
    assert verify_log(tmp_path / "old", ENV).sound
    (problem,) = verify_log(tmp_path / "old", ENV, anchored=[anchored]).problems
    assert (problem.kind, problem.record) == ("truncated", 30)


def test_a_log_begun_anew_by_somebody_else_is_found(tmp_path):
    log, heads = filled(tmp_path / "a", 30)
    forged, _ = filled(tmp_path / "b", 30)
    assert verify_log(tmp_path / "b", ENV).sound
    kinds = {each.kind for each in verify_log(tmp_path / "b", ENV, public=log.public, anchored=heads).problems}
    assert {"other-log", "signature", "changed"} <= kinds
    assert forged.id != log.id


def test_a_head_nobody_signed_is_found(tmp_path):
    log, heads = filled(tmp_path / "a", 30)
    good = heads[-1]
    bad = SignedHead(good.log, good.size, good.root, good.chain, good.time, b"x" * 64)
    assert {each.kind for each in verify_log(tmp_path / "a", ENV, anchored=[bad]).problems} == {"signature"}
    assert log.public.signed(good)


def test_a_missing_file_of_records_and_an_unreadable_head_are_found(tmp_path):
    filled(tmp_path / "a", 200)
    segments = files.segments(tmp_path / "a")
    segments[1][1].unlink()
    heads = tmp_path / "a" / files.HEADS
    heads.write_bytes(heads.read_bytes().replace(b'"root":"', b'"root":"ff', 1))
    kinds = {each.kind for each in verify_log(tmp_path / "a", ENV).problems}
    assert {"missing", "head"} <= kinds


def test_there_must_be_a_log(tmp_path):
    with pytest.raises(FileNotFoundError):
        verify_log(tmp_path, ENV)
    (tmp_path / files.META).write_text("{}")
    with pytest.raises(AuditDamagedError):
        verify_log(tmp_path, ENV)


def test_an_empty_log_is_sound(tmp_path):
    log = AuditLog.open(tmp_path / "a", ENV)
    head = log.head()
    report = verify_log(tmp_path / "a", ENV, anchored=[head])
    assert report.sound
    assert (report.records, report.signed) == (0, 0)


def test_no_more_than_a_hundred_problems_are_listed(tmp_path):
    folder = tmp_path / "a"
    filled(folder, 150)
    write(folder, [line.replace(b"ward7", b"ward8") for line in lines_in(folder)])
    problems = verify_log(folder, ENV).problems
    assert [each.kind for each in problems[:100]] == ["changed"] * 100
    assert {each.kind for each in problems[100:]} == {"head"}


def test_what_no_signed_head_covers_is_not_proved(tmp_path):
    """Who has only the files cannot sign: without any head he could have written, or taken away, everything."""
    folder = tmp_path / "a"
    log, _ = filled(folder, 30)
    (folder / files.HEADS).unlink()
    invented = [line.replace(b"ward7", b"ward8") for line in lines_in(folder)]
    write(folder, rehashed(invented, genesis(log.id, log.public)))
    for public in (log.public, None):
        (problem,) = verify_log(folder, ENV, public=public).problems
        assert (problem.kind, problem.record) == ("unsigned", 30)
    assert [each.kind for each in verify_log(folder, ENV, public=log.public, living=True).problems] == ["unsigned"]
    write(folder, [])
    report = verify_log(folder, ENV, public=log.public)
    assert ([each.kind for each in report.problems], report.exit_code) == (["unsigned"], 4)
    for _, path in files.segments(folder):
        path.unlink()
    assert [each.kind for each in verify_log(folder, ENV, public=log.public).problems] == ["unsigned"]
    assert verify_log(folder, ENV, public=log.public, living=True).sound, "this host's own log may be new"


def test_another_key_is_said_before_all_else(tmp_path):
    log, _ = filled(tmp_path / "a", 3)
    other, _ = filled(tmp_path / "b", 3)
    problems = verify_log(tmp_path / "a", ENV, public=other.public).problems
    assert problems[0].kind == "other-key"
    assert problems[-1].kind == "unsigned"
    assert verify_log(tmp_path / "a", ENV, public=PublicKey(log.public.pem.replace("\n", "\r\n"))).sound
    meta = tmp_path / "a" / files.META
    meta.write_text(meta.read_text().replace("BEGIN PUBLIC", "BEGIN OTHER"))
    assert verify_log(tmp_path / "a", ENV, public=log.public).problems[0].kind == "other-key"


def test_what_anybody_could_have_written_behind_the_last_head_is_not_called_sound(tmp_path):
    """The chain needs no key: with record 0 and its head left, thousands of others can be invented behind them."""
    folder = tmp_path / "a"
    log, _ = filled(folder, 1)
    (first,) = lines_in(folder)
    invented = [first, *(b"%d %s" % (number, first.split(b" ", 1)[1]) for number in range(1, 20_000))]
    write(folder, rehashed(invented, genesis(log.id, log.public)))
    report = verify_log(folder, ENV, public=log.public)
    ((problem),) = report.problems
    assert (problem.kind, problem.record, report.exit_code) == ("unsigned", 1, 4)
    assert (report.records, report.proved) == (20_000, 1)
    assert "only the first 1 of the 20000 records are proved" in problem.text


def test_as_many_as_an_honest_log_has_behind_its_last_head_are_sound_and_said(tmp_path):
    folder = tmp_path / "a"
    log, _ = filled(folder, 1)
    log.append([record(n) for n in range(1, 1000)])
    report = verify_log(folder, ENV, public=log.public)
    assert (report.sound, report.records, report.proved) == (True, 1000, 1)
    log.append([record(n) for n in range(1000, 1600)])
    report = verify_log(folder, ENV, public=log.public)
    assert (report.sound, report.records, report.proved) == (True, 1600, 1600)


def test_a_head_that_nobody_signed_or_of_other_records_proves_nothing(tmp_path):
    log, heads = filled(tmp_path / "a", 30)
    (tmp_path / "a" / files.HEADS).unlink()
    good = heads[-1]
    unsigned = SignedHead(good.log, good.size, good.root, good.chain, good.time, b"x" * 64)
    report = verify_log(tmp_path / "a", ENV, public=log.public, anchored=[unsigned])
    assert (report.proved, [each.kind for each in report.problems]) == (0, ["signature", "unsigned"])
    lines = lines_in(tmp_path / "a")
    write(tmp_path / "a", rehashed([lines[0], *lines[2:], lines[1]], genesis(log.id, log.public)))
    report = verify_log(tmp_path / "a", ENV, public=log.public, anchored=[good])
    assert (report.proved, [each.kind for each in report.problems]) == (0, ["head"])
