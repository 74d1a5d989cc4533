"""A document as one HTML file that needs nothing else: no script, no font, no address outside itself. Made for print, too.

The page is deterministic: the same document gives the same bytes, so a seal over them (`reports.seal`) is worth something.
A strict content policy stands in its head: a browser loads nothing and runs nothing, whatever a text in it says.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from holdfast.reports.charts import SCREEN, draw
from holdfast.reports.document import (
    Bars,
    Block,
    Document,
    Facts,
    Paragraph,
    Section,
    State,
    Steps,
    Table,
    Timeline,
    Trend,
    Verdict,
)

__all__ = ["SIGNS", "page"]

SIGNS: dict[State, str] = {"good": "✓", "attention": "▲", "bad": "✗", "neutral": "·", "muted": "·"}
"""What stands for a state where colours are not seen."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

STYLE = """
:root{--paper:#fff;--panel:#f5f7fa;--ink:#1a2230;--soft:#5b6675;--line:#d5dbe3;--good:#1f7a4d;--attention:#b06a00;
--bad:#b3261e;--neutral:#3b6ea5;--muted:#a9b3c0;--good-bg:#e5f4ec;--attention-bg:#fdf1dd;--bad-bg:#fbe7e5;--neutral-bg:#eaf1f8}
@media (prefers-color-scheme:dark){:root{--paper:#12161d;--panel:#1b212b;--ink:#e7ebf1;--soft:#9aa6b5;--line:#343d4b;
--good:#58c48d;--attention:#e8ab4a;--bad:#f2837b;--neutral:#7fb0e4;--muted:#5d6878;--good-bg:#15301f;--attention-bg:#352711;
--bad-bg:#3a1917;--neutral-bg:#182839}}*{box-sizing:border-box}html{background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,"DejaVu Sans",sans-serif}body{max-width:56rem;margin:0 auto;padding:2.2rem 1.4rem 3rem}
header{border-bottom:3px solid var(--ink);padding-bottom:.8rem;margin-bottom:1.4rem}h1{font-size:1.75rem;
line-height:1.2;margin:0 0 .2rem}h2{font-size:1.2rem;margin:2.2rem 0 .7rem}.sub{color:var(--soft);margin:0}
p{margin:.6rem 0;max-width:46rem}.verdict{border-left:6px solid;border-radius:6px;padding:.9rem 1.1rem;margin:1rem 0}
.verdict b{font-size:1.3rem;display:block}.verdict p{margin:.2rem 0 0}.verdict.good{border-color:var(--good);
background:var(--good-bg)}.verdict.attention{border-color:var(--attention);background:var(--attention-bg)}
.verdict.bad{border-color:var(--bad);background:var(--bad-bg)}.verdict.neutral{border-color:var(--neutral);
background:var(--neutral-bg)}.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(10rem,1fr));gap:.7rem;
margin:1rem 0;padding:0}.facts div{background:var(--panel);border-radius:6px;padding:.6rem .8rem}
.facts dt{color:var(--soft);font-size:.82rem}.facts dd{margin:0;font-size:1.12rem;font-weight:600}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;margin:.6rem 0;font-size:.93rem}th,
td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}th{color:var(--soft);
font-weight:600;font-size:.82rem}td.right,th.right{text-align:right;font-variant-numeric:tabular-nums}
td.sign{width:1.6rem;font-weight:700}.good{color:inherit}td.sign.good,dd.good{color:var(--good)}td.sign.attention,
dd.attention{color:var(--attention)}td.sign.bad,dd.bad{color:var(--bad)}td.sign.neutral{color:var(--soft)}
figure{margin:1.1rem 0}svg{width:100%;height:auto;display:block}ol.steps{list-style:none;padding:0;margin:0;
counter-reset:step}ol.steps>li{counter-increment:step;border:1px solid var(--line);border-radius:6px;
padding:.8rem 1rem .8rem 3.4rem;margin:.7rem 0;position:relative}ol.steps>li::before{content:counter(step);
position:absolute;left:1rem;top:.65rem;font-size:1.3rem;font-weight:700;color:var(--neutral)}
ol.steps .tick{position:absolute;right:.9rem;top:.9rem;width:1rem;height:1rem;border:2px solidvar(--soft);
border-radius:3px}ol.steps b{padding-right:2rem;display:block}.expect{color:var(--soft);font-size:.9rem}
pre{background:var(--panel);border-radius:6px;padding:.6rem .8rem;margin:.5rem 0;white-space:pre-wrap;
overflow-wrap:anywhere;font:.86rem/1.5 ui-monospace,"DejaVu Sans Mono",monospace}footer{margin-top:2.6rem;
border-top:1px solid var(--line);padding-top:.8rem;color:var(--soft);font-size:.84rem;overflow-wrap:anywhere}
@media print{@page{size:A4;margin:16mm 14mm 18mm}:root{--paper:#fff;--panel:#f5f7fa;--ink:#000;--soft:#444;
--line:#bbb;--good:#1f7a4d;--attention:#8a5200;--bad:#a3150d;--neutral:#2f5f95;--muted:#9aa4b0;--good-bg:#fff;--attention-bg:#fff;
--bad-bg:#fff;--neutral-bg:#fff}html{font-size:10.5pt}body{max-width:none;padding:0}.verdict{border:1.5px solid;
border-left-width:6px}h2{break-after:avoid}tr,figure,ol.steps>li,.verdict,.facts div{break-inside:avoid}
thead{display:table-header-group}pre{border:1px solid #bbb}}
""".strip()


def page(document: Document) -> str:
    """Return the document as HTML."""
    title = escape(document.title)
    parts = [
        "<!doctype html>",
        f'<html lang="{escape(document.language, quote=True)}"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="color-scheme" content="light dark">',
        f"<title>{title}</title><style>{STYLE}</style></head><body>",
        f'<header><h1>{title}</h1><p class="sub">{escape(document.subtitle)}</p>'
        f'<p class="sub">{escape(document.made)}</p></header><main>',
        *(_block(block) for block in document.lead),
        *(part for section in document.sections for part in _section(section)),
        f"</main><footer>{escape(document.footer)}</footer></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _section(section: Section) -> Iterator[str]:
    yield f"<section><h2>{escape(section.title)}</h2>"
    yield from map(_block, section.blocks)
    yield "</section>"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Verdict(state, headline, detail):
            more = f"<p>{escape(detail)}</p>" if detail else ""
            return f'<div class="verdict {state}"><b>{SIGNS[state]} {escape(headline)}</b>{more}</div>'
        case Facts(items):
            rows = (
                f'<div><dt>{escape(item.label)}</dt><dd class="{item.state}">{escape(item.value)}</dd></div>'
                for item in items
            )
            return f'<dl class="facts">{"".join(rows)}</dl>'
        case Table():
            return _table(block)
        case Bars() | Timeline() | Trend():
            return f"<figure>{draw(block, SCREEN)}</figure>"
        case Steps():
            return _steps(block)


def _table(table: Table) -> str:
    if not table.rows:
        return f"<p>{escape(table.empty)}</p>"

    def cells(tag: str, row: tuple[str, ...]) -> str:
        aligned = [' class="right"' if place in table.right else "" for place in range(len(row))]
        return "".join(f"<{tag}{side}>{escape(cell)}</{tag}>" for side, cell in zip(aligned, row, strict=True))

    head = ("<th></th>" if table.states else "") + cells("th", table.head)
    rows = []
    for place, row in enumerate(table.rows):
        state = table.states[place] if table.states else None
        sign = f'<td class="sign {state}">{SIGNS[state]}</td>' if state else ""
        rows.append(f"<tr>{sign}{cells('td', row)}</tr>")
    body = "".join(rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _steps(steps: Steps) -> str:
    items = []
    for step in steps.items:
        text = f"<p>{escape(step.text)}</p>" if step.text else ""
        commands = f"<pre>{escape(chr(10).join(step.commands))}</pre>" if step.commands else ""
        expect = f'<p class="expect">Expect: {escape(step.expect)}</p>' if step.expect else ""
        items.append(f'<li><span class="tick"></span><b>{escape(step.title)}</b>{text}{commands}{expect}</li>')
    return f'<ol class="steps">{"".join(items)}</ol>'
