"""Across an air gap: media are signed, sized, gone on with, imported in order and confirmed; the vault comes back from them alone."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sys
from pathlib import Path

import holdfast_rescue
import pytest
from tests.rounds import Place, assert_same

import holdfast
from holdfast.errors import (
    Interrupted,
    MediumDamageError,
    MediumError,
    MediumGapError,
    NotPermittedError,
    ReceiptError,
    UsageError,
)
from holdfast.runs import medium as medium_module
from holdfast.runs.medium import Full, Medium, find_material
from holdfast.runs.options import BackupOptions
from holdfast.testing.changes import ChangingTree, TreeShape
from holdfast.testing.trees import Item

SHAPE = TreeShape(folders=3, files=10, file_bytes_max=60_000, paged_bytes=1 << 19)


@pytest.fixture
def vault(place: Place):
    with place.create() as made:
        ChangingTree(place.source, 1, SHAPE).grow()
        place.backup(made)
        yield made


def disk(place: Place, name: str) -> Path:
    folder = place.root / name
    folder.mkdir(exist_ok=True)
    return folder


def far(place: Place) -> Path:
    return place.root / "far"


def receipt_of(folder: Path) -> Path:
    (found,) = (folder / "receipts").iterdir()
    return found


def objects(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }


def rescued(place: Place, folder: Path) -> dict[bytes, Item]:
    target = place.target()
    arguments = [str(folder), "--key-file", str(place.key), "restore", "latest", "--to", str(target)]
    assert holdfast_rescue.main(arguments) == 0
    return place.restored(target)


def test_there_and_back(place: Place, vault: holdfast.Vault) -> None:
    courier = vault.courier()
    assert courier.status().exit_code == 3
    one = disk(place, "one")
    sent = courier.export(one)
    assert (sent.exit_code, sent.set, sent.medium, sent.left) == (0, 1, 1, 0)
    assert courier.status().unconfirmed_sets == 1
    (got,) = holdfast.courier_import(one, far(place))
    assert (got.exit_code, got.complete, got.objects, got.new_objects) == (0, True, sent.objects, sent.objects)
    assert got.vault == vault.id
    taken = courier.receipt(receipt_of(one))
    assert (taken.set, taken.objects) == (1, sent.objects)
    status = courier.status()
    assert (status.exit_code, status.waiting_objects, status.sets[0].received is not None) == (0, 0, True)
    assert objects(far(place)) == objects(place.vault)
    # Only what is new goes along the next time; the far vault opens and restores.
    ChangingTree(place.source, 2, SHAPE).step()
    place.backup(vault)
    again = courier.export(one)
    assert (again.set, 0 < again.bytes < sent.bytes) == (2, True)
    holdfast.courier_import(one, far(place))
    # Nobody says on the far side which parity was replaced: it keeps the old beside the new.
    beyond, here = objects(far(place)), objects(place.vault)
    assert here.items() <= beyond.items()
    assert all(name.startswith("parity/") for name in beyond.keys() - here.keys())
    with holdfast.Vault.open(far(place), key_file=place.key) as there:
        assert there.check().problems == ()
        assert_same(place.truth(), place.by_engine(there, "latest"), "the far vault")
    assert_same(place.truth(), rescued(place, far(place)), "the far vault, by the rescue reader")
    with pytest.raises(UsageError, match="imported before"):
        holdfast.courier_import(one, far(place))
    assert courier.export(one).medium == 0


def test_a_vault_comes_back_from_its_media_alone(place: Place, vault: holdfast.Vault) -> None:
    """Small disks, no import, no Holdfast: the folders are put together and the reader on the first medium reads them."""
    for number in range(4):
        (place.source / f"large{number}").write_bytes(random.Random(number).randbytes(1_100_000))
        vault.backup([place.source], label="rounds", options=BackupOptions(pack_bytes=1 << 20))
    media = []
    for number in range(1, 40):
        media.append(disk(place, f"disk{number}"))
        sent = vault.courier().export(media[-1], size_bytes_max=1_600_000)
        assert sent.medium == number
        if not sent.left:
            break
    assert 2 < len(media) < 40
    united = place.root / "united"
    for folder in media:
        shutil.copytree(folder / "vault", united, dirs_exist_ok=True)
        assert "To restore from media alone" in (folder / "README.txt").read_text()
        assert (folder / "format" / "README.md").is_file()
        assert (folder / "rescue" / "holdfast_rescue.py").read_bytes() == Path(holdfast_rescue.__file__).read_bytes()
    assert_same(place.truth(), rescued(place, united), "the media put together")
    for folder in media:
        (got,) = holdfast.courier_import(folder, far(place))
        assert got.exit_code == (0 if folder == media[-1] else 3)
    vault.courier().receipt(receipt_of(media[-1]))
    assert objects(far(place)) == objects(place.vault)


def test_an_export_is_gone_on_with_after_every_interruption(place: Place, vault: holdfast.Vault) -> None:
    one = disk(place, "one")

    class Stop:
        def __init__(self, after: int) -> None:
            self.left = after

        def is_set(self) -> bool:
            self.left -= 1
            return self.left < 0

    for after in range(3):
        with pytest.raises(Interrupted):
            vault.courier().export(one, stop=Stop(after))
        with pytest.raises(MediumError, match="not finished"):
            holdfast.courier_import(one, far(place))
    with pytest.raises(MediumError, match="begun on another disk"):
        vault.courier().export(disk(place, "two"))
    assert vault.courier().export(one).exit_code == 0
    holdfast.courier_import(one, far(place))
    assert objects(far(place)) == objects(place.vault)


def test_a_medium_that_is_full_is_closed_and_the_next_goes_on(
    place: Place, vault: holdfast.Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Medium.write
    written = []

    def write(self: Medium, name: str, data: bytes) -> None:
        if self.root.name == "one" and name.startswith("vault/"):
            if len(written) == 3:
                raise Full
            written.append(name)
        real(self, name, data)

    monkeypatch.setattr(Medium, "write", write)
    one, two = disk(place, "one"), disk(place, "two")
    sent = vault.courier().export(one)
    assert (sent.objects, sent.exit_code) == (3, 3)
    with pytest.raises(MediumError, match="complete medium of set 1 already"):
        vault.courier().export(one)
    assert vault.courier().export(two).exit_code == 0
    with pytest.raises(MediumGapError, match="medium 1 of set 1 is missing before medium 2"):
        holdfast.courier_import(two, far(place))
    holdfast.courier_import(one, far(place))
    holdfast.courier_import(two, far(place))
    assert objects(far(place)) == objects(place.vault)


def test_a_lost_set_is_a_gap_and_is_written_anew(place: Place, vault: holdfast.Vault) -> None:
    courier = vault.courier("north")
    first, lost, third = (disk(place, name) for name in ("first", "lost", "third"))
    courier.export(first)
    holdfast.courier_import(first, far(place))
    for folder in (lost, third):
        ChangingTree(place.source, 3, SHAPE).step()
        place.backup(vault)
        courier.export(folder)
    shutil.rmtree(lost)
    with pytest.raises(MediumGapError, match="medium 1 of set 2 is missing before medium 1 of set 3"):
        holdfast.courier_import(third, far(place))
    anew = disk(place, "anew")
    assert courier.export(anew, again=2).set == 2
    holdfast.courier_import(anew, far(place))
    holdfast.courier_import(third, far(place))
    there, here = objects(far(place)), objects(place.vault)
    assert {name: there.get(name) for name in here} == here
    assert {name.split("/")[0] for name in there.keys() - here.keys()} <= {"parity"}, (
        "rows of groups that were gone on with"
    )
    courier.receipt(receipt_of(anew))
    courier.receipt(receipt_of(third))
    assert [row.received is not None for row in courier.status().sets] == [False, True, True]
    with pytest.raises(UsageError, match="no set 9"):
        courier.export(anew, again=9)


def test_a_medium_s_damage_is_found_and_nothing_of_it_decides(place: Place, vault: holdfast.Vault) -> None:
    one = disk(place, "one")
    vault.courier().export(one)
    damaged = next((one / "vault" / "data").rglob("??/*"))
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(MediumDamageError, match="1 of the"):
        holdfast.courier_import(one, far(place))
    assert not (far(place) / "decision").exists()
    assert not (far(place) / "vault").exists()
    damaged.unlink()
    with pytest.raises(MediumDamageError):
        holdfast.courier_import(one, far(place))
    damaged.write_bytes(whole)
    holdfast.courier_import(one, far(place))
    assert objects(far(place)) == objects(place.vault)


@pytest.mark.parametrize("file", ["manifest", "objects"])
def test_an_altered_list_is_refused(place: Place, vault: holdfast.Vault, file: str) -> None:
    one = disk(place, "one")
    vault.courier().export(one)
    (path,) = one.glob(f"courier/*/*/*/{file}")
    text = path.read_bytes()
    path.write_bytes(text.replace(b"0", b"1"))
    with pytest.raises(MediumDamageError):
        holdfast.courier_import(one, far(place))
    assert not far(place).exists() or not objects(far(place))


def test_a_list_that_names_what_the_format_does_not_have_is_refused(place: Place, vault: holdfast.Vault) -> None:
    """Only the root key can sign such a list: a path that leaves the folder is refused nevertheless."""
    from holdfast.repository.objects import sha256
    from holdfast.repository.transfer import Manifest, parse_list

    data = f"{'0' * 64} 1 ../../etc/passwd\n".encode()
    manifest = Manifest("default", 1, 1, "", True, "", sha256(data), 1, 1, b"")
    with pytest.raises(MediumDamageError, match="format does not have"):
        parse_list(data, manifest)


def test_media_and_receipts_of_another_vault_are_refused(place: Place, vault: holdfast.Vault) -> None:
    one, other = disk(place, "one"), disk(place, "other")
    vault.courier().export(one)
    with holdfast.Vault.create(place.root / "vault2", key_file=place.root / "key2") as second:
        with pytest.raises(MediumError, match="another vault"):
            second.courier().export(one)
        second.courier().export(other)
        holdfast.courier_import(one, far(place))
        with pytest.raises(MediumError, match="another vault"):
            holdfast.courier_import(other, far(place))
        holdfast.courier_import(other, place.root / "far2")
        with pytest.raises(ReceiptError, match="another vault"):
            second.courier().receipt(receipt_of(one))
    with pytest.raises(ReceiptError, match="another vault"):
        vault.courier().receipt(receipt_of(other))
    mine = receipt_of(one).read_bytes()
    forged = place.root / "forged"
    forged.write_bytes(mine.replace(b'"digest":"', b'"digest":"0', 1))
    with pytest.raises(ReceiptError, match="altered"):
        vault.courier().receipt(forged)
    with pytest.raises(ReceiptError, match="cannot be read"):
        vault.courier().receipt(place.root / "nothing")


def test_a_receipt_of_an_earlier_export_of_the_set_confirms_nothing(place: Place, vault: holdfast.Vault) -> None:
    one, two = disk(place, "one"), disk(place, "two")
    vault.courier().export(one)
    holdfast.courier_import(one, far(place))
    vault.courier().export(two, again=1)
    with pytest.raises(ReceiptError, match="does not confirm set 1"):
        vault.courier().receipt(receipt_of(one))


def test_a_far_vault_that_was_written_to_is_refused(place: Place, vault: holdfast.Vault) -> None:
    one = disk(place, "one")
    vault.courier().export(one)
    far(place).mkdir()
    name = next(name for name in objects(one / "vault") if name.startswith("keyring/"))
    (far(place) / name).parent.mkdir(parents=True)
    (far(place) / name).write_bytes(b"other")
    with pytest.raises(MediumError, match="other bytes"):
        holdfast.courier_import(one, far(place))


def test_what_is_no_medium_is_said(place: Place, vault: holdfast.Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    courier = vault.courier()
    with pytest.raises(MediumError, match="no folder"):
        courier.export(place.root / "not mounted")
    with pytest.raises(MediumError, match="no medium of a courier"):
        holdfast.courier_import(disk(place, "empty"), far(place))
    odd = disk(place, "odd")
    (odd / "holdfast-medium.json").write_text("[]")
    with pytest.raises(MediumError, match="marker"):
        courier.export(odd)
    with pytest.raises(UsageError, match="lower-case"):
        vault.courier("../x")
    one = disk(place, "one")
    with pytest.raises(MediumError, match="no room for the next object"):
        courier.export(one, size_bytes_max=1)
    monkeypatch.setattr(medium_module, "HELD_BACK_BYTES", 1 << 60)
    with pytest.raises(MediumError, match="no room for the next object"):
        courier.export(one)
    header = Medium(one)
    header.mark("ab" * 16, "cd" * 16)
    (one / "courier" / "default" / "00000001" / "00000001").mkdir(parents=True)
    (one / "courier" / "default" / "00000001" / "00000001" / "manifest").write_bytes(b"x")
    (one / "courier" / "header").unlink()
    with pytest.raises(MediumDamageError, match="lacks the vault's header"):
        holdfast.courier_import(one, far(place))
    (one / "courier" / "header").write_bytes(b"x")
    with pytest.raises(MediumDamageError, match="header is damaged"):
        holdfast.courier_import(one, far(place))


def test_without_the_rescue_reader_nothing_is_written(
    place: Place, vault: holdfast.Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    rescue, format_ = find_material()
    monkeypatch.setattr(holdfast, "__file__", str(place.root / "a" / "b" / "__init__.py"))
    monkeypatch.setattr(sys, "prefix", str(place.root / "c"))
    one = disk(place, "one")
    with pytest.raises(MediumError, match="rescue reader"):
        vault.courier().export(one)
    assert not list(one.iterdir())
    material = place.root / "material"
    shutil.copytree(rescue, material / "rescue")
    shutil.copytree(format_, material / "format")
    wheels = disk(place, "wheelhouse")
    (wheels / "zstandard-1.whl").write_bytes(b"w")
    vault.courier().export(one, material=str(material), wheels=wheels)
    assert (one / "wheels" / "zstandard-1.whl").read_bytes() == b"w"


def test_a_writer_s_credential_cannot_export(place: Place, vault: holdfast.Vault) -> None:
    credential = place.root / "writer"
    credential.write_bytes(vault.enroll_writer("host"))
    credential.chmod(0o600)
    with (
        holdfast.Vault.open(place.vault, credential=credential) as writer,
        pytest.raises(NotPermittedError),
    ):
        writer.courier().export(disk(place, "one"))


def test_what_was_pruned_or_is_damaged_is_left_out(place: Place, vault: holdfast.Vault) -> None:
    events: list[object] = []
    courier = vault.courier()
    with pytest.raises(MediumError):
        courier.export(disk(place, "small"), size_bytes_max=1)
    pack = next((place.vault / "data").rglob("??/*"))
    pack.chmod(0o600)
    pack.write_bytes(b"x" + pack.read_bytes()[1:])
    state = next((place.vault / "session").iterdir())
    state.unlink()
    sent = courier.export(disk(place, "small"), events=events.append)
    assert sent.left == 0
    names = objects(disk(place, "small") / "vault")
    assert str(pack.relative_to(place.vault)) not in names
    assert str(state.relative_to(place.vault)) not in names
    assert any(isinstance(event, holdfast.Note) and "damaged pack" in event.text for event in events)
    assert json.loads((disk(place, "small") / "holdfast-medium.json").read_text())["vault"] == vault.id


def test_a_medium_that_cannot_be_written_is_said(place: Place, vault: holdfast.Vault) -> None:
    one = disk(place, "one")
    (one / "README.txt").mkdir()
    with pytest.raises(MediumError, match="cannot be used"):
        vault.courier().export(one)
    assert not [name for name in os.listdir(one) if name.endswith(".new")]


def test_a_set_that_was_imported_in_part_is_taken_anew(place: Place, vault: holdfast.Vault) -> None:
    for number in range(3):
        (place.source / f"large{number}").write_bytes(random.Random(number).randbytes(1_100_000))
        vault.backup([place.source], label="rounds", options=BackupOptions(pack_bytes=1 << 20))
    one, lost, anew, rest = (disk(place, name) for name in ("one", "lost", "anew", "rest"))
    vault.courier().export(one, size_bytes_max=2_500_000)
    vault.courier().export(lost)
    holdfast.courier_import(one, far(place))
    vault.courier().export(anew, again=1, size_bytes_max=3_500_000)
    vault.courier().export(rest, again=1)
    with pytest.raises(MediumGapError, match="another export"):
        holdfast.courier_import(rest, far(place))
    holdfast.courier_import(anew, far(place))
    holdfast.courier_import(rest, far(place))
    assert objects(far(place)) == objects(place.vault)
    vault.courier().receipt(receipt_of(rest))


def test_a_full_medium_says_so_wherever_it_is_met(
    place: Place, vault: holdfast.Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Medium.write
    refused = ["README.txt"]

    def write(self: Medium, name: str, data: bytes) -> None:
        if any(part in name for part in refused):
            raise Full
        real(self, name, data)

    monkeypatch.setattr(Medium, "write", write)
    one = disk(place, "one")
    with pytest.raises(MediumError, match="too small for anything"):
        vault.courier().export(one)
    refused[:] = ["/manifest"]
    with pytest.raises(MediumError, match="its own list"):
        vault.courier().export(one)
    refused[:] = ["receipts/"]
    vault.courier().export(one)
    (got,) = holdfast.courier_import(one, far(place))
    assert got.receipt.startswith(".courier/")
    vault.courier().receipt(far(place) / got.receipt)


def test_a_disk_that_is_full_is_the_system_s_word(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("holdfast.runs.medium.os.replace", full)
    with pytest.raises(Full):
        Medium(disk(place, "one")).write("a/b", b"x")
    assert not list((disk(place, "one") / "a").iterdir())
