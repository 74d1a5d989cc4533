"""What kinds of operations are recorded, which of them are never done unrecorded, and how the standards name them.

DICOM codes are those of PS3.16 CID 400 and its children; lifecycle codes those of ISO 21089 as HL7 publishes them; actions
C, R, U, D, E as in both standards.
"""

from __future__ import annotations

from holdfast.base.values import dataclass

__all__ = ["KINDS", "Code", "Kind", "kind_of"]


@dataclass(frozen=True, slots=True)
class Code:
    """A code of a terminology."""

    code: str
    display: str


EXPORT = Code("110106", "Export")
IMPORT = Code("110107", "Import")
DESTROYED = Code("110103", "DICOM Instances Accessed")
APPLICATION = Code("110100", "Application Activity")
LOG_USED = Code("110101", "Audit Log Used")
ALERT = Code("110113", "Security Alert")
LOGIN = Code("110114", "User Authentication")
QUERY = Code("110112", "Query")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of operation."""

    name: str
    event: Code
    """The DICOM event."""
    action: str
    lifecycle: str
    """The ISO 21089 code; empty where it has none."""
    guarded: bool = False
    """Never done unrecorded: it destroys, or hands out or takes away keys."""
    detail: Code | None = None
    """The DICOM event type that makes a security alert or an application activity precise."""


_NETWORK = Code("110128", "Network Configuration")
_SECURITY = Code("110129", "Security Configuration")
_ROLES = Code("110136", "Security Roles Changed")
_USERS = Code("110137", "User security Attributes Changed")
_EMERGENCY = Code("110127", "Emergency Override Started")
_LOGIN = Code("110122", "Login")

KINDS = {
    kind.name: kind
    for kind in (
        Kind("init", APPLICATION, "C", "originate"),
        Kind("backup", EXPORT, "R", "archive"),
        Kind("restore", IMPORT, "C", "restore"),
        Kind("restore.break-glass", ALERT, "E", "restore", detail=_EMERGENCY),
        Kind("read", EXPORT, "R", "access"),
        Kind("mount", EXPORT, "R", "access"),
        Kind("mount.finish", IMPORT, "C", "restore"),
        Kind("browse", QUERY, "R", "access"),
        Kind("drill", IMPORT, "C", "restore"),
        Kind("migrate", EXPORT, "R", "transmit"),
        Kind("courier", EXPORT, "R", "transmit"),
        Kind("forget", DESTROYED, "D", "destroy", guarded=True),
        Kind("forget.snapshot", DESTROYED, "D", "destroy"),
        Kind("prune", DESTROYED, "D", "destroy", guarded=True),
        Kind("hold", APPLICATION, "U", "hold"),
        Kind("lock", APPLICATION, "U", "hold"),
        Kind("release", ALERT, "U", "unhold", guarded=True, detail=_SECURITY),
        Kind("verify", QUERY, "E", "verify"),
        Kind("check", QUERY, "E", "verify"),
        Kind("repair", APPLICATION, "U", "amend"),
        Kind("catalog", APPLICATION, "U", ""),
        Kind("enroll", ALERT, "C", "", guarded=True, detail=_USERS),
        Kind("revoke", ALERT, "D", "", guarded=True, detail=_USERS),
        Kind("key", ALERT, "C", "", guarded=True, detail=_SECURITY),
        Kind("shred", ALERT, "D", "destroy", guarded=True, detail=_SECURITY),
        Kind("floor", ALERT, "U", "", guarded=True, detail=_SECURITY),
        Kind("rehearse", ALERT, "E", "verify", detail=_SECURITY),
        Kind("access", ALERT, "U", "", guarded=True, detail=_ROLES),
        Kind("config.change", ALERT, "U", "", detail=_NETWORK),
        Kind("open.denied", LOGIN, "E", "", detail=_LOGIN),
        Kind("pause", APPLICATION, "U", ""),
        Kind("resume", APPLICATION, "U", ""),
        Kind("limits", APPLICATION, "U", ""),
        Kind("audit.read", LOG_USED, "R", "access"),
        Kind("audit.verify", LOG_USED, "E", "verify"),
        Kind("audit.torn", ALERT, "U", "", detail=_SECURITY),
        Kind("audit.renewed", ALERT, "C", "", detail=_SECURITY),
    )
}


def kind_of(name: str) -> Kind:
    """Return a kind; one that this table does not know is an application activity."""
    return KINDS.get(name) or Kind(name, APPLICATION, "E", "")
