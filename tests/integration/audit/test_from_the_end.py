"""What is asked of the newest records, or of a day, reads no more of the log than that: lines from the end, records from a head."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.cli.main import main
from holdfast.errors import AuditDamagedError, UsageError
from holdfast.reliability.audit import files
from holdfast.reliability.audit.read import records, records_back
from holdfast.reliability.audit.record import AuditRecord
from holdfast.runs.audit import anchors_file, heads_of_file

from .logs import filled


@pytest.mark.parametrize("block", [1, 2, 3, 7, 64, 1 << 16])
@pytest.mark.parametrize(
    "data", [b"", b"a", b"\n", b"a\n", b"a\nbc\n", b"a\nbc\ntorn", b"\n\nx\n\n", b"long line here\nb\n", b"torn only"]
)
def test_lines_from_the_end_are_those_from_the_beginning(tmp_path, monkeypatch, data, block):
    monkeypatch.setattr(files, "BACK_BYTES", block)
    path = tmp_path / "lines"
    path.write_bytes(data)
    assert [*files.lines_back(path)] == data.split(b"\n")[:-1][::-1]


def test_records_from_the_end_are_those_from_the_beginning(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BACK_BYTES", 500)
    filled(tmp_path / "a", 130)
    assert len(files.segments(tmp_path / "a")) > 2
    forth, back = [*records(tmp_path / "a")], [*records_back(tmp_path / "a")]
    assert back == forth[::-1]
    middle = forth[60].record.time
    assert [*records_back(tmp_path / "a", until=middle)] == [each for each in back if each.record.time < middle]
    assert [*records_back(tmp_path / "a", since=middle, kind="backup")] == [
        each for each in back if each.record.time >= middle
    ]
    assert [*records_back(tmp_path / "a", kind="restore")] == []
    _, path = files.segments(tmp_path / "a")[-1]
    data = path.read_bytes()
    path.write_bytes(data.replace(b"\n129 {", b"\n128 {"))
    with pytest.raises(AuditDamagedError):
        [*records_back(tmp_path / "a")]
    path.write_bytes(data + b"x" * 200_000 + b"\n")
    with pytest.raises(AuditDamagedError):
        [*records_back(tmp_path / "a")]
    path.unlink()
    path.mkdir()
    with pytest.raises(holdfast.HoldfastError, match="cannot be read"):
        next(records_back(tmp_path / "a"))


def decoded(monkeypatch) -> list[bytes]:
    """Return the list of records that are decoded from now on."""
    found: list[bytes] = []
    real = AuditRecord.decode

    def decode(data: bytes) -> AuditRecord:
        found.append(data)
        return real(data)

    monkeypatch.setattr(AuditRecord, "decode", staticmethod(decode))
    return found


def test_the_newest_and_a_day_decode_no_more_than_they_need(place, monkeypatch):
    clock = ManualClock()
    place.source.mkdir()
    with holdfast.Vault.create(place.vault, key_file=place.key, env=clock.environment()) as vault:
        trail = vault._vault.trail
        trail.log().segment_bytes = 4_000
        today = clock.environment().now().date()
        for _ in range(40):
            clock.advance(timedelta(days=1))
            trail.append([trail.record("check", "event", "ab" * 16, outcome="success")] * 20)
            vault.audit.head(anchor=False)
        seen = decoded(monkeypatch)
        assert len([*vault.audit.records(newest=5)]) == 5
        assert len(seen) == 5
        del seen[:]
        text = vault.audit.daily(today + timedelta(days=38))
        assert "20 records." in text
        assert len(seen) < 200, "of more than 800"
        del seen[:]
        assert "20 records." in vault.audit.daily(today + timedelta(days=1)), "and the oldest are found, too"


def test_a_day_that_has_not_begun_and_one_before_the_log(place):
    clock = ManualClock()
    place.source.mkdir()
    with holdfast.Vault.create(place.vault, key_file=place.key, env=clock.environment()) as vault:
        today = clock.environment().now().date()
        with pytest.raises(UsageError, match="has not begun"):
            vault.audit.daily(today + timedelta(days=1))
        assert f"This log began on {today.isoformat()}" in vault.audit.daily(date(2001, 1, 1))
        assert "This log began" not in vault.audit.daily(today)
        head = Path(vault.audit.folder) / files.HEADS
        head.unlink()
        assert files.newest_head_before(Path(vault.audit.folder), clock.environment().now()) is None


def test_a_file_without_heads_is_a_wrong_file_and_no_tampering(place, tmp_path, capsys):
    log, heads = filled(tmp_path / "a", 3)
    wrong, mixed = tmp_path / "wrong", tmp_path / "mixed"
    for text in ("", "\n\n", "a report\nof something else\n", log.public.pem):
        wrong.write_text(text)
        with pytest.raises(UsageError, match="no head of an audit log"):
            heads_of_file(wrong)
    mixed.write_text(anchors_file(heads) + "and a line\n")
    with pytest.raises(AuditDamagedError):
        heads_of_file(mixed)
    place.create().close()
    access = ["--vault", str(place.vault), "--key-file", str(place.key)]
    assert main(["audit", "verify", "--heads", str(wrong), *access]) == 2
    assert "holds no head of an audit log" in capsys.readouterr().err
