"""Checking without any secret: a vault, a copy of its home, a courier's medium; and what people see of damaged keys."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from tests.rounds import Place

import holdfast
from holdfast.base.environment import ManualClock
from holdfast.cli.main import main
from holdfast.errors import VaultMissingError
from holdfast.testing.sweep.ground import ground


def spoil(path: Path) -> None:
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.write_bytes(data)


@pytest.fixture
def vault(place: Place):
    with place.create() as made:
        (place.source / "file").write_bytes(random.Random(1).randbytes(100_000))
        place.backup(made)
        yield made


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOLDFAST_KEY_FILE", "HOLDFAST_CREDENTIAL", "HOLDFAST_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_a_sound_vault_is_sound_and_what_was_not_compared_is_said(vault, place, capsys):
    before = {path: path.read_bytes() for path in place.vault.rglob("*") if path.is_file()}
    report = holdfast.check_without_key(place.vault)
    assert isinstance(report, holdfast.KeylessReport)
    assert (report.exit_code, report.packs_read) == (0, 0)
    assert report.packs > 0
    full = holdfast.check_without_key(place.vault, packs=True)
    assert (full.exit_code, full.packs_read, full.packs) == (0, report.packs, report.packs)
    assert len(report.not_compared) == len(full.not_compared) + 1
    assert main(["check", "--no-key", "--vault", str(place.vault)]) == 0
    out = capsys.readouterr().out
    assert "not compared: the bytes of packs: `holdfast verify --no-key` reads them" in out
    assert "not compared: which packs there should be" in out
    assert "nothing wrong as far as can be seen without a key" in out
    assert {path: path.read_bytes() for path in place.vault.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("pattern", "by_check"),
    [
        ("data/*/*", False),
        ("meta/*/*", False),
        ("parity/*/*", False),
        ("session/*", True),
        ("decision/*/*", True),
        ("part/*/*", True),
        ("index/*", True),
        ("vault", True),
        ("key/*", True),
        ("twin/keyring/*", True),
        ("wrap/*/*", True),
    ],
)
@pytest.mark.parametrize("header", ["with", "without"])
def test_damage_of_every_kind_is_found_and_exits_with_4(vault, place, capsys, pattern, by_check, header):
    if header == "without":  # a disk on which the header did not survive: bytes still prove themselves
        (place.vault / "vault").unlink()
        (place.vault / "twin/vault").unlink()
        if pattern == "vault":
            return
    before = holdfast.check_without_key(place.vault, packs=True).problems
    assert len(before) == (header == "without")
    hurt = sorted(place.vault.glob(pattern))[0]
    spoil(hurt)
    found = holdfast.check_without_key(place.vault)
    assert (len(found.problems) > len(before)) == by_check
    found = holdfast.check_without_key(place.vault, packs=True)
    assert found.exit_code == 4
    assert any(hurt.name in problem for problem in found.problems)
    assert main(["verify", "--no-key", "--vault", str(place.vault), "--json"]) == 4
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["type"] == "check-no-key"
    assert record["problems"] == list(found.problems)
    assert ("who signed what" in str(record["not_compared"])) == (header == "without")


def test_a_pack_of_a_local_disk_is_read_no_faster_than_is_allowed(vault, place):
    clock = ManualClock()
    began = clock.monotonic()
    limits = holdfast.Limits(read_bytes_per_s=100_000)
    report = holdfast.check_without_key(place.vault, packs=True, limits=limits, env=clock.environment())
    assert report.sound
    taken = sum(path.stat().st_size for kind in ("data", "meta", "parity") for path in place.vault.glob(f"{kind}/*/*"))
    assert taken > 200_000
    assert clock.monotonic() - began > 0, "it waited"


def test_no_secret_is_asked_for(vault, place, monkeypatch):
    """Not even one that the configuration names and that is not there."""
    config = place.root / "holdfast.toml"
    config.write_text(f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.root}/on-another-host"\n')
    monkeypatch.setattr("click.prompt", lambda *_args, **_more: pytest.fail("something was asked for"))
    assert main(["check", "--no-key", "--config", str(config), "--passphrase", "ask"]) == 0
    assert main(["verify", "--no-key", "--config", str(config), "--limit-read", "1GiB"]) == 0
    assert main(["verify", "--no-key", "--config", str(config), "--sample", "10%"]) == 2


def test_a_medium_is_checked_as_it_comes_out_of_the_courier_s_bag(vault, place, capsys):
    medium = place.root / "medium"
    medium.mkdir()
    vault.courier().export(medium)
    shutil.move(medium, place.root / "elsewhere")
    objects = place.root / "elsewhere" / "vault"
    assert holdfast.check_without_key(objects, packs=True).problems == ()
    spoil(next(objects.glob("data/*/*")))
    assert main(["verify", "--no-key", "--vault", str(objects)]) == 4
    assert "pack " in capsys.readouterr().out
    # One of several media lacks the header: frames and hashes are compared, and it is said that signatures are not.
    (objects / "vault").unlink()
    shutil.rmtree(objects / "twin")
    shutil.rmtree(objects / "key")
    shutil.rmtree(objects / "keyring")
    found = holdfast.check_without_key(objects)
    assert (found.exit_code, found.packs_read) == (0, 0)
    assert found.not_compared[0].startswith("who signed what")
    (objects / "stray").write_bytes(b"x")
    assert holdfast.check_without_key(objects).problems == ("object stray has a name that is not the format's",)


def test_doubt_is_no_soundness(vault, place):
    """Whatever somebody signed says that there was a header; with a header there are slots and keyrings."""
    kept = place.root / "kept"
    shutil.copytree(place.vault, kept)

    def problems(*gone: str) -> tuple[str, ...]:
        shutil.rmtree(place.vault)
        shutil.copytree(kept, place.vault)
        for each in gone:
            path = place.vault / each
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        report = holdfast.check_without_key(place.vault)
        assert report.exit_code == (4 if report.problems else 0)
        return report.problems

    assert problems() == ()
    assert "header of the vault at this place is lost" in problems("vault", "key", "keyring", "twin")[0]
    others = [path.name for path in kept.iterdir() if path.name not in {"snapshot", "data", "meta", "parity"}]
    assert "header of the vault at this place is lost" in problems(*others)[0], "one control object says so"
    assert problems(*others, "snapshot") == (), "packs alone are a store beside a home"
    assert any("every object under key/ is gone" in each for each in problems("key", "twin/key"))
    assert any("every object under keyring/ is gone" in each for each in problems("keyring", "twin/keyring"))
    assert any("slot of key" in each for each in problems("key", "twin/key"))


def test_twins_that_an_older_vault_got_later_are_a_keyring_too(vault, place):
    """The medium that carries them stands in the ledger: whoever erases keys has to know of it."""
    shutil.rmtree(place.vault / "twin")
    for name, media in (("first", 1), ("second", 2)):
        (place.root / name).mkdir()
        vault.courier().export(place.root / name)
        assert len([row for row in vault.key_ledger() if row.form == "medium"]) == media
        vault.repair()
    assert list((place.root / "second/vault/twin/keyring").iterdir())


def test_a_copy_of_the_home_is_checked_by_its_own_header():
    with ground("copied") as place:
        place.write("phi/a")
        place.create()
        with place.open() as vault:
            place.backup(vault)
        url = place.url_of("second")
        assert not any("who signed" in each for each in holdfast.check_without_key(url).not_compared)
        assert holdfast.check_without_key(url, packs=True).problems == ()
        objects = place.stores["second"].objects
        name = min(name for name in objects if name.startswith("snapshot/"))
        objects[name] = objects[name][:-1] + bytes([objects[name][-1] ^ 1])
        assert holdfast.check_without_key(url).exit_code == 4


def test_a_place_without_a_vault_is_no_sound_vault(tmp_path):
    with pytest.raises(VaultMissingError):
        holdfast.check_without_key(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VaultMissingError, match="nothing of a vault"):
        holdfast.check_without_key(tmp_path / "empty")
    assert main(["check", "--no-key", "--vault", str(tmp_path / "empty")]) == 5


def test_a_report_of_many_problems_is_cut_and_says_so(vault, place, capsys):
    for number in range(60):
        (place.vault / f"stray{number}").write_bytes(b"x")
    assert main(["check", "--no-key", "--vault", str(place.vault)]) == 4
    out = capsys.readouterr().out
    assert out.count("DAMAGE: ") == 50
    assert "… and 10 more problems" in out


class TestKeys:
    def test_a_list_of_keys_shows_a_damaged_slot_and_repair_makes_it_anew(self, vault, place, capsys):
        kit = place.root / "kit"
        kit.write_bytes(vault.recovery_kit())
        kit.chmod(0o600)
        own = min(place.vault.glob("key/*"), key=lambda path: path.stat().st_mtime_ns)
        spoil(own)
        spoil(place.vault / "twin" / "key" / own.name)
        given = ["--vault", str(place.vault), "--key-file"]
        assert main(["key", "list", *given, str(place.key)]) == 6
        err = capsys.readouterr().err
        assert "1 of its 2 key slots are damaged" in err
        assert main(["key", "list", *given, str(kit)]) == 0
        assert "damaged" in capsys.readouterr().out
        with holdfast.Vault.open(place.vault, key_file=kit) as opened:
            assert sorted(row.state for row in opened.key_ledger()) == ["damaged", "live"]
        assert main(["repair", "--dry-run", *given, str(kit)]) == 4
        assert "1 lost objects that open the vault would be mended" in capsys.readouterr().out
        assert main(["repair", *given, str(kit)]) == 0
        with holdfast.Vault.open(place.vault, key_file=place.key) as opened:
            assert {row.state for row in opened.key_ledger()} == {"live"}
            assert opened.check().sound

    def test_a_vault_of_which_every_slot_is_damaged_says_so_in_three_lines(self, vault, place, capsys):
        for path in (*place.vault.glob("key/*"), *place.vault.glob("twin/key/*")):
            spoil(path)
        assert main(["check", "--vault", str(place.vault), "--key-file", str(place.key)]) == 4
        what, safe, advice = capsys.readouterr().err.strip().splitlines()
        assert "all 1 key slots of the vault are damaged, and so are their twins" in what
        assert safe.startswith("SAFE: every snapshot is as it was")
        assert "copy of the home" in advice

    def test_repair_of_the_home_takes_from_the_twin_what_the_copy_has_lost_too(self):
        with ground("copied") as place:
            place.write("phi/a")
            place.create()
            with place.open() as vault:
                place.backup(vault)
            for name in ("home", "second"):
                objects = place.stores[name].objects
                slot = min(each for each in objects if each.startswith("key/"))
                objects[slot] = objects[slot][:50]
            with place.open() as vault:
                dry = vault.repair_home(dry_run=True)
                assert dry.beyond == 0
                vault.repair_home()
                assert vault.check().sound

    def test_what_runs_that_ended_left_is_cleared_and_counted(self, vault, place, capsys):
        spoil(next(place.vault.glob("session/*")))
        spoil(next(place.vault.glob("checkpoint/*/*")))
        given = ["--vault", str(place.vault), "--key-file", str(place.key)]
        assert main(["check", *given]) == 4
        assert "clears it if the run has ended" in capsys.readouterr().out
        assert main(["repair", "--dry-run", *given]) == 4
        assert "2 damaged objects of runs that have ended would be cleared away" in capsys.readouterr().out
        assert main(["repair", *given]) == 0
        assert "2 damaged objects of runs that have ended were cleared away" in capsys.readouterr().out
        assert main(["check", *given]) == 0
