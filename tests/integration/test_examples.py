"""Every file in `examples/` runs, in the order of a vault's life, and is short enough to read at a glance."""

from __future__ import annotations

import runpy
import sqlite3
from contextlib import closing
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
LINES_MAX = 40


def test_the_examples_live_a_vault_s_life(place, capsys):
    folder = place.root / "folder"
    folder.mkdir()
    (folder / "note.txt").write_text("first")
    database = place.root / "live.sqlite"
    with closing(sqlite3.connect(database)) as live, live:
        live.execute("CREATE TABLE patient (id INTEGER)")
    vault, key = str(place.vault), str(place.key)
    run = set()

    def example(name: str, *words: object) -> int:
        run.add(name)
        main = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
        return int(main(vault, key, *map(str, words)))

    assert example("backup", folder) == 0
    (folder / "note.txt").write_text("second version")
    assert example("backup", folder) == 0
    assert "1 files" in capsys.readouterr().out
    assert example("diff") == 0
    assert "note.txt" in capsys.readouterr().out
    assert example("find", "note*") == 0
    assert example("find", "nothing-of-that-name") == 5
    assert capsys.readouterr().out.count("version of") == 2
    assert example("verify") == 0
    assert example("enroll", place.root / "ward-7.credential", folder) == 0
    assert example("database", database) == 0
    assert example("restore", place.root / "restored") == 0
    with closing(sqlite3.connect(place.root / "restored" / "databases" / "ehr.sqlite")) as copy:
        assert copy.execute("SELECT count(*) FROM patient").fetchone() == (0,)
    disk = place.root / "disk"
    disk.mkdir()
    assert example("courier", disk, place.root / "far") == 0
    assert example("forget") == 0
    assert run == {path.stem for path in EXAMPLES.glob("*.py")}


def test_the_examples_are_short():
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) <= LINES_MAX, path.name
