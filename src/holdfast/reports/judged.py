"""Judgements of what lies around a vault: its copies, locks and media, its keys, and whether people are told."""

from __future__ import annotations

from holdfast.reports.compliance import ComplianceFacts, Judged

__all__ = [
    "alerting",
    "copies",
    "derivation",
    "disposal",
    "isolated",
    "judged",
    "key_management",
    "media",
    "no_log",
    "outside",
    "recorded",
    "storage_security",
]

COPIES_WANTED = 3
REHEARSED_DAYS_MAX = 366


def judged(evidence: list[str], missing: list[str], *, outside: str = "") -> Judged:
    """Return `shown` if nothing is missing, `partly` if there is evidence, else a `gap`; `outside` names others' papers."""
    said = tuple(evidence)
    if not missing and evidence:
        return Judged("shown", said) if not outside else Judged("partly", said, outside)
    if evidence:
        return Judged("partly", said, " ".join([*missing, *([outside] if outside else [])]))
    return Judged("gap", (), " ".join(missing) or outside)


def outside(text: str) -> Judged:
    """Return that an organisation's own paper must show it."""
    return Judged("outside", (), text)


def _courier(facts: ComplianceFacts) -> list[str]:
    return (
        [f"{facts.sets_received} sets carried across the air gap, confirmed by receipts."]
        if facts.sets_received
        else []
    )


def copies(facts: ComplianceFacts) -> Judged:
    """Three copies, counted over data packs; an offline one counts when its receipt is here."""
    if not facts.class_copies:
        return judged([], ["There is nothing stored yet."])
    least = min(each.copies for each in facts.class_copies) + bool(facts.sets_received)
    evidence = [
        f"Of class {each.name} every data pack is on {each.copies} stores."
        for each in facts.class_copies
        if each.copies
    ]
    evidence += _courier(facts)
    missing = [] if least >= COPIES_WANTED else [f"{least} of the {COPIES_WANTED} copies asked for."]
    missing += [
        f"{each.lacking} packs of class {each.name} are on fewer stores than the {each.wanted} of its policy."
        for each in facts.class_copies
        if each.lacking
    ]
    if facts.home_copies < 2:  # noqa: PLR2004 - the home and its copy
        missing.append("The home's objects are on one store.")
    return judged(evidence, missing)


def isolated(facts: ComplianceFacts) -> Judged:
    """An instance that a stolen administrator's account does not reach."""
    evidence = [f"Store {name} refuses deletion before its time (object lock)." for name in facts.locked_stores]
    evidence += _courier(facts)
    return judged(evidence, [] if evidence else ["No copy that is offline or immutable is recorded."])


def storage_security(facts: ComplianceFacts) -> Judged:
    """Isolation, immutability and separate administration."""
    evidence, missing = [], []
    if facts.writers > 1:
        evidence.append("Hosts back up with credentials that can only add.")
    else:
        missing.append("No host uses a credential that can only add.")
    evidence += [f"Store {name} has object lock." for name in facts.locked_stores]
    if not facts.locked_stores:
        missing.append("No store's lock against deletion is recorded.")
    if facts.approvals_required > 1:
        evidence.append(f"{facts.approvals_required} people must agree to: {', '.join(facts.approval_operations)}.")
    return judged(evidence, missing)


def key_management(facts: ComplianceFacts) -> Judged:
    """The inventory of keys, their rotation, their destruction, and that the way back to them is known to work."""
    if not facts.generations:
        return judged([], ["No key is at hand."])
    evidence = [
        f"{facts.generations} class generations, {sum(facts.key_slots.values())} key slots, {facts.writers} writers;"
        f" {facts.wraps} places where a key was written, in the ledger."
    ]
    changes = facts.count("key") + facts.count("enroll") + facts.count("revoke")
    evidence.append(f"{changes} changes of keys recorded within a year.")
    missing = []
    if facts.root_epoch or facts.renewed:
        evidence.append(
            f"The root key was rotated {facts.root_epoch} times; {facts.renewed} classes have renewed keys."
        )
    else:
        missing.append("No rotation of a key is recorded.")
    if facts.erased:
        evidence.append(f"{facts.erased} generations erased, by signed certificate.")
    if facts.erasures_open:
        missing.append(
            f"Of {facts.erasures_open} erased generations it is not known that every copy of the key is gone."
        )
    if facts.kit_rehearsed_days is None:
        missing.append("No recovery kit was ever tried out.")
    elif facts.kit_rehearsed_days > REHEARSED_DAYS_MAX:
        missing.append(f"The recovery kit was tried out {facts.kit_rehearsed_days:.0f} days ago.")
    else:
        evidence.append(f"A recovery kit opened the vault {facts.kit_rehearsed_days:.0f} days ago.")
    return judged(evidence, missing)


def disposal(facts: ComplianceFacts) -> Judged:
    """What was destroyed, and by which certificate."""
    forgotten, pruned = facts.count("forget.snapshot"), facts.count("prune")
    evidence = []
    if forgotten or pruned:
        evidence.append(f"{forgotten} snapshots forgotten and {pruned} prune steps recorded within a year.")
    if facts.erased:
        evidence.append(f"{facts.erased} certificates of crypto-erasure, each naming every place where the key was.")
    missing = [] if facts.erased else ["No key was destroyed yet, so there is no certificate of crypto-erasure."]
    if facts.erasures_open:
        missing.append(
            f"{facts.erasures_open} erasures are outstanding: not every copy of the key is known to be gone."
        )
    return judged(
        evidence, missing, outside="The disposal of the disks and tapes themselves." if evidence and not missing else ""
    )


def media(facts: ComplianceFacts) -> Judged:
    """Which media were written, and which arrived."""
    if not facts.media and not facts.sets_received:
        return outside("The custody log of disks and tapes; Holdfast has written none.")
    evidence = [f"{facts.media} media that carry the keyring are in the ledger."] if facts.media else []
    return judged([*evidence, *_courier(facts)], [], outside="The custody log between departure and receipt.")


def alerting(facts: ComplianceFacts) -> Judged:
    """That failures are told at once, shown by receipts."""
    evidence, missing = [], []
    if facts.alerts_told:
        evidence.append(
            f"{facts.alerts_told} messages about alerts were accepted by their channels within a year, with receipts."
        )
    else:
        missing.append("No channel accepted a message about an alert within a year; tests do not count.")
    if facts.alerts_untold:
        missing.append(f"{facts.alerts_untold} alerts were told to nobody.")
    if done := facts.count("backup"):
        evidence.append(f"Success or failure of {done} backups is recorded within a year.")
    return judged(evidence, missing)


def derivation(facts: ComplianceFacts) -> Judged:
    """How keys are made from secrets."""
    if not facts.generations:
        return judged([], ["No key is at hand."])
    evidence = ["Machine keys are derived with HKDF-SHA-256 (format 1)."]
    if facts.key_slots.get("passphrase"):
        evidence.append("Passphrases open a slot by PBKDF2-HMAC-SHA-512, with parameters in the slot (format 1).")
    return judged(evidence, [])


def no_log(facts: ComplianceFacts) -> str:
    """Say why the audit log shows nothing."""
    return "The audit log cannot be read." if facts.audit_problems else "There is no audit log."


def recorded(facts: ComplianceFacts) -> Judged:
    """That each backup and each recovery has its event: who, where, what, when, and how it ended."""
    backups, restores = facts.count("backup"), facts.count("restore") + facts.count("restore.break-glass")
    if not facts.audit_records:
        return judged([], [no_log(facts)])
    evidence = [
        f"{backups} backups and {restores} recoveries recorded within a year, each with user, host, time and outcome."
    ]
    missing = [] if facts.audit_sound else ["The log does not verify."]
    if not restores:
        missing.append("No recovery was recorded within a year.")
    return judged(evidence, missing)
