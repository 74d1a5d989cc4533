"""Errors of applications: servers that are made still, captured, and set going again."""

from __future__ import annotations

from holdfast.errors.core import HoldfastError, Retry, Safety

__all__ = [
    "ApplicationAccessError",
    "ApplicationBusyError",
    "ApplicationChangedError",
    "ApplicationError",
    "ApplicationLeftAloneError",
    "ApplicationUnreachableError",
    "ApplicationUnsuitableError",
    "CaptureError",
    "DriverMissingError",
    "FreezeOverrunError",
    "RecoveryError",
    "StillFrozenError",
    "WalConflictError",
    "WalMissingError",
    "WatchdogError",
]


class ApplicationError(HoldfastError):
    """An application could not be backed up as configured."""

    code = "application"
    safety = Safety.UNTOUCHED
    meaning = "An application could not be backed up as configured."
    safe = "the application runs as before; every snapshot acknowledged before is as it was."
    next = "`holdfast connectors check NAME` says what is missing."


class ApplicationUnreachableError(ApplicationError):
    """The application does not answer."""

    code = "application-unreachable"
    retry = Retry.LATER
    meaning = "The application does not answer: it is down, starting, or the address is wrong."
    next = "check that it runs and where it listens, then run the same command again."


class ApplicationLeftAloneError(ApplicationUnreachableError):
    """The application was away so often that it is left alone for a while."""

    code = "application-left-alone"
    meaning = "The application did not answer so often in a row that it is left alone for a while; it was not asked this time."
    next = "see to the application; it is asked again by itself after a pause (`breaker.longest_seconds` at the most)."


class ApplicationAccessError(ApplicationError):
    """The application refuses the account: wrong password, or a right is missing (`statement` grants it)."""

    code = "application-access"
    exit_code = 6
    meaning = "The application refuses the backup's account: a wrong password, or a right that it lacks."
    next = "`holdfast connectors grants NAME` prints every statement that the account needs."


class ApplicationUnsuitableError(ApplicationError):
    """The application is not in a state or of a version in which it can be backed up as configured."""

    code = "application-unsuitable"
    meaning = "The application's version, role or settings do not allow the backup as configured."
    next = "change the setting named above, or configure another way of capture."


class ApplicationBusyError(ApplicationError):
    """Somebody else has the application in backup, or frozen."""

    code = "application-busy"
    retry = Retry.LATER
    meaning = "Another backup of the application is under way, or somebody else froze it."
    next = "wait for it to end, then run the same command again."


class ApplicationChangedError(ApplicationError):
    """The application went away, restarted or changed its role while it was being backed up."""

    code = "application-changed"
    retry = Retry.LATER
    safety = Safety.INTACT
    meaning = "The application restarted, failed over, or ended the backup's session while it was being backed up."
    safe = "the application is not frozen; what was copied is no restore point and is named by no snapshot."
    next = "run the same command again once the application is stable."


class CaptureError(ApplicationError):
    """What was captured is not what a restore needs."""

    code = "capture"
    retry = Retry.LATER
    safety = Safety.INTACT
    meaning = "What was captured of the application did not pass its checks."
    safe = "the application is not frozen; what was captured is not passed off as consistent."
    next = "run the same command again; if it fails again, the application's own data may be damaged: check it."


class FreezeOverrunError(ApplicationError):
    """An application could not be frozen, or was not captured, within its budgets; it was thawed first."""

    code = "freeze-overrun"
    retry = Retry.LATER
    meaning = (
        "Freezing the application, or capturing it while frozen, took longer than its budget. It was thawed first."
    )
    safe = "the application was thawed and runs; every snapshot acknowledged before is as it was."
    next = "run it again at a quieter time, or let `degrade` store what a crash would leave."


class StillFrozenError(ApplicationError):
    """An application did not come back from its freeze: somebody has to act now."""

    code = "still-frozen"
    safety = Safety.AT_RISK
    meaning = "An application could not be thawed, or does not answer after its thaw. Somebody has to act now."
    safe = "every snapshot acknowledged before is as it was; the application itself may be standing still."
    next = "thaw it by hand now (`holdfast connectors check NAME` says how), then look at its log."


class WatchdogError(ApplicationError):
    """The watchdog could not be armed, or was lost: nothing is frozen without it."""

    code = "watchdog"
    retry = Retry.LATER
    meaning = "The process that thaws an application in any event could not be started, or was lost."
    safe = "nothing is frozen: no application is frozen without a watchdog."
    next = "check the limits of processes and memory on this host, then run the same command again."


class DriverMissingError(ApplicationError):
    """The Python driver, or the program, for an application is not installed."""

    code = "driver-missing"
    exit_code = 2
    meaning = "The driver or the program that speaks to this application is not installed."
    next = "install it: the first line names it."


class WalConflictError(ApplicationError):
    """A WAL file is not what its name says, or other content than was kept under that name."""

    code = "wal-conflict"
    safety = Safety.INTACT
    meaning = "A WAL file has the name of one that was kept with other content, or comes from another cluster."
    safe = "nothing was overwritten; PostgreSQL keeps the file."
    next = "find out whether two servers push into one spool; give each its own."


class WalMissingError(ApplicationError):
    """A WAL file is in none of the places where it could be."""

    code = "wal-missing"
    exit_code = 5
    safety = Safety.UNTOUCHED
    meaning = (
        "A WAL file that was asked for is not there; at the end of recovery that is how PostgreSQL learns of the end."
    )
    safe = "nothing was written."
    next = "`holdfast wal status` shows what there is, and every gap."


class RecoveryError(ApplicationError):
    """A restored application could not be brought to the moment that was asked for."""

    code = "recovery"
    safety = Safety.INTACT
    meaning = "A restored application did not start, did not reach its target, or did not pass its checks."
    safe = "the vault was only read; the running application, if there is one, was not touched."
    next = "read the server's log in the recovery folder; choose an earlier snapshot or another target."
