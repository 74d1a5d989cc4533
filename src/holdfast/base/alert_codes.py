"""Every code of an alert that is no error's: what it means and what to do, said once.

`holdfast explain CODE`, `docs/errors.md` and the messages that people get come from here. An alert that is made of an error has the
error's code and words. A test holds every code that the package gives to an alert against this table and the errors.
"""

from __future__ import annotations

from holdfast.base.values import dataclass
from holdfast.errors import error_classes

__all__ = ["ALERT_CODES", "AlertCode", "next_of"]


@dataclass(frozen=True, slots=True)
class AlertCode:
    """A kind of alert."""

    code: str
    """A stable word."""
    meaning: str
    """What happened, in a sentence or two."""
    next: str
    """What to do. An alert may know better in its own case."""


ALERT_CODES: dict[str, AlertCode] = {
    each.code: each
    for each in (
        AlertCode(
            "alert-book-lost",
            "The book of alerts was damaged; it was set aside and a new one begun. Open alerts were forgotten.",
            "look into the file that ends in `.damaged`, and at the disk it lies on; what is still wrong is reported again.",
        ),
        AlertCode(
            "anomaly",
            "A backup looks like the work of ransomware. The last good snapshot is kept until a person decides.",
            "look at the source now; `holdfast findings list` shows the signs, `holdfast findings release` ends it if it was meant.",
        ),
        AlertCode(
            "application-damage",
            "An application's own check found damage in what was to be backed up.",
            "let the application's own means repair it, restore what is lost from a snapshot before it, and back up again.",
        ),
        AlertCode(
            "audit-not-anchored",
            "The signed head of the audit log could not be put into the vault: what was recorded since the last one can be changed by"
            " whoever owns this host.",
            "see that this credential may add to `audit/` in the vault, then run `holdfast audit head`, which says what stops it.",
        ),
        AlertCode(
            "audit-not-retained",
            "The store does not retain the newest signed head of the audit log: whoever may delete there could take it away.",
            "let this credential set retention on the store, or set `audit.retain_seconds = 0`.",
        ),
        AlertCode(
            "audit-unsound",
            "A verification of the audit log found records that were changed, removed or cut off, or that nothing proves.",
            "copy the log's folder away as evidence, then `holdfast audit verify` names each fault; `holdfast audit renew` begins"
            " a new log once somebody has looked.",
        ),
        AlertCode(
            "break-glass",
            "A snapshot was restored as an emergency, without the approvals that the vault asks for.",
            "ask the person who did it, and file the answer with the record.",
        ),
        AlertCode(
            "certificate-expiring",
            "A certificate that the configuration names expires soon, has expired, or cannot be read.",
            "renew the certificate.",
        ),
        AlertCode(
            "clock-stepped",
            "The machine's clock was set by a great step, or stood still; or the vault has snapshots of a time that has not come.",
            "see that the time service works: `timedatectl`.",
        ),
        AlertCode(
            "collector-away",
            "A collector takes no audit records; the log of this host keeps them until it does.",
            "see to the collector and the way to it; `holdfast audit send` sends what it lacks.",
        ),
        AlertCode(
            "copies-missing",
            "There are fewer copies of a class's packs, or of the vault's home, than must be.",
            "bring the missing store back, then run `holdfast migrate`: copies are then made up for.",
        ),
        AlertCode(
            "damage-found",
            "A run that nobody watched found damage.",
            "`holdfast check` and `holdfast verify` name what is damaged; `holdfast repair` heals what has another copy or parity.",
        ),
        AlertCode(
            "drill-failed",
            "A drill failed: what was restored did not come back right.",
            "read its report (`holdfast drill list`), remove the cause, and drill again.",
        ),
        AlertCode(
            "drill-missed",
            "A drill brought the service back right, and later than its objective allows.",
            "give the recovery faster hardware, back up more often, or agree on another objective.",
        ),
        AlertCode(
            "drill-overdue",
            "No drill succeeded within `monitoring.drill_days`.",
            "run `holdfast drill run`, or schedule it.",
        ),
        AlertCode(
            "drill-stale",
            "No full drill of a service passed within the time that the service asks for.",
            "run `holdfast drill run SERVICE`.",
        ),
        AlertCode(
            "failed",
            "A run of the schedule ended with an exit code that says no more than that it failed.",
            "start it by hand to see why.",
        ),
        AlertCode(
            "freeze-swept",
            "A run was lost while it had an application frozen; the watchdog, or the next run, thawed it.",
            "see that the application works, and why the run was lost (out of memory, a reboot, a kill).",
        ),
        AlertCode(
            "home-copy-behind",
            "The copy of the vault's home lacks what is newest.",
            "bring its store back: the next run copies what it lacks.",
        ),
        AlertCode("key-expiring", "A credential ends soon, or has ended.", "issue a new one: `holdfast key issue`."),
        AlertCode(
            "lock-not-extended",
            "The store did not extend the locks of the last good snapshot before a suspicious one.",
            "let a credential that may set retention do it: `holdfast findings lock`; the next run tries again, too.",
        ),
        AlertCode(
            "metrics-not-served",
            "The figures for Prometheus cannot be served at the configured address.",
            "see what else listens there, or change `monitoring.listen`.",
        ),
        AlertCode(
            "probe-silent",
            "A probe of an application hangs or fails; the run takes that for load and holds back.",
            "look at the application, then at the probe's settings in [governor.probes].",
        ),
        AlertCode(
            "rpo-danger",
            "The newest good backup of a source is nearly as old as it may be, or a run will hardly end in time.",
            "see that the next run will start; back up more often, or let it run faster.",
        ),
        AlertCode(
            "rpo-missed",
            "The newest good backup of a source is older than its recovery point objective.",
            "start the job by hand and read why its last run failed: `holdfast schedule list`.",
        ),
        AlertCode(
            "rto-danger",
            "A service came back in time, and by its growth will soon not.",
            "drill again at today's size; plan faster recovery hardware before the objective is missed.",
        ),
        AlertCode(
            "run-failed",
            "A run that nobody watched failed, whatever started it.",
            "start it by hand to see why.",
        ),
        AlertCode(
            "run-missing",
            "A run that was due has not started.",
            "see what it waits for: `holdfast schedule list`; and whether `holdfast schedule run` is alive.",
        ),
        AlertCode(
            "run-not-started",
            "The process of a run could not be started.",
            "see whether this host has memory and processes left, and whether Holdfast is installed whole.",
        ),
        AlertCode(
            "run-partial",
            "A backup was committed without something that could not be read, twice in a row.",
            "`holdfast backup` by hand lists the findings.",
        ),
        AlertCode(
            "schedule-book-lost",
            "The schedule's book was damaged; it was set aside and a new one begun.",
            "look into the file that ends in `.damaged`, and at the disk it lies on.",
        ),
        AlertCode(
            "snapshot-ahead",
            "The newest snapshot of a source is of a time that has not come: the clock of the host that made it was ahead.",
            "see that the time service works on the host that made it (`timedatectl`), then back up again.",
        ),
        AlertCode(
            "source-silent",
            "Nothing was heard of a source of the vault for longer than `monitoring.host_silent_days`.",
            "see whether the host still runs and still has its schedule.",
        ),
        AlertCode(
            "store-filling",
            "A store is nearly full, or will be soon at its present growth.",
            "enlarge the store, or `holdfast forget` and `holdfast prune`.",
        ),
        AlertCode(
            "store-outage",
            "A store takes no packs; they went elsewhere or wait on this host.",
            "bring the store back; the next run, or `holdfast migrate`, moves what waits to where it belongs.",
        ),
        AlertCode(
            "verification-overdue",
            "Some pack, or some copy of one, was not read back and proved within its time.",
            "run `holdfast verify`, or schedule it.",
        ),
        AlertCode(
            "wal-gap",
            "WAL segments are missing: no recovery can pass them.",
            "make a new base backup now; `holdfast wal status` lists the gaps.",
        ),
        AlertCode(
            "wal-not-received",
            "A database server has sent no WAL for some time.",
            "see that the server runs and lets this account replicate (pg_hba.conf: database `replication`).",
        ),
    )
}
"""By code, in the order of the alphabet."""


def next_of(code: str) -> str:
    """Return what to do about an alert or error with this code; empty if nothing is declared (a plug-in's own code)."""
    declared = ALERT_CODES.get(code)
    if declared is not None:
        return declared.next
    return next((cls.next for cls in error_classes() if cls.code == code), "")
