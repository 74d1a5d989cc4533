"""What no single option can say: that names refer to something, that somebody can be reached, that a schedule can ever run.

Each check looks at valid tables and yields every fault with the key it stands at; the loader gives it its line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import metadata
from itertools import pairwise
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from holdfast.base.calendar import WEEK_MINUTES, CronSlots, IntervalSlots, Slots, Window, in_windows, zone_of
from holdfast.base.defaults import LOOPBACK
from holdfast.config.objectives import rpo_faults, rpo_of
from holdfast.config.schema import ScheduleSettings, Settings
from holdfast.config.schema.alerts import ChannelSettings

__all__ = [
    "BESIDE",
    "CHANNEL_GROUP",
    "CHANNEL_NEEDS",
    "CHECKS",
    "JOB_GROUP",
    "JOB_KINDS",
    "Key",
    "channel_kinds",
    "job_kinds",
    "nobody_told",
    "slots_of",
]

Key = tuple[str | int, ...]
Fault = tuple[Key, str]

CHANNEL_GROUP = "holdfast.channels"
JOB_GROUP = "holdfast.jobs"
"""Entry point groups of plug-ins: kinds of channels, kinds of scheduled jobs."""
CHANNEL_NEEDS: dict[str, tuple[str, ...]] = {
    "mail": ("host", "sender"),
    "syslog": (),
    "snmp": ("host",),
    "webhook": ("url",),
    "command": ("command",),
    "file": ("path",),
    "chat": ("url",),
}
"""The kinds of channels, and the options without which each reaches nobody."""
JOB_KINDS = ("backup", "verify", "prune", "forget", "check", "migrate", "drill", "audit", "digest")

_MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
_SLOTS_LOOKED_AT = 60
_PROBE_MINUTES = 15


@cache
def channel_kinds() -> frozenset[str]:
    """Return the kinds of channels there are, plug-ins included."""
    return frozenset(CHANNEL_NEEDS) | {point.name for point in metadata.entry_points(group=CHANNEL_GROUP)}


@cache
def job_kinds() -> frozenset[str]:
    """Return the kinds of jobs there are, plug-ins included."""
    return frozenset(JOB_KINDS) | {point.name for point in metadata.entry_points(group=JOB_GROUP)}


def _windows(texts: Sequence[str], key: Key) -> tuple[tuple[Window, ...], list[Fault]]:
    windows, faults = [], []
    for place, text in enumerate(texts):
        try:
            windows.append(Window.parse(text))
        except ValueError as error:
            faults.append(((*key, place), str(error)))
    return tuple(windows), faults


def _zone(name: str, key: Key) -> tuple[ZoneInfo, list[Fault]]:
    try:
        return zone_of(name), []
    except ValueError as error:
        return ZoneInfo("UTC"), [(key, str(error))]


def _check_channels(settings: Settings) -> Iterator[Fault]:
    for name, channel in settings.channels.items():
        key: Key = ("channels", name)
        if channel.kind not in channel_kinds():
            yield (*key, "kind"), f"unknown kind of channel (there are: {', '.join(sorted(channel_kinds()))})"
            continue
        for need in CHANNEL_NEEDS.get(channel.kind, ()):
            if not getattr(channel, need):
                yield (*key, need), f"is required by a channel of kind {channel.kind}"
        if _in_the_clear(channel):
            yield (*key, "security"), "the password would go over the network in the clear: set `starttls` or `tls`"
        if text := _syslog_fault(channel):
            yield (*key, "host"), text
    beat = settings.alerts.heartbeat_channel
    if beat and beat not in settings.channels:
        yield ("alerts", "heartbeat_channel"), f"there is no channel {beat}"


def _in_the_clear(channel: ChannelSettings) -> bool:
    known = channel.username and channel.password is not None
    return bool(known and channel.kind == "mail" and channel.security == "none" and channel.host not in LOOPBACK)


def _check_telemetry(settings: Settings) -> Iterator[Fault]:
    said = settings.telemetry
    try:
        parts = urlsplit(said.endpoint)
        host = parts.hostname or ""
    except ValueError:
        yield ("telemetry", "endpoint"), "not an address"
        return
    if said.token is not None and parts.scheme == "http" and host not in LOOPBACK:
        yield ("telemetry", "endpoint"), "the token would go over the network in the clear: use https"


def _syslog_fault(channel: ChannelSettings) -> str:
    if channel.kind != "syslog":
        return ""
    if channel.transport == "unix":
        return "" if channel.path else "syslog over `unix` needs `path`"
    return "" if channel.host else f"syslog over {channel.transport} needs `host`"


def _check_contacts(settings: Settings) -> Iterator[Fault]:
    _, faults = _zone(settings.alerts.zone, ("alerts", "zone"))
    yield from faults
    windows, faults = _windows(settings.alerts.quiet_hours, ("alerts", "quiet_hours"))
    yield from faults
    if _always(windows):
        yield ("alerts", "quiet_hours"), "quiet hours without an end: nothing but `at risk` would ever be told"
    for name, contact in settings.contacts.items():
        key: Key = ("contacts", name)
        if not contact.channels:
            yield (*key, "channels"), "nobody can be reached without a channel"
        for place, channel in enumerate(contact.channels):
            found = settings.channels.get(channel)
            if found is None:
                yield (*key, "channels", place), f"there is no channel {channel}"
            elif found.kind == "mail" and not (contact.address or found.recipients):
                yield (*key, "address"), f"neither the contact nor the channel {channel} has an address"
        windows, faults = _windows(contact.quiet_hours or (), (*key, "quiet_hours"))
        yield from faults
        if _always(windows):
            yield (*key, "quiet_hours"), "quiet hours without an end: they could not be reached"
        if contact.public_key and not _is_key(contact.public_key):
            yield (*key, "public_key"), "not a public key (64 hex digits, as `holdfast alerts key` prints them)"


def _check_digest(settings: Settings) -> Iterator[Fault]:
    for place, name in enumerate(settings.alerts.digest_contacts):
        if name not in settings.contacts:
            yield ("alerts", "digest_contacts", place), f"there is no contact {name}"


def _is_key(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")  # noqa: PLR2004 - 32 bytes in hex


def _always(windows: Sequence[Window]) -> bool:
    covered = frozenset[int]().union(*(window.minutes() for window in windows))
    return len(covered) == WEEK_MINUTES


def _check_levels(settings: Settings) -> Iterator[Fault]:
    for place, level in enumerate(settings.escalation.levels):
        key: Key = ("escalation", "levels", place)
        for at, contact in enumerate(level.contacts):
            if contact not in settings.contacts:
                yield (*key, "contacts", at), f"there is no contact {contact}"
        if not set(level.contacts) & set(settings.contacts):
            yield (*key, "contacts"), f"at level {place + 1} nobody can be reached"
    named = {contact for level in settings.escalation.levels for contact in level.contacts}
    if named and named <= set(settings.contacts) and all(level.contacts for level in settings.escalation.levels):
        for contact in sorted(set(settings.contacts) - named - set(settings.alerts.digest_contacts)):
            yield (
                ("contacts", contact),
                "would never be told anything: no level of the escalation names them, nor the digest",
            )


def nobody_told(settings: Settings) -> bool:
    """Return whether there is a schedule, and nobody who would hear of what fails. It is valid, and said wherever it is seen."""
    return bool(settings.schedule) and not settings.contacts


def _check_rows(settings: Settings) -> Iterator[Fault]:
    rows = settings.escalation.rows
    count = len(settings.escalation.levels) or min(1, len(settings.contacts))
    if rows and not count:
        yield ("escalation", "rows"), "can never fire: there are neither levels nor contacts"
        return
    seen = Counter((row.safety, row.retry) for row in rows)
    for place, row in enumerate(rows):
        key: Key = ("escalation", "rows", place)
        if seen[row.safety, row.retry] > 1:
            yield key, f"there are several rows for ({row.safety}, {row.retry}); all but one would never fire"
        if row.first_level > count:
            yield (*key, "first_level"), f"can never fire: there are {count} levels"
        if row.last_level and row.last_level < row.first_level:
            yield (*key, "last_level"), "can never fire: the last level is below the first"
        if row.last_level > count:
            yield (*key, "last_level"), f"there are {count} levels"
    reach = max(_last_levels(settings, count))
    for place in range(reach, len(settings.escalation.levels)):
        yield ("escalation", "levels", place), f"can never be reached: every row ends at level {reach}"


def _last_levels(settings: Settings, count: int) -> Iterator[int]:
    """Yield the last level of each row in force: of the built-in ones only those of `untouched` end below the highest, at 2."""
    said = {(row.safety, row.retry): row.last_level or count for row in settings.escalation.rows}
    for safety in ("untouched", "intact", "degraded", "at risk"):
        for retry in ("never", "later", "exhausted"):
            yield said.get((safety, retry), min(2, count) if safety == "untouched" else count)


def _check_policies(settings: Settings) -> Iterator[Fault]:
    """Yield the stores that policies name and that there are not; what else a policy may lack is looked at with its vault."""
    known = {"home", *settings.stores}
    for name, policy in settings.policies.items():
        for store in policy.stores:
            if store not in known:
                yield ("policies", name, "stores"), f"there is no store {store}"
        for place, move in enumerate(policy.moves):
            for store in move.stores:
                if store not in known:
                    yield ("policies", name, "moves", place, "stores"), f"there is no store {store}"


def slots_of(entry: ScheduleSettings, zone: ZoneInfo) -> Slots | None:
    """Return the slots of a valid entry; None if it only follows others."""
    windows = tuple(map(Window.parse, entry.windows))
    if entry.cron:
        return CronSlots.parse(entry.cron, zone, windows)
    return IntervalSlots(entry.every_seconds) if entry.every_seconds else None


def _kind_faults(settings: Settings, entry: ScheduleSettings) -> Iterator[tuple[str, str]]:
    """Yield what an entry of its kind lacks, with the option that says so."""
    if entry.kind not in job_kinds():
        yield "kind", f"unknown kind of job (there are: {', '.join(sorted(job_kinds()))})"
    if entry.kind == "backup" and not entry.job:
        yield "job", "a backup needs the job that it backs up"
    elif entry.kind == "backup" and entry.job not in settings.jobs:
        yield "job", f"there is no job {entry.job}"
    elif entry.kind == "migrate" and not (settings.policies or settings.tiers):
        yield "kind", "there is nowhere to migrate to: no policies are configured"
    elif entry.kind == "drill" and entry.job and entry.job not in settings.services:
        yield "job", f"there is no service {entry.job}"
    elif entry.kind == "drill" and not settings.services:
        yield "kind", "there is nothing to drill: no services are configured"
    elif entry.kind in JOB_KINDS and entry.kind not in ("backup", "drill") and entry.job:
        yield "job", f"has no effect: an entry of kind {entry.kind} concerns the whole vault"
    elif entry.kind == "digest" and not settings.alerts.digest_contacts:
        yield "kind", "nobody would get it: `alerts.digest_contacts` names no one"


def _check_schedule(settings: Settings) -> Iterator[Fault]:
    zone, faults = _zone(settings.scheduler.zone, ("scheduler", "zone"))
    yield from faults
    for name, entry in settings.schedule.items():
        key: Key = ("schedule", name)
        yield from (((*key, option), text) for option, text in _kind_faults(settings, entry))
        if entry.stop_at_window_end and not entry.windows:
            yield (*key, "stop_at_window_end"), "has no effect without `windows`"
        for place, other in enumerate(entry.after):
            if other not in settings.schedule:
                yield (*key, "after", place), f"the schedule has no entry {other}"
        if name in _followers(settings.schedule, name):
            yield (*key, "after"), "can never run: it waits for itself"
        yield from _check_times(entry, key, zone, rpo_of(settings, entry.job) if entry.kind == "backup" else None)


def _check_times(entry: ScheduleSettings, key: Key, zone: ZoneInfo, rpo: float | None) -> Iterator[Fault]:
    if entry.cron and entry.every_seconds:
        yield (*key, "cron"), "either `cron` or `every_seconds`"
    if not (entry.cron or entry.every_seconds or entry.after):
        yield key, "can never run: it has neither `cron` nor `every_seconds` nor `after`"
    _, faults = _windows(entry.windows, (*key, "windows"))
    yield from faults
    if faults:
        return
    try:
        slots = slots_of(entry, zone)
    except ValueError as error:
        yield (*key, "cron"), str(error)
        return
    if slots is None:
        return
    gap = _longest_gap(slots)
    if gap is None:
        reason = "no time of it lies in its windows" if entry.windows else "there is no such time"
        yield (*key, "cron"), f"can never run: {reason}"
    elif rpo is not None and max(gap, _weekly_gap(entry, slots, zone)) > timedelta(seconds=rpo):
        yield key, f"the objective of the job {entry.job} can never be kept: the times are further apart"
    elif gap <= timedelta(seconds=entry.jitter_seconds):
        yield (*key, "jitter_seconds"), "is longer than the time to the next start"


def _longest_gap(slots: Slots) -> timedelta | None:
    """Return the longest time between slots, looking at a good number of them; None if there are none."""
    found = [_MONDAY]
    while len(found) <= _SLOTS_LOOKED_AT and (slot := slots.after(found[-1])) is not None:
        found.append(slot)
    gaps = [later - earlier for earlier, later in pairwise(found[1:])]
    return max(gaps) if gaps else None


def _weekly_gap(entry: ScheduleSettings, slots: Slots, zone: ZoneInfo) -> timedelta:
    """Return the longest time of a week without a start, as far as looking every quarter of an hour tells; never too much.

    Sixty slots of an hourly row do not reach the weekend, and an interval knows nothing of the windows that hold it back.
    """
    windows = tuple(map(Window.parse, entry.windows))
    longest, closed = timedelta(), timedelta()
    for number in range(0, WEEK_MINUTES + 24 * 60, _PROBE_MINUTES):
        moment = _MONDAY + timedelta(minutes=number)
        closed = timedelta() if in_windows(windows, moment, zone) else closed + timedelta(minutes=_PROBE_MINUTES)
        longest = max(longest, closed - timedelta(minutes=_PROBE_MINUTES))
        if number % (12 * _PROBE_MINUTES) == 0 and entry.cron:
            before, after = slots.newest(moment), slots.after(moment)
            longest = max(longest, after - before) if before is not None and after is not None else longest
    return longest


def _followers(entries: dict[str, ScheduleSettings], name: str) -> set[str]:
    """Return all that an entry waits for, directly or not."""
    found: set[str] = set()
    stack = [*entries[name].after]
    while stack:
        other = stack.pop()
        if other not in found and other in entries:
            found.add(other)
            stack += entries[other].after
    return found


def _check_retry(settings: Settings) -> Iterator[Fault]:
    """Yield policies of retry and breaker that would never do what they say."""
    for kind in type(settings.retry).model_fields:
        said = getattr(settings.retry, kind)
        key: Key = ("retry", kind)
        first, longest, budget = said.first_seconds, said.longest_seconds, said.budget_seconds
        if said.attempts == 1 and (first or longest or budget):
            yield (*key, "attempts"), "would never fire: one attempt is no retry, and the pauses beside it mean nothing"
        elif first is not None and budget is not None and min(first, longest or first) > budget:
            yield (*key, "budget_seconds"), "would never fire: the first pause is longer than the budget"
        if first is not None and longest is not None and first > longest:
            yield (*key, "longest_seconds"), "is shorter than the first pause"
    if settings.breaker.longest_seconds < settings.breaker.open_seconds:
        yield ("breaker", "longest_seconds"), "is shorter than the first pause, `open_seconds`"


CHECKS: tuple[tuple[frozenset[str], Callable[[Settings], Iterator[Fault]]], ...] = (
    (frozenset({"alerts", "channels"}), _check_channels),
    (frozenset({"alerts", "channels", "contacts"}), _check_contacts),
    (frozenset({"alerts", "contacts"}), _check_digest),
    (frozenset({"alerts", "contacts", "escalation"}), _check_levels),
    (frozenset({"contacts", "escalation"}), _check_rows),
    (frozenset({"scheduler", "schedule", "jobs", "services", "alerts"}), _check_schedule),
    (frozenset({"telemetry"}), _check_telemetry),
    (frozenset({"jobs", "services"}), rpo_faults),
    (frozenset({"retry", "breaker"}), _check_retry),
)
"""Each check, and the tables that must be valid by themselves before it can be made."""
BESIDE: tuple[tuple[frozenset[str], Callable[[Settings], Iterator[Fault]]], ...] = (
    (frozenset({"policies", "stores"}), _check_policies),
)
"""Checks for a configuration that has other faults: whoever opens the vault of one without makes them, and more of their kind."""
