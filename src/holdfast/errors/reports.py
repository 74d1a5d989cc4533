"""Errors of reports and of evidence."""

from __future__ import annotations

from holdfast.errors.core import HoldfastError, Safety

__all__ = ["EvidenceError", "ReportToolMissingError"]


class EvidenceError(HoldfastError):
    """A record or a page of evidence is not what was signed."""

    code = "evidence"
    exit_code = 4
    safety = Safety.DEGRADED
    meaning = (
        "A drill record or a report is not what was signed: changed, cut short, out of its chain, or of another key."
    )
    safe = "backups are not touched by this; the evidence that does not verify proves nothing."
    next = "take the copy in the vault host's evidence folder, compare the fingerprint of the key, and find out who changed the other."


class ReportToolMissingError(HoldfastError):
    """What makes a PDF of a report is not installed."""

    code = "report-tool"
    safety = Safety.UNTOUCHED
    meaning = "A report was asked for as PDF, and Typst is not installed."
    safe = "nothing was written; HTML and JSON need nothing more than Holdfast."
    next = "install the extra `reports` (`pip install 'holdfast[reports]'`), or print the HTML page from a browser."
