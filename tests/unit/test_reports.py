"""A report is one document in two forms: HTML that needs nothing else, PDF, the same bytes each time; a seal finds any change.

Pure but for Typst, which is called in this process and reads no file.
"""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from holdfast.errors import EvidenceError, ReportToolMissingError
from holdfast.reports.charts import PRINT, draw, ticks
from holdfast.reports.document import (
    Bar,
    Bars,
    Document,
    Fact,
    Facts,
    Paragraph,
    Point,
    Section,
    Span,
    Step,
    Steps,
    Table,
    Timeline,
    Trend,
    Verdict,
)
from holdfast.reports.page import page
from holdfast.reports.pdf import pdf, typst_source
from holdfast.reports.seal import check_page, fingerprint, seal_page

EVIL = '<script>alert("1")</script> #panic() $x$ \\ & \n\u0007'
BARS = Bars("Rates", (Bar("last", 100, "100 MB/s"), Bar(EVIL, 140, "140 MB/s", "good")), 120, "needed")
SPANS = Timeline("Phases", (Span("locate", 0, 1, "1 s"), Span("fetch", 1, 5, "5 s", "bad")), 4, "objective 4 s")
TREND = Trend(
    "RTO",
    (Point("1 May", 40, "40 s", state="good"), Point("2 May", 45, "45 s", state="attention")),
    90,
    "objective 90 s",
    Point("today", 70, "70 s", 60, 84),
)
DOCUMENT = Document(
    title=f"Drill {EVIL}",
    subtitle="site",
    made="2026-11-23",
    lead=(
        Verdict("bad", EVIL, EVIL),
        Verdict("good", "met"),
        Facts((Fact("RTO", "4 s", "good"), Fact("RPO", EVIL))),
    ),
    sections=(
        Section(EVIL, (BARS, SPANS, TREND)),
        Section(
            "Tables",
            (
                Table(("a", "b"), (("1", EVIL), ("2", "y")), frozenset({0}), ("good", "attention")),
                Table(("a",), (("1",),)),
                Table(("a",), (), empty="no rows"),
                Paragraph(EVIL),
            ),
        ),
        Section("Runbook", (Steps((Step("one", EVIL, ("echo 'a'", EVIL), "ok"), Step("two"))),)),
    ),
    footer="prove it",
)


def test_the_page_needs_nothing_but_itself_and_runs_nothing():
    text = page(DOCUMENT)
    assert "default-src 'none'" in text
    assert "<script" not in text
    assert not re.search(r"(src|href)=|@import|url\(", text)
    assert "prefers-color-scheme:dark" in text
    assert "@media print" in text
    assert text == page(DOCUMENT)
    assert "&lt;script&gt;" in text
    assert "no rows" in text
    assert text.count('class="tick"') == 2
    assert "Expect: ok" in text


def test_states_are_said_without_colour():
    text = page(DOCUMENT)
    assert "✗ &lt;script" in text
    assert '<td class="sign attention">▲</td>' in text


@pytest.mark.parametrize("chart", [BARS, SPANS, TREND, Bars("none", ()), Timeline("none", ()), Trend("none", ())])
def test_a_chart_is_well_formed_and_told_in_words(chart):
    root = ET.fromstring(draw(chart, PRINT))  # noqa: S314 - our own text
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"].startswith(chart.title)
    told = root.attrib["aria-label"]
    for part in [*getattr(chart, "bars", ()), *getattr(chart, "spans", ()), *getattr(chart, "points", ())]:
        assert part.text in told


def test_an_objective_far_away_does_not_press_the_phases_to_nothing():
    far = draw(replace(SPANS, mark=4000.0, mark_text="objective 4000 s"))
    assert "objective 4000 s →" in far
    assert "→" not in draw(SPANS)


def test_a_long_label_is_cut_and_many_points_are_labelled_sparsely():
    assert "…" in draw(Bars("x", (Bar("a" * 80, 1, "1"),)))
    many = draw(Trend("x", tuple(Point(f"p{n}", n, f"{n} s") for n in range(30))))
    assert many.count("<circle") == 30
    assert many.count("<text") < 30


@pytest.mark.parametrize(
    ("top", "expected"), [(0, [0]), (10, [0, 2, 4, 6, 8, 10]), (0.09, [0, 0.02, 0.04, 0.06, 0.08])]
)
def test_ticks_are_round(top, expected):
    assert ticks(top) == pytest.approx(expected)


def test_the_pdf_is_made_of_the_same_document_and_of_no_markup_in_it():
    content = pdf(DOCUMENT)
    assert content.startswith(b"%PDF-")
    assert content == pdf(DOCUMENT)
    source = typst_source(DOCUMENT)
    assert '"Drill <script>alert(\\"1\\")</script> #panic() $x$ \\\\ & \\n"' in source
    assert "\u0007" not in source


def test_without_typst_the_error_says_which_extra_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(ReportToolMissingError, match="reports"):
        pdf(DOCUMENT)


class Key:
    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()

    @property
    def public(self) -> bytes:
        return self.key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        return self.key.sign(message)


def test_a_sealed_page_proves_itself_and_any_change_is_found():
    key = Key()
    sealed = seal_page(page(DOCUMENT), key)
    assert check_page(sealed).public == key.public.hex()
    assert check_page(sealed, key.public).sha256 == check_page(sealed).sha256
    for place in range(0, len(sealed), 997):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(EvidenceError):
            check_page(bytes(changed), key.public)
    with pytest.raises(EvidenceError, match="another key"):
        check_page(sealed, Key().public)
    with pytest.raises(EvidenceError, match="no seal"):
        check_page(page(DOCUMENT).encode())
    with pytest.raises(EvidenceError, match="no seal"):
        check_page(sealed + b"<p>more</p>")


def test_a_fingerprint_is_short_enough_to_read_out():
    assert re.fullmatch(r"([0-9a-f]{4} ){7}[0-9a-f]{4}", fingerprint(b"x" * 32))
