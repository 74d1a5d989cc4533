"""`holdfast report drill`, `runbook` and `verify`."""

from __future__ import annotations

import os
from dataclasses import dataclass

import click

from holdfast.base.files import write_new
from holdfast.cli.options import Place, output_options, vault_options
from holdfast.cli.output import Output
from holdfast.errors import StoreRefusedError, UsageError

__all__ = [
    "ReportWritten",
    "drill_report_command",
    "read_evidence",
    "runbook_report_command",
    "verify_report_command",
    "write_report",
]

EVIDENCE_BYTES_MAX = 64 << 20


@dataclass(frozen=True, slots=True)
class ReportWritten:
    """A report that was written."""

    kind: str
    file: str
    format: str
    """`html`, `pdf` or `json`."""


def _format(target: str) -> str:
    suffix = target.rpartition(".")[2].lower()
    if suffix not in ("html", "pdf", "json"):
        raise UsageError("the file's name says what is written: it must end in .html, .pdf or .json")
    return suffix


@click.command("drill")
@click.argument("drill", default="latest")
@click.option(
    "--out", "target", required=True, metavar="FILE", help="Where to write it: .html, .pdf or .json; must not exist."
)
@vault_options
def drill_report_command(*, drill: str, target: str, place: Place, out: Output) -> int:
    """Write a drill's report: as sealed HTML, as PDF, or its signed record as JSON. DRILL is the beginning of an id, or `latest`.

    Example: holdfast report drill latest --out drill.pdf
    """
    kind = _format(target)
    with place.open() as vault:
        content = vault.drill_report(drill, kind)
    write_report(target, content)
    return out.result("report", ReportWritten("drill", target, kind), 0, [f"Wrote {target}."])


@click.command("runbook")
@click.argument("service")
@click.option(
    "--out", "target", required=True, metavar="FILE", help="Where to write it: .html or .pdf; must not exist."
)
@vault_options
def runbook_report_command(*, service: str, target: str, place: Place, out: Output) -> int:
    """Write a service's runbook: the commands of the day in order, with the times of the last drill. Keep it with the recovery kit.

    Example: holdfast report runbook ehr --out ehr-runbook.pdf
    """
    kind = _format(target)
    with place.open() as vault:
        content = vault.runbook(service, kind)
    write_report(target, content)
    return out.result(
        "report", ReportWritten("runbook", target, kind), 0, [f"Wrote {target}. Print it, and keep it with the kit."]
    )


@click.command("verify")
@click.argument("file")
@click.option(
    "--public-key", "public", metavar="HEX", help="The vault's public key, if you have it from elsewhere (64 digits)."
)
@output_options
def verify_report_command(*, file: str, public: str | None, out: Output) -> int:
    """Prove offline that a drill record (.json) or a page (.html) is what the vault's key signed. Needs no vault and no network.

    Of a folder of evidence, prove every record and that none is missing, moved or put in between.

    Without --public-key the signature proves that nothing was changed since; compare the fingerprint with the one in the vault's
    other evidence to know whose it is. Exits 4 if the file is not what was signed.

    Example: holdfast report verify drill-000001-ehr.html
    """
    from holdfast.runs.drill.drills import prove
    from holdfast.runs.drill.evidence import Evidence

    try:
        key = bytes.fromhex(public) if public is not None else None
    except ValueError:
        raise UsageError("a public key is 64 hexadecimal digits") from None
    if os.path.isdir(file):
        chain = Evidence(file).check(key)
        if not chain.records:
            raise UsageError(
                "the folder holds no record of a drill", next="name the folder that `drill.evidence` names."
            )
        word = "AUTHENTIC" if not chain.problems else "NOT AUTHENTIC"
        lines = [
            f"{word}: {chain.records} records, {len(chain.keys)} keys",
            *(f"  {problem}" for problem in chain.problems),
        ]
        return out.result("evidence-chain", chain, chain.exit_code, lines)
    proof = prove(read_evidence(file), key)
    what = f"drill {proof.drill[:12]} of {proof.service}: {proof.verdict}" if proof.kind == "record" else "page"
    whose = "the key given" if proof.anchored else f"key {proof.fingerprint} (compare it)"
    return out.result("report-proof", proof, 0, [f"AUTHENTIC: {what}, signed by {whose}."])


def read_evidence(file: str) -> bytes:
    """Return a file's bytes. `UsageError` if it cannot be read."""
    try:
        with open(file, "rb") as opened:
            return opened.read(EVIDENCE_BYTES_MAX)
    except OSError as error:
        raise UsageError(f"the file cannot be read: {error.strerror}", next="check its name.") from None


def write_report(target: str, content: bytes) -> None:
    """Write a report's file, which must not exist."""
    try:
        write_new(target, (content,), mode=0o666)
    except FileExistsError:
        raise UsageError("the file to write exists already", next="choose another name.") from None
    except OSError as error:
        raise StoreRefusedError(
            f"the file cannot be written: {error.strerror}", next="choose another place."
        ) from error
