"""What no callback is there to hear is said and kept all the same, by every command, `--quiet` or not.

The audit log's last record is damaged: what destroys does not start, and everything else is done, with an alert.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cli.main import main
from holdfast.errors import HoldfastError
from holdfast.reliability.audit import files
from holdfast.runs.alerting import open_book
from holdfast.runs.trail import Trail

from .test_json_everywhere import LISTINGS, SPOKEN, root

__all__ = ["root"]

LOOKS = {("ls", "latest"), ("find", "*"), ("hold", "set", "latest", "--reason", "x"), ("backup", "--job", "ehr")}
"""Some that were done without a word."""


def damage(folder: Path) -> None:
    """Change the hash of the last record: nothing can be appended after it."""
    _, path = files.segments(folder)[-1]
    data = path.read_bytes()
    path.write_bytes(data[:-3] + b"z" + data[-2:])


def test_every_command_says_and_keeps_that_it_is_not_recorded(root, capsys, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(root / "state"))
    monkeypatch.setenv("HOLDFAST_CONFIG", str(root / "site.toml"))
    monkeypatch.chdir(root)
    assert main(["backup", "--job", "ehr"]) == 0
    failed: list[str] = []
    real = Trail.append

    def append(self, *args, **kwargs):
        try:
            real(self, *args, **kwargs)
        except HoldfastError as error:
            failed.append(error.code)
            raise

    monkeypatch.setattr(Trail, "append", append)
    silent, met = [], set()
    for words in (*SPOKEN, *LISTINGS):
        if words[0] == "audit" and words[1] == "renew":
            continue
        for folder in (root / "state").glob("*/audit"):
            damage(folder)
        with open_book() as book:
            for record in book.live():
                book.resolve(record.number, note="the next command")
        failed.clear()
        capsys.readouterr()
        quiet = ["-q"] if words[0] not in {"explain", "demo"} else []
        main([word.format(root=root) for word in words] + quiet)
        said = capsys.readouterr().err
        if not failed:
            continue
        met.add(words)
        with open_book() as book:
            kept = any(record.code.startswith("audit-") for record in book.live())
        refused = "holdfast: the audit log" in said or "holdfast: record" in said
        if not refused and not ("ALERT (" in said and kept):
            silent.append((" ".join(words), said, kept))
    assert silent == []
    assert met >= LOOKS
    assert len(met) > len(LOOKS)


@pytest.mark.parametrize("options", [(), ("--json",), ("-q",)])
def test_a_file_on_standard_output_stays_the_file_s_alone(root, capfdbinary, monkeypatch, options):
    state = root / f"other-state{''.join(options)}"
    monkeypatch.setenv("HOLDFAST_STATE", str(state))
    monkeypatch.setenv("HOLDFAST_CONFIG", str(root / "site.toml"))
    assert main(["backup", "--job", "ehr", "-q"]) == 0
    for folder in state.glob("*/audit"):
        damage(folder)
    capfdbinary.readouterr()
    path = str(root / "data" / "a.hl7").lstrip("/")
    assert main(["restore", "latest", path, "--stdout", *options]) == 0
    printed, said = capfdbinary.readouterr()
    assert printed == b"MSH|"
    assert b"ALERT (" in said
