"""Whatever is named to `audit`, `alerts`, `report` and `status` as a file: three lines, and never a fault of Holdfast's own."""

from __future__ import annotations

import os
import shutil

import pytest

import holdfast
from holdfast.cli import main

MISSING, REFUSED = (
    ("{root}/none", "{root}/file/below", "{root}/loop", "{root}/" + "x" * 300),
    ("{root}/folder", "/proc/self/mem"),
)
NONSENSE = ("{root}/file", "{root}/bytes")
READ = (*MISSING, *REFUSED, *NONSENSE)
LOGS = ("{root}/empty-log", "{root}/odd-log", "{root}/odd-records", "{root}/odd-heads")
WRITTEN = (
    "{root}/folder",
    "{root}/file",
    "{root}/file/below",
    "{root}/loop",
    "{root}/no/such",
    "{root}/" + "x" * 300,
    "/proc/x",
)
READERS = {
    "audit verify --public-key {root}/audit.pem --log": (*READ, *LOGS),
    "audit verify --public-key": READ,
    "audit verify --log {root}/copy --public-key": READ,
    "audit verify --heads": READ,
    "audit verify --public-key {root}/audit.pem --proof": READ,
    "alerts reply 1-x --by anna --out {root}/unwritten --key": READ,
    "alerts receive": READ,
    "report verify": READ,
    "status --config": (*READ, ""),
    "audit list --config": READ,
}
WRITERS = {
    "audit head --public-key": WRITTEN,
    "audit head --heads": WRITTEN,
    "audit prove 0 --out": WRITTEN,
    "audit export --out": WRITTEN,
    "audit export --format DICOM --out": WRITTEN,
    "alerts key --out": WRITTEN,
    "alerts reply 1-x --by anna --key {root}/anna.key --out": WRITTEN,
    "report compliance --out": tuple(f"{each}/below.json" for each in WRITTEN[1:]),
}
STATES = ("file", "loop")
STATEFUL = (
    "audit list", "audit head", "audit verify", "audit daily", "audit renew --reason x", "audit export --out {root}/never",
    "alerts list", "alerts show 1", "alerts ack 1", "alerts resolve 1", "alerts test", "report compliance", "status",
    "status --metrics",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("paths")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOLDFAST_STATE", str(root / "state"))
        patch.setenv("HOLDFAST_CONFIG", str(root / "site.toml"))
        holdfast.Vault.create(root / "vault", key_file=root / "key").close()
        (root / "site.toml").write_text(
            f'[vault]\nurl = "{root}/vault"\nkey_file = "file:{root}/key"\n'
            f'[channels.log]\nkind = "file"\npath = "{root}/told"\n[contacts.anna]\nchannels = ["log"]\n'
        )
        main(["audit", "head", "--public-key", f"{root}/audit.pem", "--heads", f"{root}/heads"])
        main(["alerts", "key", "--out", f"{root}/anna.key"])
    (root / "folder").mkdir()
    (root / "file").write_text("nonsense")
    (root / "bytes").write_bytes(b"\xff\xfe" * 50)
    os.symlink("loop", root / "loop")
    (root / "odd-log" / "log.json").mkdir(parents=True)
    (root / "empty-log").mkdir()
    (root / "empty-log" / "log.json").write_text("{}")
    (folder,) = (root / "state").glob("*/audit")
    for name, odd in (("copy", ""), ("odd-records", "records-0000000000000000"), ("odd-heads", "heads")):
        shutil.copytree(folder, root / name)
        if odd:
            (root / name / odd).unlink()
            (root / name / odd).mkdir()
    return root


def three_lines(root, capsys, words: str, path: str | None = None) -> str:
    """Return what is wrong with what a command says of a bad path; empty: what happened, what is safe, what to do."""
    arguments = [word.format(root=root) for word in words.split()] + ([] if path is None else [path.format(root=root)])
    code = main(arguments)
    said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("note: ")]
    fine = (
        code in {1, 2, 4, 5, 6, 7}
        and len(said) >= 3
        and said[0].startswith("holdfast: ")
        and said[-2].startswith("SAFE: ")
        and said[-1].startswith("NEXT: ")
        and "unexpected" not in said[0]
    )
    return "" if fine else f"{words} {path}: {code} {said}"


@pytest.fixture
def here(root, monkeypatch):
    monkeypatch.setenv("HOLDFAST_STATE", str(root / "state"))
    monkeypatch.setenv("HOLDFAST_CONFIG", str(root / "site.toml"))
    return root


@pytest.mark.parametrize("words", [*READERS, *WRITERS])
def test_a_path_that_is_none(here, capsys, words):
    paths = {**READERS, **WRITERS}[words]
    assert [fault for path in paths if (fault := three_lines(here, capsys, words, path))] == []
    assert not (here / "unwritten").exists()
    assert (here / "file").read_text() == "nonsense", "nothing is written over"
    assert not list(here.rglob(".*.part"))


@pytest.mark.parametrize("state", STATES)
def test_a_state_directory_that_is_none(here, capsys, monkeypatch, state):
    monkeypatch.setenv("HOLDFAST_STATE", str(here / state))
    assert [fault for words in STATEFUL if (fault := three_lines(here, capsys, words))] == []
    assert not (here / "never").exists()


@pytest.mark.parametrize("broken", ["log.json", "heads", "records-0000000000000000", "lock"])
def test_a_log_of_folders_in_the_place_of_files(here, capsys, monkeypatch, broken, tmp_path):
    shutil.copytree(here / "state", tmp_path / "state")
    (folder,) = (tmp_path / "state").glob("*/audit")
    (folder / broken).unlink()
    (folder / broken).mkdir()
    monkeypatch.setenv("HOLDFAST_STATE", str(tmp_path / "state"))
    for words in ("audit head", "audit verify", "audit list", "audit daily", "report compliance", "status"):
        main(words.split())
        assert "unexpected" not in capsys.readouterr().err, words
    assert main(["audit", "renew", "--reason", "somebody made folders of it"]) == 0, "a new log can always be begun"
    assert main(["audit", "verify"]) in {0, 4}, "4: the log of before had heads in the vault, and could not be named"
