"""Settings of alerts: who is told what, when, and by which channel."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints
from pydantic.types import StrictBool, StrictInt, StrictStr

from holdfast.config.schema.fields import DAY, Name, Seconds, Secret, Section, Text, Texts, option

__all__ = [
    "AlertSettings",
    "ChannelSettings",
    "ContactSettings",
    "EscalationRowSettings",
    "EscalationSettings",
    "LevelSettings",
    "Names",
]

Names = Annotated[tuple[Name, ...], Field(max_length=1000)]
Line = Annotated[StrictStr, StringConstraints(max_length=4096)]


class AlertSettings(Section):
    """What holds for all alerts."""

    site: Line = option("", "What messages call this place; empty: the host's name.")
    zone: Text = option("UTC", "The time zone of quiet hours, as `Europe/Berlin`.")
    quiet_hours: Texts = option(
        (), "Hours such as `22:00-06:00` or `Sat,Sun 00:00-24:00` in which nothing is told but what is `at risk`."
    )
    acknowledged_seconds: Seconds = option(
        DAY, "An alert that is still there so long after it was acknowledged is open again.", unit="seconds", ge=60
    )
    quiet_return_seconds: Seconds = option(
        3600, "An alert that returns so soon after it was resolved goes on where it was.", unit="seconds", ge=0, le=DAY
    )
    collected_above: StrictInt = option(
        4, "More alerts than this for one contact at once go in one message.", unit="alerts", ge=1, le=1000
    )
    messages_per_hour: StrictInt = option(
        12, "More messages than this to one contact in an hour wait, unless at risk.", unit="messages", ge=1, le=3600
    )
    retry_seconds: Seconds = option(
        120, "A contact that no channel reached is tried again after so long.", unit="seconds", ge=1, le=DAY
    )
    heartbeat_channel: Line = option("", "A channel that gets a sign of life, so that its silence is noticed.")
    heartbeat_seconds: Seconds = option(3600, "How often the sign of life is sent.", unit="seconds", ge=10, le=DAY)
    reply_folder: Line = option("", "A folder in which signed replies to alerts are looked for.")
    digest_contacts: Names = option(
        (), "Who gets the daily digest that an entry of the schedule of kind `digest` sends."
    )
    keep_days: StrictInt = option(400, "Resolved alerts are kept so long.", unit="days", ge=1, le=36_500)


class ContactSettings(Section):
    """A person or a role that alerts are told to."""

    role: Line = option("", "What they are: `backup on call`, `head of IT`.")
    channels: Names = option((), "The channels that reach them; the first that works is used.")
    every_channel: StrictBool = option(False, "Use all channels, not the first that works.")
    address: Line = option("", "Their address for channels of kind `mail`; empty: the channel's recipients.")
    quiet_hours: Texts | None = option(None, "Quiet hours of their own, in place of those of `[alerts]`.")
    public_key: Line = option(
        "", "The key that their signed replies are proved with, as `holdfast alerts key` prints it."
    )


class ChannelSettings(Section):
    """A way by which messages leave."""

    kind: Name = option(..., "`mail`, `syslog`, `snmp`, `webhook`, `command`, `file` or `chat`, or a plug-in's kind.")
    host: Line = option("", "The server (mail, syslog, snmp).")
    port: StrictInt = option(0, "The server's port; 0: the usual one of the kind.", ge=0, le=65535)
    security: Literal["none", "starttls", "tls"] = option(
        "none", "How the connection is protected (mail: none, starttls, tls)."
    )
    sender: Line = option("", "The address that messages come from (mail).")
    recipients: Texts = option((), "The addresses they go to, unless a contact has its own (mail).")
    username: Line = option("", "The account at the server (mail), or the user of SNMPv3 (snmp).")
    password: Secret | None = option(None, "Its password (mail), or the authentication key (snmp).", unit="reference")
    privacy: Secret | None = option(None, "The privacy key of SNMPv3 (snmp).", unit="reference")
    community: Secret | None = option(None, "The community of SNMPv2c; none: `public` (snmp).", unit="reference")
    oid: Annotated[StrictStr, StringConstraints(pattern=r"^1(\.\d+){5,30}$")] = option(
        "1.3.6.1.4.1.8072.9999.9999.1", "The object identifier that traps are named under (snmp)."
    )
    transport: Literal["unix", "udp", "tcp"] = option("udp", "How syslog is reached; `unix`: the socket `path`.")
    facility: StrictInt = option(4, "The facility of syslog; 4 is security, 16 to 23 are local.", ge=0, le=23)
    url: Secret | None = option(
        None, "The address (webhook, chat), by reference, as it often holds a token.", unit="reference"
    )
    key: Secret | None = option(None, "The key that messages are signed with (webhook).", unit="reference")
    ca_file: Line = option("", "A file with the certificates to trust, for a site's own authority (mail, webhook).")
    path: Line = option("", "The file that messages are appended to (file), or the socket of syslog.")
    command: Texts = option((), "The program and its arguments; it gets the message on its standard input (command).")
    timeout_seconds: Seconds = option(20, "A channel that takes longer has failed.", unit="seconds", ge=1, le=600)
    attempts: StrictInt | None = option(
        None,
        "How often a channel is tried for one message. Without a value: as `[retry.delivery]` says.",
        unit="attempts",
        ge=1,
        le=10,
    )


class LevelSettings(Section):
    """One level of the escalation; the first in the file is level 1."""

    contacts: Names = option((), "Who is told.")
    after_seconds: Seconds = option(
        1800, "How long the level before must have been without an answer.", unit="seconds", ge=0, le=30 * DAY
    )
    repeat_seconds: Seconds = option(
        3600, "How often they are told again until somebody answers.", unit="seconds", ge=60, le=30 * DAY
    )


class EscalationRowSettings(Section):
    """One row of the table that says where an alert begins; it replaces the built-in one."""

    safety: Literal["untouched", "intact", "degraded", "at risk"] = option(..., "What it means for the backups.")
    retry: Literal["never", "later", "exhausted"] = option(..., "Whether it may end by itself.")
    first_level: StrictInt = option(1, "The level that is told first.", ge=1, le=20)
    last_level: StrictInt = option(0, "The level that is told last; 0: the highest.", ge=0, le=20)
    patience_seconds: Seconds = option(
        0, "How long nobody is told, as it may end by itself.", unit="seconds", ge=0, le=30 * DAY
    )


class EscalationSettings(Section):
    """Who is told, and who next if nobody answers."""

    levels: tuple[LevelSettings, ...] = option((), "The levels; none: all contacts are one.")
    rows: tuple[EscalationRowSettings, ...] = option((), "Rows of the table.")
