"""A proof stands by itself: with the public key it shows that a record is in the log, and that the log only grew."""

from __future__ import annotations

import json

import pytest

from holdfast.errors import AuditDamagedError, UsageError
from holdfast.reliability.audit import PublicKey, files
from holdfast.reliability.audit.read import check_proof, prove_growth, prove_record, records

from .logs import ENV, filled


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    log, heads = filled(folder, 130, head_every=30)
    return folder, log, heads


def test_every_record_is_proved_by_itself(made):
    folder, log, heads = made
    for head in heads:
        for number in (0, 1, head.size // 2, head.size - 1):
            found = check_proof(prove_record(folder, number, head), log.public)
            assert (found.kind, found.log, found.number, found.size) == ("record", log.id, number, head.size)
            assert json.loads(found.record)["facts"]["files"] == number
        for number in (-1, head.size):
            with pytest.raises(UsageError):
                prove_record(folder, number, head)


def test_growth_is_proved_between_any_two_heads(made):
    folder, log, heads = made
    for place, old in enumerate(heads):
        for new in heads[place:]:
            found = check_proof(prove_growth(folder, old, new), log.public)
            assert (found.kind, found.number, found.size, found.record) == ("growth", old.size, new.size, "")
    with pytest.raises(UsageError):
        prove_growth(folder, heads[-1], heads[0])


def changed(proof: bytes, **changes) -> bytes:
    return json.dumps(json.loads(proof) | changes).encode()


def test_no_proof_holds_that_was_changed(made, tmp_path):
    folder, log, heads = made
    stranger, _ = filled(tmp_path / "b", 3)
    one, growth = prove_record(folder, 7, heads[-1]), prove_growth(folder, heads[0], heads[-1])
    other = json.loads(prove_record(folder, 8, heads[-1]))
    forged = json.loads(growth)
    forged["old"]["log"] = "ab" * 16
    resized = json.loads(growth)
    resized["old"]["size"] += 1
    for proof in (
        changed(one, number=8),
        changed(one, record=other["record"]),
        changed(one, path=other["path"]),
        changed(one, head=json.loads(heads[0].encode())),
        changed(growth, path=other["path"]),
        json.dumps(forged).encode(),
        json.dumps(resized).encode(),
    ):
        with pytest.raises(AuditDamagedError, match="does not hold"):
            check_proof(proof, log.public)
    for proof in (one, growth):
        with pytest.raises(AuditDamagedError):
            check_proof(proof, stranger.public)


@pytest.mark.parametrize("text", [b"", b"{}", b"[1]", b'{"proof":"record","head":{},"path":[]}', b"\xff"])
def test_what_is_no_proof_is_refused(text, made):
    with pytest.raises(UsageError, match="no proof"):
        check_proof(text, made[1].public)
    with pytest.raises(UsageError):
        check_proof(prove_record(made[0], 1, made[2][-1]), PublicKey("nonsense"))


def test_reading_says_where_a_line_is_none(tmp_path):
    filled(tmp_path / "a", 5)
    path = tmp_path / "a" / files.segment_name(0)
    lines = path.read_bytes().splitlines(keepends=True)
    for broken in (b"3 {} zz\n", b"4" + lines[3][1:], b"\n"):
        path.write_bytes(b"".join([*lines[:3], broken, *lines[4:]]))
        with pytest.raises(AuditDamagedError, match="record 3"):
            list(records(tmp_path / "a"))


def test_records_are_chosen_by_number_time_and_kind(tmp_path):
    log, _ = filled(tmp_path / "a", 5)
    everything = list(records(tmp_path / "a"))
    moment = everything[2].record.time
    assert [each.number for each in records(tmp_path / "a", start=3)] == [3, 4]
    assert [each.number for each in records(tmp_path / "a", since=moment)][-1] == 4
    assert all(each.record.time < moment for each in records(tmp_path / "a", until=moment))
    assert list(records(tmp_path / "a", kind="prune")) == []
    assert log.position().size == len(everything)
    assert ENV.now() >= moment
