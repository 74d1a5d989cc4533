"""`holdfast report compliance`."""

from __future__ import annotations

import click

from holdfast.cli.options import Place, vault_options
from holdfast.cli.output import Output
from holdfast.cli.report_drill import ReportWritten, write_report
from holdfast.errors import UsageError

__all__ = ["compliance_report_command"]


@click.command("compliance")
@click.option(
    "--out",
    "target",
    metavar="FILE",
    help="Where to write it: .html, .pdf or .json; must not exist. Without: a summary.",
)
@vault_options
def compliance_report_command(*, target: str | None, place: Place, out: Output) -> int:
    """Say which controls of HIPAA, HITECH, NIST and CIS the records show, and which they do not.

    Evidence, not a statement of compliance: from the vault, the verification ledger, the audit log and the records of drills.

    Example: holdfast report compliance --config /etc/holdfast.toml --out compliance.pdf
    """
    form = "json" if target is None else target.rpartition(".")[2].lower()
    if form not in {"html", "pdf", "json"}:
        raise UsageError("the file's name says what is written: it must end in .html, .pdf or .json")
    config = place.load()
    with place.open(config) as vault:
        report = vault.compliance()
        written = vault.compliance_page(report, form) if target is not None else b""
    doubt = (
        f"The audit log does not verify ({report.audit_problems} faults): what rests on it is shown in part at most."
    )
    if target is None:
        if report.audit_problems:
            out.answer(doubt)
        if out.as_json:
            out.row("compliance", report, "")
        for finding in report.findings:
            out.answer(f"{finding.status:<8} {finding.id:<24} {finding.asks}")
            if finding.gap:
                out.answer(f"         {finding.gap}")
        return 0
    write_report(target, written)
    counts = report.counts
    text = [f"Wrote {target}.", *(f"  {number} {status}" for status, number in counts.items())]
    if report.audit_problems:
        text.insert(1, doubt)
    return out.result("report", ReportWritten("compliance", target, form), 0, text)
