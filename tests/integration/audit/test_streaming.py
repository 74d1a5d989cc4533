"""However long the log, a record is forgotten when the next one is looked at: reading, exporting, verifying, the digest and proofs.

Not memory is measured but what lives: records and heads are counted while they exist, and lines while they are printed.
"""

from __future__ import annotations

import json
import weakref
from collections import Counter
from contextlib import closing

import click
import pytest

from holdfast.cli import main
from holdfast.reliability.audit import SignedHead, files, read, verify
from holdfast.reliability.audit.daily import daily_digest
from holdfast.reliability.audit.files import StoredHead
from holdfast.reliability.audit.verify import verify_log

from .logs import ENV, filled

RECORDS = 400
LIVE_MAX = 3
"""The one at hand, the one before it, and one that a generator still names."""


class Alive:
    """Counts values of a class that are alive, and the most there were at once."""

    def __init__(self) -> None:
        self.now = self.most = self.all = 0

    def born(self, value: object) -> None:
        self.now += 1
        self.all += 1
        self.most = max(self.most, self.now)
        weakref.finalize(value, self.died)

    def died(self) -> None:
        self.now -= 1


def counted(monkeypatch: pytest.MonkeyPatch, place: object, name: str) -> Alive:
    """Have a class replaced by one whose values are counted."""
    alive = Alive()
    plain = getattr(place, name)

    class Counted(plain):  # type: ignore[misc, valid-type] # whatever class it is
        __slots__ = ("__weakref__",)

        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            alive.born(self)

    monkeypatch.setattr(place, name, Counted)
    return alive


@pytest.fixture
def log(place):
    """A vault with a log of some length."""
    with place.create() as vault:
        folder = vault._vault.trail.folder
        record = vault._vault.trail.record("check", "event", "ab" * 16, outcome="success")
        vault._vault.trail.append([record] * RECORDS)
        yield vault, folder


def test_reading_holds_one_record(log, monkeypatch):
    vault, _ = log
    listed = counted(monkeypatch, read, "Listed")
    count = sum(1 for _ in vault.audit.records())
    assert (count > RECORDS, listed.all) == (True, count)
    assert listed.most <= LIVE_MAX
    newest = [each.number for each in vault.audit.records(newest=7)]
    assert newest == list(range(newest[-1] - 6, newest[-1] + 1))
    assert listed.most <= 7 + LIVE_MAX, "so many as were asked for"


@pytest.mark.parametrize("form", ["R4", "R5", "DICOM"])
def test_exports_are_made_as_they_are_asked_for(log, monkeypatch, form):
    vault, _ = log
    listed = counted(monkeypatch, read, "Listed")
    exported = vault.audit.messages() if form == "DICOM" else vault.audit.export(form)
    with closing(exported):
        first = next(exported)
    assert first
    assert listed.all <= LIVE_MAX, "nothing beyond what was asked for is read"
    assert sum(1 for _ in (vault.audit.messages() if form == "DICOM" else vault.audit.export(form))) > RECORDS
    assert listed.most <= LIVE_MAX


def test_whoever_stops_reading_has_read_as_much(log):
    vault, _ = log
    with closing(vault.audit.records()) as found:
        for _, _each in zip(range(5), found, strict=False):
            pass
    ends = [each.record for each in vault.audit.records(kind="audit.read") if each.record.phase == "end"]
    assert [(end.outcome, end.facts["count"]) for end in ends] == [("success", 5)]


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "list"),
        ("audit", "list", "--json"),
        ("audit", "export", "--out", "{root}/f"),
        ("audit", "export", "--format", "DICOM", "--out", "{root}/d"),
    ],
)
def test_the_command_line_passes_each_on(place, log, monkeypatch, words, tmp_path):
    listed = counted(monkeypatch, read, "Listed")
    behind: list[int] = []
    echo = click.echo
    monkeypatch.setattr(click, "echo", lambda *args, **more: (behind.append(listed.now), echo(*args, **more)))
    monkeypatch.setenv("HOLDFAST_VAULT", str(place.vault))
    monkeypatch.setenv("HOLDFAST_KEY_FILE", str(place.key))
    assert main([word.format(root=tmp_path) for word in words]) == 0
    assert listed.all > RECORDS
    assert listed.most <= LIVE_MAX
    assert len(behind) > RECORDS or "--out" in words
    if "--out" in words:
        written = (tmp_path / words[-1][-1]).read_bytes().splitlines()
        assert len(written) == listed.all
        assert written[0].startswith(b"<?xml" if "DICOM" in words else b"{")
        assert not list(tmp_path.glob(".*.part"))


def test_verifying_holds_a_head_of_each_kind(tmp_path, monkeypatch):
    log, heads = filled(tmp_path / "a", 600, batch=1, head_every=2)
    assert len(heads) > 300
    kept = counted(monkeypatch, files, "StoredHead")
    asked = Counter[str]()

    def anchors():
        for head in heads:
            # The merge looks at one ahead of what was kept so far; nothing is asked for at once.
            asked["anchored"] += 1
            assert asked["anchored"] <= kept.all + 2
            yield head

    report = verify_log(tmp_path / "a", ENV, public=log.public, anchored=anchors())
    assert (report.sound, report.heads, report.records) == (True, asked["anchored"] + kept.all, 600)
    assert kept.most <= LIVE_MAX
    assert issubclass(files.StoredHead, StoredHead)
    assert isinstance(heads[0], SignedHead)
    assert verify.ANCHORED == "anchored"


def test_the_digest_holds_one_record(log, monkeypatch):
    vault, folder = log
    listed = counted(monkeypatch, read, "Listed")
    day = vault._vault.env.now().date()
    text = daily_digest(day, read.records(folder), log="x", size=1, root="y")
    assert f"{listed.all} records." in text
    assert listed.most <= LIVE_MAX


def test_what_is_sent_already_is_not_read_again(tmp_path, monkeypatch):
    filled(tmp_path / "a", 600)
    opened: list[str] = []
    lines = files.lines_of
    monkeypatch.setattr(files, "lines_of", lambda path, *more: (opened.append(path.name), lines(path, *more))[1])
    names = [path.name for _, path in files.segments(tmp_path / "a")]
    assert len(names) > 3
    assert [each.number for each in read.records(tmp_path / "a", start=598)] == [598, 599]
    assert opened == names[-1:]
    assert [each.number for each in read.records(tmp_path / "a", start=600)] == []
    number, body, _ = next(read.stored_lines(tmp_path / "a"))
    assert (number, json.loads(body)["kind"]) == (0, "backup")
