"""The daily digest: how things stand, and what the audit log has of the day, sent to who is responsible."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.base import environment
from holdfast.base.units import format_seconds
from holdfast.errors import ChannelError, UsageError
from holdfast.runs.alerting import open_desk
from holdfast.runs.status import status

if TYPE_CHECKING:
    from datetime import date

    from holdfast.base.environment import Environment
    from holdfast.config import Config
    from holdfast.reliability.alerts.records import Delivery
    from holdfast.runs.monitoring.report import StatusReport
    from holdfast.runs.vault import Vault

__all__ = ["digest_text", "send_digest"]

_NAMED_MAX = 20


def digest_text(report: StatusReport, audit: str) -> str:
    """Return the digest: the state of everything in a few lines, then the day's audit. Pure."""
    heads = {"ok": "All is well.", "attention": "Something needs attention.", "critical": "CRITICAL."}
    missed = [source for source in report.sources if source.verdict not in ("ok", "unwatched")]
    lines = [
        heads[report.verdict],
        f"{len(report.sources)} sources, {len(missed)} of them not as they should be; {report.alerts_open} alerts open,"
        f" {report.alerts_acknowledged} acknowledged, {report.alerts_at_risk} at risk.",
        f"Verified: {report.packs_proved} of {report.packs} packs. Copies: {report.copies} of {report.copies_wanted}.",
    ]
    for source in missed[:_NAMED_MAX]:
        age = (
            f"newest good backup {format_seconds(source.age_seconds)} old"
            if source.age_seconds is not None
            else "never"
        )
        lines.append(f"  {source.name}: {source.verdict}, {age}")
    lines += [f"  {danger}" for danger in report.dangers[:_NAMED_MAX]]
    if len(report.dangers) > _NAMED_MAX:
        lines.append(f"  … and {len(report.dangers) - _NAMED_MAX} more: `holdfast status`")
    return "\n".join([*lines, "", audit])


def send_digest(
    vault: Vault, config: Config, day: date, *, env: Environment | None = None
) -> tuple[StatusReport, tuple[Delivery, ...]]:
    """Send a day's digest to the contacts of `alerts.digest_contacts`; return the state it tells of, and the receipts.

    `UsageError` if there are none; `ChannelError` if one could be reached by no channel: the others have it, and a run that is
    made again sends it to all.
    """
    names = config.settings.alerts.digest_contacts
    if not names:
        raise UsageError("nobody is named that gets the digest", next="set `alerts.digest_contacts`.")
    env = env or environment.system()
    report = status(config, env=env)
    text = digest_text(report, vault.audit.daily(day))
    with open_desk(config.settings, env) as desk:
        sent = tuple(each for name in names for each in desk.send_digest(name, day, report.verdict, text))
    missed = set(names) - {each.contact for each in sent if each.delivered}
    if missed:
        raise ChannelError(f"{len(missed)} of {len(names)} contacts could not be sent the digest")
    return report, sent
