"""What is known of a run's applications once everything is read, and which findings their own logs make good."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.base.events import Finding
from holdfast.base.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from holdfast.base.events import Events
    from holdfast.sources.connectors.protocol import Beside, Evidence

__all__ = ["Conclusions", "concluded", "is_partial", "moves", "sealed_evidence", "under"]

_COMPLETE_KINDS = frozenset({"socket-skipped", "silent-change"})
"""Findings that leave the run complete: what has no content, and what was stored anew because it had changed."""
_MOVING_KINDS = frozenset({"vanished", "changed-while-reading"})


@dataclass(frozen=True, slots=True)
class Conclusions:
    """What is known of the applications of a run once everything is read."""

    evidence: tuple[Evidence, ...] = ()
    beside: tuple[Beside, ...] = ()
    findings: tuple[Finding, ...] = ()


def concluded(
    conclude: Callable[[Sequence[Finding]], Conclusions] | None, findings: list[Finding], events: Events
) -> Conclusions:
    """Have the applications checked after the copy; what is wrong with them are findings of the run."""
    if conclude is None:
        return Conclusions()
    end = conclude(tuple(findings))
    for finding in end.findings:
        findings.append(finding)
        events(finding)
    return end


def sealed_evidence(end: Conclusions) -> dict[str, object]:
    """Return the evidence as a sealed part holds it; nothing for a run without applications."""
    if not end.evidence:
        return {}
    return {"applications": [row.encode() for row in end.evidence], "beside": [row.encode() for row in end.beside]}


def moves(finding: Finding, folders: Iterable[bytes]) -> bool:
    """Return whether a finding is no trouble: a file that changed or vanished where the application's own log repairs it."""
    return finding.kind in _MOVING_KINDS and under(finding.path, folders)


def under(path: bytes, folders: Iterable[bytes]) -> bool:
    """Return whether a path of a tree lies in one of some absolute folders, or is one."""
    names = [folder.strip(b"/") for folder in folders]
    return any(path == name or path.startswith(name + b"/") or not name for name in names)


def is_partial(findings: Iterable[Finding]) -> bool:
    """Return whether findings mean that something selected is not stored whole."""
    return any(finding.kind not in _COMPLETE_KINDS for finding in findings)
