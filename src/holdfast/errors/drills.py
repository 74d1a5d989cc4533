"""Errors of drills and of services: a drill that cannot be held. A drill that was held and failed is a result, not an error."""

from __future__ import annotations

from holdfast.errors.core import HoldfastError, MissingError, Retry, Safety

__all__ = [
    "DrillError",
    "DrillMissingError",
    "DrillProgramError",
    "DrillRefusedError",
    "DrillSpaceError",
    "IsolationError",
]


class DrillError(HoldfastError):
    """A drill could not be held."""

    code = "drill"
    safety = Safety.UNTOUCHED
    meaning = "A drill could not be held. Nothing is proved by it, neither way."
    safe = "the vault was only read, production was not touched, and nothing of the drill is left."
    next = "remove the cause that the first line names, and hold the drill again."


class DrillMissingError(MissingError):
    """There is no such drill."""

    code = "drill-missing"
    meaning = "No record of a drill has this id."
    next = "`holdfast drill list --history` lists the drills there have been."


class DrillRefusedError(DrillError):
    """The place of a drill is refused: it could touch production, a vault, or somebody's files."""

    code = "drill-refused"
    exit_code = 2
    meaning = "A drill's place is refused: it lies where production, a vault or somebody else's files are."
    safe = "nothing was read or written."
    next = "give drills a folder of their own in `drill.place`, on a disk that holds nothing else."


class DrillSpaceError(DrillError):
    """There is no room for what a drill restores."""

    code = "drill-space"
    retry = Retry.LATER
    meaning = "The place of a drill has no room for what it restores; known before anything was restored."
    next = "make room, name another folder in `drill.place`, or hold a partial drill."


class IsolationError(DrillError):
    """The system does not give a drill namespaces of its own."""

    code = "isolation-missing"
    meaning = "The system gives a drill no mount, network and process namespaces of its own, and the configuration requires them."
    next = "run the drill as root, or set `drill.isolation` to `preferred`: it then runs isolated more weakly, and its report says so."


class DrillProgramError(DrillError):
    """A program that a drill needs is not installed, or is of the wrong version."""

    code = "drill-program"
    meaning = "A program that the drilled application needs is not on this machine, or not in the version that the data needs."
    next = "install it, or name its folder in the service's `programs`."
