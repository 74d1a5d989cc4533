"""The log loses nothing it acknowledged, wherever it is cut; two processes share it; and it says what it cannot do."""

from __future__ import annotations

import errno
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.base.environment import Environment, ManualClock
from holdfast.errors import AuditDamagedError, AuditUnavailableError, InternalError, UsageError
from holdfast.reliability.audit import AuditLog, AuditRecord, PublicKey, SignedHead, files, log
from holdfast.reliability.audit.verify import verify_log

from .logs import ACTOR, ENV, filled, record


@pytest.mark.parametrize("algorithm", ["ed25519", "ecdsa-p256"])
def test_records_come_back_in_their_order_with_a_signed_head(tmp_path, algorithm):
    written, heads = filled(tmp_path / "a", 200, algorithm=algorithm)
    assert len(files.segments(tmp_path / "a")) > 2
    assert written.public.signed(heads[-1])
    again = AuditLog.open(tmp_path / "a", ENV)
    assert again.position() == written.position()
    assert again.position().size == 200
    report = verify_log(tmp_path / "a", ENV, anchored=heads)
    assert report.sound, report.problems
    assert (report.records, report.signed, report.anchored, report.exit_code) == (200, 200, 200, 0)
    assert report.root == heads[-1].root
    assert report.fingerprint == written.public.fingerprint
    bodies = [
        line.split(b" ", 1)[1][:-65]
        for _, path in files.segments(tmp_path / "a")
        for line in path.read_bytes().splitlines()
    ]
    decoded = [AuditRecord.decode(body) for body in bodies]
    assert [each.facts["files"] for each in decoded] == list(range(200))
    assert decoded[3].encode() == bodies[3]
    assert decoded[0].actor == ACTOR


def test_wherever_an_append_is_cut_what_was_acknowledged_stays_and_the_rest_is_set_aside(tmp_path):
    whole, _ = filled(tmp_path / "a", 5)
    path = tmp_path / "a" / files.segment_name(0)
    before = path.stat().st_size
    whole.append([record(5), record(6)])
    data = path.read_bytes()
    for cut in {*range(before, len(data), 7), data.index(b"\n", before), data.index(b"\n", before) + 1}:
        copy = tmp_path / f"c{cut}"
        shutil.copytree(tmp_path / "a", copy)
        os.truncate(copy / path.name, cut)
        lines = data[before:cut].count(b"\n")
        torn = cut > before and not data[:cut].endswith(b"\n")
        report = verify_log(copy, ENV)
        assert report.sound
        assert (report.torn_bytes > 0) is torn
        opened = AuditLog.open(copy, ENV)
        assert opened.append([record(9)]).size == 5 + lines + torn + 1
        assert bool(list(copy.glob("torn-*"))) is torn
        assert b'"audit.torn"' in (copy / path.name).read_bytes() or not torn
        assert verify_log(copy, ENV).torn_bytes == 0
        assert verify_log(copy, ENV).sound
        shutil.rmtree(copy)


def test_wherever_a_head_is_cut_the_log_goes_on(tmp_path):
    written, _ = filled(tmp_path / "a", 5)
    heads = tmp_path / "a" / files.HEADS
    before = heads.stat().st_size
    written.append([record(5)])
    written.head()
    data = heads.read_bytes()
    for cut in range(before, len(data), 7):
        heads.write_bytes(data[:cut])
        again = AuditLog.open(tmp_path / "a", ENV)
        assert again.position().size == 6
        assert again.head().size == 6
        assert verify_log(tmp_path / "a", ENV).sound


def _append(folder: Path, count: int) -> None:
    opened = AuditLog.open(folder, ENV)
    for number in range(count):
        opened.append([record(number)])


def test_processes_share_a_log(tmp_path):
    folder = tmp_path / "a"
    mine = AuditLog.open(folder, ENV)
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_append, args=(folder, 25)) for _ in range(2)]
    for other in others:
        other.start()
    for number in range(25):
        mine.append([record(number)])
    for other in others:
        other.join(60)
        assert other.exitcode == 0
    assert mine.position().size == 75
    mine.head()
    assert verify_log(folder, ENV).sound


def test_an_append_that_fails_is_not_acknowledged_and_leaves_the_log_sound(tmp_path, monkeypatch):
    written, _ = filled(tmp_path / "a", 3)
    real = os.write

    def short(fd, data):
        real(fd, bytes(data)[: len(data) // 2])
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(AuditUnavailableError, match="No space left"):
            written.append([record(3)])
    assert verify_log(tmp_path / "a", ENV).records == 3
    assert written.append([record(3)]).size == 4

    def lost(_fd):
        raise OSError(errno.EIO, "lost")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lost)
        with pytest.raises(AuditUnavailableError, match="Input/output"):
            written.append([record(4)])
    assert written.append([record(4)]).size == 5
    assert verify_log(tmp_path / "a", ENV).sound


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AuditUnavailableError):
        AuditLog.open(tmp_path / "file" / "a", ENV)


def test_a_lock_that_is_never_let_go_is_said(tmp_path):
    import fcntl

    AuditLog.open(tmp_path / "a", ENV)
    clock = ManualClock()
    with open(tmp_path / "a" / files.LOCK, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(AuditUnavailableError, match="does not let go"):
            AuditLog.open(tmp_path / "a", clock.environment())
    assert sum(clock.slept) >= log.LOCK_SECONDS_MAX


def damage(folder):
    """Return the ways in which a log's folder can be wrong when it is opened or appended to."""

    def edit(name, change):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    last = files.segments(folder)[-1][1].name
    return {
        "a head's signature": lambda: edit(
            files.HEADS, lambda data: data.replace(b'"signature":"', b'"signature":"AA')
        ),
        "a head's root": lambda: edit(files.HEADS, lambda data: data.replace(b'"root":"', b'"root":"00')),
        "the records are shorter": lambda: edit(last, lambda data: data[:-200]),
        "the records are gone": (folder / last).unlink,
        "the description": lambda: edit(files.META, lambda data: data[:20]),
        "no description": (folder / files.META).unlink,
        "the key": lambda: edit(files.KEY, lambda _: b"nonsense"),
    }


@pytest.mark.parametrize("how", range(7))
def test_a_damaged_log_takes_nothing(tmp_path, how):
    filled(tmp_path / "a", 60)
    ways = damage(tmp_path / "a")
    [*ways.values()][how]()
    with pytest.raises(AuditDamagedError):
        AuditLog.open(tmp_path / "a", ENV).append([record(60)])


def test_a_key_exchanged_for_another_is_noticed(tmp_path):
    filled(tmp_path / "a", 3)
    filled(tmp_path / "b", 3)
    shutil.copy(tmp_path / "b" / files.KEY, tmp_path / "a" / files.KEY)
    with pytest.raises(AuditDamagedError, match="not the one it began with"):
        AuditLog.open(tmp_path / "a", ENV)


def test_records_changed_after_the_last_head_are_noticed_before_anything_is_appended(tmp_path):
    written, _ = filled(tmp_path / "a", 3)
    written.append([record(3), record(4)])
    path = tmp_path / "a" / files.segment_name(0)
    path.write_bytes(path.read_bytes().replace(b'"files":3', b'"files":9'))
    with pytest.raises(AuditDamagedError, match="record 3"):
        AuditLog.open(tmp_path / "a", ENV).append([record(5)])
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(AuditDamagedError, match="cut off"):
        written.append([record(5)])


def test_a_torn_end_that_others_follow_is_damage(tmp_path):
    written, _ = filled(tmp_path / "a", 3)
    written.segment_bytes = 1
    written.append([record(3)])
    path = tmp_path / "a" / files.segment_name(0)
    path.write_bytes(path.read_bytes() + b"3 torn")
    (tmp_path / "a" / files.HEADS).unlink()
    with pytest.raises(AuditDamagedError):
        AuditLog.open(tmp_path / "a", ENV).position()
    assert not verify_log(tmp_path / "a", ENV).sound


def test_no_text_that_could_be_a_path_gets_in():
    for facts in ({"x": "/srv/ehr/Müller.hl7"}, {"x": "a\nb"}, {"X y": 1}, {f"n{i}": 1 for i in range(65)}):
        with pytest.raises(InternalError):
            record(0, facts=facts).encode()
    with pytest.raises(InternalError, match="longer"):
        record(0, facts={f"n{i}": "x" * 200 for i in range(64)}).encode()
    with pytest.raises(AuditDamagedError):
        AuditRecord.decode(b"{}")


def test_what_is_no_head_and_no_key_is_refused(tmp_path):
    for text in ("{}", "nonsense", '{"root":"zz"}', '{"root":"00","chain":"00","size":-1}'):
        with pytest.raises(AuditDamagedError):
            SignedHead.decode(text)
    with pytest.raises(UsageError):
        _ = PublicKey("nonsense").fingerprint
    with pytest.raises(UsageError, match="no signature algorithm"):
        AuditLog.open(tmp_path / "x", ENV, algorithm="rot13")


def test_a_crash_while_a_log_is_begun_leaves_none_and_it_is_begun_again(tmp_path, monkeypatch):
    class Gone(BaseException):
        pass

    def gone(*_):
        raise Gone

    folder = tmp_path / "a"
    for function in ("replace", "fdatasync"):
        with monkeypatch.context() as patch:
            patch.setattr(os, function, gone)
            with pytest.raises(Gone):
                AuditLog.open(folder, ENV)
        assert not (folder / files.META).exists()
    assert AuditLog.open(folder, ENV).append([record(0)]).size == 1


def test_time_is_the_environment_s(tmp_path):
    clock = ManualClock()
    env: Environment = clock.environment()
    opened = AuditLog.open(tmp_path / "a", env)
    opened.append([record(0, env)])
    assert opened.head().time == clock.now()


APPENDER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from logs import ENV, record
from holdfast.reliability.audit import AuditLog
log = AuditLog.open(Path(sys.argv[1]), ENV)
log.segment_bytes = 20_000
number = log.position().size
while True:
    print(log.append([record(number + n) for n in range(3)]).size, flush=True)
    number += 3
    if number % 30 == 0:
        log.head()
"""


def test_whenever_the_process_is_killed_everything_acknowledged_is_there(tmp_path):
    folder = tmp_path / "a"
    for lines in range(1, 13):
        command = [sys.executable, "-c", APPENDER, str(folder), str(Path(__file__).parent)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        said = [process.stdout.readline() for _ in range(lines * 5)]
        process.kill()
        rest = process.stdout.read()
        process.wait()
        process.stdout.close()
        acknowledged = int([*said, *[line for line in rest.splitlines() if line]][-1])
        report = verify_log(folder, ENV)
        assert {each.kind for each in report.problems} <= {"unsigned"}, (
            "between the first record and its head, at the most"
        )
        assert report.records >= acknowledged
