"""Parity: the known rows are what the specification says, and the rescue reader brings back what the engine protected."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import holdfast_rescue
import pytest
import rescue_format as f
import rescue_parity as r
from tests.rounds import Place

import holdfast
from holdfast import engine
from holdfast.repository.parity.frame import Group, Member, parse_header
from holdfast.runs.options import BackupOptions
from holdfast.testing import trees


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    return Place(tmp_path)


VECTORS = json.loads((Path(__file__).parents[2] / "docs/format/vectors.json").read_text())


def vector(name: str) -> bytes:
    return bytes.fromhex(VECTORS[name])


def test_the_known_rows_are_what_the_specification_says() -> None:
    packs = {0: vector("pack"), 5: vector("repacked")}
    for number in (0, 1):
        data = vector(f"parity_{number}")
        same, row, group = r.parse_header(data, vector("vault"), "parity")
        assert (row, same[0], [(m.slot, m.size) for m in group.members]) == (
            number,
            2,
            [(slot, len(pack)) for slot, pack in packs.items()],
        )
        total = bytes(group.length)
        for slot, pack in packs.items():
            total = r.added(total, r.scaled(pack, r.coefficient(number, slot)))
        assert data[40 + 40 * 2 :] == total
        ours, ours_row, end = parse_header(data, vector("vault"), "parity")
        assert (ours_row, end) == (number, 120)
        assert ours.header(vector("vault"), number) == data[:120]
        assert [f"data/{m.name[:2]}/{m.name}" for m in ours.members] == [m.name for m in group.members]


def write(root: Path, name: str, data: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


@pytest.mark.parametrize("seed", range(8))
def test_the_reader_solves_what_the_engine_coded(tmp_path: Path, seed: int) -> None:
    """Groups of any size and number of rows, any loss that is not beyond them: the same bytes, by code that shares nothing."""
    dice = random.Random(seed)
    count, rows = dice.randint(1, 16), dice.randint(1, 4)
    slots = sorted(dice.sample(range(16), count))
    packs = {slot: dice.randbytes(dice.randint(1, 5000)) for slot in slots}
    members = tuple(Member(slot, hashlib.sha256(pack).hexdigest(), len(pack)) for slot, pack in packs.items())
    group = Group(1, 1, rows, members)
    made = engine.ParityRows(str(tmp_path), rows)
    for slot in dice.sample(slots, count):
        made.add(slot, packs[slot])
    assert made.length == group.length
    vault = bytes(16)
    for row in range(rows):
        data = made.row(row, group.header(vault, row), group.length)
        sha = hashlib.sha256(data).hexdigest()
        write(tmp_path, f"parity/{sha[:2]}/{sha}", data)
    lost = dice.sample(slots, min(rows, count))
    for member in members:
        if member.slot not in lost:
            write(tmp_path, f"data/{member.name[:2]}/{member.name}", packs[member.slot])
    parity = r.Parity(str(tmp_path), vault)
    for member in members:
        name = f"data/{member.name[:2]}/{member.name}"
        assert parity.heal(name) == (member.slot in lost), f"seed {seed}"
        if member.slot in lost:
            parity.healed[name].seek(0)
            assert parity.healed[name].read() == packs[member.slot], f"seed {seed}"
    back = engine.ParityRows(str(tmp_path), rows)
    for row, _, end in sorted(parity.groups[0].rows)[: len(lost)]:
        name = next(name for number, name, _ in parity.groups[0].rows if number == row)
        back.add_row(row, (tmp_path / name).read_bytes()[end:])
    for slot in slots:
        if slot not in lost:
            back.add(slot, packs[slot])
    back.recover(lost, list(range(len(lost))))
    assert [back.row(at, b"", len(packs[slot])) for at, slot in enumerate(lost)] == [packs[slot] for slot in lost]


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [
        (0, 0, "no parity object"),
        (8, 9, ""),
        (10, 2, "malformed"),
        (11, 17, "malformed"),
        (12, 9, "another vault"),
        (30, 3, "malformed"),
        (31, 8, "malformed"),
        (32, 17, "malformed"),
        (34, 1, ""),
        (36, 0, "m"),
        (40, 16, "member"),
        (41, 1, ""),
        (44, 0, "m"),
        (80, 0, "m"),
    ],
)
def test_a_malformed_header_is_refused_by_both(at: int, value: int, why: str) -> None:
    data = bytearray(vector("parity_0"))
    data[at] = value if at != 44 else 0
    if at == 44:
        data[44:48] = bytes(4)
    with pytest.raises(f.Damage) as told:
        r.parse_header(bytes(data), vector("vault"), "parity")
    assert why in str(told.value)
    with pytest.raises((holdfast.errors.DamageError, holdfast.errors.VersionError)):
        parse_header(bytes(data), vector("vault"), "parity")
    for cut in (10, 60):
        with pytest.raises(f.Damage):
            r.parse_header(vector("parity_0")[:cut], vector("vault"), "parity")
        with pytest.raises(holdfast.errors.DamageError):
            parse_header(vector("parity_0")[:cut], vector("vault"), "parity")


def rescued(place: Place, target: Path, *options: str) -> int:
    key = ["--key-file", str(place.key)]
    return holdfast_rescue.main([str(place.vault), *key, *options, "restore", "latest", "--to", str(target)])


@pytest.mark.parametrize("index", [True, False])
@pytest.mark.parametrize("folder", ["data", "meta"])
@pytest.mark.parametrize("lose", [True, False])
def test_a_lost_or_damaged_pack_costs_a_rescue_nothing(
    place: Place, capsys: pytest.CaptureFixture[str], folder: str, *, lose: bool, index: bool
) -> None:
    with place.create() as vault:
        for number in range(6):
            (place.source / f"file-{number}").write_bytes(random.Random(number).randbytes(400_000))
        vault.backup([place.source], options=BackupOptions(pack_bytes=1 << 20))
    pack = sorted((place.vault / folder).rglob("*/*"))[0]
    if lose:
        pack.unlink()
    else:
        data = bytearray(pack.read_bytes())
        data[30:] = bytes(len(data) - 30)
        pack.chmod(0o600)
        pack.write_bytes(data)
    target = place.root / "rescued"
    code = rescued(place, target, *([] if index else ["--no-index"]))
    said = capsys.readouterr().err
    assert code == 4, said
    assert "parity brings it back" in said
    found = {path.name: path.read_bytes() for path in target.rglob("file-*")}
    assert found == {path.name: path.read_bytes() for path in place.source.iterdir()}
    assert holdfast_rescue.main([str(place.vault), "--key-file", str(place.key), "verify"]) == 4
    assert "parity brings it back" in capsys.readouterr().err
    trees.empty(target)


def test_damaged_parity_is_named_by_a_rescue(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    with place.create() as vault:
        (place.source / "file").write_bytes(random.Random(1).randbytes(300_000))
        vault.backup([place.source])
    first, second = sorted((place.vault / "parity").rglob("*/*"))[:2]
    for path, at in ((first, 0), (second, 5000)):
        path.chmod(0o600)
        data = bytearray(path.read_bytes())
        data[min(at, len(data) - 1)] ^= 1
        path.write_bytes(data)
    assert holdfast_rescue.main([str(place.vault), "--key-file", str(place.key), "verify"]) == 4
    said = capsys.readouterr().err
    assert first.name in said
    assert second.name in said
    assert rescued(place, place.root / "rescued") == 0
