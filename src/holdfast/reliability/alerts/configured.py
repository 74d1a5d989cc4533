"""From the configuration to the desk: the policy and the channels that the settings describe."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import replace

from holdfast.base.calendar import Window, zone_of
from holdfast.base.environment import Environment
from holdfast.config import Settings
from holdfast.errors import HoldfastError, Retry, Safety
from holdfast.reliability.alerts.book import AlertBook
from holdfast.reliability.alerts.desk import AlertDesk, Outlet
from holdfast.reliability.alerts.table import TABLE, Contact, Level, Policy, Row
from holdfast.reliability.notify.registry import build
from holdfast.reliability.retry import POLICIES, RetryPolicy

__all__ = ["delivery_policy", "make_desk", "outlets_of", "policy_of"]


def policy_of(settings: Settings) -> Policy:
    """Return the escalation that the settings describe. Without levels, all contacts are one."""
    alerts = settings.alerts
    levels = tuple(
        Level(level.contacts, float(level.after_seconds), float(level.repeat_seconds))
        for level in settings.escalation.levels
    )
    if not levels and settings.contacts:
        levels = (Level(tuple(settings.contacts)),)
    rows = {
        (Safety(row.safety), Retry(row.retry)): Row(row.first_level, row.last_level, float(row.patience_seconds))
        for row in settings.escalation.rows
    }
    contacts = {
        name: Contact(
            name=name,
            channels=contact.channels,
            every_channel=contact.every_channel,
            address=contact.address,
            quiet=tuple(map(Window.parse, contact.quiet_hours)) if contact.quiet_hours is not None else None,
            public_key=contact.public_key,
            role=contact.role,
        )
        for name, contact in settings.contacts.items()
    }
    return Policy(
        levels=levels,
        contacts=contacts,
        table={**TABLE, **rows},
        quiet=tuple(map(Window.parse, alerts.quiet_hours)),
        zone=zone_of(alerts.zone),
        site=alerts.site or socket.gethostname(),
        acknowledged_seconds=float(alerts.acknowledged_seconds),
        quiet_return_seconds=float(alerts.quiet_return_seconds),
        collected_above=alerts.collected_above,
        messages_per_hour=alerts.messages_per_hour,
        retry_seconds=float(alerts.retry_seconds),
        keep_days=alerts.keep_days,
    )


def outlets_of(settings: Settings, environ: Mapping[str, str], env: Environment) -> dict[str, Outlet]:
    """Return the channels by name. One whose secret cannot be read is there too, and fails when it is used."""
    found = {}
    for name, channel in settings.channels.items():
        try:
            made = build(name, channel, environ, env)
        except HoldfastError as error:
            found[name] = Outlet(None, fault=error.what)
        else:
            found[name] = Outlet(made, channel.attempts, float(channel.timeout_seconds))
    return found


def delivery_policy(settings: Settings) -> RetryPolicy:
    """Return how often and with which pauses a channel is tried for one message: `[retry.delivery]` over the default."""
    said = settings.retry.delivery.model_dump(exclude_none=True)
    return replace(POLICIES["delivery"], **said)


def make_desk(
    settings: Settings,
    path: str | os.PathLike[str],
    env: Environment,
    environ: Mapping[str, str],
) -> AlertDesk:
    """Return the desk over the alert book at `path`."""
    alerts = settings.alerts
    return AlertDesk(
        AlertBook(path, env),
        policy_of(settings),
        outlets_of(settings, environ, env),
        env,
        heartbeat=(alerts.heartbeat_channel, float(alerts.heartbeat_seconds)) if alerts.heartbeat_channel else None,
        reply_folder=alerts.reply_folder,
        retry=delivery_policy(settings),
    )
