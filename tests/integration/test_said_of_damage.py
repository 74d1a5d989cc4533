"""What is known to be damaged is said by every look at the vault, and its exit code says it too."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.rounds import Place

import holdfast
from holdfast import config
from holdfast.base.events import Finding
from holdfast.cli.main import main
from holdfast.cli.output import Output
from holdfast.errors import DamageError
from holdfast.runs.status import status


def damage(path: Path, at: int = -1) -> None:
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[at if at >= 0 else len(data) // 2] ^= 8
    path.write_bytes(data)


def given(place: Place) -> list[str]:
    return ["--vault", str(place.vault), "--key-file", str(place.key)]


@pytest.fixture
def vault(place):
    """A vault of one snapshot, without parity: what is damaged stays so."""
    with place.create() as made:
        made._vault.parity_rows = 0
        (place.source / "file").write_bytes(random.Random(1).randbytes(200_000))
        place.backup(made)
        yield made


class TestCheck:
    def test_a_pack_that_is_known_to_be_damaged_is_damage(self, vault, place, capsys):
        damage(next(place.vault.glob("data/*/*")))
        assert vault.check().sound, "nobody has read it yet"
        assert vault.verify().exit_code == 4
        report = vault.check()
        assert (report.exit_code, report.problems, len(report.damaged)) == (4, (), 1)
        assert main(["check", *given(place)]) == 4
        assert ": 1 packs damaged\n" in capsys.readouterr().out

    def test_one_that_no_snapshot_needs_is_none(self, vault, place):
        damage(next(place.vault.glob("data/*/*")))
        vault.verify()
        (place.source / "file").write_bytes(random.Random(2).randbytes(200_000))
        first = vault.snapshot().id
        place.backup(vault)
        vault.forget(snapshots=[first])
        report = vault.check()
        assert report.damaged
        assert report.sound

    def test_it_counts_for_who_cannot_tell_what_it_costs(self, vault, place, tmp_path):
        damage(next(place.vault.glob("data/*/*")))
        vault.verify()
        for role in ("writer", "auditor", "verifier"):
            (tmp_path / role).write_bytes(vault.issue_credential(role, role))
            (tmp_path / role).chmod(0o600)
            with holdfast.Vault.open(place.vault, credential=tmp_path / role) as opened:
                report = opened.check()
                assert report.exit_code == 4, role


def _every(pattern: str) -> Callable[[Path], None]:
    def change(vault: Path) -> None:
        for path in vault.glob(pattern):
            damage(path)

    return change


def _unlinked(pattern: str) -> Callable[[Path], None]:
    def change(vault: Path) -> None:
        for path in vault.glob(pattern):
            path.unlink()

    return change


class TestRepair:
    @pytest.mark.parametrize("patterns", ["part/*/*", "refs/*", "snapshot/*", "writer/*/* twin/writer/*/*"])
    def test_what_it_cannot_mend_is_said(self, vault, place, patterns, capsys):
        for pattern in patterns.split():
            _every(pattern)(place.vault)
        with place.open() as opened:
            assert opened.repair(dry_run=True).exit_code == 4
            report = opened.repair()
            assert (report.exit_code, opened.check().exit_code) == (4, 4)
            assert report.problems
        assert main(["repair", *given(place)]) == 4
        assert "DAMAGE: " in capsys.readouterr().out

    def test_a_second_key_slot_that_is_damaged_is_said_and_mended(self, vault, place):
        vault.issue_credential("root", "second")
        damage(sorted(place.vault.glob("key/*"), key=lambda path: path.stat().st_mtime_ns)[-1])
        report = vault.repair(dry_run=True)
        assert (report.exit_code, report.opening_lost) == (4, 1)
        assert any("key/" in problem for problem in report.problems)
        assert vault.repair().exit_code == 0
        assert vault.check().sound

    @pytest.mark.parametrize(
        ("lose", "said"),
        [
            (_every("index/*"), r"replace [1-9]\d* index runs"),
            (_unlinked("index/*"), "segments that no index run lists"),
            (_unlinked("decision/*/*"), "3 lost decisions would be put back"),
            (_every("decision/*/*"), "3 lost decisions would be put back"),
            (_every("parity/*/*"), "parity objects were damaged: their groups would be made anew"),
        ],
    )
    def test_what_it_mends_is_said_before_and_is_whole_after(self, place, lose, said, capsys):
        with place.create() as vault:
            for number in range(3):
                (place.source / f"file-{number}").write_bytes(random.Random(number).randbytes(200_000))
                place.backup(vault)
            vault.prune(undo_days=0)
            assert vault.repair(dry_run=True).exit_code == 0
        lose(place.vault)
        place.forget_local_state()
        assert main(["repair", "--dry-run", *given(place)]) == 4
        assert re.search(said, capsys.readouterr().out)
        with place.open() as vault:
            assert vault.check().exit_code == 4 or "parity" in said
            assert vault.repair().exit_code == 0
            assert vault.check().exit_code == 0
            assert vault.repair(dry_run=True).exit_code == 0


class TestBudgets:
    def test_parity_is_read_within_them(self, place):
        with place.create() as vault:
            for number in range(12):
                (place.source / f"file-{number}").write_bytes(random.Random(number).randbytes(150_000))
                place.backup(vault)
            packs = {row.name.hex(): row.size for row in vault._vault.refresh_index().packs()}
            rows = {path.name: path.stat().st_size for path in place.vault.glob("parity/*/*")}
            budget = 3 * (max(packs.values()) + max(rows.values()))
            read = parity = 0
            for _ in range(40):
                report = vault.verify(older_than_days=1, bytes_max=budget)
                # One parity object at least, whatever the packs leave.
                beyond = max(rows.values()) if report.parity == 1 else 0
                assert report.bytes + report.parity_bytes <= budget + beyond
                read, parity = read + report.packs, parity + report.parity
            assert (read, parity) == (len(packs), len(rows)), "each run goes on where the one before ended"
            assert vault.verify(bytes_max=1).parity == 1
            whole = vault.verify(content=True)
            assert whole.parity == len(rows)
            assert whole.parity_bytes > sum(rows.values()), "packs are read again to hold rows against them"
            late = vault.verify(seconds_max=1e-9)
            assert (late.packs, late.parity, late.parity_bytes) == (0, 0, 0)


class TestLostSnapshot:
    def test_the_status_says_so(self, vault, place, tmp_path):
        text = f'[vault]\nurl = "{place.vault}"\nkey_file = "file:{place.key}"\n[monitoring]\nstore_free_percent = 0\n'
        loaded = config.loads(text, environ={})
        vault.verify()
        assert status(loaded).verdict == "ok"
        damage(place.vault / "snapshot" / vault.snapshot().id)
        report = status(loaded)
        assert (report.verdict, report.exit_code, report.dangers) == ("critical", 1, ("damage vault",))

    def test_a_search_says_what_is_lost(self, vault, place, capsys):
        lost = vault.snapshot().id
        (place.vault / "snapshot" / lost).unlink()
        for words in (["find", "file"], ["find", "--versions", str(place.source / "file")]):
            assert main([*words, *given(place)]) == 4
            shown = capsys.readouterr()
            assert shown.out == ""
            assert f"1 snapshots cannot be read ({lost})" in shown.err
        place.backup(vault)
        assert main(["find", "file", *given(place)]) == 4
        shown = capsys.readouterr()
        assert "source/file" in shown.out
        assert lost in shown.err
        vault.forget(snapshots=[lost])
        assert main(["find", "file", *given(place)]) == 0


class TestWords:
    def test_what_no_index_run_lists_is_not_lost(self, vault, place, capsys):
        for path in place.vault.glob("index/*"):
            path.unlink()
        place.forget_local_state()
        assert main(["restore", "latest", "--to", str(place.target()), *given(place)]) == 4
        assert "not listed: run `holdfast repair`" in capsys.readouterr().err
        assert main(["ls", "latest", str(place.source), *given(place)]) == 4
        assert "no index run lists" in capsys.readouterr().err
        assert main(["repair", *given(place)]) == 0
        assert main(["restore", "latest", "--to", str(place.target()), *given(place)]) == 0

    def test_a_prune_names_the_way_past_a_lost_reference_set(self, vault, place):
        lost = vault.snapshot().id
        (place.source / "other").write_bytes(b"other")
        place.backup(vault)
        part = vault.snapshot(lost).info.classes[0]
        (place.vault / "refs" / part.refs).unlink()
        with pytest.raises(DamageError, match="holdfast forget ID") as caught:
            vault.prune()
        assert lost in caught.value.next
        vault.forget(snapshots=[lost])
        left = [each.id for each in vault.snapshots()]
        if not vault.check().sound:  # the newer set was a delta to the lost one
            vault.forget(snapshots=left)
        assert vault.prune().phase in {"waiting", "closed"}

    def test_a_prune_with_nothing_to_do_counts_what_is_in_use(self, vault, place, capsys):
        packs = len(vault._vault.refresh_index().packs())
        assert main(["prune", *given(place)]) == 0
        assert f"{packs} packs in use" in capsys.readouterr().out

    def test_a_verification_says_of_what_kind_the_damage_is(self, vault, place, capsys):
        damage(next(place.vault.glob("part/*/*")))
        assert main(["verify", *given(place)]) == 4
        shown = capsys.readouterr().out
        assert "0 packs damaged" not in shown
        assert "problems\n" in shown
        damage(next(path for path in place.vault.glob("data/*/*")))
        assert main(["verify", *given(place)]) == 4
        assert "files not counted (a part that says so cannot be read)" in capsys.readouterr().out

    def test_a_finding_without_a_path_has_one_colon(self, capsys):
        with Output(as_json=False, quiet=False, show_paths=True).events("restore") as events:
            events(Finding(b"", "damaged", "a class is lost"))
            events(Finding(b"a", "damaged", "a file is lost"))
        assert capsys.readouterr().err == "damaged: a class is lost\ndamaged: a: a file is lost\n"

    def test_locks_that_cannot_be_set_have_a_reason(self, vault, place, capsys):
        assert main(["findings", "lock", *given(place)]) == 0
        assert "nothing is locked: no store of the vault can lock objects" in capsys.readouterr().err
