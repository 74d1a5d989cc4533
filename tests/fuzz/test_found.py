"""What fuzzing found, one by one: inputs that ended a command with a traceback, or that two readers took for different things."""

from __future__ import annotations

import hashlib
import json

import pytest
import rescue_format
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.format import spec_writer as w
from tests.format.test_rescue import files_under, run

import holdfast
from holdfast.config.load import loads
from holdfast.errors import (
    AuditDamagedError,
    ConfigError,
    DamageError,
    EvidenceError,
    MediumDamageError,
    UsageError,
    WrongKeyError,
)
from holdfast.reliability.audit.head import PublicKey, read_key
from holdfast.reliability.audit.record import AuditRecord
from holdfast.repository import refsets, transfer
from holdfast.repository.credentials import RoleCredential
from holdfast.repository.listing import decode_part
from holdfast.repository.objects import CONTROL_MAGIC, parse_canonical, parse_control
from holdfast.runs.drill.record import check_record, read_record


def framed(body: bytes) -> bytes:
    head = CONTROL_MAGIC + b"\1\0\0\0" + len(body).to_bytes(4, "little") + body + bytes(64)
    return head + hashlib.sha256(head).digest()


@pytest.mark.parametrize("vault", ["[]", "{}", '["11"]', "null", "7"])
def test_an_object_whose_vault_is_no_text_belongs_to_another_vault(vault):
    """Found: a list has no hash, and the comparison was by a set."""
    body = f'{{"name":"condemn/00000000","signer":"root","type":"condemn","vault":{vault}}}'.encode()
    with pytest.raises(DamageError, match="another vault"):
        parse_control(framed(body), "condemn/00000000", "11" * 16)


@pytest.mark.parametrize(
    "text", [b'{"a":"\\ud800"}', b"[" * 50_000, b'{"a":NaN}', b'{"a":1e999}', b'{"a":' + b"9" * 5000 + b"}"]
)
def test_json_that_cannot_be_written_again_is_damage(text):
    """Found: half a surrogate passed the reader and broke the writer that compares."""
    with pytest.raises(DamageError, match="canonical"):
        parse_canonical(text, "an object")


def test_a_vault_with_such_an_object_in_it_is_damaged_not_broken(tmp_path):
    key = tmp_path / "key"
    with holdfast.Vault.create(tmp_path / "vault", key_file=key) as vault:
        assert vault.check().sound
    folder = tmp_path / "vault" / "condemn"
    folder.mkdir()
    body = b'{"name":"condemn/00000000","signer":"root","type":"condemn","vault":[]}'
    (folder / "00000000").write_bytes(framed(body))
    with holdfast.Vault.open(tmp_path / "vault", key_file=key) as vault:
        assert not vault.check().sound


@pytest.mark.parametrize("classes", ["", 7, ["x"], [None], [[]]])
def test_a_credential_with_odd_classes_is_damaged(tmp_path, classes):
    """Found: an element that is no object ended the opening with an AttributeError."""
    key, path = tmp_path / "key", tmp_path / "credential"
    with holdfast.Vault.create(tmp_path / "vault", key_file=key) as vault:
        body = json.loads(vault.enroll_writer("host"))
    for change in ({"classes": classes}, {"signing_seed": "AAAA"}, {"signing_seed": "AAAA", "classes": []}):
        path.unlink(missing_ok=True)
        RoleCredential("", "", body | change).write(path)
        with pytest.raises(WrongKeyError, match="damaged"):
            holdfast.Vault.open(tmp_path / "vault", credential=path)


def test_a_key_of_an_algorithm_nobody_has_is_none_of_ours():
    """Found: one flipped bit in the algorithm's number gives an UnsupportedAlgorithm."""
    pem = PublicKey.of(Ed25519PrivateKey.from_private_bytes(bytes(32))).pem
    with pytest.raises(UsageError):
        _ = PublicKey(pem.replace("MCowBQYDK2VwAyEA", "MCowBQYDK2V7AyEA")).fingerprint
    with pytest.raises(AuditDamagedError):
        read_key(b"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2V7BCIEIAAA\n-----END PRIVATE KEY-----\n")


@pytest.mark.parametrize("number", ["Infinity", "1e999", "NaN", "[" * 3000])
def test_an_audit_record_with_an_impossible_number_is_damaged(number):
    text = f'{{"kind":"backup","who":{{"uid":{number}}}}}'
    with pytest.raises(AuditDamagedError):
        AuditRecord.decode(text.encode())


@pytest.mark.parametrize("value", ["1e308", "1" + "0" * 400, "1e999"])
def test_a_drill_record_with_an_impossible_duration_is_none(value):
    """Found: durations are digested in microseconds, and these have none."""
    from tests.fuzz.test_parsers import kept

    (record,) = kept("evidence")
    changed = record.replace(b'"rto": 3600.0', b'"rto": ' + value.encode())
    assert changed != record
    with pytest.raises(EvidenceError):
        check_record(read_record(changed))


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 20_000, "a = " + "1" * 5000, 'a = "', "a = 2026-02-31", "[a\n", "\ud800"]
)
def test_a_configuration_beyond_its_reader_is_a_faulty_one(text):
    with pytest.raises(ConfigError):
        loads(text, environ={})


@pytest.mark.parametrize(
    "row", [b"\xff", b"x 1 vault", b"%s -1 vault", b"%s 1", b"%s 1 vault x", b"%s 01 vault", b"%s 1 ../x"]
)
def test_a_line_of_a_couriers_list_says_something_or_is_damage(row):
    data = row.replace(b"%s", b"ab" * 32) + b"\n"
    manifest = transfer.Manifest("c", 0, 0, "", True, "", hashlib.sha256(data).hexdigest(), 0, 0, b"")
    with pytest.raises(MediumDamageError):
        transfer.parse_list(data, manifest)


@pytest.mark.parametrize(
    "plain",
    [
        b"\1\0\2" + bytes([2] * 16) + b"\1\0\1" + bytes([1] * 16) + b"\1\0\1",
        b"\1\0\1" + bytes(16) + b"\0",
        b"\1\0\1" + bytes(16) + b"\2\0\1\0\1",
    ],
    ids=["origins out of order", "an origin without segments", "ranges that touch"],
)
def test_a_reference_set_has_one_spelling_in_python_too(plain):
    """Found: the engine refused these, and the pruner took them."""
    with pytest.raises(DamageError):
        refsets.parse(plain)


@pytest.mark.parametrize(
    "change",
    [
        {"entries": "1"},
        {"bytes": -1},
        {"findings": [7]},
        {"tags": [1]},
        {"evidence": []},
        {"paths": "AA=="},
        {"entries": True},
    ],
)
def test_a_part_of_a_hostile_writer_is_malformed_not_a_surprise_later(change):
    part = {"root": "", "entries": 1, "bytes": 1, "program": "", "findings": []}
    assert decode_part(part, 1, 0).entries == 1
    with pytest.raises(DamageError, match="malformed"):
        decode_part(part | change, 1, 0)


def test_the_rescue_reader_takes_no_chunk_or_pack_of_an_unknown_kind():
    """Found: the high half of a role was looked at up to eight only, and a run's kind of pack not at all."""
    head = bytes([1, 1, 0, 0, 0, 33, 0, 17, 1]) + bytes(16)
    nonce = bytes(32)
    assert rescue_format.parse_directory(head + b"\1\x11", [nonce], 99, "d")
    for role in (0xF1, 0x91, 0x11, 0x05, 0x06, 0x96):
        with pytest.raises(rescue_format.Damage):
            rescue_format.parse_directory(head + bytes([role, 17]), [nonce], 99, "d")
    for kind in (0, 4, 129):
        with pytest.raises(rescue_format.Damage):
            rescue_format.parse_run(b"\1\1" + nonce + b"\1" + bytes([kind, 1]) + nonce + b"\3\1\0\0", "r")


@pytest.mark.parametrize(
    "part",
    [
        {"evidence": []},
        {"evidence": {"beside": [{}]}},
        {"evidence": {"beside": [{"path": 1, "content": "!"}]}},
        {"entries": "x"},
    ],
)
def test_the_rescue_reader_survives_a_hostile_writers_part(tmp_path, part, capsys):
    vault = w.SpecVault(tmp_path / "vault")
    meta = w.Pack(vault, vault.classes["phi"], 2)
    root = w.tree(meta, [w.inline(b"file", b"content")])
    vault.index(vault.classes["phi"], [meta.finish()])
    vault.snapshot({"phi": root}, part=part)
    assert run(vault, tmp_path, "list") == 0
    assert run(vault, tmp_path, "restore", "latest", "--to", tmp_path / "out") == (0 if "entries" in part else 4)
    assert files_under(tmp_path / "out") == {b"file": b"content"}
    assert ("evidence is malformed" in capsys.readouterr().err) == ("evidence" in part)


def test_the_rescue_reader_survives_a_hostile_writers_envelope(tmp_path):
    vault = w.SpecVault(tmp_path / "vault")
    meta = w.Pack(vault, vault.classes["phi"], 2)
    root = w.tree(meta, [w.inline(b"file", b"content")])
    vault.index(vault.classes["phi"], [meta.finish()])
    good = vault.snapshot({"phi": root})
    vault.snapshot({"phi": root}, envelope={"classes": 7})
    assert run(vault, tmp_path, "restore", good, "--to", tmp_path / "out") == 0


def test_the_rescue_reader_counts_paths_written_out():
    long, tails = b"p" * 60_000, [bytes((97 + number // 25, 97 + number % 25)) for number in range(600)]
    rows = [w.varint(0) + w.field_(long + tails[0])] + [w.varint(len(long)) + w.field_(tail) for tail in tails[1:]]
    leaf = b"\1\0\0\0" + w.varint(600) + b"".join(row + bytes([2, 0, 0, 0, 0, 0, 0, 0, 0]) for row in rows)
    import rescue_tree

    cursor = rescue_format.Cursor(leaf, "node")
    cursor.take(2)
    with pytest.raises(rescue_format.Damage, match="written out"):
        list(rescue_tree.parse_leaf(cursor, rescue_tree.Places(cursor)))


@pytest.mark.parametrize("names", [(b"b", b"a"), (b"a", b"a"), (b"",), (b"a\0",)])
def test_the_rescue_reader_takes_attributes_in_order_only(names):
    import rescue_tree

    data = w.varint(len(names)) + b"".join(w.field_(name) + w.field_(b"v") for name in names)
    with pytest.raises(rescue_format.Damage, match="attributes"):
        rescue_tree._attributes(rescue_format.Cursor(data, "node"))
