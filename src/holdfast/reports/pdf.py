"""A document as PDF, through Typst (the extra `reports`): the same model as the page, set for paper.

Every text reaches Typst as a string literal, never as markup: nothing that a service is called can change the document.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.errors import ReportToolMissingError
from holdfast.reports.charts import PRINT, draw
from holdfast.reports.document import (
    Bars,
    Block,
    Document,
    Facts,
    Paragraph,
    State,
    Steps,
    Table,
    Timeline,
    Trend,
    Verdict,
)
from holdfast.reports.page import SIGNS

__all__ = ["pdf", "typst_source"]

BACKGROUNDS: dict[State, str] = {
    "good": "#e9f5ee",
    "attention": "#fdf3e2",
    "bad": "#fbeae8",
    "neutral": "#edf3f9",
    "muted": "#f5f7fa",
}
FONTS = '("Inter", "Noto Sans", "DejaVu Sans", "Liberation Sans", "Libertinus Serif")'
MONOSPACED = '("DejaVu Sans Mono", "Liberation Mono")'
PREAMBLE = f"""
#set page(paper: "a4", margin: (x: 16mm, top: 16mm, bottom: 18mm), numbering: "1 / 1")
#set text(font: {FONTS}, size: 9.5pt, fill: rgb("{PRINT["ink"]}"), hyphenate: false)
#set par(leading: 0.6em)
#show heading: set block(above: 1.5em, below: 0.7em)
#show raw: set text(font: {MONOSPACED}, size: 8.5pt)
#show table.cell.where(y: 0): set text(weight: "bold", size: 8.5pt, fill: rgb("{PRINT["soft"]}"))
#set table(stroke: (x, y) => (bottom: 0.5pt + rgb("{PRINT["line"]}")), inset: (x: 5pt, y: 4pt))
"""


def pdf(document: Document) -> bytes:
    """Return the document as PDF. `ReportToolMissingError` if Typst is not installed."""
    try:
        import typst
    except ImportError:
        raise ReportToolMissingError("the report cannot be made a PDF: Typst is not installed") from None
    source = typst_source(document)
    # No time of its own: the same document gives the same file.
    return typst.compile(source.encode(), format="pdf", timestamp=0)


def typst_source(document: Document) -> str:
    """Return the document in Typst's language."""
    head = [
        f"#set document(title: {_string(document.title)})",
        f"#set text(lang: {_string(document.language)})",
        f'#text(size: 19pt, weight: "bold", {_string(document.title)})',
        f'#v(-6pt)\n#text(fill: rgb("{PRINT["soft"]}"), {_string(document.subtitle)})',
        f'#v(-6pt)\n#text(fill: rgb("{PRINT["soft"]}"), {_string(document.made)})',
        "#line(length: 100%, stroke: 1.5pt)",
    ]
    body = [_block(block) for block in document.lead]
    for section in document.sections:
        body.append(f"#heading(level: 1, {_string(section.title)})")
        body += [_block(block) for block in section.blocks]
    foot = f'#v(1em)\n#line(length: 100%, stroke: 0.5pt)\n#text(size: 8pt, fill: rgb("{PRINT["soft"]}"), {_string(document.footer)})'
    return "\n\n".join([PREAMBLE, *head, *body, foot])


def _string(text: str) -> str:
    """Return a Typst string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "").replace("\t", " ")
    return '"' + "".join(letter for letter in escaped if letter.isprintable()) + '"'


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"#par(text({_string(text)}))"
        case Verdict(state, headline, detail):
            more = f"\\ #text({_string(detail)})" if detail else ""
            return (
                f'#block(width: 100%, breakable: false, fill: rgb("{BACKGROUNDS[state]}"), inset: 9pt, radius: 3pt,'
                f' stroke: (left: 4pt + rgb("{PRINT[state]}")))'
                f'[#text(size: 13pt, weight: "bold", {_string(f"{SIGNS[state]} {headline}")}){more}]'
            )
        case Facts():
            return _facts(block)
        case Table():
            return _table(block)
        case Bars() | Timeline() | Trend():
            return f'#block(breakable: false, image(bytes({_string(draw(block, PRINT))}), format: "svg", width: 100%))'
        case Steps():
            return "\n\n".join(_steps(block))


def _facts(facts: Facts) -> str:
    columns = min(4, max(1, len(facts.items)))
    cells = ", ".join(
        f'block(width: 100%, fill: rgb("#f5f7fa"), inset: 6pt, radius: 3pt)'
        f'[#text(size: 8pt, fill: rgb("{PRINT["soft"]}"), {_string(item.label)}) \\'
        f' #text(size: 11pt, weight: "bold", fill: rgb("{PRINT[item.state if item.state != "neutral" else "ink"]}"),'
        f" {_string(item.value)})]"
        for item in facts.items
    )
    return f"#grid(columns: ({', '.join(['1fr'] * columns)},), gutter: 6pt, {cells})"


def _table(table: Table) -> str:
    if not table.rows:
        return f"#par(text({_string(table.empty)}))"
    states = table.states
    columns = (["auto"] if states else []) + ["auto"] * (len(table.head) - 1) + ["1fr"]
    align = (["left"] if states else []) + ["right" if at in table.right else "left" for at in range(len(table.head))]
    head = ", ".join(f"[#{_string(cell)}]" for cell in ([""] if states else []) + list(table.head))
    rows = []
    for place, row in enumerate(table.rows):
        sign = []
        if states:
            colour = PRINT[states[place]]
            sign = [f'text(weight: "bold", fill: rgb("{colour}"), {_string(SIGNS[states[place]])})']
        rows.append(", ".join([*sign, *(f"[#{_string(cell)}]" for cell in row)]))
    shape = f"columns: ({', '.join(columns)},), align: ({', '.join(align)},)"
    return f"#table({shape}, table.header({head}), {', '.join(rows)})"


def _steps(steps: Steps) -> Iterator[str]:
    for number, step in enumerate(steps.items, 1):
        lines = [
            f'#text(weight: "bold", {_string(f"{number}. {step.title}")}) #h(1fr) #box(width: 9pt, height: 9pt, stroke: 1pt)'
        ]
        if step.text:
            lines.append(f"#par(text({_string(step.text)}))")
        lines += [f"#raw({_string(command)}, block: true)" for command in step.commands]
        if step.expect:
            lines.append(f'#text(size: 8.5pt, fill: rgb("{PRINT["soft"]}"), {_string("Expect: " + step.expect)})')
        inner = "\n\n".join(lines)
        yield f'#block(width: 100%, breakable: false, inset: 8pt, radius: 3pt, stroke: 0.5pt + rgb("{PRINT["line"]}"))[{inner}]'
