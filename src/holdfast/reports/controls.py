"""The controls, each with its judgement: a table of small functions of the facts.

Citations are those of the domain paper: 45 CFR 164 (HIPAA security rule), the rule proposed at 90 FR 898 (marked proposed: not
law), HITECH's guidance 74 FR 19006, P.L. 116-321, 42 CFR 2, NIST SP 800-34, -38D, -57, -66, -88, -108, -132, -209, HICP, CIS Controls
11, HITRUST CSF, HL7 EHR-S FM, ISO 27001.
"""

from __future__ import annotations

from holdfast.base.units import format_seconds
from holdfast.reports.compliance import ComplianceFacts, Control, Judged
from holdfast.reports.judged import (
    alerting,
    copies,
    derivation,
    disposal,
    isolated,
    judged,
    key_management,
    media,
    no_log,
    outside,
    recorded,
    storage_security,
)

__all__ = ["CONTROLS", "COPY_HOURS_MAX", "RESTORE_SECONDS_MAX"]

COPY_HOURS_MAX = 48
RESTORE_SECONDS_MAX = 72 * 3600
WEEK_HOURS = 7 * 24
MONTH, QUARTER, HALF_YEAR, YEAR = 31, 92, 184, 366
SIX_YEARS_DAYS = 6 * 366
LOCK_DAYS_MIN = 6 * 365 - 31
"""Six years, less the month within which a newer head is anchored and locked."""
HIPAA, PROPOSED, HITECH = (
    "HIPAA security rule (45 CFR 164)",
    "HIPAA, proposed rule (90 FR 898)",
    "HITECH and P.L. 116-321",
)
PART2, NIST, CIS, ISO = "42 CFR Part 2", "NIST", "CIS Controls 11", "ISO 27001"
HITRUST, HL7 = "HITRUST CSF", "HL7 EHR-S FM"


def _backup_plan(facts: ComplianceFacts) -> Judged:
    evidence, missing = [], []
    if facts.policy:
        evidence.append(f"Configuration {facts.policy} names {facts.jobs} jobs.")
    else:
        missing.append("No configuration: what is to be backed up is written nowhere.")
    if facts.sources:
        evidence.append(f"{sum(s.snapshots for s in facts.sources)} snapshots of {len(facts.sources)} sources.")
    if done := facts.count("backup"):
        good = facts.count("backup", "success", "partial")
        evidence.append(f"{good} of {done} runs within a year committed a snapshot.")
    if facts.jobs_without_snapshot:
        missing.append(f"Jobs that never made a snapshot: {', '.join(facts.jobs_without_snapshot)}.")
    if not facts.sources:
        missing.append("There is no snapshot.")
    proved, unproved = _retrieved(facts)
    evidence += proved
    missing += unproved
    if facts.damaged_snapshots:
        missing.append(f"{facts.damaged_snapshots} committed snapshots cannot be read.")
    if facts.pinned:
        evidence.append(
            f"{facts.pinned} last good snapshots are pinned, {facts.pinned_locked} of them locked on their stores."
        )
    if facts.suspicious:
        missing.append(f"{facts.suspicious} snapshots look like ransomware's work and wait for a person's word.")
    return judged(evidence, missing)


def _retrieved(facts: ComplianceFacts) -> tuple[list[str], list[str]]:
    """Return how often something was read back within a year and was right, or that nothing was."""
    kinds = ("restore", "restore.break-glass", "verify")
    number = sum(facts.count(kind, "success") for kind in kinds) + len(facts.passed(YEAR))
    if number:
        return [f"{number} restores, verifications and drills succeeded within a year."], []
    return [], ["Nothing was restored or verified within a year: that the copies can be retrieved is not shown."]


def _drilled(facts: ComplianceFacts, days: int) -> tuple[list[str], list[str]]:
    passed, evidence, missing = facts.passed(days), [], []
    if passed:
        services = len({drill.service for drill in passed})
        evidence.append(f"{len(passed)} drills of {services} services passed within {days} days.")
    else:
        missing.append(f"No drill passed within {days} days.")
    if facts.drill_problems:
        missing.append(f"{facts.drill_problems} faults in the chain of drill records.")
    return evidence, missing


def _recovery_plan(facts: ComplianceFacts) -> Judged:
    evidence, missing = _drilled(facts, YEAR)
    if facts.services:
        evidence.append(f"{facts.services} services with a restore order are configured.")
    else:
        missing.append("No services and no restore order are configured.")
    return judged(
        evidence, missing, outside="The plan itself, its approval and its exercise with people are the organisation's."
    )


def _emergency_mode(facts: ComplianceFacts) -> Judged:
    evidence, missing = [], []
    if facts.key_slots:
        evidence.append(f"{sum(facts.key_slots.values())} key slots open the vault without any service but its store.")
    if number := facts.count("restore.break-glass"):
        evidence.append(f"{number} break-glass restores recorded within a year.")
    else:
        missing.append("No break-glass restore was ever exercised within a year.")
    return judged(evidence, missing)


def _criticality(facts: ComplianceFacts) -> Judged:
    if not facts.services:
        return judged([], ["No service has a criticality and objectives in the configuration."])
    return judged(
        [f"{facts.services} services with criticality, RTO, RPO and dependencies, in configuration {facts.policy}."],
        [],
        outside="Who approved the analysis, and when.",
    )


def _activity_review(facts: ComplianceFacts) -> Judged:
    if not facts.audit_records:
        return judged([], [no_log(facts)])
    reads = facts.count("audit.read")
    evidence = [f"{facts.audit_records} records."]
    missing = []
    if reads:
        evidence.append(f"The log was read {reads} times within a year.")
    else:
        missing.append("Nobody read the audit log within a year.")
    return judged(evidence, missing, outside="What the reviewer concluded.")


def _unique_user(facts: ComplianceFacts) -> Judged:
    evidence = (
        [f"{facts.writers} writers with keys of their own, {facts.writers_revoked} revoked."] if facts.writers else []
    )
    if facts.audit_records:
        evidence.append(
            f"Each record names user, host and credential; {facts.audit_logins} of {facts.audit_records} also the login behind the"
            " user, which services and timers do not have."
        )
    missing = [] if facts.writers > 1 else ["Every host uses the root key: no writer was enrolled."]
    return judged(evidence, missing)


def _encryption(facts: ComplianceFacts) -> Judged:
    if not facts.packs:
        return judged([], ["There is nothing stored yet."])
    return judged(
        [
            f"{facts.packs} packs, each AES-256-GCM under a key of its own (format 1); {facts.generations} class generations."
        ],
        [],
        outside="Whether a validated module is demanded, and its certificate.",
    )


def _audit_controls(facts: ComplianceFacts) -> Judged:
    if not facts.audit_records:
        return judged([], [no_log(facts)])
    evidence = (
        [f"{facts.audit_records} hash-chained records since {facts.audit_since:%Y-%m-%d}."] if facts.audit_since else []
    )
    missing = []
    if facts.audit_sound and facts.audit_anchored:
        evidence.append(f"Verified for this report; heads in the vault cover {facts.audit_anchored}.")
        if facts.audit_retained:
            evidence.append(f"The store retains the newest head until {facts.audit_retained:%Y-%m-%d}.")
    elif facts.audit_sound:
        missing.append("No head of the log is anchored in the vault.")
    else:
        missing.append(f"The log does not verify: {facts.audit_problems} faults.")
    verified = facts.last.get("audit.verify")
    if verified is not None and (facts.now - verified).days <= YEAR:
        evidence.append(f"Before, it was last verified and found sound on {verified:%Y-%m-%d}.")
    else:
        missing.append("No verification of the log that found it sound is on record within a year.")
    if not facts.collectors_tls + facts.collectors_plain:
        missing.append("It is exported to no collector.")
    elif facts.collectors_plain:
        missing.append(f"{facts.collectors_plain} collectors are reached without TLS.")
    else:
        evidence.append(f"Exported to {facts.collectors_tls} collectors over TLS.")
    return judged(evidence, missing)


def _integrity(facts: ComplianceFacts) -> Judged:
    evidence, missing = [], []
    if facts.packs_verified:
        evidence.append(
            f"{facts.packs_verified} of {facts.packs} packs read back and proved within {facts.verify_days} days."
        )
    if facts.packs_verified < facts.packs or not facts.packs:
        missing.append(f"{facts.packs - facts.packs_verified} packs were not proved within {facts.verify_days} days.")
    if number := facts.count("verify", "failure"):
        missing.append(f"{number} verifications within a year found damage or failed.")
    return judged(evidence, missing)


def _authentication(facts: ComplianceFacts) -> Judged:
    evidence = (
        [f"{facts.count('open.denied')} refused credentials recorded within a year."] if facts.audit_records else []
    )
    evidence += [f"Root key under {number} slots of kind {kind}." for kind, number in facts.key_slots.items()]
    missing = []
    if facts.approvals_required > 1:
        evidence.append(
            f"{facts.approvals_required} of {facts.approvers} approvers must sign for: {', '.join(facts.approval_operations)}."
        )
    else:
        missing.append("Nobody but the holder of the key has to agree to a deletion or a key export.")
    return judged(evidence, missing)


def _transmission(facts: ComplianceFacts) -> Judged:
    plain = [kind for kind in facts.stores if kind in {"webdav", "ftp", "http"}]
    evidence = (
        ["Everything is sealed before it leaves the host; the store sees ciphertext only."] if facts.packs else []
    )
    missing = [f"Stores without TLS: {', '.join(plain)}."] if plain else []
    missing += [] if facts.packs else ["There is nothing stored yet."]
    return judged(evidence, missing, outside="The network's own controls." if evidence else "")


def _six_years(facts: ComplianceFacts) -> Judged:
    evidence, missing = [], []
    if facts.audit_anchored:
        evidence.append("Heads of the audit log are kept in the vault and never deleted by Holdfast.")
    if facts.audit_since is not None:
        days = (facts.now - facts.audit_since).days
        evidence.append(f"Records reach back {days} days.")
        if days < SIX_YEARS_DAYS:
            missing.append("The log is younger than six years: nothing older can be shown.")
    locked_days = (facts.audit_retained - facts.now).days if facts.audit_retained is not None else 0
    if locked_days >= LOCK_DAYS_MIN:
        evidence.append(f"The store refuses to delete the newest head until {facts.audit_retained:%Y-%m-%d}.")
    else:
        missing.append("The store does not lock the log's newest head for six years.")
    return judged(evidence, missing)


def _restore_in_time(facts: ComplianceFacts) -> Judged:
    passed = facts.passed(YEAR)
    if not passed:
        return judged([], ["No drill measured how long a restore takes."])
    worst = max(drill.rto_seconds for drill in passed)
    slow = [drill.service for drill in passed if drill.rto_seconds > RESTORE_SECONDS_MAX]
    missing = [f"Longer than 72 hours: {', '.join(sorted(set(slow)))}."] if slow else []
    known = {drill.service for drill in passed}
    if len(known) < facts.services:
        missing.append(f"{facts.services - len(known)} services were never measured.")
    return judged([f"The slowest of {len(passed)} drills that passed took {format_seconds(worst)}."], missing)


def _fresh_copies(facts: ComplianceFacts) -> Judged:
    if not facts.sources:
        return judged([], ["There is no snapshot."])
    old = [source.label for source in facts.sources if source.newest_hours > COPY_HOURS_MAX]
    evidence = [
        f"{len(facts.sources) - len(old)} of {len(facts.sources)} sources have a snapshot of the last 48 hours."
    ]
    missing = [f"Older: {', '.join(sorted(old))}."] if old else []
    if (days := facts.age_days("restore")) is None or days > MONTH:
        missing.append("No sample was restored within a month.")
    return judged(evidence, missing)


def _own_backup(facts: ComplianceFacts) -> Judged:
    kits = facts.key_slots.get("keyfile", 0)
    evidence, missing = [], []
    if kits > 1:
        evidence.append(f"{kits} key files or recovery kits open the vault.")
    else:
        missing.append("There is one key file and no recovery kit.")
    age = facts.age_days("check")
    if age is not None and age <= HALF_YEAR:
        evidence.append(f"The vault's structure was checked {age:.0f} days ago.")
    else:
        missing.append("The vault's structure was not checked within six months.")
    if facts.count("catalog", "success"):
        evidence.append("The catalog was made anew from the vault within a year.")
    return judged(evidence, missing)


def _safe_harbor(facts: ComplianceFacts) -> Judged:
    evidence = [f"{facts.packs} packs sealed with AES-256-GCM."] if facts.packs else []
    missing = []
    if facts.key_beside_vault is True:
        missing.append("The key file lies in the same place as the vault.")
    elif facts.key_beside_vault is False:
        evidence.append("The key file lies on another file system than the vault.")
    else:
        missing.append("Where the key is kept is not known to the records.")
    return judged(evidence, missing)


def _continuous(facts: ComplianceFacts) -> Judged:
    if facts.audit_since is None:
        return judged([], [no_log(facts)])
    months = (facts.now - facts.audit_since).days // 30
    evidence = [f"{months} months of hash-chained records."]
    return judged(evidence, [] if months >= 12 else ["Twelve months of records are asked for."])  # noqa: PLR2004 - the law's twelve


def _part2(facts: ComplianceFacts) -> Judged:
    evidence, missing = [], []
    if "phi-restricted" in facts.classes:
        evidence.append("The class phi-restricted has keys of its own.")
    if "restore" in facts.approval_operations:
        evidence.append("Restoring it needs approvals.")
    else:
        missing.append("Restoring restricted classes needs no second person's approval.")
    return judged(evidence, missing)


def _gcm_limits(facts: ComplianceFacts) -> Judged:
    if not facts.packs:
        return judged([], ["There is nothing stored yet."])
    return judged(
        ["Each pack has a key of its own, derived with HKDF from a run's key and the pack's nonce (format 1)."], []
    )


def _automatic(facts: ComplianceFacts) -> Judged:
    if not facts.sources:
        return judged([], ["There is no snapshot."])
    old = [source.label for source in facts.sources if source.newest_hours > WEEK_HOURS]
    partial = [source.label for source in facts.sources if source.partial]
    evidence = [f"{len(facts.sources) - len(old)} of {len(facts.sources)} sources have a snapshot of the last week."]
    missing = [f"Older than a week: {', '.join(sorted(old))}."] if old else []
    by_hand = [source.label for source in facts.sources if not source.automatic]
    if len(by_hand) < len(facts.sources):
        evidence.append(
            f"{len(facts.sources) - len(by_hand)} of {len(facts.sources)} sources are backed up by the schedule,"
            " or at regular intervals."
        )
    if by_hand:
        missing.append(f"No run of the schedule and no regular intervals: {', '.join(sorted(by_hand))}.")
    if partial:
        missing.append(f"The newest snapshot is partial: {', '.join(sorted(partial))}.")
    return judged(evidence, missing)


def _process_reviewed(facts: ComplianceFacts) -> Judged:
    changes = facts.count("config.change")
    evidence = (
        [f"Configuration {facts.policy} in force; {changes} changes recorded within a year."] if facts.policy else []
    )
    return judged(
        evidence, [] if facts.policy else ["There is no configuration."], outside="The yearly review of the process."
    )


def _retention(facts: ComplianceFacts) -> Judged:
    evidence = [f"Retention: {facts.retention}."] if facts.retention else []
    evidence += [f"{facts.held} snapshots under legal hold."] if facts.held else []
    missing = [] if facts.retention else ["No retention rules are configured."]
    return judged(
        evidence,
        missing,
        outside="Backups are no records archive: what the law wants kept for years is kept elsewhere, too.",
    )


def _access_list(facts: ComplianceFacts) -> Judged:
    if not facts.opened_as:
        return judged([], ["No credential is known."])
    evidence = [
        f"{facts.writers} writers certified, {facts.writers_revoked} revoked; this report was made as {facts.opened_as}."
    ]
    return judged(evidence, [], outside="Who holds which key file or passphrase.")


CONTROLS: tuple[Control, ...] = (
    Control("164.308(a)(7)(ii)(A)", HIPAA, "Data backup plan: retrievable exact copies", "required", _backup_plan),
    Control("164.308(a)(7)(ii)(B)", HIPAA, "Disaster recovery plan", "required", _recovery_plan),
    Control("164.308(a)(7)(ii)(C)", HIPAA, "Emergency mode operation", "required", _emergency_mode),
    Control("164.308(a)(7)(ii)(D)", HIPAA, "Testing and revision", "addressable", lambda facts: judged(*_drilled(facts, YEAR))),
    Control("164.308(a)(7)(ii)(E)", HIPAA, "Applications and data criticality analysis", "addressable", _criticality),
    Control("164.308(a)(1)(ii)(D)", HIPAA, "Information system activity review", "required", _activity_review),
    Control("164.310(d)(2)(i-ii)", HIPAA, "Disposal and re-use of media", "required", disposal),
    Control(
        "164.310(d)(2)(iii)", HIPAA, "Accountability for media", "addressable", media,
    ),
    Control(
        "164.310(d)(2)(iv)", HIPAA, "Copy before equipment is moved", "addressable",
        lambda _: outside("The change ticket that names the backup made before a move."),
    ),
    Control("164.312(a)(1), (2)(i)", HIPAA, "Access control, unique users", "required", _unique_user),
    Control("164.312(a)(2)(iv)", HIPAA, "Encryption at rest", "addressable", _encryption),
    Control("164.312(b)", HIPAA, "Audit controls", "required", _audit_controls),
    Control("164.312(c)(1-2)", HIPAA, "Integrity", "required", _integrity),
    Control("164.312(d)", HIPAA, "Authentication", "required", _authentication),
    Control("164.312(e)(1-2)", HIPAA, "Transmission security", "required", _transmission),
    Control("164.316(b)(2)(i)", HIPAA, "Documentation kept for six years", "required", _six_years),
    Control("contingency plan", PROPOSED, "Restore within 72 hours", "proposed", _restore_in_time),
    Control("backups", PROPOSED, "Copies at most 48 hours old; monthly sample restore", "proposed", _fresh_copies),
    Control("failure alerts", PROPOSED, "Failures told in real time; success and failure recorded", "proposed", alerting),
    Control("plan tests", PROPOSED, "Plans tested every twelve months", "proposed", lambda facts: judged(*_drilled(facts, YEAR))),
    Control("backup systems", PROPOSED, "Backups of the backup system tested every six months", "proposed", _own_backup),
    Control(
        "asset inventory", PROPOSED, "Inventory and network map every twelve months", "proposed",
        lambda _: outside("The inventory, from which systems without a backup would follow."),
    ),
    Control("safe harbor", HITECH, "Encrypted, keys apart from the data (74 FR 19006)", "guidance", _safe_harbor),
    Control("P.L. 116-321", HITECH, "Recognised practices in place for twelve months", "guidance", _continuous),
    Control("SUD records", PART2, "Separate handling; approval of restores", "required", _part2),
    Control("SP 800-34", NIST, "Objectives per system, exercised", "guidance", _restore_in_time),
    Control("SP 800-66r2", NIST, "Self-assessment", "guidance", lambda _: outside("The assessment; this report is an input to it.")),
    Control("SP 800-209", NIST, "Storage security: isolation, immutability, separate administration", "guidance", storage_security),
    Control("SP 800-57", NIST, "Key management: inventory, periods, destruction", "guidance", key_management),
    Control("SP 800-38D", NIST, "Limits of AES-GCM", "guidance", _gcm_limits),
    Control("SP 800-132, -108", NIST, "Derivation of keys (RFC 5869 for machines, PBKDF2 for people)", "guidance", derivation),
    Control("405(d) HICP", NIST, "Three copies, two media, one offline", "guidance", copies),
    Control("11.1", CIS, "Process reviewed yearly", "guidance", _process_reviewed),
    Control("11.2", CIS, "Automatic backups at least weekly", "guidance", _automatic),
    Control("11.3", CIS, "Recovery data protected equally", "guidance", _encryption),
    Control("11.4", CIS, "An isolated instance", "guidance", isolated),
    Control("11.5", CIS, "Recovery tested quarterly", "guidance", lambda facts: judged(*_drilled(facts, QUARTER))),
    Control("09.l", HITRUST, "Back-up", "guidance", _backup_plan),
    Control("12.c", HITRUST, "Continuity plans that restore in time", "guidance", _recovery_plan),
    Control("TI.8", HL7, "Each backup and recovery audited (EHR-S FM R2.1.1)", "guidance", recorded),
    Control("A.8.13", ISO, "Backups tested", "guidance", lambda facts: judged(*_drilled(facts, YEAR))),
    Control("retention", HIPAA, "Retention and legal hold of copies (42 CFR 482.24, state law)", "required", _retention),
    Control("access list", HIPAA, "Who can reach what", "required", _access_list),
)  # fmt: skip
"""Every control of the table, in its order."""
